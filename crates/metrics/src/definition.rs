//! What a metric is called: Kafka's object name and the Prometheus name made from it.
//!
//! The rows are in [`crate::table`]. Prometheus names follow the rules that Strimzi ships for the
//! JMX exporter, because most dashboards are written for them.

/// One metric family. Rows are written with the functions below, as constants.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Domain of the object name, such as `kafka.server`.
    pub domain: &'static str,
    /// Its `type`.
    pub kind: &'static str,
    /// Its `name`; for registries that have one object for many attributes, the attribute.
    pub name: &'static str,
    /// Whether `name` is an attribute and not part of the object name.
    pub is_attribute: bool,
    /// Names of further tags that a series may carry, in the order of the object name.
    pub tags: &'static [&'static str],
    /// What a series of it holds.
    pub shape: Shape,
    /// Factor from recorded to shown values, such as 0.001 for microseconds shown as
    /// milliseconds.
    pub scale: f64,
    /// One sentence.
    pub doc: &'static str,
}

/// What a series holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Events, counted and as moving rates.
    Meter,
    /// A number that only grows.
    Counter,
    /// A number that may do anything.
    Gauge,
    /// A distribution of values.
    Histogram,
    /// A word; shown as a label of a series whose value is 1.
    State,
}

impl Definition {
    /// Name of the family in Prometheus text. Quantiles of a histogram carry it, its count has
    /// `_count` appended.
    pub fn prometheus_name(&self) -> String {
        if self.domain.is_empty() {
            return self.name.to_owned();
        }
        let domain = self.domain.strip_prefix("kafka.").unwrap_or(self.domain);
        let owner = match self.domain.starts_with("kafka.") {
            true => "kafka_",
            false => "",
        };
        let kind = match self.kind {
            "raft-metrics" | "raft-channel-metrics" | "broker-metadata-metrics" => {
                self.kind.replace('-', "")
            }
            other => other.to_owned(),
        };
        let name = match (self.shape, self.name) {
            (Shape::Meter, name) => match name.strip_suffix("PerSec") {
                Some(events) => format!("{events}_total"),
                None => format!("{name}_total"),
            },
            (_, name) => match name.strip_suffix("Percent") {
                Some(part) => format!("{part}_percent"),
                None => name.to_owned(),
            },
        };
        format!("{owner}{domain}_{kind}_{name}").to_lowercase().replace(['-', '.'], "_")
    }

    /// Kafka's object name of a series with these labels; empty for metrics that are not Kafka's.
    pub fn object_name(&self, labels: &[(&str, &str)]) -> String {
        if self.domain.is_empty() {
            return String::new();
        }
        let mut out = format!("{}:type={}", self.domain, self.kind);
        if !self.is_attribute {
            out.push_str(",name=");
            out.push_str(self.name);
        }
        for (tag, value) in labels {
            out.push(',');
            out.push_str(tag);
            out.push('=');
            out.push_str(&quoted(value));
        }
        out
    }

    pub(crate) const fn tags(mut self, tags: &'static [&'static str]) -> Self {
        self.tags = tags;
        self
    }

    pub(crate) const fn scale(mut self, scale: f64) -> Self {
        self.scale = scale;
        self
    }

    pub(crate) const fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }

    pub(crate) const fn attribute(mut self) -> Self {
        self.is_attribute = true;
        self
    }

    pub(crate) const fn shape(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }
}

/// A value as JMX object names carry it: quoted when it has characters that mean something there.
fn quoted(value: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "-_.% \t".contains(char);
    if value.chars().all(plain) {
        return value.to_owned();
    }
    let mut out = String::from("\"");
    for char in value.chars() {
        match char {
            '"' | '*' | '?' | '\\' => {
                out.push('\\');
                out.push(char);
            }
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

const fn definition(
    domain: &'static str,
    kind: &'static str,
    name: &'static str,
    shape: Shape,
) -> Definition {
    let (tags, scale): (&[&str], f64) = (&[], 1.0);
    Definition { domain, kind, name, is_attribute: false, tags, shape, scale, doc: "" }
}

macro_rules! starters {
    ($($function:ident $shape:ident)*) => {
        $(pub(crate) const fn $function(
            domain: &'static str,
            kind: &'static str,
            name: &'static str,
        ) -> Definition {
            definition(domain, kind, name, Shape::$shape)
        })*
    };
}

starters! { meter Meter gauge Gauge histogram Histogram }

/// A metric of this server or of its process, with the name it has in Prometheus text.
pub(crate) const fn own(name: &'static str, shape: Shape) -> Definition {
    definition("", "", name, shape)
}

#[cfg(test)]
mod tests {
    use crate::table;

    #[test]
    fn names_are_what_dashboards_ask_for() {
        let check = |definition: &super::Definition| definition.prometheus_name();
        assert_eq!(check(&table::MESSAGES_IN), "kafka_server_brokertopicmetrics_messagesin_total");
        assert_eq!(
            check(&table::UNDER_REPLICATED_PARTITIONS),
            "kafka_server_replicamanager_underreplicatedpartitions"
        );
        assert_eq!(check(&table::TOTAL_TIME), "kafka_network_requestmetrics_totaltimems");
        assert_eq!(check(&table::RAFT_HIGH_WATERMARK), "kafka_server_raftmetrics_high_watermark");
        assert_eq!(
            check(&table::CONNECTION_COUNT),
            "kafka_server_socket_server_metrics_connection_count"
        );
        assert_eq!(
            check(&table::NETWORK_IDLE),
            "kafka_network_socketserver_networkprocessoravgidle_percent"
        );
        assert_eq!(check(&table::LOG_SIZE), "kafka_log_log_size");
    }

    #[test]
    fn object_names_are_kafkas() {
        assert_eq!(
            table::MESSAGES_IN.object_name(&[("topic", "orders.v1")]),
            "kafka.server:type=BrokerTopicMetrics,name=MessagesInPerSec,topic=orders.v1"
        );
        assert_eq!(table::RAFT_HIGH_WATERMARK.object_name(&[]), "kafka.server:type=raft-metrics");
        assert_eq!(
            table::LOG_DIRECTORY_OFFLINE.object_name(&[("logDirectory", "/a,b*")]),
            "kafka.log:type=LogManager,name=LogDirectoryOffline,logDirectory=\"/a,b\\*\""
        );
    }
}
