//! Which brokers get the replicas of new partitions: striped over racks.
//!
//! Source: Kafka's `StripedReplicaPlacer`. Racks are walked from a random start, one step further
//! with every partition; within a rack brokers are walked the same way; the first replica goes to
//! a broker that is not fenced; after as many partitions as there are unfenced brokers the order
//! is shuffled, so that pairs of brokers vary.

use std::collections::BTreeMap;

use ottla_types::NodeId;

use super::rng::Rng;

/// A broker that may get replicas.
#[derive(Clone, Debug)]
pub(super) struct UsableBroker {
    pub(super) id: NodeId,
    pub(super) rack: Option<String>,
    pub(super) fenced: bool,
}

/// Brokers of one rack in one state, walked from a moving start.
#[derive(Default)]
struct Ring {
    brokers: Vec<NodeId>,
    index: usize,
    offset: usize,
    round: usize,
}

impl Ring {
    fn begin(&mut self, rng: &mut Rng) {
        if !self.brokers.is_empty() {
            self.brokers.sort_unstable();
            self.offset = rng.below(self.brokers.len());
        }
    }

    fn next(&mut self, round: usize) -> Option<NodeId> {
        if self.brokers.is_empty() {
            return None;
        }
        if self.round != round {
            self.round = round;
            self.index = 0;
            self.offset = (self.offset + 1) % self.brokers.len();
        }
        if self.index >= self.brokers.len() {
            return None;
        }
        let broker = self.brokers[(self.index + self.offset) % self.brokers.len()];
        self.index += 1;
        Some(broker)
    }
}

#[derive(Default)]
struct Rack {
    fenced: Ring,
    unfenced: Ring,
}

impl Rack {
    fn next(&mut self, round: usize) -> Option<NodeId> {
        self.unfenced.next(round).or_else(|| self.fenced.next(round))
    }
}

struct Racks<'a> {
    rng: &'a mut Rng,
    racks: Vec<Rack>,
    unfenced: usize,
    round: usize,
    offset: usize,
}

impl<'a> Racks<'a> {
    fn new(brokers: &[UsableBroker], rng: &'a mut Rng) -> Self {
        let mut by_name: BTreeMap<Option<&str>, Rack> = BTreeMap::new();
        let mut unfenced = 0;
        for broker in brokers {
            let rack = by_name.entry(broker.rack.as_deref()).or_default();
            if broker.fenced {
                rack.fenced.brokers.push(broker.id);
            } else {
                rack.unfenced.brokers.push(broker.id);
                unfenced += 1;
            }
        }
        let mut racks: Vec<Rack> = by_name.into_values().collect();
        for rack in &mut racks {
            rack.fenced.begin(rng);
            rack.unfenced.begin(rng);
        }
        let offset = rng.below(racks.len());
        Self { rng, racks, unfenced, round: 0, offset }
    }

    /// Replicas of one more partition. There is an unfenced broker, and enough of all.
    fn place(&mut self, replicas: usize) -> Vec<NodeId> {
        if self.round == self.unfenced && self.unfenced > 1 {
            self.shuffle();
            self.round = 0;
        }
        if self.offset == self.racks.len() {
            self.offset = 0;
        }
        let mut placed = Vec::with_capacity(replicas);
        let mut first_rack = Some(self.offset);
        let mut at = self.offset;
        while placed.is_empty() {
            match self.racks[at].unfenced.next(self.round) {
                Some(broker) => {
                    placed.push(broker);
                    first_rack = Some(at);
                }
                None => at = (at + 1) % self.racks.len(),
            }
        }
        let mut at = self.offset;
        while placed.len() < replicas {
            // The rack of the first replica is passed over once.
            if first_rack == Some(at) {
                first_rack = None;
            } else if let Some(broker) = self.racks[at].next(self.round) {
                placed.push(broker);
            }
            at = (at + 1) % self.racks.len();
        }
        self.round += 1;
        self.offset += 1;
        placed
    }

    fn shuffle(&mut self) {
        self.rng.shuffle(&mut self.racks);
        for rack in &mut self.racks {
            self.rng.shuffle(&mut rack.fenced.brokers);
            self.rng.shuffle(&mut rack.unfenced.brokers);
        }
    }
}

/// Replicas of each new partition, or why there cannot be so many; the text is Kafka's.
pub(super) fn place(
    brokers: &[UsableBroker],
    partitions: usize,
    replicas: i16,
    rng: &mut Rng,
) -> Result<Vec<Vec<NodeId>>, String> {
    let Some(wanted) = usize::try_from(replicas).ok().filter(|wanted| *wanted > 0) else {
        return Err(format!(
            "Invalid replication factor {replicas}: the replication factor must be positive."
        ));
    };
    if brokers.iter().all(|broker| broker.fenced) {
        return Err(
            "All brokers are currently fenced, or have all their log directories cordoned."
                .to_owned(),
        );
    }
    if wanted > brokers.len() {
        return Err(format!(
            "The target replication factor of {replicas} cannot be reached because only {} \
             broker(s) are registered or some brokers have all their log directories cordoned.",
            brokers.len()
        ));
    }
    let mut racks = Racks::new(brokers, rng);
    Ok((0..partitions).map(|_| racks.place(wanted)).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn brokers(text: &str) -> Vec<UsableBroker> {
        text.split_whitespace()
            .map(|word| {
                let (id, rack) = word.trim_end_matches('!').split_once('@').unwrap_or((word, ""));
                let id = id.trim_end_matches('!').parse().unwrap();
                let rack = (!rack.is_empty()).then(|| rack.to_owned());
                UsableBroker { id: NodeId(id), rack, fenced: word.ends_with('!') }
            })
            .collect()
    }

    #[test]
    fn refusals_name_the_reason() {
        let mut rng = Rng::new([7; 4]);
        let error = |text: &str, replicas, rng: &mut Rng| place(&brokers(text), 1, replicas, rng);
        let only = error("0 1", 3, &mut rng).unwrap_err();
        assert!(only.contains("only 2 broker(s) are registered"), "{only}");
        let fenced = error("0! 1!", 1, &mut rng).unwrap_err();
        assert!(fenced.starts_with("All brokers are currently fenced"), "{fenced}");
        assert!(error("0", 0, &mut rng).is_err());
        assert!(error("", 1, &mut rng).is_err());
    }

    #[test]
    fn every_rack_gets_a_replica_and_leaders_spread() {
        for seed in 1..200 {
            let mut rng = Rng::new([seed, 2, 3, 4]);
            let usable = brokers("0@a 1@a 2@b 3@b 4@c 5@c!");
            let placed = place(&usable, 60, 3, &mut rng).unwrap();
            let rack = |id: &NodeId| usable.iter().find(|b| b.id == *id).unwrap().rack.clone();
            let mut leaders = [0; 6];
            for replicas in &placed {
                let racks: BTreeSet<_> = replicas.iter().map(rack).collect();
                assert_eq!(racks.len(), 3, "seed {seed}: {replicas:?}");
                leaders[replicas[0].0 as usize] += 1;
            }
            assert_eq!(leaders[5], 0, "seed {seed}: a fenced broker leads");
            assert!(leaders[..5].iter().all(|led| *led >= 1), "seed {seed}: {leaders:?}");
        }
    }

    #[test]
    fn replicas_of_a_partition_are_distinct() {
        for seed in 1..200 {
            let mut rng = Rng::new([seed, 0, 0, 9]);
            let placed = place(&brokers("0 1 2! 3 4"), 40, 5, &mut rng).unwrap();
            for replicas in placed {
                let distinct: BTreeSet<_> = replicas.iter().collect();
                assert_eq!(distinct.len(), 5, "seed {seed}: {replicas:?}");
            }
        }
    }
}
