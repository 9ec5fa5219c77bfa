//! Invariants under random requests, and what an image survives: its snapshot and its bytes.

#![allow(clippy::unwrap_used, reason = "what cannot be read back is a failed test")]

mod script;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_metadata::controller::Output;
use ottla_metadata::*;
use ottla_types::*;
use proptest::prelude::*;
use script::World;

/// Any line of a script over three brokers and three topics.
fn line() -> impl Strategy<Value = String> {
    let broker = 1u32..4;
    let topic = prop::sample::select(vec!["a", "b.c", "d"]);
    prop_oneof![
        3 => (broker.clone(), 1u64..4, any::<bool>()).prop_map(|(id, incarnation, clean)| {
            let after = if clean { format!(" after={}", id * 7) } else { String::new() };
            format!("register {id} as={incarnation}{after}")
        }),
        8 => broker.clone().prop_map(|id| format!("heartbeat {id}")),
        3 => broker.clone().prop_map(|id| format!("heartbeat {id} fence")),
        2 => broker.clone().prop_map(|id| format!("heartbeat {id} stop")),
        1 => (broker.clone(), 0u64..3).prop_map(|(id, n)| format!("heartbeat {id} offline={}", id * 10 + u32::try_from(n).unwrap())),
        1 => broker.clone().prop_map(|id| format!("unregister {id}")),
        4 => (topic.clone(), 1i32..4, -1i16..4)
            .prop_map(|(name, count, rf)| format!("create {name} partitions={count} rf={rf}")),
        1 => topic.clone().prop_map(|name| format!("create {name} assign=1,2,3;3,1,2")),
        1 => topic.clone().prop_map(|name| format!("delete {name}")),
        1 => (topic.clone(), 1i32..6).prop_map(|(name, to)| format!("grow {name} to={to}")),
        6 => (topic.clone(), 0i32..3, broker.clone(), prop::sample::subsequence(vec![1, 2, 3], 1..4))
            .prop_map(|(name, partition, by, to)| {
                let to: Vec<String> = to.iter().map(ToString::to_string).collect();
                format!("isr {name}-{partition} by={by} to={}", to.join(","))
            }),
        2 => (topic.clone(), 0i32..3, 0i8..2)
            .prop_map(|(name, partition, kind)| format!("elect {name}-{partition} kind={kind}")),
        1 => Just("elect *".to_owned()),
        2 => (topic.clone(), 1u32..4)
            .prop_map(|(name, min)| format!("config topic:{name} min.insync.replicas={min}")),
        1 => (topic.clone(), any::<bool>())
            .prop_map(|(name, on)| format!("config topic:{name} unclean.leader.election.enable={on}")),
        1 => Just("config broker: min.insync.replicas=2".to_owned()),
        1 => (broker.clone(), topic, 0i32..3, 0u32..2).prop_map(|(id, name, partition, n)| {
            format!("assign {id} replica={name}-{partition} dir={}", id * 10 + n)
        }),
        1 => Just("feature eligible.leader.replicas.version to=1".to_owned()),
        1 => Just("feature eligible.leader.replicas.version to=0 type=2".to_owned()),
        1 => broker.prop_map(|id| format!("ids {id}")),
        1 => Just("quota user=u producer_byte_rate=7".to_owned()),
        2 => (2_000u64..60_000).prop_map(|at| format!("at {at}")),
    ]
}

fn check_partition(image: &ClusterImage, name: &str, state: &PartitionState) {
    let replicas: BTreeSet<_> = state.replicas.iter().collect();
    assert_eq!(replicas.len(), state.replicas.len(), "{name}: {state:?}");
    assert_eq!(state.directories.len(), state.replicas.len(), "{name}: {state:?}");
    assert!(state.isr.iter().all(|node| replicas.contains(node)), "{name}: {state:?}");
    assert!(state.elr.iter().all(|node| replicas.contains(node)), "{name}: {state:?}");
    assert!(!state.elr.iter().any(|node| state.isr.contains(node)), "{name}: {state:?}");
    if let Some(leader) = state.leader {
        assert!(state.isr.contains(&leader), "{name}: {state:?}");
        // A broker that asked to stop and then goes on is unfenced and still "in shutdown".
        let fenced = image.broker(leader).is_none_or(|broker| broker.fenced);
        assert!(!fenced, "{name} is led by a fenced broker: {state:?}");
        assert!(state.last_known_elr.is_empty(), "{name}: {state:?}");
    }
}

/// Epochs only grow while a topic lives.
fn check_epochs(old: &ClusterImage, new: &ClusterImage) {
    for (id, topic) in new.topics() {
        let Some(before) = old.topic_by_id(*id) else { continue };
        for (partition, state) in &topic.partitions {
            let Some(was) = before.partitions.get(partition) else { continue };
            assert!(was.leader_epoch <= state.leader_epoch);
            assert!(was.partition_epoch <= state.partition_epoch);
            if was.leader != state.leader {
                assert!(was.leader_epoch < state.leader_epoch, "{was:?} {state:?}");
            }
            // Switching the feature off takes ELRs out of the image without a record.
            let switched = !new.elr_enabled();
            if was != state && !switched {
                assert!(was.partition_epoch < state.partition_epoch, "{was:?} {state:?}");
            }
        }
    }
}

/// The difference names exactly what differs, and leads from one image to the other.
fn check_delta(old: &ClusterImage, new: &ClusterImage) {
    let delta = ImageDelta::between(old, new);
    assert_eq!(delta.is_empty(), old == new);
    let partitions = |image: &ClusterImage| -> BTreeMap<_, _> {
        let topics = image.topics().values();
        topics
            .flat_map(|topic| {
                topic.partitions.iter().map(|(at, state)| ((topic.id, *at), Arc::clone(state)))
            })
            .collect()
    };
    let mut now = partitions(old);
    for change in &delta.partitions {
        assert_ne!(change.state.old, change.state.new);
        let key = (change.topic.id, change.partition);
        assert_eq!(now.remove(&key), change.state.old);
        now.extend(change.state.new.clone().map(|state| (key, state)));
    }
    assert_eq!(now, partitions(new));
    let mut brokers: BTreeMap<_, _> =
        old.brokers().iter().map(|(id, broker)| (*id, Arc::clone(broker))).collect();
    for (id, change) in &delta.brokers {
        assert_eq!(brokers.remove(id), change.old);
        brokers.extend(change.new.clone().map(|broker| (*id, broker)));
    }
    let expected: BTreeMap<_, _> =
        new.brokers().iter().map(|(id, broker)| (*id, Arc::clone(broker))).collect();
    assert_eq!(brokers, expected);
}

fn check_snapshot(image: &ClusterImage) {
    let records: Vec<Record> = image
        .snapshot()
        .iter()
        .map(|record| Record::decode(record.encode().unwrap()).unwrap())
        .collect();
    let read = ClusterImage::from_snapshot(&records, image.end(), image.epoch()).unwrap();
    assert!(read == *image, "{image:#?}\n{read:#?}");
    assert_eq!(read.hash(), image.hash());
    assert_eq!(read.snapshot(), records);
}

fn levels(elr: bool) -> BTreeMap<String, i16> {
    BTreeMap::from([("eligible.leader.replicas.version".to_owned(), i16::from(elr))])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn random_requests_keep_the_invariants(
        elr in any::<bool>(),
        lines in prop::collection::vec(line(), 1..120),
    ) {
        let mut world = World::new(&levels(elr));
        world.line("activate 1");
        for id in 1..4 {
            world.line(&format!("register {id} dirs={0}0,{0}1", id));
            world.line(&format!("heartbeat {id}"));
        }
        for line in lines {
            let before = world.committed.clone();
            world.line(&line);
            let image = &world.committed;
            for topic in image.topics().values() {
                for (partition, state) in &topic.partitions {
                    check_partition(image, &format!("{}-{partition}", topic.name), state);
                }
            }
            check_epochs(&before, image);
            check_delta(&before, image);
        }
        check_snapshot(&world.committed);
    }

    /// What was decided but not committed leaves no trace when leadership is lost.
    #[test]
    fn a_lost_leadership_forgets_what_was_not_committed(
        before in prop::collection::vec(line(), 0..40),
        lost in prop::collection::vec(line(), 1..20),
        after in prop::collection::vec(line(), 1..20),
    ) {
        let mut world = World::new(&levels(true));
        world.line("activate 1");
        for id in 1..4 {
            world.line(&format!("register {id} dirs={0}0,{0}1", id));
            world.line(&format!("heartbeat {id}"));
        }
        for line in &before {
            world.line(line);
        }
        let committed = world.committed.clone();
        let asked = world.lose(&lost);
        prop_assert_eq!(asked, lost.iter().filter(|line| !line.starts_with("at ")).count());
        prop_assert!(world.committed == committed);
        world.line("activate 2");
        for line in &after {
            world.line(line);
        }
        check_snapshot(&world.committed);
    }

    /// Damaged bytes are an error, not a panic.
    #[test]
    fn damaged_records_do_not_panic(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut world = World::new(&levels(true));
        for line in ["activate 1", "register 1 dirs=10,11", "heartbeat 1", "create a", "ids 1"] {
            world.line(line);
        }
        for record in &world.log {
            let good = record.encode().unwrap();
            let mut bad = good.to_vec();
            let position = at.index(bad.len());
            bad[position] = byte;
            if let Ok(record) = Record::decode(bad.into()) {
                let mut image = world.committed.clone();
                let _ = image.apply(record.message(), Offset(1_000));
            }
            let _ = Record::decode(good.slice(..cut.index(good.len())));
        }
    }
}

impl World {
    /// Asks all this of a controller whose batches are refused; says how many answers came, each
    /// of which must be a refusal.
    fn lose(&mut self, lines: &[String]) -> usize {
        let mut answers = 0;
        let mut drain = |world: &mut Self| {
            while let Some(output) = world.controller.poll_output() {
                answers += usize::from(matches!(output, Output::Respond { .. }));
            }
        };
        for line in lines {
            self.ask(line);
            drain(self);
        }
        self.controller.resign();
        drain(self);
        assert_eq!(self.controller.poll_timeout(), None);
        answers
    }
}
