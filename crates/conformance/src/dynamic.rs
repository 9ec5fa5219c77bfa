//! Messages as JSON, by the schema table and not by generated code: requests from partial JSON, answers to
//! whole JSON. Names are Kafka's, as in its own JSON converters.

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use ottla_codec::Reader;
use ottla_testkit::schema::{Field, Message, Struct, Type};
use ottla_testkit::wire::{Shape, Value};
use ottla_types::Uuid;
use serde_json::{Map, Value as Json};

/// The table of all requests and responses.
pub const TABLE: &str = include_str!("../../protocol/schemas/rpc.schema");

/// Encodes a request of which only some fields are given; the rest have their defaults. Fields that this
/// version lacks are left out, so that one text serves many versions.
pub fn encode(message: &Message, version: i16, json: &Json) -> Result<Vec<u8>> {
    let shape = Shape { message, version };
    let value = struct_of(shape, shape.named(&message.name), json)?;
    Ok(shape.bytes(&value))
}

/// Decodes a whole answer.
pub fn decode(message: &Message, version: i16, bytes: Bytes) -> Result<Json> {
    let mut reader = Reader::new(bytes);
    let shape = Shape { message, version };
    let json = read_struct(shape, shape.named(&message.name), &mut reader)?;
    ensure!(
        reader.is_empty(),
        "{} version {version}: {} bytes too many",
        message.name,
        reader.remaining()
    );
    Ok(json)
}

/// Kafka's name of a field in JSON.
fn camel(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

fn struct_of(shape: Shape<'_>, inner: &Struct, json: &Json) -> Result<Value> {
    let given = json.as_object().with_context(|| format!("{}: {json} is no object", inner.name))?;
    for name in given.keys() {
        ensure!(
            inner.fields.iter().any(|f| camel(&f.name) == *name),
            "{} has no field {name}",
            inner.name
        );
    }
    let values = inner.fields.iter().map(|field| match given.get(&camel(&field.name)) {
        Some(json) if shape.has(field) => {
            value_of(shape, &field.ty, json).with_context(|| field.name.clone())
        }
        _ => Ok(shape.default_of(field)),
    });
    Ok(Value::Struct(values.collect::<Result<_>>()?))
}

fn value_of(shape: Shape<'_>, ty: &Type, json: &Json) -> Result<Value> {
    Ok(match (ty, json) {
        (_, Json::Null) => Value::Null,
        (Type::Struct(name), _) => struct_of(shape, shape.named(name), json)?,
        (Type::Array(element), Json::Array(items)) => {
            Value::Array(items.iter().map(|i| value_of(shape, element, i)).collect::<Result<_>>()?)
        }
        (Type::Plain("bool"), Json::Bool(value)) => Value::Bool(*value),
        (Type::Plain("float64"), Json::Number(value)) => {
            Value::Float(value.as_f64().context("float")?)
        }
        (Type::Plain("string"), Json::String(text)) => Value::Text(text.clone()),
        (Type::Plain("uuid"), Json::String(text)) => Value::Uuid(text.parse::<Uuid>()?.bytes()),
        (Type::Plain("bytes" | "records"), Json::String(hex)) => {
            Value::Bytes(ottla_testkit::codec::from_hex(hex))
        }
        (Type::Plain(_), Json::Number(value)) => Value::Number(value.as_i64().context("integer")?),
        // A captured number arrives as text.
        (Type::Plain(_), Json::String(text)) => {
            Value::Number(text.parse().with_context(|| text.clone())?)
        }
        _ => bail!("{json} is no {ty:?}"),
    })
}

fn read_struct(shape: Shape<'_>, inner: &Struct, reader: &mut Reader) -> Result<Json> {
    let mut fields = Map::new();
    for field in inner.fields.iter().filter(|f| shape.has(f) && shape.tag(f).is_none()) {
        let json = read_field(shape, field, reader)
            .with_context(|| format!("{}.{}", inner.name, field.name))?;
        fields.insert(camel(&field.name), json);
    }
    if shape.flexible() {
        for _ in 0..reader.uvarint("tags")? {
            let tag = reader.uvarint("tag")?;
            let len = usize::try_from(reader.uvarint("tag length")?)?;
            let mut body = Reader::new(reader.bytes_exact("tag", len)?);
            let field = inner.fields.iter().find(|f| shape.tag(f) == Some(tag));
            let field = field.with_context(|| format!("{} has no tag {tag}", inner.name))?;
            fields.insert(camel(&field.name), read_field(shape, field, &mut body)?);
        }
    }
    Ok(Json::Object(fields))
}

fn read_field(shape: Shape<'_>, field: &Field, reader: &mut Reader) -> Result<Json> {
    let compact = shape.flexible() && !field.classic;
    if let Type::Struct(_) = field.ty
        && field.nullable.contains(shape.version)
        && reader.i8("presence")? < 0
    {
        return Ok(Json::Null);
    }
    read(shape, &field.ty, compact, reader)
}

fn read(shape: Shape<'_>, ty: &Type, compact: bool, reader: &mut Reader) -> Result<Json> {
    Ok(match ty {
        Type::Struct(name) => read_struct(shape, shape.named(name), reader)?,
        Type::Array(element) => {
            let len = match compact {
                true => reader.compact_nullable_array_len("array", 1)?,
                false => reader.nullable_array_len("array", 1)?,
            };
            let Some(len) = len else { return Ok(Json::Null) };
            (0..len)
                .map(|_| read(shape, element, compact, reader))
                .collect::<Result<Vec<_>>>()?
                .into()
        }
        Type::Plain("string") => {
            let text = match compact {
                true => reader.compact_nullable_string("string")?,
                false => reader.nullable_string("string")?,
            };
            text.map_or(Json::Null, |t| t.as_str().into())
        }
        Type::Plain("bytes" | "records") => {
            let bytes = match compact {
                true => reader.compact_nullable_bytes("bytes")?,
                false => reader.nullable_bytes("bytes")?,
            };
            bytes.map_or(Json::Null, |b| ottla_testkit::codec::to_hex(&b).into())
        }
        Type::Plain("bool") => reader.bool("bool")?.into(),
        Type::Plain("int8") => reader.i8("int8")?.into(),
        Type::Plain("int16") => reader.i16("int16")?.into(),
        Type::Plain("uint16") => reader.u16("uint16")?.into(),
        Type::Plain("int32") => reader.i32("int32")?.into(),
        Type::Plain("uint32") => reader.u32("uint32")?.into(),
        Type::Plain("int64") => reader.i64("int64")?.into(),
        Type::Plain("float64") => reader.f64("float64")?.into(),
        Type::Plain(_) => Uuid(reader.array16("uuid")?).to_string().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_testkit::schema;
    use serde_json::json;

    #[test]
    fn one_text_serves_all_versions() {
        let messages = schema::parse(TABLE).unwrap();
        let message = messages.iter().find(|m| m.name == "MetadataRequest").unwrap();
        let json = json!({"topics": [{"name": "t"}], "allowAutoTopicCreation": false});
        for version in 1..=13 {
            let bytes = encode(message, version, &json).unwrap();
            let back = decode(message, version, bytes.into()).unwrap();
            assert_eq!(back["topics"][0]["name"], json!("t"), "version {version}");
            assert_eq!(back.get("allowAutoTopicCreation").is_some(), version >= 4);
        }
    }

    #[test]
    fn a_misspelt_field_is_an_error() {
        let messages = schema::parse(TABLE).unwrap();
        let message = messages.iter().find(|m| m.name == "MetadataRequest").unwrap();
        assert!(encode(message, 1, &json!({"topic": []})).is_err());
    }
}
