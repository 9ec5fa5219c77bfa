//! The registry: which series exist, and what they show now.
//!
//! A value that is handed around, not a global. Code that measures asks for a series once and
//! keeps the handle. Reading copies handles out under a short lock and works on the copies, so a
//! slow reader holds nobody up.

use std::{cmp::Ordering, collections::BTreeMap, fmt, sync::Arc, time::Duration};

use parking_lot::RwLock;

use crate::{
    definition::{Definition, Shape},
    instrument::{Counter, Distribution, Gauge, Histogram, Meter, Rates},
    table,
};

/// Which series exist. Clones share them.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

struct Shared {
    families: RwLock<BTreeMap<String, Family>>,
    series_max: usize,
    dropped: Arc<Counter>,
}

struct Family {
    definition: &'static Definition,
    series: BTreeMap<Labels, Instrument>,
}

/// Labels of a series, in the order of the definition's tags.
pub type Labels = Vec<(&'static str, Arc<str>)>;

#[derive(Clone)]
enum Instrument {
    Meter(Arc<Meter>),
    Counter(Arc<Counter>),
    Gauge(Arc<Gauge>),
    Histogram(Arc<Histogram>),
    Computed(Arc<dyn Fn() -> f64 + Send + Sync>),
    State(Arc<dyn Fn() -> String + Send + Sync>),
}

/// What a series shows at one moment.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// Of a meter.
    Meter {
        /// Events so far.
        count: u64,
        /// Events a second.
        rates: Rates,
    },
    /// Of a counter.
    Counter(f64),
    /// Of a gauge.
    Gauge(f64),
    /// Of a histogram; not yet scaled.
    Histogram(Distribution),
    /// Of a state.
    State(String),
}

/// A series at one moment.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its family.
    pub definition: &'static Definition,
    /// Its labels.
    pub labels: Labels,
    /// What it shows.
    pub reading: Reading,
}

impl Series {
    /// Kafka's object name of it.
    pub fn object_name(&self) -> String {
        let labels: Vec<(&str, &str)> =
            self.labels.iter().map(|(tag, value)| (*tag, value.as_ref())).collect();
        self.definition.object_name(&labels)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let families = self.shared.families.read();
        let series: usize = families.values().map(|family| family.series.len()).sum();
        write!(f, "Registry {{ families: {}, series: {series} }}", families.len())
    }
}

impl Default for Registry {
    /// A registry whose families have at most 20,000 series each.
    fn default() -> Self {
        Self::new(20_000)
    }
}

impl Registry {
    /// A registry whose families have at most this many series each. A series beyond that works
    /// for whoever holds it but is not shown; `ottla_metrics_dropped_series_total` counts them.
    pub fn new(series_max: usize) -> Self {
        let dropped = Arc::new(Counter::small());
        let shared = Shared { families: RwLock::default(), series_max, dropped: dropped.clone() };
        let registry = Self { shared: Arc::new(shared) };
        registry.put(&table::DROPPED_SERIES, &[], Instrument::Counter(dropped));
        registry
    }

    /// The meter with these labels; a new one when there is none.
    pub fn meter(
        &self,
        definition: &'static Definition,
        labels: &[(&'static str, &str)],
    ) -> Arc<Meter> {
        assert_eq!(definition.shape, Shape::Meter, "{} is not a meter", definition.name);
        let made = || {
            // A series without labels covers the whole node, so every request touches it.
            let count = if labels.is_empty() { Counter::hot() } else { Counter::small() };
            Instrument::Meter(Arc::new(Meter::new(count)))
        };
        match self.get_or_put(definition, labels, made) {
            Instrument::Meter(meter) => meter,
            _ => unreachable!("a meter family holds meters"),
        }
    }

    /// The counter with these labels; a new one when there is none.
    pub fn counter(
        &self,
        definition: &'static Definition,
        labels: &[(&'static str, &str)],
    ) -> Arc<Counter> {
        assert_eq!(definition.shape, Shape::Counter, "{} is not a counter", definition.name);
        let made = || Instrument::Counter(Arc::new(Counter::small()));
        match self.get_or_put(definition, labels, made) {
            Instrument::Counter(counter) => counter,
            // It is computed: the caller's own counter is not shown.
            _ => Arc::new(Counter::small()),
        }
    }

    /// The gauge with these labels; a new one when there is none.
    pub fn gauge(
        &self,
        definition: &'static Definition,
        labels: &[(&'static str, &str)],
    ) -> Arc<Gauge> {
        assert_eq!(definition.shape, Shape::Gauge, "{} is not a gauge", definition.name);
        let made = || Instrument::Gauge(Arc::new(Gauge::default()));
        match self.get_or_put(definition, labels, made) {
            Instrument::Gauge(gauge) => gauge,
            // It is computed: the caller's own gauge is not shown.
            _ => Arc::new(Gauge::default()),
        }
    }

    /// The histogram with these labels; a new one when there is none.
    pub fn histogram(
        &self,
        definition: &'static Definition,
        labels: &[(&'static str, &str)],
    ) -> Arc<Histogram> {
        assert_eq!(definition.shape, Shape::Histogram, "{} is not a histogram", definition.name);
        let made = || Instrument::Histogram(Arc::new(Histogram::default()));
        match self.get_or_put(definition, labels, made) {
            Instrument::Histogram(histogram) => histogram,
            _ => unreachable!("a histogram family holds histograms"),
        }
    }

    /// Shows a gauge or counter that is computed when somebody reads. It replaces a series with
    /// the same labels. It must not call the registry's writers.
    pub fn computed(
        &self,
        definition: &'static Definition,
        labels: &[(&'static str, &str)],
        compute: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        let fits = matches!(definition.shape, Shape::Gauge | Shape::Counter);
        assert!(fits, "{} is neither gauge nor counter", definition.name);
        self.put(definition, labels, Instrument::Computed(Arc::new(compute)));
    }

    /// Shows a word that is asked for when somebody reads. It replaces a series with the same
    /// labels. It must not call the registry's writers.
    pub fn state(
        &self,
        definition: &'static Definition,
        labels: &[(&'static str, &str)],
        word: impl Fn() -> String + Send + Sync + 'static,
    ) {
        assert_eq!(definition.shape, Shape::State, "{} is not a state", definition.name);
        self.put(definition, labels, Instrument::State(Arc::new(word)));
    }

    /// Forgets every series with this label, such as those of a deleted topic.
    pub fn remove(&self, tag: &str, value: &str) {
        self.remove_where(|labels| {
            labels.iter().any(|(other, text)| *other == tag && text.as_ref() == value)
        });
    }

    /// Forgets every series whose labels are chosen.
    pub fn remove_where(&self, chosen: impl Fn(&Labels) -> bool) {
        let mut families = self.shared.families.write();
        for family in families.values_mut() {
            family.series.retain(|labels, _| !chosen(labels));
        }
        families.retain(|_, family| !family.series.is_empty());
    }

    /// Everything at this time, counted from any fixed moment; families in the order of their
    /// Prometheus names.
    pub fn read(&self, now: Duration) -> Vec<Series> {
        let copied: Vec<(&'static Definition, Labels, Instrument)> = {
            let families = self.shared.families.read();
            let each = |family: &Family| {
                let definition = family.definition;
                let pair = move |(labels, instrument): (&Labels, &Instrument)| {
                    (definition, labels.clone(), instrument.clone())
                };
                let mut series: Vec<_> = family.series.iter().map(pair).collect();
                series.sort_by(|(_, one, _), (_, other, _)| in_order(one, other));
                series
            };
            families.values().flat_map(each).collect()
        };
        let read = |(definition, labels, instrument): (_, _, Instrument)| {
            let reading = reading(definition, &instrument, now);
            Series { definition, labels, reading }
        };
        copied.into_iter().map(read).collect()
    }

    fn get_or_put(
        &self,
        definition: &'static Definition,
        labels: &[(&'static str, &str)],
        make: impl FnOnce() -> Instrument,
    ) -> Instrument {
        let name = definition.prometheus_name();
        let labels = owned(definition, labels);
        let found = |families: &BTreeMap<String, Family>| {
            families.get(&name).and_then(|family| family.series.get(&labels)).cloned()
        };
        if let Some(instrument) = found(&self.shared.families.read()) {
            return instrument;
        }
        let mut families = self.shared.families.write();
        if let Some(instrument) = found(&families) {
            return instrument;
        }
        let instrument = make();
        self.insert(&mut families, definition, name, labels, instrument.clone());
        instrument
    }

    fn put(
        &self,
        definition: &'static Definition,
        labels: &[(&'static str, &str)],
        instrument: Instrument,
    ) {
        let (name, labels) = (definition.prometheus_name(), owned(definition, labels));
        let mut families = self.shared.families.write();
        self.insert(&mut families, definition, name, labels, instrument);
    }

    fn insert(
        &self,
        families: &mut BTreeMap<String, Family>,
        definition: &'static Definition,
        name: String,
        labels: Labels,
        instrument: Instrument,
    ) {
        let new = || Family { definition, series: BTreeMap::new() };
        let family = families.entry(name).or_insert_with(new);
        if self.shared.series_max <= family.series.len() && !family.series.contains_key(&labels) {
            self.shared.dropped.add(1);
            return;
        }
        family.series.insert(labels, instrument);
    }
}

fn owned(definition: &Definition, labels: &[(&'static str, &str)]) -> Labels {
    for (tag, _) in labels {
        let known = definition.tags.contains(tag);
        assert!(known, "{} has no tag {tag}", definition.name);
    }
    labels.iter().map(|(tag, value)| (*tag, Arc::from(*value))).collect()
}

/// Partition 10 comes after partition 9.
fn in_order(one: &Labels, other: &Labels) -> Ordering {
    let value = |text: &str| text.parse::<u64>().ok();
    let pairs = one.iter().zip(other.iter());
    let differ = pairs.map(|((_, one), (_, other))| match (value(one), value(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => one.cmp(other),
    });
    differ.fold(Ordering::Equal, Ordering::then).then_with(|| one.len().cmp(&other.len()))
}

fn reading(definition: &Definition, instrument: &Instrument, now: Duration) -> Reading {
    match instrument {
        Instrument::Meter(meter) => {
            let rates = meter.rates(now);
            Reading::Meter { count: meter.count(), rates }
        }
        Instrument::Counter(counter) => Reading::Counter(counter.get() as f64 * definition.scale),
        Instrument::Gauge(gauge) => Reading::Gauge(gauge.get() as f64 * definition.scale),
        Instrument::Histogram(histogram) => Reading::Histogram(histogram.read(now)),
        Instrument::Computed(compute) if definition.shape == Shape::Counter => {
            Reading::Counter(compute() * definition.scale)
        }
        Instrument::Computed(compute) => Reading::Gauge(compute() * definition.scale),
        Instrument::State(word) => Reading::State(word()),
    }
}
