//! Messages as JSON, by way of the tables that their code is made from: field by field in the order
//! and with the names of Kafka's converters, without the fields that a version lacks and without
//! tagged fields that have their defaults.
//!
//! Nothing is written by it, and no message is known here: a table is text of its owner.

use bytes::Bytes;
use ottla_codec::{DecodeError, Reader};
use ottla_types::Uuid;
use serde_json::{Map, Value};

/// A message of a table.
#[derive(Debug)]
pub(super) struct Message {
    /// Its name.
    pub name: String,
    versions: Versions,
    flexible: Versions,
    fields: Vec<Field>,
    structs: Vec<(String, Vec<Field>)>,
}

#[derive(Clone, Debug)]
struct Field {
    name: String,
    kind: String,
    versions: Versions,
    nullable: Versions,
    tag: Option<(u32, Versions)>,
    default: Option<String>,
    fields: Vec<Self>,
}

/// `3`, `0-4`, `2+` or none.
#[derive(Clone, Copy, Debug, Default)]
struct Versions(Option<(i16, i16)>);

impl Versions {
    fn parse(text: &str) -> Self {
        let number = |text: &str| text.parse::<i16>().ok();
        let range = match (text.strip_suffix('+'), text.split_once('-')) {
            (Some(from), _) => number(from).map(|from| (from, i16::MAX)),
            (None, Some((from, to))) => number(from).zip(number(to)),
            (None, None) => number(text).map(|one| (one, one)),
        };
        Self(range)
    }

    fn has(self, version: i16) -> bool {
        self.0.is_some_and(|(from, to)| (from..=to).contains(&version))
    }
}

/// The message of a table that has this kind (`metadata`, `coordinator-key`, ...) and key.
pub(super) fn by_key(table: &str, kind: &str, key: i16) -> Option<Message> {
    let key = format!("key={key}");
    find(table, |words| words.get(2) == Some(&kind) && words.contains(&key.as_str()))
}

/// The message of a table that has this name.
pub(super) fn by_name(table: &str, name: &str) -> Option<Message> {
    find(table, |words| words.get(1) == Some(&name))
}

fn find(table: &str, wanted: impl Fn(&[&str]) -> bool) -> Option<Message> {
    let mut lines = table.lines();
    let words = lines.by_ref().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (line.starts_with("message ") && wanted(&words)).then_some(words)
    })?;
    let property = |name: &str| {
        let value = words.iter().find_map(|word| word.strip_prefix(name)).unwrap_or_default();
        Versions::parse(value)
    };
    let body: Vec<&str> = lines.take_while(|line| line.starts_with("  ")).collect();
    let (mut fields, mut structs) = (Vec::new(), Vec::new());
    let mut rest = body.as_slice();
    while let Some((line, below)) = rest.split_first() {
        let nested = below.iter().take_while(|line| 2 < indent(line)).count();
        let (inner, after) = below.split_at(nested);
        match line.trim().strip_prefix("struct ") {
            Some(shared) => {
                let name = shared.split_whitespace().next().unwrap_or_default();
                structs.push((name.to_owned(), read_fields(inner)));
            }
            None => fields.extend(Field::read(line, inner)),
        }
        rest = after;
    }
    let name = (*words.get(1)?).to_owned();
    let (versions, flexible) = (property("versions="), property("flexible="));
    Some(Message { name, versions, flexible, fields, structs })
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn read_fields(lines: &[&str]) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut rest = lines;
    while let Some((line, below)) = rest.split_first() {
        let nested = below.iter().take_while(|other| indent(line) < indent(other)).count();
        let (inner, after) = below.split_at(nested);
        fields.extend(Field::read(line, inner));
        rest = after;
    }
    fields
}

impl Field {
    fn read(line: &str, inner: &[&str]) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, kind, versions, more @ ..] = words.as_slice() else { return None };
        let property = |key: &str| more.iter().find_map(|word| word.strip_prefix(key));
        let tag = property("tag=").and_then(|tag| {
            let (number, versions) = tag.split_once('@')?;
            Some((number.parse().ok()?, Versions::parse(versions)))
        });
        Some(Self {
            name: (*name).to_owned(),
            kind: (*kind).to_owned(),
            versions: Versions::parse(versions),
            nullable: property("nullable=").map(Versions::parse).unwrap_or_default(),
            tag,
            default: property("default=").map(str::to_owned),
            fields: read_fields(inner),
        })
    }

    /// Its name in JSON.
    fn key(&self) -> String {
        let (first, rest) = self.name.split_at_checked(1).unwrap_or(("", &self.name));
        format!("{}{rest}", first.to_lowercase())
    }

    fn tag_at(&self, version: i16) -> Option<u32> {
        self.tag.filter(|(_, versions)| versions.has(version)).map(|(tag, _)| tag)
    }

    fn is_default(&self, value: &Value) -> bool {
        match (value, self.default.as_deref()) {
            (Value::Null, default) => default == Some("null"),
            (Value::Bool(value), default) => default.unwrap_or("false") == value.to_string(),
            (Value::Number(value), default) => default.unwrap_or("0") == value.to_string(),
            (Value::String(value), None) => {
                value.is_empty() || self.kind == "uuid" && *value == Uuid::ZERO.to_string()
            }
            (Value::String(value), Some(default)) => default.trim_matches('"') == value,
            (Value::Array(items), default) => items.is_empty() && default.is_none(),
            (Value::Object(_), _) => false,
        }
    }
}

impl Message {
    /// Whether it has this version.
    pub(super) fn has(&self, version: i16) -> bool {
        self.versions.has(version)
    }

    /// Reads one.
    pub(super) fn read(&self, version: i16, reader: &mut Reader) -> Result<Value, DecodeError> {
        self.object(&self.fields, version, reader)
    }

    fn object(
        &self,
        fields: &[Field],
        version: i16,
        reader: &mut Reader,
    ) -> Result<Value, DecodeError> {
        let there: Vec<&Field> = fields.iter().filter(|one| one.versions.has(version)).collect();
        let mut values: Vec<Option<Value>> = Vec::with_capacity(there.len());
        for field in &there {
            values.push(match field.tag_at(version) {
                Some(_) => None,
                None => Some(self.value(field, &field.kind, version, reader)?),
            });
        }
        if self.flexible.has(version) {
            for _ in 0..reader.uvarint(FIELD)? {
                let tag = reader.uvarint(FIELD)?;
                let len = reader.uvarint(FIELD)?;
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                let mut inner = Reader::new(reader.bytes_exact(FIELD, len)?);
                let tagged = there.iter().zip(&mut values);
                for (field, value) in tagged.filter(|(field, _)| field.tag_at(version) == Some(tag))
                {
                    let read = self.value(field, &field.kind, version, &mut inner)?;
                    *value = Some(read).filter(|read| !field.is_default(read));
                }
            }
        }
        let read = there.into_iter().zip(values);
        let object: Map<String, Value> =
            read.filter_map(|(field, value)| Some((field.key(), value?))).collect();
        Ok(Value::Object(object))
    }

    fn value(
        &self,
        field: &Field,
        kind: &str,
        version: i16,
        reader: &mut Reader,
    ) -> Result<Value, DecodeError> {
        Ok(match kind {
            "bool" => Value::from(reader.bool(FIELD)?),
            "int8" => Value::from(reader.i8(FIELD)?),
            "int16" => Value::from(reader.i16(FIELD)?),
            "int32" => Value::from(reader.i32(FIELD)?),
            "int64" => Value::from(reader.i64(FIELD)?),
            "uint16" => Value::from(reader.u16(FIELD)?),
            "uint32" => Value::from(reader.u32(FIELD)?),
            "float64" => Value::from(reader.f64(FIELD)?),
            "uuid" => Value::from(Uuid(reader.array16(FIELD)?).to_string()),
            "string" => match self.blob(version, reader, Width::Short)? {
                None => Value::Null,
                Some(bytes) => Value::from(String::from_utf8_lossy(&bytes).into_owned()),
            },
            "bytes" | "records" => match self.blob(version, reader, Width::Long)? {
                None => Value::Null,
                Some(bytes) => Value::from(crate::commands::consume::base64(&bytes)),
            },
            _ => match kind.strip_prefix("[]") {
                Some(items) => {
                    let Some(len) = self.len(version, reader, Width::Long)? else {
                        return Ok(Value::Null);
                    };
                    let mut read = Vec::new();
                    for _ in 0..len {
                        read.push(self.value(field, items, version, reader)?);
                    }
                    Value::Array(read)
                }
                None => self.nested(field, kind, version, reader)?,
            },
        })
    }

    fn nested(
        &self,
        field: &Field,
        kind: &str,
        version: i16,
        reader: &mut Reader,
    ) -> Result<Value, DecodeError> {
        let is_array = field.kind.starts_with("[]");
        if !is_array && field.nullable.has(version) && reader.i8(FIELD)? < 0 {
            return Ok(Value::Null);
        }
        let shared = self.structs.iter().find(|(name, _)| name == kind);
        let fields = match shared {
            Some((_, fields)) if field.fields.is_empty() => fields,
            _ => &field.fields,
        };
        self.object(fields, version, reader)
    }

    fn blob(
        &self,
        version: i16,
        reader: &mut Reader,
        width: Width,
    ) -> Result<Option<Bytes>, DecodeError> {
        let len = self.len(version, reader, width)?;
        len.map(|len| reader.bytes_exact(FIELD, len)).transpose()
    }

    /// How much follows; nothing for null.
    fn len(
        &self,
        version: i16,
        reader: &mut Reader,
        width: Width,
    ) -> Result<Option<usize>, DecodeError> {
        let len = if self.flexible.has(version) {
            i64::from(reader.uvarint(FIELD)?) - 1
        } else {
            match width {
                Width::Short => i64::from(reader.i16(FIELD)?),
                Width::Long => i64::from(reader.i32(FIELD)?),
            }
        };
        // An array cannot have more items than bytes are left.
        let len = usize::try_from(len).ok();
        match len.filter(|len| reader.remaining() < *len) {
            Some(len) => reader.skip(FIELD, len).map(|()| None),
            None => Ok(len),
        }
    }
}

#[derive(Clone, Copy)]
enum Width {
    Short,
    Long,
}

/// What errors call a field.
const FIELD: &str = "a field";

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
message First kind key=0 versions=0 flexible=none
  a int8 0+

message Second kind key=1 versions=0-2 flexible=1+
  Name string 0+
  Items []Item 0+
    Id uuid 0+
    More []Part 1+ nullable=1+
  Level int16 1+ tag=0@1+ default=-1
  Note string 2 nullable=2 tag=1@2 default=null
  struct Part 1+
    Data bytes 1+
";

    fn check(version: i16, bytes: &[u8], expected: &str) {
        let message = by_key(TABLE, "kind", 1).unwrap();
        assert!(message.has(version) && !message.has(3));
        let read = message.read(version, &mut Reader::new(Bytes::copy_from_slice(bytes)));
        let text = read.map_or_else(|_| "unreadable".to_owned(), |value| value.to_string());
        assert_eq!(text, expected, "{bytes:?}");
    }

    #[test]
    fn messages_are_read_by_their_table() {
        let id = [0; 16];
        let old = [&[0, 1, b'x', 0, 0, 0, 1][..], &id].concat();
        let zero = Uuid::ZERO;
        check(0, &old, &format!(r#"{{"name":"x","items":[{{"id":"{zero}"}}]}}"#));
        let new = [&[2, b'x', 2][..], &id, &[2, 2, 255, 0, 0], &[1, 0, 2, 0, 7]].concat();
        let item = format!(r#"{{"id":"{zero}","more":[{{"data":"/w=="}}]}}"#);
        check(1, &new, &format!(r#"{{"name":"x","items":[{item}],"level":7}}"#));
        check(2, &[1, 1, 1, 1, 1, 0], r#"{"name":"","items":[]}"#);
        check(2, &[1, 1, 1, 1, 2, 3, b'n'], r#"unreadable"#);
        check(2, &[1, 1, 1, 1, 2, 2, b'n'], r#"{"name":"","items":[],"note":"n"}"#);
        check(0, &[0, 9, b'x'], "unreadable");
        assert!(by_name(TABLE, "First").is_some() && by_name(TABLE, "Item").is_none());
    }
}
