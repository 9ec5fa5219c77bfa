//! Quotas, metrics and telemetry.
//!
//! Data only: names, types, defaults and bounds are those of Apache Kafka 4.3; descriptions and
//! status are ours. A row ends with its description.

use crate::key::{Key, class, int, list, long, string};

/// Quotas, metrics and telemetry.
#[rustfmt::skip] // one key reads as one entry
pub(super) const KEYS: &[Key] = &[
    int("quota.window.num").or("11").at_least(1).low().not_yet("enforcement of quotas")
        .doc("Samples kept for client quotas."),
    int("quota.window.size.seconds").or("1").at_least(1).low().not_yet("enforcement of quotas")
        .doc("Length of one sample of client quotas."),
    int("replication.quota.window.num").or("11").at_least(1).low().not_yet("enforcement of quotas")
        .doc("Samples kept for replication quotas."),
    int("replication.quota.window.size.seconds").or("1").at_least(1).low()
        .not_yet("enforcement of quotas")
        .doc("Length of one sample of replication quotas."),
    int("alter.log.dirs.replication.quota.window.num").or("11").at_least(1).low()
        .meaningless("moves are throttled evenly, without samples")
        .doc("Samples kept for the quota on moves between directories."),
    int("alter.log.dirs.replication.quota.window.size.seconds").or("1").at_least(1).low()
        .meaningless("moves are throttled evenly, without samples")
        .doc("Length of one sample of the quota on moves between directories."),
    int("controller.quota.window.num").or("11").at_least(1).low().not_yet("enforcement of quotas")
        .doc("Samples kept for quotas on topic and partition changes."),
    int("controller.quota.window.size.seconds").or("1").at_least(1).low()
        .not_yet("enforcement of quotas")
        .doc("Length of one sample of quotas on topic and partition changes."),
    class("client.quota.callback.class").null().low().refused("policy plug-ins")
        .doc("Java class that decides client quotas."),
    list("metric.reporters").or("org.apache.kafka.common.metrics.JmxReporter").list(&[], true).low().cluster_wide()
        .meaningless("Java reporters cannot be loaded; metrics are served as Prometheus text")
        .doc("Java classes that report metrics."),
    list("kafka.metrics.reporters").or("").list(&[], true).low()
        .meaningless("Java reporters cannot be loaded; metrics are served as Prometheus text")
        .doc("Java classes that report server metrics."),
    int("kafka.metrics.polling.interval.secs").or("10").at_least(1).low()
        .meaningless("Java reporters cannot be loaded; metrics are served as Prometheus text")
        .doc("How often Java reporters are asked to report."),
    int("metrics.num.samples").or("2").at_least(1).low()
        .meaningless("rates are moving averages over 1, 5 and 15 minutes")
        .doc("Samples kept for rates."),
    long("metrics.sample.window.ms").or("30000").at_least(1).low()
        .meaningless("rates are moving averages over 1, 5 and 15 minutes")
        .doc("Length of one sample of rates."),
    string("metrics.recording.level").or("INFO").low()
        .meaningless("every metric is recorded; an unread one costs an atomic add")
        .doc("Level of detail of recorded metrics."),
    int("telemetry.max.bytes").or("1048576").at_least(1).low().not_yet("client telemetry (KIP-714)")
        .doc("Largest telemetry push that is accepted from a client."),
];
