//! The table as a page of the documentation.

use std::fmt::Write;

use crate::{
    definition::{Definition, Shape},
    table,
};

/// The metrics page of the documentation, in Markdown.
pub fn page() -> String {
    let mut out = String::from(PREFACE);
    for area in table::ALL {
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "\n## {}\n\n| Prometheus name | Labels | Kind | Object name | Meaning |\n\
             |---|---|---|---|---|\n",
            area.title
        );
        for definition in area.metrics {
            let cells = [
                format!("`{}`", definition.prometheus_name()),
                definition.tags.join(", "),
                kind(definition).to_owned(),
                object(definition),
                definition.doc.to_owned(),
            ];
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        }
    }
    out
}

fn kind(definition: &Definition) -> &'static str {
    match definition.shape {
        Shape::Meter => "meter",
        Shape::Counter => "counter",
        Shape::Gauge => "gauge",
        Shape::Histogram => "summary",
        Shape::State => "state",
    }
}

fn object(definition: &Definition) -> String {
    let name = definition.object_name(&[]);
    match (name.is_empty(), definition.is_attribute) {
        (true, _) => String::new(),
        (false, true) => format!("`{name}`, attribute `{}`", definition.name),
        (false, false) => format!("`{name}`"),
    }
}

const PREFACE: &str = "\
# Metrics

<!-- Made from the table in crate ottla-metrics: UPDATE_EXPECT=1 cargo test -p ottla-metrics -->

`/metrics` of `ottla.http.listener` serves Prometheus text under the names that Strimzi's rules
give to Kafka's metrics. A meter is a counter here, because rates are the query's business; a
summary has the quantiles 0.5 to 0.999 of the last five to ten minutes and a count; a state is a
label of a series with the value 1. A series appears when there is something to show.
";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_page_is_current() {
        // Set UPDATE_EXPECT=1 to write it.
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
        let current = page();
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(path, &current).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == current, "docs/metrics.md is stale; run with UPDATE_EXPECT=1");
    }

    #[test]
    fn every_metric_has_a_name_of_its_own() {
        let all: Vec<_> = table::ALL.iter().flat_map(|area| area.metrics).collect();
        let names: BTreeSet<String> =
            all.iter().map(|definition| definition.prometheus_name()).collect();
        assert_eq!(names.len(), all.len());
        let legal = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_';
        assert!(names.iter().all(|name| name.chars().all(legal)), "{names:?}");
        assert!(all.iter().all(|definition| definition.doc.ends_with('.')));
    }
}
