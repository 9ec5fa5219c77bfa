//! Formatters of `kafka-console-consumer`: what of a record is printed.
//!
//! Not here: the formatters of Kafka's own topics, and deserializers of other classes than Kafka's
//! plain ones; they are refused.

use ottla_client::ConsumedRecord;
use ottla_record::TimestampType;

use super::session::Properties;
use super::stop::{Run, Stop};

/// How records are printed.
#[derive(Debug)]
pub(super) struct Formatter {
    silent: bool,
    timestamp: bool,
    partition: bool,
    offset: bool,
    delivery: bool,
    epoch: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: Vec<u8>,
    line_separator: Vec<u8>,
    headers_separator: Vec<u8>,
    null: Vec<u8>,
    types: [Type; 3],
}

/// What a part of a record is read as.
#[derive(Clone, Copy, Debug)]
enum Type {
    Bytes,
    Text,
    Integer(usize),
    Boolean,
}

const PACKAGE: &str = "org.apache.kafka.tools.consumer.";
const DESERIALIZERS: &str = "org.apache.kafka.common.serialization.";

impl Formatter {
    /// The formatter of a class, with its settings.
    pub(super) fn new(class: &str, properties: &Properties) -> Run<Self> {
        let missing = || Stop::Usage(class.to_owned());
        let silent = match class.strip_prefix(PACKAGE).ok_or_else(missing)? {
            "DefaultMessageFormatter" | "LoggingMessageFormatter" => false,
            "NoOpMessageFormatter" => true,
            "OffsetsMessageFormatter"
            | "GroupMetadataMessageFormatter"
            | "TransactionLogMessageFormatter" => {
                return Err(Stop::err(format!(
                    "{class} is not available; kafka-dump-log reads Kafka's own topics"
                )));
            }
            _ => return Err(missing()),
        };
        let is = |key: &str| properties.is_true(key);
        let bytes =
            |key: &str, default: &str| properties.get(key).unwrap_or(default).as_bytes().to_vec();
        let kind = |key: &str| properties.get(key).map_or(Ok(Type::Bytes), Type::of_class);
        Ok(Self {
            silent,
            timestamp: is("print.timestamp"),
            partition: is("print.partition"),
            offset: is("print.offset"),
            delivery: is("print.delivery"),
            epoch: is("print.epoch"),
            headers: is("print.headers"),
            key: is("print.key"),
            value: properties.get("print.value").is_none() || is("print.value"),
            key_separator: bytes("key.separator", "\t"),
            line_separator: bytes("line.separator", "\n"),
            headers_separator: bytes("headers.separator", ","),
            null: bytes("null.literal", "null"),
            types: [
                kind("key.deserializer")?,
                kind("value.deserializer")?,
                kind("headers.deserializer")?,
            ],
        })
    }

    /// Adds a record to what is to be printed.
    pub(super) fn write(&self, record: &ConsumedRecord, out: &mut Vec<u8>) -> Run<()> {
        if self.silent {
            return Ok(());
        }
        let [key, value, headers] = self.types;
        let mut columns: Vec<Vec<u8>> = Vec::new();
        if self.timestamp {
            let by = match record.timestamp_type {
                TimestampType::CreateTime => "CreateTime",
                TimestampType::LogAppendTime => "LogAppendTime",
            };
            columns.push(format!("{by}:{}", record.timestamp.0).into_bytes());
        }
        if self.partition {
            columns.push(format!("Partition:{}", record.partition).into_bytes());
        }
        if self.offset {
            columns.push(format!("Offset:{}", record.offset.0).into_bytes());
        }
        // The tool does not hand these two on to its formatter.
        if self.delivery {
            columns.push(b"Delivery:NOT_PRESENT".to_vec());
        }
        if self.epoch {
            columns.push(b"Epoch:NOT_PRESENT".to_vec());
        }
        if self.headers {
            let mut column = Vec::new();
            for (index, (name, value)) in record.headers.iter().enumerate() {
                if 0 < index {
                    column.extend(&self.headers_separator);
                }
                column.extend_from_slice(name);
                column.push(b':');
                column.extend(self.shown(headers, value.as_deref())?);
            }
            columns.push(if column.is_empty() { b"NO_HEADERS".to_vec() } else { column });
        }
        if self.key {
            columns.push(self.shown(key, record.key.as_deref())?);
        }
        if self.value {
            columns.push(self.shown(value, record.value.as_deref())?);
        }
        if !columns.is_empty() {
            out.extend(columns.join(self.key_separator.as_slice()));
            out.extend(&self.line_separator);
        }
        Ok(())
    }

    fn shown(&self, kind: Type, bytes: Option<&[u8]>) -> Run<Vec<u8>> {
        let bytes = bytes.unwrap_or(&self.null);
        let wrong = |expected: usize| Stop::Thrown {
            class: "org.apache.kafka.common.errors.SerializationException".to_owned(),
            message: format!("Size of data received is not {expected}"),
        };
        match kind {
            Type::Bytes => Ok(bytes.to_vec()),
            Type::Text => Ok(String::from_utf8_lossy(bytes).into_owned().into_bytes()),
            Type::Boolean => match bytes {
                [0] => Ok(b"false".to_vec()),
                [1] => Ok(b"true".to_vec()),
                _ => Err(wrong(1)),
            },
            Type::Integer(size) => {
                if bytes.len() != size {
                    return Err(wrong(size));
                }
                let sign = bytes.first().is_some_and(|first| 0x80 <= *first);
                let start = if sign { -1 } else { 0 };
                let number = bytes.iter().fold(start, |n: i64, b| (n << 8) | i64::from(*b));
                Ok(number.to_string().into_bytes())
            }
        }
    }
}

impl Type {
    fn of_class(class: &str) -> Run<Self> {
        match class.strip_prefix(DESERIALIZERS) {
            Some("StringDeserializer") => Ok(Self::Text),
            Some("LongDeserializer") => Ok(Self::Integer(8)),
            Some("IntegerDeserializer") => Ok(Self::Integer(4)),
            Some("ShortDeserializer") => Ok(Self::Integer(2)),
            Some("BooleanDeserializer") => Ok(Self::Boolean),
            _ => Err(Stop::err(format!(
                "the deserializer {class} is not available; there are String, Long, Integer, Short \
                 and Boolean of {DESERIALIZERS}*"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ottla_types::{Offset, PartitionIndex};

    use super::*;

    fn check(properties: &[&str], expected: &str) {
        let mut settings = Properties::default();
        settings.extend(properties);
        let formatter = Formatter::new(&format!("{PACKAGE}DefaultMessageFormatter"), &settings);
        let mut record = ConsumedRecord::new("t", PartitionIndex(1), Offset(2));
        record.value = Some(Bytes::from_static(&[0xff, 0xfe]));
        record.headers = vec![(Bytes::from_static(b"h"), None), (Bytes::from_static(b"i"), None)];
        let mut out = Vec::new();
        formatter.unwrap().write(&record, &mut out).unwrap();
        assert_eq!(String::from_utf8_lossy(&out), expected, "{properties:?}");
    }

    #[test]
    fn columns() {
        let short = "value.deserializer=org.apache.kafka.common.serialization.ShortDeserializer";
        check(&[short], "-2\n");
        check(&[short, "print.key=true", "null.literal=-"], "-\t-2\n");
        check(&["print.value=false"], "");
        check(
            &["print.value=false", "print.headers=true", "print.offset=true", "key.separator=|"],
            "Offset:2|h:null,i:null\n",
        );
        check(&["print.value=false", "print.epoch=true", "line.separator=;"], "Epoch:NOT_PRESENT;");
    }
}
