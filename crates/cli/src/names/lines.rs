//! The reader of `kafka-console-producer`: lines of stdin, and records of lines.
//!
//! Not here: readers of other classes; a plug-in would need a Java machine.

use std::io::BufRead;

use bytes::Bytes;
use ottla_client::OutgoingRecord;
use regex::Regex;
use tokio::sync::mpsc;

use super::session::Properties;
use super::stop::{Run, Stop};

/// How a line is taken apart.
#[derive(Debug)]
pub(super) struct Reader {
    key: Option<String>,
    headers: Option<String>,
    headers_separator: Regex,
    headers_key_separator: String,
    ignore_error: bool,
    null_marker: Option<String>,
    line_number: u64,
}

impl Reader {
    /// Reads the settings of a reader.
    pub(super) fn new(properties: &Properties) -> Run<Self> {
        let text = |key: &str, default: &str| properties.get(key).unwrap_or(default).to_owned();
        let key = text("key.separator", "\t");
        let headers = text("headers.delimiter", "\t");
        let separator = text("headers.separator", ",");
        let key_separator = text("headers.key.separator", ":");
        let null_marker = properties.get("null.marker").map(str::to_owned);
        let named = [
            ("headers.delimiter", &headers),
            ("headers.separator", &separator),
            ("headers.key.separator", &key_separator),
        ];
        for (index, (name, value)) in named.iter().enumerate() {
            if let Some((other, _)) = named.iter().skip(index + 1).find(|(_, it)| it == value) {
                return Err(kafka(format!("{name} and {other} may not be equal")));
            }
        }
        let with_key = [&[("key.separator", &key)][..], &named].concat();
        let marker = null_marker.as_ref();
        if let Some((name, _)) = with_key.iter().find(|(_, value)| Some(*value) == marker) {
            return Err(kafka(format!("null.marker and {name} may not be equal")));
        }
        let headers_separator = Regex::new(&separator)
            .map_err(|error| Stop::illegal(format!("headers.separator: {error}")))?;
        Ok(Self {
            key: properties.is_true("parse.key").then_some(key),
            headers: properties.is_true("parse.headers").then_some(headers),
            headers_separator,
            headers_key_separator: key_separator,
            ignore_error: properties.is_true("ignore.error"),
            null_marker,
            line_number: 0,
        })
    }

    /// The record that a line is.
    pub(super) fn record(&mut self, line: &str) -> Run<OutgoingRecord> {
        self.line_number += 1;
        let headers = self.headers.as_deref();
        let (headers, rest) = self.part(line, line, headers, "headers delimiter")?;
        let (key, value) = self.part(line, rest, self.key.as_deref(), "key separator")?;
        let headers = headers.filter(|text| !self.is_null(text));
        Ok(OutgoingRecord {
            key: key.and_then(|text| self.bytes(text)),
            value: self.bytes(value),
            headers: headers.map_or_else(|| Ok(Vec::new()), |text| self.split(text))?,
            ..OutgoingRecord::default()
        })
    }

    fn part<'a>(
        &self,
        line: &str,
        rest: &'a str,
        separator: Option<&str>,
        name: &str,
    ) -> Run<(Option<&'a str>, &'a str)> {
        let Some(separator) = separator else { return Ok((None, rest)) };
        match rest.split_once(separator) {
            Some((part, rest)) => Ok((Some(part), rest)),
            None if self.ignore_error => Ok((None, rest)),
            None => {
                let number = self.line_number;
                Err(kafka(format!("No {name} found on line number {number}: '{line}'")))
            }
        }
    }

    fn split(&self, headers: &str) -> Run<Vec<(Bytes, Option<Bytes>)>> {
        let mut pairs: Vec<&str> = self.headers_separator.split(headers).collect();
        // As Java splits: nothing at the end is no pair, and nothing at all is one.
        while 1 < pairs.len() && pairs.last() == Some(&"") {
            pairs.pop();
        }
        let header = |pair: &str| match pair.split_once(self.headers_key_separator.as_str()) {
            None if self.ignore_error => Ok((Bytes::copy_from_slice(pair.as_bytes()), None)),
            None => Err(kafka(format!(
                "No header key separator found in pair '{pair}' on line number {}",
                self.line_number
            ))),
            Some((key, _)) if self.is_null(key) => Err(kafka(format!(
                "Header keys should not be equal to the null marker '{key}' as they can't be null"
            ))),
            Some((key, value)) => Ok((Bytes::copy_from_slice(key.as_bytes()), self.bytes(value))),
        };
        pairs.into_iter().map(header).collect()
    }

    fn is_null(&self, text: &str) -> bool {
        self.null_marker.as_deref() == Some(text)
    }

    fn bytes(&self, text: &str) -> Option<Bytes> {
        (!self.is_null(text)).then(|| Bytes::copy_from_slice(text.as_bytes()))
    }
}

fn kafka(message: String) -> Stop {
    Stop::Thrown { class: "org.apache.kafka.common.KafkaException".to_owned(), message }
}

/// Lines of stdin, from a thread of their own; a line ends as Java's end.
pub(super) fn stdin(prompt: bool) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(1024);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut bytes = Vec::new();
        loop {
            if prompt {
                super::say_part(b">");
            }
            bytes.clear();
            // What cannot be read ends the input, as its end does.
            if input.read_until(b'\n', &mut bytes).unwrap_or(0) == 0 {
                return;
            }
            let text = String::from_utf8_lossy(&bytes);
            let text = text.strip_suffix('\n').unwrap_or(&text);
            let text = text.strip_suffix('\r').unwrap_or(text);
            for line in text.split('\r') {
                if sender.blocking_send(line.to_owned()).is_err() {
                    return;
                }
            }
        }
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(properties: &[&str], line: &str, expected: &str) {
        let mut settings = Properties::default();
        settings.extend(properties);
        let record = Reader::new(&settings).and_then(|mut reader| reader.record(line));
        let text = |bytes: Option<Bytes>| {
            bytes.map_or_else(|| "null".to_owned(), |b| String::from_utf8(b.to_vec()).unwrap())
        };
        let shown = match record {
            Err(Stop::Thrown { message, .. }) => message,
            Err(other) => format!("{other:?}"),
            Ok(record) => {
                let headers = record.headers.into_iter();
                let headers: Vec<_> = headers
                    .map(|(key, value)| format!("{}={}", text(Some(key)), text(value)))
                    .collect();
                format!("{}|{}|{}", headers.join("+"), text(record.key), text(record.value))
            }
        };
        assert_eq!(shown, expected, "{properties:?} {line}");
    }

    #[test]
    fn records_of_lines() {
        check(&[], "a\tb", "|null|a\tb");
        check(&["parse.key=true"], "a\tb", "|a|b");
        check(&["parse.key=TRUE", "key.separator=:"], "a:b:c", "|a|b:c");
        check(&["parse.key=true"], "ab", "No key separator found on line number 1: 'ab'");
        check(&["parse.key=true", "ignore.error=true"], "ab", "|null|ab");
        check(&["parse.headers=true", "parse.key=true"], "h:1,i:2\tk\tv", "h=1+i=2|k|v");
        check(&["parse.headers=true", "null.marker=N"], "h:N\tN", "h=null|null|null");
        check(&["parse.headers=true", "null.marker=N"], "N\tv", "|null|v");
        check(
            &["parse.headers=true"],
            "h\tv",
            "No header key separator found in pair 'h' on line number 1",
        );
        check(
            &["headers.separator=:"],
            "",
            "headers.separator and headers.key.separator may not be equal",
        );
    }
}
