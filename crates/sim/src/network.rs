//! A simulated network: delay, loss, duplication, and links that are cut in one direction or both.

use std::collections::BTreeSet;

use ottla_testkit::Random;

/// How bad the network is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Of a thousand messages, so many are lost.
    pub loss: u64,
    /// Of a thousand messages, so many arrive twice.
    pub duplication: u64,
    /// Usual upper bound of the delay, in microseconds.
    pub delay_us: u64,
    /// One message in so many takes a hundred times as long.
    pub stray_one_in: u64,
}

impl Weather {
    /// Nothing goes wrong.
    pub const CALM: Self =
        Self { loss: 0, duplication: 0, delay_us: 1_000, stray_one_in: u64::MAX };
}

/// The links between nodes.
#[derive(Debug)]
pub struct Network {
    weather: Weather,
    cut: BTreeSet<(usize, usize)>,
}

impl Network {
    /// All links up.
    pub fn new(weather: Weather) -> Self {
        Self { weather, cut: BTreeSet::new() }
    }

    /// Changes the weather.
    pub fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// Cuts the link from one node to another; the way back stays.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    /// Cuts a node off from all others.
    pub fn isolate(&mut self, node: usize, nodes: usize) {
        for other in (0..nodes).filter(|other| *other != node) {
            self.cut(node, other);
            self.cut(other, node);
        }
    }

    /// Mends all links.
    pub fn mend(&mut self) {
        self.cut.clear();
    }

    /// Whether a message would pass.
    pub fn reaches(&self, from: usize, to: usize) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// Delays in nanoseconds after which copies of a message arrive: none, one or two.
    pub fn deliveries(&self, random: &mut Random, from: usize, to: usize) -> Vec<u64> {
        if !self.reaches(from, to) || random.below(1000) < self.weather.loss {
            return Vec::new();
        }
        let copies = if random.below(1000) < self.weather.duplication { 2 } else { 1 };
        let mut delays = Vec::new();
        for _ in 0..copies {
            let stray = random.once_in(self.weather.stray_one_in);
            let longest = self.weather.delay_us * if stray { 100 } else { 1 };
            delays.push((50 + random.below(longest.max(1))) * 1_000);
        }
        delays
    }
}
