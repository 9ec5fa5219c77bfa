//! What a comparison reports: figures read from the tools' output, raw data, and a table of medians.

use std::time::Duration;

use serde_json::{Value, json};

/// One measured workload of one contestant in one round.
pub(crate) struct Measured {
    pub(crate) round: u32,
    /// For example `kafka` or `ottla fsync`.
    pub(crate) contestant: String,
    /// For example `produce 1 KiB`.
    pub(crate) workload: &'static str,
    pub(crate) records: u64,
    pub(crate) record_bytes: u64,
    /// As the tool reports it.
    pub(crate) records_per_second: f64,
    /// Processor time of the broker, from the kernel.
    pub(crate) broker_cpu: Duration,
    pub(crate) broker_resident: u64,
    /// The tool's own last line.
    pub(crate) tool_line: String,
}

impl Measured {
    #[allow(clippy::cast_precision_loss, reason = "a measurement")]
    fn gigabytes(&self) -> f64 {
        (self.records * self.record_bytes) as f64 / 1e9
    }

    /// Broker CPU seconds a gigabyte of record bytes.
    pub(crate) fn cpu_per_gigabyte(&self) -> f64 {
        self.broker_cpu.as_secs_f64() / self.gigabytes()
    }

    /// Broker CPU seconds a million records.
    #[allow(clippy::cast_precision_loss, reason = "a measurement")]
    pub(crate) fn cpu_per_million(&self) -> f64 {
        self.broker_cpu.as_secs_f64() * 1e6 / self.records as f64
    }

    /// Raw data, one object a run.
    pub(crate) fn json(&self) -> Value {
        json!({
            "round": self.round,
            "contestant": self.contestant,
            "workload": self.workload,
            "records": self.records,
            "record_bytes": self.record_bytes,
            "records_per_second": self.records_per_second,
            "broker_cpu_seconds": self.broker_cpu.as_secs_f64(),
            "broker_cpu_seconds_per_gigabyte": self.cpu_per_gigabyte(),
            "broker_cpu_seconds_per_million_records": self.cpu_per_million(),
            "broker_resident_bytes": self.broker_resident,
            "tool_line": self.tool_line,
        })
    }
}

/// Records a second in the closing line of kafka-producer-perf-test.
pub(crate) fn producer_rate(output: &str) -> Option<(f64, String)> {
    // "8000000 records sent, 330000.0 records/sec (31.47 MB/sec), ..., 5 ms 99.9th."
    let line = output.lines().rev().find(|l| l.contains("records sent") && l.contains("99.9th"))?;
    let rate = line.split("records sent, ").nth(1)?.split_whitespace().next()?;
    Some((rate.parse().ok()?, line.to_string()))
}

/// Records fetched and records a second of fetch time in the closing line of kafka-consumer-perf-test.
pub(crate) fn consumer_rate(output: &str) -> Option<(u64, f64, String)> {
    // start, end, MB, MB/s, records, records/s, rebalance ms, fetch ms, fetch MB/s, fetch records/s
    let line =
        output.lines().rev().find(|l| l.split(", ").count() == 10 && !l.contains("start.time"))?;
    let fields: Vec<&str> = line.split(", ").collect();
    Some((fields.get(4)?.parse().ok()?, fields.get(9)?.trim().parse().ok()?, line.to_string()))
}

/// Medians over the rounds, each beside the first contestant's.
pub(crate) fn table(runs: &[Measured]) -> String {
    let mut text = format!(
        "{:<16}{:<22}{:>12}{:>10}{:>14}{:>10}{:>14}\n",
        "workload", "contestant", "records/s", "MB/s", "CPU s/GB", "of Kafka", "CPU s/million"
    );
    for workload in distinct(runs.iter().map(|r| r.workload)) {
        let here: Vec<&Measured> = runs.iter().filter(|r| r.workload == workload).collect();
        let contestants = distinct(here.iter().map(|r| r.contestant.as_str()));
        let mut base = None;
        for contestant in contestants {
            let own: Vec<&&Measured> = here.iter().filter(|r| r.contestant == contestant).collect();
            let rate = median(own.iter().map(|r| r.records_per_second));
            let cpu = median(own.iter().map(|r| r.cpu_per_gigabyte()));
            let million = median(own.iter().map(|r| r.cpu_per_million()));
            let bytes = own.first().map_or(0, |r| r.record_bytes);
            #[allow(clippy::cast_precision_loss, reason = "a record's size")]
            let megabytes = rate * bytes as f64 / 1e6;
            let of_base = format!("1/{:.1}", base.get_or_insert(cpu).max(0.0) / cpu.max(1e-9));
            text.push_str(&format!(
                "{workload:<16}{contestant:<22}{rate:>12.0}{megabytes:>10.1}{cpu:>14.3}{of_base:>10}{million:>14.3}\n"
            ));
        }
    }
    text
}

fn distinct<'a>(items: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for item in items {
        if !seen.contains(&item) {
            seen.push(item);
        }
    }
    seen
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tool_lines_are_read() {
        let produced = "500 records sent, 100.0 records/sec (1 MB/sec), 1 ms avg latency, 2 ms max latency.\n\
            2000000 records sent, 60500.9 records/sec (59.08 MB/sec), 500.1 ms avg latency, 900.0 ms max latency, 1 ms 50th, 2 ms 95th, 3 ms 99th, 4 ms 99.9th.\n";
        assert_eq!(producer_rate(produced).unwrap().0, 60500.9);
        let consumed = "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec\n\
            2026-01-01 00:00:00:000, 2026-01-01 00:00:08:000, 1953.1250, 244.1, 2000000, 250000.0, 500, 7500, 260.4, 266666.7\n";
        let (records, rate, _) = consumer_rate(consumed).unwrap();
        assert_eq!((records, rate), (2_000_000, 266_666.7));
    }

    #[test]
    fn the_table_compares_medians_with_the_first() {
        let run = |contestant: &str, seconds: u64| Measured {
            round: 1,
            contestant: contestant.into(),
            workload: "produce",
            records: 1_000_000,
            record_bytes: 1000,
            records_per_second: 10.0,
            broker_cpu: Duration::from_secs(seconds),
            broker_resident: 0,
            tool_line: String::new(),
        };
        let text = table(&[
            run("kafka", 8),
            run("ottla", 1),
            run("kafka", 16),
            run("ottla", 2),
            run("kafka", 80),
        ]);
        assert!(text.lines().nth(1).unwrap().contains("16.000"), "{text}");
        assert!(text.lines().nth(2).unwrap().contains("1/8.0"), "{text}");
    }
}
