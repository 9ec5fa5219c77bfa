//! Formats of `ottla consume`: percent verbs as kcat's and rpk's, parsed once.
//!
//! `%t` topic, `%p` partition, `%o` offset, `%k` key, `%v` or `%s` value, `%h` headers, `%T`
//! timestamp in milliseconds, `%K` and `%V` lengths of key and value in bytes (-1 for none),
//! `%%` a percent sign; `\n`, `\r`, `\t`, `\\` and `\xHH` as in C.

use ottla_client::ConsumedRecord;

use crate::exit::Failure;

/// A parsed format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Key,
    Value,
    Headers,
    Timestamp,
    KeyLen,
    ValueLen,
}

impl Format {
    /// Reads a format; the failure names what is unknown in it.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut chars = text.chars();
        while let Some(next) = chars.next() {
            match next {
                '%' => match verb(chars.next())? {
                    Piece::Literal(bytes) => literal.extend(bytes),
                    piece => {
                        if !literal.is_empty() {
                            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                        }
                        pieces.push(piece);
                    }
                },
                '\\' => literal.push(escape(&mut chars)?),
                plain => literal.extend(plain.to_string().into_bytes()),
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self(pieces))
    }

    /// Writes one record.
    pub(crate) fn write(&self, record: &ConsumedRecord, out: &mut Vec<u8>) {
        for piece in &self.0 {
            match piece {
                Piece::Literal(bytes) => out.extend_from_slice(bytes),
                Piece::Topic => out.extend_from_slice(record.topic.as_bytes()),
                Piece::Partition => out.extend_from_slice(record.partition.to_string().as_bytes()),
                Piece::Offset => out.extend_from_slice(record.offset.to_string().as_bytes()),
                Piece::Key => out.extend_from_slice(record.key.as_deref().unwrap_or_default()),
                Piece::Value => out.extend_from_slice(record.value.as_deref().unwrap_or_default()),
                Piece::Headers => write_headers(record, out),
                Piece::Timestamp => {
                    out.extend_from_slice(record.timestamp.0.to_string().as_bytes())
                }
                Piece::KeyLen => write_len(record.key.as_deref(), out),
                Piece::ValueLen => write_len(record.value.as_deref(), out),
            }
        }
    }
}

fn verb(letter: Option<char>) -> Result<Piece, Failure> {
    Ok(match letter {
        Some('t') => Piece::Topic,
        Some('p') => Piece::Partition,
        Some('o') => Piece::Offset,
        Some('k') => Piece::Key,
        Some('v' | 's') => Piece::Value,
        Some('h') => Piece::Headers,
        Some('T' | 'd') => Piece::Timestamp,
        Some('K') => Piece::KeyLen,
        Some('V' | 'S') => Piece::ValueLen,
        Some('%') => Piece::Literal(b"%".to_vec()),
        other => {
            let verb = other.map(String::from).unwrap_or_default();
            return Err(Failure::usage(format!("the format has an unknown verb %{verb}"))
                .with_hint("Verbs: %t %p %o %k %v %h %T %K %V %%, and \\n \\t \\xHH."));
        }
    })
}

fn escape(chars: &mut std::str::Chars<'_>) -> Result<u8, Failure> {
    match chars.next() {
        Some('n') => Ok(b'\n'),
        Some('r') => Ok(b'\r'),
        Some('t') => Ok(b'\t'),
        Some('0') => Ok(0),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let digits: String = chars.by_ref().take(2).collect();
            u8::from_str_radix(&digits, 16)
                .map_err(|_| Failure::usage(format!("\\x{digits} in the format is no byte")))
        }
        other => {
            let letter = other.map(String::from).unwrap_or_default();
            Err(Failure::usage(format!("the format has an unknown escape \\{letter}")))
        }
    }
}

fn write_headers(record: &ConsumedRecord, out: &mut Vec<u8>) {
    for (at, (key, value)) in record.headers.iter().enumerate() {
        if 0 < at {
            out.push(b',');
        }
        out.extend_from_slice(key);
        out.push(b'=');
        out.extend_from_slice(value.as_deref().unwrap_or_default());
    }
}

fn write_len(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    let len = bytes.map_or_else(|| "-1".to_owned(), |bytes| bytes.len().to_string());
    out.extend_from_slice(len.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ottla_client::ConsumedRecord;
    use ottla_types::{Offset, PartitionIndex, Timestamp};

    fn record() -> ConsumedRecord {
        let mut record = ConsumedRecord::new("orders", PartitionIndex(3), Offset(41));
        record.timestamp = Timestamp(1_000);
        record.key = Some(Bytes::from_static(b"k"));
        record.value = Some(Bytes::from_static("v\u{e9}".as_bytes()));
        record.headers = vec![
            (Bytes::from_static(b"a"), Some(Bytes::from_static(b"1"))),
            (Bytes::from_static(b"b"), None),
        ];
        record
    }

    fn shown(format: &str, record: &ConsumedRecord) -> String {
        let mut out = Vec::new();
        Format::parse(format).unwrap().write(record, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn verbs_and_escapes() {
        assert_eq!(
            shown("%t-%p@%o %k=%v [%h] %T %K/%V 100%%\\n\\x41", &record()),
            "orders-3@41 k=v\u{e9} [a=1,b=] 1000 1/3 100%\nA"
        );
        let empty = ConsumedRecord::new("t", PartitionIndex(0), Offset(0));
        assert_eq!(shown("%k|%v|%h|%K|%V", &empty), "|||-1|-1");
    }

    #[test]
    fn what_is_unknown_is_named() {
        let message = |format| Format::parse(format).unwrap_err().message;
        assert_eq!(message("%z"), "the format has an unknown verb %z");
        assert_eq!(message("%"), "the format has an unknown verb %");
        assert_eq!(message("\\q"), "the format has an unknown escape \\q");
        assert_eq!(message("\\xg0"), "\\xg0 in the format is no byte");
    }
}
