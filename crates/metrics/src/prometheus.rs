//! Prometheus text format 0.0.4, with Strimzi's names.
//!
//! Meters show their count as `_total`, histograms their quantiles and `_count`, states a label
//! with the value 1. Rates are left to the reader's query language.

use std::{fmt::Write, time::Duration};

use crate::{
    definition::{Definition, Shape},
    instrument::QUANTILES,
    registry::{Labels, Reading, Registry, Series},
};

/// Value of the Content-Type header that goes with the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders everything at this time, counted from any fixed moment.
pub fn render(registry: &Registry, now: Duration) -> String {
    let mut out = String::new();
    let mut family: Option<(*const Definition, String)> = None;
    for series in registry.read(now) {
        let this: *const Definition = series.definition;
        let name = match family.take() {
            Some((last, name)) if last == this => name,
            _ => {
                let name = series.definition.prometheus_name();
                head(&mut out, series.definition, &name);
                name
            }
        };
        body(&mut out, &name, &series);
        family = Some((this, name));
    }
    out
}

fn head(out: &mut String, definition: &Definition, name: &str) {
    let kind = match definition.shape {
        Shape::Meter | Shape::Counter => "counter",
        Shape::Gauge | Shape::State => "gauge",
        Shape::Histogram => "summary",
    };
    let doc = definition.doc.replace('\\', "\\\\").replace('\n', "\\n");
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# HELP {name} {doc}\n# TYPE {name} {kind}");
}

fn body(out: &mut String, name: &str, series: &Series) {
    let scale = series.definition.scale;
    match &series.reading {
        Reading::Meter { count, .. } => line(out, name, &series.labels, None, *count as f64),
        Reading::Counter(value) | Reading::Gauge(value) => {
            line(out, name, &series.labels, None, *value);
        }
        Reading::State(word) => {
            let label = series.definition.name.replace('-', "_");
            line(out, name, &series.labels, Some((&label, word)), 1.0);
        }
        Reading::Histogram(seen) => {
            for (quantile, value) in QUANTILES.iter().zip(seen.quantiles) {
                let quantile = quantile.to_string();
                let value = value as f64 * scale;
                line(out, name, &series.labels, Some(("quantile", &quantile)), value);
            }
            line(out, &format!("{name}_sum"), &series.labels, None, seen.sum as f64 * scale);
            line(out, &format!("{name}_count"), &series.labels, None, seen.count as f64);
        }
    }
}

fn line(out: &mut String, name: &str, labels: &Labels, extra: Option<(&str, &str)>, value: f64) {
    out.push_str(name);
    let own = labels.iter().map(|(tag, value)| (*tag, value.as_ref()));
    let mut separator = '{';
    for (tag, value) in own.chain(extra) {
        let tag = tag.replace('-', "_");
        let _ = write!(out, "{separator}{tag}=\"");
        escape(out, value);
        out.push('"');
        separator = ',';
    }
    if separator == ',' {
        out.push('}');
    }
    let _ = match value {
        value if value.is_nan() => writeln!(out, " NaN"),
        value if value.is_infinite() && 0.0 < value => writeln!(out, " +Inf"),
        value if value.is_infinite() => writeln!(out, " -Inf"),
        value if value.fract() == 0.0 => writeln!(out, " {value}"),
        // Factors such as 0.001 leave digits that mean nothing.
        value => writeln!(out, " {}", (value * 1e6).round() / 1e6),
    };
}

fn escape(out: &mut String, value: &str) {
    for char in value.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    #[test]
    fn every_shape_is_rendered() {
        let registry = Registry::new(2);
        registry.meter(&table::MESSAGES_IN, &[]).mark(3);
        registry.meter(&table::MESSAGES_IN, &[("topic", "a\"\\\nb")]).mark(1);
        registry.meter(&table::MESSAGES_IN, &[("topic", "third")]).mark(1);
        registry.gauge(&table::LEADER_COUNT, &[]).set(-2);
        registry.computed(&table::PROCESS_CPU, &[], || 1.5);
        registry.state(&table::RAFT_STATE, &[], || "leader".to_owned());
        let time = registry.histogram(&table::TOTAL_TIME, &[("request", "Fetch")]);
        (0..10).for_each(|_| time.record_time(Duration::from_micros(16)));
        assert_eq!(
            render(&registry, Duration::ZERO),
            r##"# HELP kafka_network_requestmetrics_totaltimems Milliseconds from the arrival of a request until its answer is handed to the socket.
# TYPE kafka_network_requestmetrics_totaltimems summary
kafka_network_requestmetrics_totaltimems{request="Fetch",quantile="0.5"} 0.016
kafka_network_requestmetrics_totaltimems{request="Fetch",quantile="0.75"} 0.016
kafka_network_requestmetrics_totaltimems{request="Fetch",quantile="0.95"} 0.016
kafka_network_requestmetrics_totaltimems{request="Fetch",quantile="0.98"} 0.016
kafka_network_requestmetrics_totaltimems{request="Fetch",quantile="0.99"} 0.016
kafka_network_requestmetrics_totaltimems{request="Fetch",quantile="0.999"} 0.016
kafka_network_requestmetrics_totaltimems_sum{request="Fetch"} 0.16
kafka_network_requestmetrics_totaltimems_count{request="Fetch"} 10
# HELP kafka_server_brokertopicmetrics_messagesin_total Records appended for producers.
# TYPE kafka_server_brokertopicmetrics_messagesin_total counter
kafka_server_brokertopicmetrics_messagesin_total 3
kafka_server_brokertopicmetrics_messagesin_total{topic="a\"\\\nb"} 1
# HELP kafka_server_raftmetrics_current_state What this node is in the metadata quorum.
# TYPE kafka_server_raftmetrics_current_state gauge
kafka_server_raftmetrics_current_state{current_state="leader"} 1
# HELP kafka_server_replicamanager_leadercount Partitions led by this broker.
# TYPE kafka_server_replicamanager_leadercount gauge
kafka_server_replicamanager_leadercount -2
# HELP ottla_metrics_dropped_series_total Series that are not shown because their family has too many.
# TYPE ottla_metrics_dropped_series_total counter
ottla_metrics_dropped_series_total 1
# HELP process_cpu_seconds_total Processor time of this process in seconds.
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 1.5
"##
        );
    }

    #[test]
    fn a_removed_topic_is_gone() {
        let registry = Registry::default();
        registry.meter(&table::BYTES_IN, &[("topic", "gone")]).mark(1);
        registry.meter(&table::BYTES_IN, &[("topic", "kept")]).mark(1);
        registry.remove("topic", "gone");
        let text = render(&registry, Duration::ZERO);
        assert!(!text.contains("gone") && text.contains("kept"), "{text}");
        assert_eq!(registry.meter(&table::BYTES_IN, &[("topic", "gone")]).count(), 0);
    }

    #[test]
    fn partitions_are_in_the_order_of_their_numbers() {
        let registry = Registry::default();
        for partition in ["10", "9", "0"] {
            let labels = [("topic", "a"), ("partition", partition)];
            registry.gauge(&table::LOG_SIZE, &labels).set(1);
        }
        let text = render(&registry, Duration::ZERO);
        let places = ["\"0\"", "\"9\"", "\"10\""].map(|partition| text.find(partition));
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{text}");
    }

    #[test]
    fn odd_numbers_have_their_names() {
        let registry = Registry::default();
        for (topic, value) in [("a", f64::NAN), ("b", f64::INFINITY), ("c", f64::NEG_INFINITY)] {
            let labels = [("topic", topic), ("partition", "0")];
            registry.computed(&table::LOG_SIZE, &labels, move || value);
        }
        let text = render(&registry, Duration::ZERO);
        for end in ["topic=\"a\",partition=\"0\"} NaN", "} +Inf", "} -Inf"] {
            assert!(text.contains(end), "{text}");
        }
    }
}
