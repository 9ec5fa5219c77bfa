//! Reads the schema tables: one message a block, one field a line, nesting by two spaces.
//!
//! The format is described at the head of each table under `crates/*/schemas`. `cargo xtask codegen` makes
//! Rust of the tables, and [`crate::wire`] makes random messages of them; this module knows of neither.

use anyhow::{Context as _, Result, bail};

/// An inclusive range of versions; the end is open while it is `i16::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// First version.
    pub low: i16,
    /// Last version.
    pub high: i16,
}

impl Versions {
    /// No version at all.
    pub const NONE: Self = Self { low: i16::MAX, high: i16::MIN };

    fn parse(text: &str) -> Result<Self> {
        if text == "none" {
            return Ok(Self::NONE);
        }
        if let Some(low) = text.strip_suffix('+') {
            return Ok(Self { low: low.parse()?, high: i16::MAX });
        }
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        Ok(Self { low: low.parse()?, high: high.parse()? })
    }

    /// Whether `version` is in this range.
    pub fn contains(self, version: i16) -> bool {
        self.low <= version && version <= self.high
    }

    /// Versions that are in both ranges.
    pub fn within(self, outer: Self) -> Self {
        Self { low: self.low.max(outer.low), high: self.high.min(outer.high) }
    }

    /// Whether no version is in this range.
    pub fn is_empty(self) -> bool {
        self.low > self.high
    }

    /// Whether every version of `outer` is in this range.
    pub fn covers(self, outer: Self) -> bool {
        self.low <= outer.low && outer.high <= self.high
    }
}

/// Type of a field or element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// A primitive by its schema name: int8 .. float64, bool, string, bytes, records, uuid.
    Plain(&'static str),
    /// A struct of the same message.
    Struct(String),
    /// An array.
    Array(Box<Self>),
}

const PLAIN: &[&str] = &[
    "bool", "int8", "int16", "uint16", "int32", "uint32", "int64", "float64", "string", "bytes",
    "records", "uuid",
];

impl Type {
    fn parse(text: &str) -> Self {
        if let Some(element) = text.strip_prefix("[]") {
            return Self::Array(Box::new(Self::parse(element)));
        }
        match PLAIN.iter().find(|plain| **plain == text) {
            Some(plain) => Self::Plain(plain),
            None => Self::Struct(text.to_owned()),
        }
    }

    /// Name of the struct inside, if there is one.
    pub fn struct_name(&self) -> Option<&str> {
        match self {
            Self::Plain(_) => None,
            Self::Struct(name) => Some(name),
            Self::Array(element) => element.struct_name(),
        }
    }
}

/// One field.
#[derive(Clone, Debug)]
pub struct Field {
    /// Name as Kafka spells it.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// Versions that have it.
    pub versions: Versions,
    /// Versions in which it may be null.
    pub nullable: Versions,
    /// Tag, and the versions in which it is a tagged field.
    pub tag: Option<(u32, Versions)>,
    /// Default as the table has it.
    pub default: Option<String>,
    /// Whether a value may be dropped where the version lacks the field.
    pub ignorable: bool,
    /// Whether the field keeps the classic form in flexible versions.
    pub classic: bool,
    /// Whether an array usually has one element, which is then kept in place.
    pub few: bool,
}

/// A struct: the message itself or one inside it.
#[derive(Clone, Debug)]
pub struct Struct {
    /// Name as Kafka spells it.
    pub name: String,
    /// Fields in wire order.
    pub fields: Vec<Field>,
}

/// One message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Name as Kafka spells it.
    pub name: String,
    /// request, response, header, data, metadata, coordinator-key, coordinator-value.
    pub kind: String,
    /// API key or record id.
    pub key: Option<i16>,
    /// Versions that exist.
    pub versions: Versions,
    /// First flexible version, if any.
    pub flexible: Versions,
    /// Kinds of listeners that serve the API: `broker`, `controller`.
    pub listeners: Vec<String>,
    /// Whether the highest version is not stable yet.
    pub latest_unstable: bool,
    /// The message first, then the structs inside it, in order of appearance.
    pub structs: Vec<Struct>,
}

impl Message {
    /// The struct with this name.
    pub fn find(&self, name: &str) -> Option<&Struct> {
        self.structs.iter().find(|inner| inner.name == name)
    }
}

/// Reads a whole table.
pub fn parse(text: &str) -> Result<Vec<Message>> {
    let mut messages: Vec<Message> = Vec::new();
    // Structs that are open, as (indentation of their fields, place in the message).
    let mut open: Vec<(usize, usize)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let indent = line.len() - trimmed.len();
        let words: Vec<&str> = trimmed.split_whitespace().collect();
        let context = || format!("line {}: {line}", at + 1);
        if indent == 0 {
            messages.push(message(&words).with_context(context)?);
            open = vec![(2, 0)];
            continue;
        }
        let message = messages.last_mut().with_context(context)?;
        while open.last().is_some_and(|(level, _)| *level > indent) {
            open.pop();
        }
        if words.first() == Some(&"struct") {
            let name = words.get(1).with_context(context)?;
            open.push((indent + 2, new_struct(message, name)));
            continue;
        }
        let field = field(&words).with_context(context)?;
        let (_, place) = *open.last().with_context(context)?;
        if let Some(name) = field.ty.struct_name() {
            // Its fields may follow below, two spaces deeper; a shared struct comes later.
            let inner = message.structs.iter().position(|inner| inner.name == name);
            let inner = inner.unwrap_or_else(|| new_struct(message, name));
            open.push((indent + 2, inner));
        }
        message.structs.get_mut(place).with_context(context)?.fields.push(field);
    }
    // Kafka keeps the tables of APIs that it removed, without any version, and of fields likewise.
    messages.retain(|message| !message.versions.is_empty());
    for message in &mut messages {
        let versions = message.versions;
        for inner in &mut message.structs {
            inner.fields.retain(|field| !field.versions.within(versions).is_empty());
        }
        for field in message.structs.iter_mut().flat_map(|inner| &mut inner.fields) {
            // Null only in versions that are gone is no null.
            field.nullable = match field.nullable.within(versions) {
                left if left.is_empty() => Versions::NONE,
                _ => field.nullable,
            };
        }
    }
    Ok(messages)
}

fn new_struct(message: &mut Message, name: &str) -> usize {
    if let Some(place) = message.structs.iter().position(|inner| inner.name == name) {
        return place;
    }
    message.structs.push(Struct { name: name.to_owned(), fields: Vec::new() });
    message.structs.len() - 1
}

fn message(words: &[&str]) -> Result<Message> {
    let [first, name, kind, attributes @ ..] = words else { bail!("too short") };
    if *first != "message" {
        bail!("expected a message");
    }
    let mut message = Message {
        name: (*name).to_owned(),
        kind: (*kind).to_owned(),
        key: None,
        versions: Versions::NONE,
        flexible: Versions::NONE,
        listeners: Vec::new(),
        latest_unstable: false,
        structs: vec![Struct { name: (*name).to_owned(), fields: Vec::new() }],
    };
    for attribute in attributes {
        match attribute.split_once('=') {
            Some(("key", key)) => message.key = Some(key.parse()?),
            Some(("versions", versions)) => message.versions = Versions::parse(versions)?,
            Some(("flexible", versions)) => message.flexible = Versions::parse(versions)?,
            Some(("listeners", names)) => {
                message.listeners = names.split(',').map(str::to_owned).collect();
            }
            None if *attribute == "latest-unstable" => message.latest_unstable = true,
            _ => bail!("unknown attribute {attribute}"),
        }
    }
    Ok(message)
}

fn field(words: &[&str]) -> Result<Field> {
    let [name, ty, versions, attributes @ ..] = words else { bail!("too short") };
    let mut field = Field {
        name: (*name).to_owned(),
        ty: Type::parse(ty),
        versions: Versions::parse(if *versions == "?" { "0+" } else { versions })?,
        nullable: Versions::NONE,
        tag: None,
        default: None,
        ignorable: false,
        classic: false,
        few: false,
    };
    for attribute in attributes {
        match attribute.split_once('=') {
            Some(("nullable", versions)) => field.nullable = Versions::parse(versions)?,
            Some(("default", value)) => field.default = Some(value.to_owned()),
            Some(("tag", tag)) => {
                let (tag, versions) = tag.split_once('@').context("tag without versions")?;
                field.tag = Some((tag.parse()?, Versions::parse(versions)?));
            }
            Some(("entity", _)) => {}
            Some(("flexible", "none")) => field.classic = true,
            None if *attribute == "few" => field.few = true,
            None if *attribute == "ignorable" => field.ignorable = true,
            None if matches!(*attribute, "mapkey" | "zerocopy") => {}
            _ => bail!("unknown attribute {attribute}"),
        }
    }
    Ok(field)
}
