//! Connection limits: how many connections a broker, a listener and an address may have, and how
//! fast new ones may come (KIP-402, KIP-612).
//!
//! Pure bookkeeping: the time comes in as an argument, and who waits or is closed is answered, not
//! done. [`crate::server`] does it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// Limits on the connections of a server; they may change while it runs. The default has none.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionLimits {
    /// `max.connections`, over all listeners of one [group](crate::ListenerOptions::group);
    /// further ones wait.
    pub total_max: usize,
    /// `max.connections.per.ip`: further ones are closed at once.
    pub per_ip_max: usize,
    /// `max.connections.per.ip.overrides`.
    pub per_ip_overrides: HashMap<IpAddr, usize>,
    /// `max.connection.creation.rate`: new connections a second over all listeners of a group.
    pub rate_max: u32,
    /// Limits of single listeners, by name.
    pub listeners: HashMap<String, ListenerLimits>,
    /// Over which time the rates are meant: `quota.window.num` less the unfinished one, times
    /// `quota.window.size.seconds`.
    pub rate_window: Duration,
}

/// Limits of one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// `listener.name.X.max.connections`: further ones wait.
    pub connections_max: usize,
    /// `listener.name.X.max.connection.creation.rate`.
    pub rate_max: u32,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self { connections_max: usize::MAX, rate_max: NO_RATE }
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            total_max: usize::MAX,
            per_ip_max: usize::MAX,
            per_ip_overrides: HashMap::new(),
            rate_max: NO_RATE,
            listeners: HashMap::new(),
            rate_window: Duration::from_secs(10),
        }
    }
}

/// Kafka's default, the largest int, is no limit.
const NO_RATE: u32 = i32::MAX.unsigned_abs();

/// A listener, as far as limits know it.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) name: String,
    /// Listeners of the same number share `total_max`, `rate_max` and the addresses.
    pub(crate) group: u8,
    /// Neither `total_max` nor `rate_max` hold its clients up.
    pub(crate) protected: bool,
}

/// A connection that is counted.
#[derive(Debug)]
struct Counted {
    gate: usize,
    ip: IpAddr,
}

/// What may happen to a connection that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It is counted; `excess` of others must go for it.
    Open { excess: usize },
    /// Its address has its share.
    Refused,
    /// There is no place; ask again when one has become free.
    Full,
}

/// The connections of a server, and how fast they came.
#[derive(Debug)]
pub(crate) struct Quota {
    limits: ConnectionLimits,
    gates: Vec<Gate>,
    connections: HashMap<u64, Counted>,
    per_gate: Vec<usize>,
    per_ip: HashMap<(u8, IpAddr), usize>,
    gate_pace: Vec<Pace>,
    group_pace: HashMap<u8, Pace>,
}

impl Quota {
    pub(crate) fn new(limits: ConnectionLimits, gates: Vec<Gate>) -> Self {
        Self {
            limits,
            connections: HashMap::new(),
            per_gate: vec![0; gates.len()],
            per_ip: HashMap::new(),
            gate_pace: vec![Pace::default(); gates.len()],
            group_pace: HashMap::new(),
            gates,
        }
    }

    pub(crate) fn set_limits(&mut self, limits: ConnectionLimits) {
        self.limits = limits;
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.connections.len()
    }

    /// A connection has come by a listener: how long it has to wait for the sake of the rates.
    pub(crate) fn arrived(&mut self, gate: usize, now: Duration) -> Duration {
        let Some(Gate { name, group, protected }) = self.gates.get(gate) else {
            return Duration::ZERO;
        };
        let window = self.limits.rate_window;
        let of_gate = self.limits.listeners.get(name).copied().unwrap_or_default().rate_max;
        let own = self.gate_pace.get_mut(gate).map(|pace| pace.arrived(of_gate, window, now));
        // As in Kafka, brokers among themselves are counted and not held up.
        let pace = self.group_pace.entry(*group).or_default();
        let shared = pace.arrived(self.limits.rate_max, window, now);
        own.unwrap_or_default().max(if *protected { Duration::ZERO } else { shared })
    }

    /// Counts a connection in, if there is a place for it.
    pub(crate) fn enter(&mut self, id: u64, gate: usize, ip: IpAddr) -> Entry {
        let Some(Gate { name, group, protected }) = self.gates.get(gate) else {
            return Entry::Refused;
        };
        let of_gate = self.per_gate.get(gate).copied().unwrap_or_default();
        let gate_max = self.limits.listeners.get(name).copied().unwrap_or_default().connections_max;
        let total = self.of_group(*group);
        let full = gate_max <= of_gate || (!*protected && self.limits.total_max <= total);
        if full {
            return Entry::Full;
        }
        let of_ip = self.per_ip.entry((*group, ip)).or_insert(0);
        let ip_max = self.limits.per_ip_overrides.get(&ip).unwrap_or(&self.limits.per_ip_max);
        if *ip_max <= *of_ip {
            return Entry::Refused;
        }
        *of_ip += 1;
        if let Some(count) = self.per_gate.get_mut(gate) {
            *count += 1;
        }
        let excess = (total + 1).saturating_sub(self.limits.total_max);
        self.connections.insert(id, Counted { gate, ip });
        Entry::Open { excess }
    }

    /// Counts a connection out.
    pub(crate) fn leave(&mut self, id: u64) {
        let Some(Counted { gate, ip }) = self.connections.remove(&id) else { return };
        if let Some(count) = self.per_gate.get_mut(gate) {
            assert!(0 < *count, "a listener lost more connections than it had");
            *count -= 1;
        }
        let Some(group) = self.gates.get(gate).map(|gate| gate.group) else { return };
        if let Some(count) = self.per_ip.get_mut(&(group, ip)) {
            *count -= 1;
            if *count == 0 {
                self.per_ip.remove(&(group, ip));
            }
        }
    }

    /// How many connections each group has beyond its limit.
    pub(crate) fn excess(&self) -> Vec<(u8, usize)> {
        let mut groups: Vec<u8> = self.gates.iter().map(|gate| gate.group).collect();
        groups.sort_unstable();
        groups.dedup();
        let over = |group| (group, self.of_group(group).saturating_sub(self.limits.total_max));
        groups.into_iter().map(over).filter(|(_, excess)| 0 < *excess).collect()
    }

    /// Whether a connection may be closed for others of this group: those of a protected listener
    /// may not.
    pub(crate) fn may_go(&self, id: u64, group: u8) -> bool {
        let gate = self.connections.get(&id).and_then(|counted| self.gates.get(counted.gate));
        gate.is_some_and(|gate| gate.group == group && !gate.protected)
    }

    fn of_group(&self, group: u8) -> usize {
        let of = self.gates.iter().zip(&self.per_gate).filter(|(gate, _)| gate.group == group);
        of.map(|(_, count)| count).sum()
    }
}

/// A rate over a window: so many may come at once as fit the whole window, and then as many as
/// flow in. That is what Kafka's mean over its samples comes to.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// When everything that has come so far would have come at the very rate.
    level: Duration,
}

impl Pace {
    fn arrived(&mut self, rate_max: u32, window: Duration, now: Duration) -> Duration {
        if NO_RATE <= rate_max {
            self.level = Duration::ZERO;
            return Duration::ZERO;
        }
        // Kafka's longest pause is one sample of a second; a rate of zero is such a trickle.
        let each = Duration::from_secs(1) / rate_max.max(1);
        self.level = self.level.max(now) + each;
        // A limit that was lower before is not made up for.
        self.level = self.level.min(now + window + PAUSE_MAX);
        self.level.saturating_sub(now + window).min(PAUSE_MAX)
    }
}

/// Longest time that the rates hold up one connection.
const PAUSE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(name: &str, group: u8, protected: bool) -> Gate {
        Gate { name: name.to_owned(), group, protected }
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    /// Clients, brokers among themselves, and the controller's own count.
    fn quota(change: impl FnOnce(&mut ConnectionLimits)) -> Quota {
        let mut limits = ConnectionLimits::default();
        change(&mut limits);
        Quota::new(limits, vec![gate("A", 0, false), gate("B", 0, true), gate("C", 1, false)])
    }

    const OPEN: Entry = Entry::Open { excess: 0 };

    #[test]
    fn brokers_get_through_when_clients_have_used_up_the_limit() {
        let mut quota = quota(|limits| limits.total_max = 2);
        assert_eq!((quota.enter(1, 0, ip(1)), quota.enter(2, 0, ip(1))), (OPEN, OPEN));
        assert_eq!(quota.enter(3, 0, ip(1)), Entry::Full);
        assert_eq!(quota.enter(4, 1, ip(1)), Entry::Open { excess: 1 });
        assert_eq!([1, 2, 4].map(|id| quota.may_go(id, 0)), [true, true, false]);
        assert_eq!(quota.excess(), [(0, 1)]);
        assert_eq!(quota.enter(5, 2, ip(1)), OPEN, "controllers count for themselves");
        quota.leave(1);
        quota.leave(1);
        assert_eq!((quota.count(), quota.excess()), (3, vec![]));
        assert_eq!(quota.enter(6, 0, ip(1)), Entry::Full);
        quota.set_limits(ConnectionLimits::default());
        assert_eq!(quota.enter(6, 0, ip(1)), OPEN);
    }

    #[test]
    fn a_listener_has_a_limit_of_its_own() {
        let own = ListenerLimits { connections_max: 1, ..ListenerLimits::default() };
        let mut quota = quota(|limits| limits.listeners = [("B".to_owned(), own)].into());
        assert_eq!((quota.enter(1, 1, ip(1)), quota.enter(2, 1, ip(2))), (OPEN, Entry::Full));
        assert_eq!(quota.enter(2, 0, ip(2)), OPEN);
        quota.leave(1);
        assert_eq!(quota.enter(3, 1, ip(1)), OPEN);
    }

    #[test]
    fn an_address_has_its_share_over_all_listeners() {
        let mut quota = quota(|limits| {
            limits.per_ip_max = 1;
            limits.per_ip_overrides = [(ip(9), 0), (ip(2), 2)].into();
        });
        assert_eq!((quota.enter(1, 0, ip(1)), quota.enter(2, 1, ip(1))), (OPEN, Entry::Refused));
        assert_eq!((quota.enter(3, 0, ip(2)), quota.enter(4, 0, ip(2))), (OPEN, OPEN));
        assert_eq!(quota.enter(5, 0, ip(9)), Entry::Refused);
        quota.leave(1);
        assert_eq!(quota.enter(6, 1, ip(1)), OPEN);
    }

    #[test]
    fn new_connections_come_in_a_burst_and_then_at_the_rate() {
        let mut quota = quota(|limits| limits.rate_max = 5);
        let at = Duration::from_millis;
        let burst: Vec<_> = (0..50).map(|_| quota.arrived(0, at(1000))).collect();
        assert_eq!(burst, [Duration::ZERO; 50]);
        assert_eq!(quota.arrived(0, at(1000)), at(200));
        assert_eq!(quota.arrived(0, at(1200)), at(200));
        assert_eq!(quota.arrived(1, at(1200)), Duration::ZERO, "a broker is not held up");
        assert_eq!(quota.arrived(0, at(1200)), at(600));
        assert_eq!(quota.arrived(2, at(1200)), Duration::ZERO, "another group");
        assert_eq!(quota.arrived(0, at(12_000)), Duration::ZERO);
        quota.set_limits(ConnectionLimits::default());
        assert_eq!(quota.arrived(0, at(12_000)), Duration::ZERO);
    }

    #[test]
    fn a_listener_has_a_rate_of_its_own() {
        let own = ListenerLimits { rate_max: 0, ..ListenerLimits::default() };
        let mut quota = quota(|limits| {
            limits.listeners = [("B".to_owned(), own)].into();
            limits.rate_window = Duration::from_secs(1);
        });
        let now = Duration::from_secs(7);
        let waits = [(); 3].map(|()| quota.arrived(1, now));
        assert_eq!(waits, [0, 1, 1].map(Duration::from_secs));
        assert_eq!(quota.arrived(0, now), Duration::ZERO);
    }
}
