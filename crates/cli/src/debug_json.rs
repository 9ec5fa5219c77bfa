//! Messages as JSON, by way of their derived `Debug` text.
//!
//! Generated messages carry no serialisation of their own, since nothing but dumps would use it.
//! The grammar of derived `Debug` is small: structs, tuples, lists, strings, byte strings, bare
//! words. What is not understood comes out as text, never as an error.

use serde_json::{Map, Value};

/// The value as JSON: `Topic(TopicRecord { name: "a" })` becomes `{"name": "a"}`.
pub(crate) fn to_json(value: &impl std::fmt::Debug) -> Value {
    let text = format!("{value:?}");
    let mut parser = Parser { rest: &text };
    match parser.value() {
        Some(value) if parser.rest.trim_start().is_empty() => value,
        _ => Value::String(text),
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn value(&mut self) -> Option<Value> {
        self.rest = self.rest.trim_start();
        match self.rest.chars().next()? {
            '"' => self.string().map(Value::String),
            '[' => self.list('[', ']').map(Value::Array),
            '(' => self.list('(', ')').map(Value::Array),
            _ if self.rest.starts_with("b\"") => {
                self.rest = self.rest.get(1..)?;
                self.string().map(Value::String)
            }
            _ => self.word(),
        }
    }

    /// A word, alone or as the name of a struct or tuple.
    fn word(&mut self) -> Option<Value> {
        let end = self.rest.find([',', ' ', '}', ']', ')', '(', '{']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        if rest.starts_with('(') {
            let mut items = self.list('(', ')')?;
            // A newtype is what it wraps.
            return Some(if items.len() == 1 { items.remove(0) } else { Value::Array(items) });
        }
        if rest.starts_with(" {") {
            self.rest = rest.trim_start();
            return self.fields().map(Value::Object);
        }
        Some(match word {
            "None" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            word => match word.parse::<i64>() {
                Ok(number) => Value::from(number),
                Err(_) => Value::String(word.to_owned()),
            },
        })
    }

    fn fields(&mut self) -> Option<Map<String, Value>> {
        let mut fields = Map::new();
        self.rest = self.rest.strip_prefix('{')?;
        loop {
            self.rest = self.rest.trim_start();
            if let Some(rest) = self.rest.strip_prefix('}') {
                self.rest = rest;
                return Some(fields);
            }
            let (name, rest) = self.rest.split_once(": ")?;
            self.rest = rest;
            let value = self.value()?;
            fields.insert(name.to_owned(), value);
            self.rest = self.rest.trim_start();
            self.rest = self.rest.strip_prefix(',').unwrap_or(self.rest);
        }
    }

    fn list(&mut self, open: char, close: char) -> Option<Vec<Value>> {
        let mut items = Vec::new();
        self.rest = self.rest.strip_prefix(open)?;
        loop {
            self.rest = self.rest.trim_start();
            if let Some(rest) = self.rest.strip_prefix(close) {
                self.rest = rest;
                return Some(items);
            }
            items.push(self.value()?);
            self.rest = self.rest.trim_start();
            self.rest = self.rest.strip_prefix(',').unwrap_or(self.rest);
        }
    }

    fn string(&mut self) -> Option<String> {
        let mut out = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, next)) = chars.next() {
            match next {
                '"' => {
                    self.rest = self.rest.get(at + 1..)?;
                    return Some(out);
                }
                // Escapes other than these stay as they are, which is readable.
                '\\' => match chars.next()?.1 {
                    '"' => out.push('"'),
                    '\'' => out.push('\''),
                    '\\' => out.push('\\'),
                    'n' => out.push('\n'),
                    't' => out.push('\t'),
                    other => out.extend(['\\', other]),
                },
                plain => out.push(plain),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ottla_metadata::{MetadataRecord, generated};
    use ottla_types::Uuid;
    use serde_json::json;

    #[test]
    fn records_become_objects() {
        let topic = generated::TopicRecord { name: "a\"b".into(), topic_id: Uuid::ONE };
        assert_eq!(
            to_json(&MetadataRecord::from(topic)),
            json!({"name": "a\"b", "topic_id": "AAAAAAAAAAAAAAAAAAAAAQ"})
        );
        let partition = generated::PartitionRecord {
            replicas: vec![1, 2],
            directories: vec![Uuid::ONE],
            eligible_leader_replicas: None,
            leader: -1,
            ..Default::default()
        };
        let shown = to_json(&partition);
        assert_eq!(shown["replicas"], json!([1, 2]));
        assert_eq!(shown["directories"], json!(["AAAAAAAAAAAAAAAAAAAAAQ"]));
        assert_eq!(
            (&shown["leader"], &shown["eligible_leader_replicas"]),
            (&json!(-1), &Value::Null)
        );
    }

    #[test]
    fn bytes_and_tuples_and_nonsense_are_readable() {
        #[derive(Debug)]
        #[allow(dead_code, reason = "read through Debug")]
        struct Sample {
            data: Option<Bytes>,
            pair: (u8, bool),
            nested: Vec<Option<i8>>,
        }
        let data = Some(Bytes::from_static(b"a\x01\n"));
        let sample = Sample { data, pair: (1, true), nested: vec![Some(-3), None] };
        assert_eq!(
            to_json(&sample),
            json!({"data": "a\\x01\n", "pair": [1, true], "nested": [-3, null]})
        );
        struct Odd;
        impl std::fmt::Debug for Odd {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("Odd { half")
            }
        }
        assert_eq!(to_json(&Odd), json!("Odd { half"));
    }
}
