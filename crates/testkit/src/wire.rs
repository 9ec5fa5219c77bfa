//! Random messages from a schema table, written by a slow and obvious interpreter.
//!
//! The generated code of the crates is checked against this: the same value as Kafka's JSON, as bytes, and
//! as the `Debug` text of the Rust struct. It shares nothing with the generator but the reader of the tables.

#![allow(
    clippy::cast_possible_truncation,
    reason = "low bits are wanted, and counts of tests are small"
)]

use std::fmt::Write as _;

use crate::schema::{Field, Message, Struct, Type};
use crate::seed::Random;

/// A value of any type of the schema.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Null.
    Null,
    /// `bool`
    Bool(bool),
    /// Any integer.
    Number(i64),
    /// `float64`
    Float(f64),
    /// `string`
    Text(String),
    /// `bytes` and `records`
    Bytes(Vec<u8>),
    /// `uuid`
    Uuid([u8; 16]),
    /// An array.
    Array(Vec<Self>),
    /// Values of a struct's fields, in the order of the table.
    Struct(Vec<Self>),
}

/// A message of a table in one of its versions.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// The message.
    pub message: &'a Message,
    /// One of its versions.
    pub version: i16,
}

impl Shape<'_> {
    /// A random value that is valid in this version; fields that it lacks have their defaults.
    pub fn random(self, random: &mut Random) -> Value {
        let mut budget = 60;
        self.random_struct(self.top(), random, &mut budget)
    }

    /// The value that a decoder starts from.
    pub fn default(self) -> Value {
        self.default_struct(self.top())
    }

    /// The JSON that Kafka's `...JsonConverter` reads and writes.
    pub fn json(self, value: &Value) -> serde_json::Value {
        self.json_of(&Type::Struct(self.message.name.clone()), value)
    }

    /// The encoded message.
    pub fn bytes(self, value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        self.put_struct(self.top(), value, &mut out);
        out
    }

    /// What `{:?}` prints of the Rust struct.
    pub fn debug(self, value: &Value) -> String {
        let mut out = String::new();
        self.debug_of(&Type::Struct(self.message.name.clone()), value, &mut out);
        out
    }

    /// `value` with the fields of these names at their defaults, wherever they are.
    pub fn without(self, value: &Value, names: &[&str]) -> Value {
        self.stripped(&Type::Struct(self.message.name.clone()), value, names)
    }

    fn stripped(self, ty: &Type, value: &Value, names: &[&str]) -> Value {
        match (ty, value) {
            (Type::Array(element), Value::Array(values)) => {
                Value::Array(values.iter().map(|v| self.stripped(element, v, names)).collect())
            }
            (Type::Struct(name), Value::Struct(_)) => {
                let keep = |(field, value): (&Field, &Value)| match names.contains(&&*field.name) {
                    true => self.default_of(field),
                    false => self.stripped(&field.ty, value, names),
                };
                Value::Struct(Self::fields(self.named(name), value).map(keep).collect())
            }
            _ => value.clone(),
        }
    }

    /// The JSON of a message with empty record data, which is all that Kafka prints of it.
    pub fn without_records(self, json: &serde_json::Value) -> serde_json::Value {
        self.blank(&Type::Struct(self.message.name.clone()), json)
    }

    fn blank(self, ty: &Type, json: &serde_json::Value) -> serde_json::Value {
        use serde_json::Value as Json;
        match (ty, json) {
            (Type::Plain("records"), Json::String(_)) => Json::String(String::new()),
            (Type::Array(element), Json::Array(values)) => {
                values.iter().map(|value| self.blank(element, value)).collect()
            }
            (Type::Struct(name), Json::Object(values)) => {
                let fields = &self.named(name).fields;
                let known = |key: &str| fields.iter().find(|field| camel(&field.name) == *key);
                let blank = |(key, value): (&String, &Json)| match known(key) {
                    Some(field) => (key.clone(), self.blank(&field.ty, value)),
                    None => (key.clone(), value.clone()),
                };
                Json::Object(values.iter().map(blank).collect())
            }
            _ => json.clone(),
        }
    }

    fn top(&self) -> &Struct {
        self.named(&self.message.name)
    }

    /// The struct with this name; a table that names a missing one is broken.
    pub fn named(&self, name: &str) -> &Struct {
        self.message.find(name).expect("the parser checked that the struct is there")
    }

    /// Whether this version has the flexible form (KIP-482).
    pub fn flexible(self) -> bool {
        self.message.flexible.contains(self.version)
    }

    fn fields<'f>(
        inner: &'f Struct,
        value: &'f Value,
    ) -> impl Iterator<Item = (&'f Field, &'f Value)> {
        let Value::Struct(values) = value else { panic!("{value:?} is no {}", inner.name) };
        assert_eq!(inner.fields.len(), values.len(), "{}", inner.name);
        inner.fields.iter().zip(values)
    }

    /// Whether this version has the field.
    pub fn has(self, field: &Field) -> bool {
        field.versions.contains(self.version)
    }

    /// The field's tag, where it is a tagged field of this version.
    pub fn tag(self, field: &Field) -> Option<u32> {
        let (tag, versions) = field.tag?;
        (self.has(field) && versions.contains(self.version)).then_some(tag)
    }
}

/// Values.
impl Shape<'_> {
    fn default_struct(self, inner: &Struct) -> Value {
        Value::Struct(inner.fields.iter().map(|field| self.default_of(field)).collect())
    }

    /// The default of a field: what it has in versions that lack it.
    pub fn default_of(self, field: &Field) -> Value {
        let text = field.default.as_deref().map(|text| text.trim_matches('"'));
        if text == Some("null")
            || (field.ty == Type::Plain("records") && !field.nullable.is_empty())
        {
            return Value::Null;
        }
        match &field.ty {
            Type::Plain("bool") => Value::Bool(text == Some("true")),
            Type::Plain("string") => Value::Text(text.unwrap_or_default().to_owned()),
            Type::Plain("bytes" | "records") => Value::Bytes(Vec::new()),
            Type::Plain("float64") => Value::Float(0.0),
            Type::Plain("uuid") => Value::Uuid([0; 16]),
            Type::Plain(_) => Value::Number(number(text.unwrap_or("0"))),
            Type::Array(_) => Value::Array(Vec::new()),
            Type::Struct(name) => self.default_struct(self.named(name)),
        }
    }

    fn random_struct(self, inner: &Struct, random: &mut Random, budget: &mut u32) -> Value {
        let value = |field: &Field| {
            if !self.has(field) || (self.tag(field).is_some() && random.once_in(3)) {
                return self.default_of(field);
            }
            if field.nullable.contains(self.version) && random.once_in(4) {
                return Value::Null;
            }
            self.random_of(&field.ty, random, budget)
        };
        Value::Struct(inner.fields.iter().map(value).collect())
    }

    fn random_of(self, ty: &Type, random: &mut Random, budget: &mut u32) -> Value {
        match ty {
            Type::Plain("bool") => Value::Bool(random.once_in(2)),
            Type::Plain("string") => Value::Text(random_text(random)),
            Type::Plain("bytes" | "records") => {
                let len = if random.once_in(8) { 600 } else { random.index(12) };
                Value::Bytes(random.bytes(len))
            }
            Type::Plain("float64") => Value::Float(random_number(random, 32) as f64 / 8.0),
            Type::Plain("uuid") => Value::Uuid(random.bytes(16).try_into().expect("16 bytes")),
            Type::Plain("uint16") => Value::Number(random_number(random, 16) & 0xffff),
            Type::Plain("uint32") => Value::Number(random_number(random, 32) & 0xffff_ffff),
            Type::Plain("int8") => Value::Number(random_number(random, 8)),
            Type::Plain("int16") => Value::Number(random_number(random, 16)),
            Type::Plain("int32") => Value::Number(random_number(random, 32)),
            Type::Plain(_) => Value::Number(random_number(random, 64)),
            Type::Array(element) => {
                // 130 elements need a count of two bytes in the compact form.
                let long = matches!(**element, Type::Plain(_)) && random.once_in(40);
                let wanted = if long { 130 } else { random.below(4) as u32 };
                let count = if long { wanted } else { wanted.min(*budget) };
                *budget = budget.saturating_sub(count);
                Value::Array((0..count).map(|_| self.random_of(element, random, budget)).collect())
            }
            Type::Struct(name) => self.random_struct(self.named(name), random, budget),
        }
    }
}

fn number(text: &str) -> i64 {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("{text} is no number"))
}

/// A number of so many bits: often an edge, else anything.
fn random_number(random: &mut Random, bits: u32) -> i64 {
    let unused = 64 - bits;
    let raw = match random.below(4) {
        0 => *random.choose(&[0, 1, -1, i64::MAX, i64::MIN, 127, 128]),
        1 => random.below(1000).cast_signed(),
        _ => random.bits().cast_signed(),
    };
    (raw << unused) >> unused
}

fn random_text(random: &mut Random) -> String {
    const PIECES: &[&str] = &["a", "topic-1", "ü", "€", "😀", "\"", "\\", " ", "_.", "\u{0}"];
    // 127 and more bytes need a length of two bytes in the compact form.
    let pieces = if random.once_in(20) { 128 } else { random.index(5) };
    (0..pieces).map(|_| *random.choose(PIECES)).collect()
}

/// JSON.
impl Shape<'_> {
    fn json_of(self, ty: &Type, value: &Value) -> serde_json::Value {
        match (ty, value) {
            (_, Value::Null) => serde_json::Value::Null,
            (_, Value::Bool(value)) => (*value).into(),
            (_, Value::Number(value)) => (*value).into(),
            (_, Value::Float(value)) => (*value).into(),
            (_, Value::Text(value)) => value.clone().into(),
            (_, Value::Bytes(value)) => base64(value, STANDARD, true).into(),
            (_, Value::Uuid(value)) => base64(value, URL_SAFE, false).into(),
            (Type::Array(element), Value::Array(values)) => {
                values.iter().map(|value| self.json_of(element, value)).collect()
            }
            (Type::Struct(name), value) => {
                let inner = self.named(name);
                let present = Self::fields(inner, value).filter(|(field, value)| {
                    self.has(field)
                        && (self.tag(field).is_none() || **value != self.default_of(field))
                });
                let pairs = present
                    .map(|(field, value)| (camel(&field.name), self.json_of(&field.ty, value)));
                serde_json::Value::Object(pairs.collect())
            }
            (ty, value) => panic!("{value:?} is no {ty:?}"),
        }
    }
}

/// Kafka's JSON names are the schema's with a small first letter.
fn camel(name: &str) -> String {
    let mut chars = name.chars();
    let first = chars.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn base64(bytes: &[u8], alphabet: &[u8; 64], pad: bool) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0_u8; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for at in 0..4 {
            if at <= chunk.len() {
                out.push(alphabet[(bits >> (18 - 6 * at) & 63) as usize].into());
            } else if pad {
                out.push('=');
            }
        }
    }
    out
}

/// Bytes.
impl Shape<'_> {
    fn put_struct(self, inner: &Struct, value: &Value, out: &mut Vec<u8>) {
        let mut tagged = Vec::new();
        for (field, value) in Self::fields(inner, value).filter(|(field, _)| self.has(field)) {
            match self.tag(field) {
                None => self.put_field(field, value, out),
                Some(tag) if *value != self.default_of(field) => {
                    let mut body = Vec::new();
                    self.put_field(field, value, &mut body);
                    tagged.push((tag, body));
                }
                Some(_) => {}
            }
        }
        if !self.flexible() {
            return;
        }
        tagged.sort();
        put_uvarint(tagged.len(), out);
        for (tag, body) in tagged {
            put_uvarint(tag as usize, out);
            put_uvarint(body.len(), out);
            out.extend(body);
        }
    }

    fn put_field(self, field: &Field, value: &Value, out: &mut Vec<u8>) {
        let compact = self.flexible() && !field.classic;
        if let Type::Struct(_) = field.ty
            && field.nullable.contains(self.version)
        {
            out.push(if *value == Value::Null { 0xff } else { 1 });
            if *value == Value::Null {
                return;
            }
        }
        self.put(&field.ty, value, compact, out);
    }

    fn put(self, ty: &Type, value: &Value, compact: bool, out: &mut Vec<u8>) {
        let len_bytes = if *ty == Type::Plain("string") { 2 } else { 4 };
        match (ty, value) {
            (_, Value::Null) => put_len(None, compact, len_bytes, out),
            (_, Value::Bool(value)) => out.push((*value).into()),
            (_, Value::Float(value)) => out.extend(value.to_be_bytes()),
            (_, Value::Uuid(value)) => out.extend(value),
            (Type::Plain(plain), Value::Number(value)) => {
                let bytes = value.to_be_bytes();
                let width = match *plain {
                    "int8" => 1,
                    "int16" | "uint16" => 2,
                    "int32" | "uint32" => 4,
                    _ => 8,
                };
                out.extend(&bytes[8 - width..]);
            }
            (_, Value::Text(value)) => {
                put_len(Some(value.len()), compact, len_bytes, out);
                out.extend(value.as_bytes());
            }
            (_, Value::Bytes(value)) => {
                put_len(Some(value.len()), compact, len_bytes, out);
                out.extend(value);
            }
            (Type::Array(element), Value::Array(values)) => {
                put_len(Some(values.len()), compact, len_bytes, out);
                values.iter().for_each(|value| self.put(element, value, compact, out));
            }
            (Type::Struct(name), value) => self.put_struct(self.named(name), value, out),
            (ty, value) => panic!("{value:?} is no {ty:?}"),
        }
    }
}

fn put_len(len: Option<usize>, compact: bool, bytes: usize, out: &mut Vec<u8>) {
    match (compact, len) {
        (true, len) => put_uvarint(len.map_or(0, |len| len + 1), out),
        (false, None) => out.extend(&[0xff; 4][..bytes]),
        (false, Some(len)) => out.extend(&len.to_be_bytes()[8 - bytes..]),
    }
}

fn put_uvarint(mut value: usize, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Debug text.
impl Shape<'_> {
    fn debug_of(self, ty: &Type, value: &Value, out: &mut String) {
        match (ty, value) {
            (_, Value::Null) => out.push_str("None"),
            (_, Value::Bool(value)) => out.push_str(&value.to_string()),
            (_, Value::Number(value)) => out.push_str(&value.to_string()),
            (_, Value::Float(value)) => out.push_str(&format!("{value:?}")),
            (_, Value::Text(value)) => out.push_str(&format!("{value:?}")),
            (_, Value::Uuid(value)) => out.push_str(&base64(value, URL_SAFE, false)),
            (Type::Plain("records"), Value::Bytes(value)) => {
                let _ = write!(out, "Bytes({:?})", bytes::Bytes::copy_from_slice(value));
            }
            (_, Value::Bytes(value)) => {
                let _ = write!(out, "{:?}", bytes::Bytes::copy_from_slice(value));
            }
            (Type::Array(element), Value::Array(values)) => {
                out.push('[');
                for (at, value) in values.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { ", " });
                    self.debug_of(element, value, out);
                }
                out.push(']');
            }
            (Type::Struct(name), value) => self.debug_struct(name, value, out),
            (ty, value) => panic!("{value:?} is no {ty:?}"),
        }
    }

    fn debug_struct(self, name: &str, value: &Value, out: &mut String) {
        out.push_str(name);
        let mut first = true;
        for (field, value) in Self::fields(self.named(name), value) {
            out.push_str(if first { " { " } else { ", " });
            first = false;
            let _ = write!(out, "{}: ", snake(&field.name));
            let optional = !field.nullable.is_empty() && *value != Value::Null;
            out.push_str(if optional { "Some(" } else { "" });
            self.debug_of(&field.ty, value, out);
            out.push_str(if optional { ")" } else { "" });
        }
        out.push_str(if first { "" } else { " }" });
    }
}

/// `ReplicaId` to `replica_id`: a capital begins a word if a small letter or digit goes before it or a
/// small letter comes after it.
fn snake(name: &str) -> String {
    let chars: Vec<char> = name.replace("KRaft", "Kraft").chars().collect();
    let mut out = String::new();
    for (at, c) in chars.iter().enumerate() {
        let after = at > 0 && !chars[at - 1].is_ascii_uppercase();
        let before = chars.get(at + 1).is_some_and(char::is_ascii_lowercase);
        if at > 0 && c.is_ascii_uppercase() && (after || before) {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    match out.as_str() {
        "type" | "match" => out + "_",
        _ => out,
    }
}
