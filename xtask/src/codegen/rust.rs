//! How a field of a schema looks in Rust: its type, name, default and documentation.

use std::fmt::Write as _;

use ottla_testkit::schema::{Field, Message, Struct, Type, Versions};

/// Expression for "the field differs from its default".
pub(super) fn differs(field: &Field, place: &str) -> String {
    let nullable = !field.nullable.is_empty();
    let default = field.default.as_deref();
    if nullable {
        return match default {
            Some("null") => format!("{place}.is_some()"),
            _ if field.ty == Type::Plain("records") => format!("{place}.is_some()"),
            _ if matches!(field.ty, Type::Struct(_)) => {
                format!("{place} != Some(Default::default())")
            }
            _ => format!("{place}.as_ref().is_none_or(|value| !value.is_empty())"),
        };
    }
    match &field.ty {
        Type::Plain("bool") => match default {
            Some("true") => format!("!{place}"),
            _ => place.to_owned(),
        },
        Type::Plain("uuid") => format!("{place} != Uuid::ZERO"),
        Type::Plain("float64") => format!("{place} != 0.0"),
        Type::Plain("string" | "bytes" | "records") | Type::Array(_) => {
            format!("!{place}.is_empty()")
        }
        Type::Plain(_) => format!("{place} != {}", number(default)),
        Type::Struct(_) => format!("{place} != Default::default()"),
    }
}

pub(super) fn default_value(field: &Field) -> String {
    let default = field.default.as_deref();
    if !field.nullable.is_empty() {
        return match default {
            Some("null") => "None".to_owned(),
            _ if field.ty == Type::Plain("records") => "None".to_owned(),
            _ => "Some(Default::default())".to_owned(),
        };
    }
    match &field.ty {
        Type::Plain("bool") => (default == Some("true")).to_string(),
        Type::Plain("uuid" | "string" | "bytes" | "records" | "float64")
        | Type::Array(_)
        | Type::Struct(_) => "Default::default()".to_owned(),
        Type::Plain(_) => number(default),
    }
}

pub(super) fn derives_default(inner: &Struct) -> bool {
    inner.fields.iter().all(|field| {
        matches!(default_value(field).as_str(), "Default::default()" | "0" | "false" | "None")
    })
}

pub(super) fn number(default: Option<&str>) -> String {
    match default {
        None => "0".to_owned(),
        Some("9223372036854775807") => "i64::MAX".to_owned(),
        Some("0x7fffffff") => "i32::MAX".to_owned(),
        Some("-2147483648") => "i32::MIN".to_owned(),
        Some(text) => text.to_owned(),
    }
}

/// Smallest size of an element on the wire in any version that has an array of it.
pub(super) fn min_size(message: &Message, ty: &Type) -> usize {
    let used = |version: &i16| {
        let mut fields = message.structs.iter().flat_map(|inner| &inner.fields);
        ty.struct_name().is_none_or(|name| {
            fields.any(|f| f.ty.struct_name() == Some(name) && f.versions.contains(*version))
        })
    };
    (message.versions.low..=message.versions.high)
        .filter(used)
        .map(|version| min_size_in(message, ty, version, false))
        .min()
        .unwrap_or(1)
}

pub(super) fn min_size_in(message: &Message, ty: &Type, version: i16, nullable: bool) -> usize {
    let flexible = message.flexible.contains(version);
    match ty {
        Type::Plain("bool" | "int8") => 1,
        Type::Plain("int16" | "uint16") => 2,
        Type::Plain("int32" | "uint32") => 4,
        Type::Plain("int64" | "float64") => 8,
        Type::Plain("uuid") => 16,
        Type::Plain(_) | Type::Array(_) if flexible => 1,
        Type::Plain("string") => 2,
        Type::Plain(_) | Type::Array(_) => 4,
        Type::Struct(_) if nullable => 1,
        Type::Struct(name) => {
            let fields =
                message.find(name).map(|inner| inner.fields.as_slice()).unwrap_or_default();
            let sum: usize = fields
                .iter()
                .filter(|field| field.tag.is_none() && field.versions.contains(version))
                .map(|field| {
                    min_size_in(message, &field.ty, version, field.nullable.contains(version))
                })
                .sum();
            sum + usize::from(flexible)
        }
    }
}

pub(super) fn rust_type(field: &Field) -> String {
    let plain = match &field.ty {
        Type::Array(element) if field.few => format!("Few<{}>", value_type(element)),
        ty => value_type(ty),
    };
    if field.nullable.is_empty() { plain } else { format!("Option<{plain}>") }
}

pub(super) fn value_type(ty: &Type) -> String {
    match ty {
        Type::Plain("string") => "Str".to_owned(),
        Type::Plain("bytes") => "Bytes".to_owned(),
        Type::Plain("records") => "RecordData".to_owned(),
        Type::Plain("uuid") => "Uuid".to_owned(),
        Type::Plain(plain) => primitive(plain).to_owned(),
        Type::Struct(name) => name.clone(),
        Type::Array(element) => format!("Vec<{}>", value_type(element)),
    }
}

pub(super) fn primitive(plain: &str) -> &'static str {
    match plain {
        "bool" => "bool",
        "int8" => "i8",
        "int16" => "i16",
        "uint16" => "u16",
        "int32" => "i32",
        "uint32" => "u32",
        "int64" => "i64",
        "float64" => "f64",
        other => unreachable!("{other} is no number"),
    }
}

pub(super) fn doc(field: &Field) -> String {
    let mut text = format!("Versions {}", range(field.versions));
    if !field.nullable.is_empty() {
        let _ = write!(text, ", may be null in {}", range(field.nullable));
    }
    if let Some((tag, versions)) = field.tag {
        let _ = write!(text, ", tag {tag} in {}", range(versions));
    }
    if let Some(default) = &field.default {
        let _ = write!(text, ", default `{default}`");
    }
    if field.ignorable {
        text.push_str(", dropped elsewhere");
    }
    format!("/// {text}.")
}

pub(super) fn range(versions: Versions) -> String {
    match versions.high {
        i16::MAX => format!("{}+", versions.low),
        high if high == versions.low => high.to_string(),
        high => format!("{}-{high}", versions.low),
    }
}

/// `ReplicaId` to `replica_id`, `KRaftVersion` to `kraft_version`.
pub(super) fn snake(name: &str) -> String {
    let mut out = String::new();
    let chars: Vec<char> = name.replace("KRaft", "Kraft").chars().collect();
    for (at, &c) in chars.iter().enumerate() {
        let previous_lower = at > 0 && !chars[at - 1].is_ascii_uppercase();
        let next_lower = chars.get(at + 1).is_some_and(char::is_ascii_lowercase);
        if c.is_ascii_uppercase() && at > 0 && (previous_lower || next_lower) {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    match out.as_str() {
        "type" | "match" | "ref" | "self" | "move" => format!("{out}_"),
        _ => out,
    }
}
