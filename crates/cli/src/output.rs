//! Results: one value, printed as text, JSON or YAML.
//!
//! JSON and YAML are the serialised value, so their field names are an interface: they may gain
//! fields, and do not lose or rename them.

use serde::Serialize;

use crate::args::OutputFormat;
use crate::exit::{Exit, Failure};
use crate::table::Table;

/// A result that can be shown to people and to programs.
pub trait Render: Serialize {
    /// Writes it for people.
    fn text(&self, text: &mut Text);
}

/// Text under construction.
#[derive(Debug, Default)]
pub struct Text {
    out: String,
    no_header: bool,
}

impl Text {
    /// What has been written.
    pub fn into_string(self) -> String {
        self.out
    }

    /// Adds a line.
    pub fn line(&mut self, line: impl AsRef<str>) {
        self.out.push_str(line.as_ref());
        self.out.push('\n');
    }

    /// Adds a label and its value, aligned with others of the same width.
    pub fn field(&mut self, label: &str, value: impl AsRef<str>) {
        self.line(format!("{label:<16}{}", value.as_ref()));
    }

    /// Adds a table.
    pub fn table(&mut self, table: &Table) {
        self.out.push_str(&table.render(!self.no_header));
    }

    /// Adds an empty line, unless it would be the first.
    pub fn gap(&mut self) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }
}

/// The whole result as it is printed.
pub(crate) fn render(
    value: &impl Render,
    format: OutputFormat,
    no_header: bool,
) -> Result<String, Failure> {
    let failed = |error: String| Failure::new(Exit::Failed, error);
    match format {
        OutputFormat::Text => {
            let mut text = Text { out: String::new(), no_header };
            value.text(&mut text);
            Ok(text.into_string())
        }
        OutputFormat::Json => {
            let json = serde_json::to_string_pretty(value).map_err(|e| failed(e.to_string()))?;
            Ok(format!("{json}\n"))
        }
        OutputFormat::Yaml => serde_norway::to_string(value).map_err(|e| failed(e.to_string())),
    }
}

/// Numbers of a list as text: `1,2,3`, or `-`.
pub(crate) fn list<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return "-".to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// A value that may be missing: `-` then.
pub(crate) fn maybe<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Bytes for people: `17 B`, `3.2 KiB`, `1.0 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut tenths = u128::from(count) * 10 / 1024;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while 10_240 <= tenths
        && let Some(next) = units.next()
    {
        tenths /= 1024;
        unit = Some(next);
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, unit.unwrap_or(&""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Sample {
        name: &'static str,
        size_bytes: u64,
        leader: Option<u32>,
    }

    impl Render for Sample {
        fn text(&self, text: &mut Text) {
            text.gap();
            text.field("name", self.name);
            let mut table = Table::new(&["size", "leader"]);
            table.row([bytes(self.size_bytes), maybe(self.leader)]);
            text.table(&table);
        }
    }

    #[test]
    fn one_value_three_forms() {
        let sample = Sample { name: "a", size_bytes: 3_300, leader: None };
        assert_eq!(
            render(&sample, OutputFormat::Text, false).unwrap(),
            "name            a\nSIZE     LEADER\n3.2 KiB       -\n"
        );
        assert_eq!(
            render(&sample, OutputFormat::Json, false).unwrap(),
            "{\n  \"name\": \"a\",\n  \"size_bytes\": 3300,\n  \"leader\": null\n}\n"
        );
        assert_eq!(
            render(&sample, OutputFormat::Yaml, false).unwrap(),
            "name: a\nsize_bytes: 3300\nleader: null\n"
        );
        assert!(!render(&sample, OutputFormat::Text, true).unwrap().contains("SIZE"));
    }

    #[test]
    fn sizes_are_readable() {
        let shown = [0, 1023, 1024, 1_048_575, 1 << 20, 3 << 30, u64::MAX].map(bytes);
        assert_eq!(
            shown,
            ["0 B", "1023 B", "1.0 KiB", "1023.9 KiB", "1.0 MiB", "3.0 GiB", "16383.9 PiB"]
        );
    }
}
