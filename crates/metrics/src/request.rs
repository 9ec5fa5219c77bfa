//! Metrics of requests, by the name of the request.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::RwLock;

use crate::{
    instrument::{Histogram, Meter},
    registry::Registry,
    table,
};

/// Where the time of one request went. The phases follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// From arrival to begin.
    pub queue: Duration,
    /// Work in this node.
    pub local: Duration,
    /// Waiting for data or other nodes.
    pub remote: Duration,
    /// Held back by quotas.
    pub throttle: Duration,
}

impl Phases {
    /// All phases together.
    pub fn total(&self) -> Duration {
        self.queue + self.local + self.remote + self.throttle
    }
}

/// Metrics of all requests.
#[derive(Debug)]
pub struct RequestMetrics {
    registry: Registry,
    by_name: RwLock<BTreeMap<&'static str, Arc<OneRequest>>>,
}

/// Metrics of requests of one name.
#[derive(Debug)]
pub struct OneRequest {
    registry: Registry,
    name: &'static str,
    versions: [OnceLock<Arc<Meter>>; VERSIONS],
    /// Answers without an error, which nearly all are.
    successes: OnceLock<Arc<Meter>>,
    errors: RwLock<BTreeMap<&'static str, Arc<Meter>>>,
    total: Arc<Histogram>,
    queue: Arc<Histogram>,
    local: Arc<Histogram>,
    remote: Arc<Histogram>,
    throttle: Arc<Histogram>,
    bytes: Arc<Histogram>,
}

/// Kafka's name of no error.
const SUCCESS: &str = "NONE";

/// Versions that have a series of their own; higher ones share the last.
const VERSIONS: usize = 32;

impl RequestMetrics {
    /// Metrics in this registry.
    pub fn new(registry: &Registry) -> Self {
        Self { registry: registry.clone(), by_name: RwLock::default() }
    }

    /// Metrics of requests of this name, such as `Produce`, `FetchConsumer` or `FetchFollower`.
    /// Keep it where requests of one name are answered.
    pub fn of(&self, name: &'static str) -> Arc<OneRequest> {
        if let Some(found) = self.by_name.read().get(name) {
            return found.clone();
        }
        let mut all = self.by_name.write();
        all.entry(name).or_insert_with(|| Arc::new(OneRequest::new(&self.registry, name))).clone()
    }
}

impl OneRequest {
    fn new(registry: &Registry, name: &'static str) -> Self {
        let histogram = |definition| registry.histogram(definition, &[("request", name)]);
        Self {
            registry: registry.clone(),
            name,
            versions: Default::default(),
            successes: OnceLock::new(),
            errors: RwLock::default(),
            total: histogram(&table::TOTAL_TIME),
            queue: histogram(&table::QUEUE_TIME),
            local: histogram(&table::LOCAL_TIME),
            remote: histogram(&table::REMOTE_TIME),
            throttle: histogram(&table::THROTTLE_TIME),
            bytes: histogram(&table::REQUEST_BYTES),
        }
    }

    /// Notes an answered request.
    pub fn answered(&self, version: i16, bytes: u64, phases: &Phases) {
        let at = usize::try_from(version).unwrap_or(0).min(VERSIONS - 1);
        let meter = self.versions[at].get_or_init(|| {
            let labels = [("request", self.name), ("version", &*at.to_string())];
            self.registry.meter(&table::REQUESTS_TOTAL, &labels)
        });
        meter.mark(1);
        self.bytes.record(bytes);
        self.total.record_time(phases.total());
        self.queue.record_time(phases.queue);
        self.local.record_time(phases.local);
        self.remote.record_time(phases.remote);
        self.throttle.record_time(phases.throttle);
    }

    /// Notes errors of an answer by Kafka's name of the error, `NONE` for success.
    pub fn errors(&self, error: &'static str, count: u64) {
        let fresh = || {
            let labels = [("request", self.name), ("error", error)];
            self.registry.meter(&table::ERRORS_TOTAL, &labels)
        };
        if error == SUCCESS {
            return self.successes.get_or_init(fresh).mark(count);
        }
        if let Some(meter) = self.errors.read().get(error) {
            return meter.mark(count);
        }
        let meter = fresh();
        meter.mark(count);
        self.errors.write().insert(error, meter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_in_every_phase() {
        let registry = Registry::default();
        let metrics = RequestMetrics::new(&registry);
        let ms = Duration::from_millis;
        let phases = Phases { local: ms(1), remote: ms(2), ..Phases::default() };
        metrics.of("Produce").answered(13, 100, &phases);
        metrics.of("Produce").errors("NONE", 2);
        metrics.of("Produce").errors("NONE", 1);
        let text = crate::render(&registry, Duration::ZERO);
        for line in [
            "kafka_network_requestmetrics_requests_total{request=\"Produce\",version=\"13\"} 1",
            "kafka_network_requestmetrics_errors_total{request=\"Produce\",error=\"NONE\"} 3",
            "kafka_network_requestmetrics_totaltimems_sum{request=\"Produce\"} 3",
            "kafka_network_requestmetrics_requestbytes_count{request=\"Produce\"} 1",
            "kafka_network_requestmetrics_remotetimems_sum{request=\"Produce\"} 2",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line}\n{text}");
        }
    }
}
