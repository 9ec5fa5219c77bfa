//! Frames, batches and time: what the scripts do not show.

#![allow(clippy::unwrap_used, reason = "what cannot be built is a failed test")]

mod script;

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_metadata::controller::*;
use ottla_metadata::features::*;
use ottla_metadata::generated::{FeatureLevelRecord, NoOpRecord};
use ottla_metadata::*;
use ottla_types::*;
use script::{FewConfigs, World};

#[test]
fn a_value_is_framed_as_kafka_frames_it() {
    // KIP-631: frame version 1, record id 12, record version 0, then the flexible message: a
    // compact string of length 16 + 1, the level, no tags.
    let record =
        Record::new(FeatureLevelRecord { name: "metadata.version".into(), feature_level: 30 });
    let mut expected = vec![1, 12, 0, 17];
    expected.extend_from_slice(b"metadata.version");
    expected.extend_from_slice(&[0, 30, 0]);
    let bytes = record.encode().unwrap();
    assert_eq!(bytes, expected);
    assert_eq!(Record::decode(bytes).unwrap(), record);
}

#[test]
fn foreign_frames_are_refused() {
    for bad in [
        vec![],
        vec![2, 12, 0],
        vec![1, 6, 0],
        vec![1, 20, 1, 0],
        vec![1, 20, 0, 0, 9],
        vec![1, 0xff, 0xff, 0x7f, 0, 0],
        vec![0xff; 20],
    ] {
        assert!(Record::decode(bad.clone().into()).is_err(), "{bad:?}");
    }
}

fn active(config: ControllerConfig) -> Controller {
    let mut controller = Controller::new(config, Box::new(FewConfigs));
    controller.activate(
        MonoTime::ZERO,
        Activation {
            epoch: LeaderEpoch(1),
            image: ClusterImage::new(),
            next_offset: Offset(1),
            bootstrap: Bootstrap::new(None, &BTreeMap::new(), false).unwrap(),
            kraft_version: 0,
            dead: Vec::new(),
        },
    );
    controller
}

fn proposals(controller: &mut Controller) -> Vec<Proposal> {
    std::iter::from_fn(|| controller.poll_output())
        .filter_map(|output| match output {
            Output::Propose(proposal) => Some(proposal),
            Output::Respond { .. } => None,
        })
        .collect()
}

#[test]
fn waiting_requests_share_one_batch() {
    let mut controller = active(ControllerConfig::new(NodeId(1), "c", [1; 4]));
    for name in ["a", "b", "c"] {
        controller.handle(
            MonoTime::ZERO,
            Request::AlterQuotas(AlterQuotas {
                entries: vec![QuotaChange {
                    entity: vec![("user".to_owned(), Some(name.to_owned()))],
                    ops: vec![("producer_byte_rate".to_owned(), Some(1.0))],
                }],
                validate_only: false,
            }),
        );
    }
    let batches = proposals(&mut controller);
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].values.len(), 9 + 3, "the bootstrap and three quotas");
    assert_eq!(batches[0].base_offset, Offset(1));
    assert_eq!(controller.stats().waiting, 3);
    controller.committed(Offset(12));
    assert_eq!(controller.stats().waiting, 1, "the last one is not committed yet");
    controller.committed(Offset(13));
    assert_eq!(controller.stats().waiting, 0);
}

#[test]
fn idle_records_keep_readers_informed() {
    let mut controller = active(ControllerConfig::new(NodeId(1), "c", [1; 4]));
    assert_eq!(proposals(&mut controller).len(), 1);
    assert_eq!(controller.poll_timeout(), Some(MonoTime::from_millis(500)));
    controller.handle_timeout(MonoTime::from_millis(499));
    assert_eq!(proposals(&mut controller), []);
    controller.handle_timeout(MonoTime::from_millis(500));
    let batches = proposals(&mut controller);
    assert_eq!(batches[0].values, [Record::new(NoOpRecord {}).encode().unwrap()]);
    assert_eq!(batches[0].base_offset, Offset(10));
    assert_eq!(controller.poll_timeout(), Some(MonoTime::from_millis(1_000)));
}

#[test]
fn a_fenced_brokers_partitions_are_split_over_batches() {
    let mut world = World::new(&BTreeMap::new());
    for line in ["activate 1", "register 1", "heartbeat 1", "create a partitions=9000"] {
        world.line(line);
    }
    world.line("create b partitions=9000");
    world.controller.handle(MonoTime::from_millis(2_000), Request::UnregisterBroker(NodeId(1)));
    let before = Offset(world.log.len() as u64);
    let batches = proposals(&mut world.controller);
    let sizes: Vec<usize> = batches.iter().map(|batch| batch.values.len()).collect();
    assert_eq!(sizes, [10_000, 8_001], "every partition, then the broker");
    let mut next = before;
    for batch in batches {
        assert_eq!(batch.base_offset, next);
        next = next.plus(batch.values.len() as u64);
    }
    assert_eq!(world.controller.next_offset(), Some(next));
}

#[test]
fn what_a_person_asks_for_is_whole_or_not_at_all() {
    let mut world = World::new(&BTreeMap::new());
    for line in ["activate 1", "register 1", "heartbeat 1"] {
        world.line(line);
    }
    world.text.clear();
    world.line("create a partitions=10000");
    assert_eq!(
        world.text.lines().last(),
        Some("  -> POLICY_VIOLATION: Unable to perform excessively large batch operation.")
    );
    assert!(world.committed.topics().is_empty());
}

#[test]
fn an_open_transaction_is_aborted_by_the_next_leader() {
    let mut world = World::new(&BTreeMap::new());
    world.line("activate 1");
    let before = world.committed.clone();
    world.controller.resign();
    let begin = Record::new(generated::BeginTransactionRecord { name: None });
    let quota = Record::new(generated::ClientQuotaRecord {
        key: "producer_byte_rate".into(),
        value: 1.0,
        ..Default::default()
    });
    let base = Offset(world.log.len() as u64);
    world.log.extend([begin.clone(), quota.clone()]);
    world.committed.apply_batch(base, LeaderEpoch(1), &[begin, quota]).unwrap();
    assert!(world.committed.in_transaction());
    assert!(world.committed != before);
    assert!(*world.committed.stable() == before);
    world.text.clear();
    world.line("activate 2");
    assert_eq!(world.text, "activate 2\n  13 AbortTransactionRecord\n");
    assert!(world.committed == before);
}

#[test]
fn views_show_what_a_listener_can_reach() {
    let mut world = World::new(&BTreeMap::new());
    for line in [
        "activate 1",
        "register 1",
        "register 2",
        "heartbeat 1",
        "heartbeat 2",
        "create a assign=1,2",
        "heartbeat 2 fence",
    ] {
        world.line(line);
    }
    let image = &world.committed;
    let state = image.partition("a", PartitionIndex(0)).unwrap();
    let view = image.partition_view(PartitionIndex(0), state, "PLAINTEXT");
    assert_eq!(view.leader, Ok(NodeId(1)));
    assert_eq!(view.offline, [NodeId(2)]);
    let other = image.partition_view(PartitionIndex(0), state, "OTHER");
    assert_eq!(other.leader, Err(ReplicaProblem::NoListener));
    assert_eq!(other.offline, [NodeId(1), NodeId(2)]);
    let alive: Vec<NodeId> =
        image.alive_brokers("PLAINTEXT").map(|(broker, _)| broker.id).collect();
    assert_eq!(alive, [NodeId(1)]);
    assert_eq!(image.alive_brokers("OTHER").count(), 0);
    assert_eq!(image.endpoint(NodeId(2), "PLAINTEXT").unwrap().port, 9092);
}

#[test]
fn features_follow_kafkas_table() {
    let version = |text| MetadataVersion::parse(text).unwrap();
    assert_eq!(version("4.3-IV0"), MetadataVersion::LATEST);
    assert_eq!(version("4.3.1"), MetadataVersion::LATEST);
    assert_eq!(version("3.7").level(), 19);
    assert_eq!(MetadataVersion::parse("3.2"), None);
    assert_eq!(MetadataVersion::parse("4.3.x"), None);
    assert_eq!(MetadataVersion::from_level(6), None);
    assert!(version("4.3-IV0").formats_differ(version("4.2-IV1")));
    assert!(!version("4.2-IV1").formats_differ(version("4.0-IV1")));
    assert!(version("4.0-IV0").formats_differ(version("4.0-IV1")));
    let defaults = |text| {
        let of = |feature: &Feature| feature.default_level(version(text));
        Feature::ALL.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(defaults("4.3-IV0"), [1, 2, 1, 1, 1, 1]);
    assert_eq!(defaults("4.0-IV3"), [1, 2, 1, 0, 0, 0]);
    assert_eq!(defaults("3.8-IV0"), [0, 0, 0, 0, 0, 0]);
    assert_eq!(MetadataVersion::supported().count(), 24);
}

#[test]
fn bootstrap_refuses_what_the_format_tool_refuses() {
    let none = BTreeMap::new();
    let with = |name: &str, level| BTreeMap::from([(name.to_owned(), level)]);
    let refused = |levels: &BTreeMap<String, i16>, dynamic| {
        Bootstrap::new(None, levels, dynamic).unwrap_err()
    };
    assert_eq!(refused(&with("kraft.version", 0), true), BootstrapError::KraftTooLow);
    assert_eq!(refused(&with("kraft.version", 1), false), BootstrapError::KraftTooHigh(1));
    assert_eq!(refused(&with("metadata.version", 99), false), BootstrapError::NoSuchVersion(99));
    let unstable = MetadataVersion::from_level(33).unwrap();
    assert_eq!(refused(&with("metadata.version", 33), false), BootstrapError::NotStable(unstable));
    assert!(matches!(refused(&with("x", 1), false), BootstrapError::NoSuchFeature(..)));
    assert!(matches!(refused(&with("group.version", 9), false), BootstrapError::Feature(_)));
    let old = MetadataVersion::parse("3.9-IV0");
    let elr = with("eligible.leader.replicas.version", 1);
    let error = Bootstrap::new(old, &elr, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "eligible.leader.replicas.version could not be set to 1 because it depends on \
         metadata.version level 23"
    );
    let twice = Bootstrap::new(old, &with("metadata.version", 21), false);
    assert_eq!(twice, Err(BootstrapError::VersionTwice));
    let dynamic = Bootstrap::new(None, &none, true).unwrap();
    assert_eq!(dynamic.level("kraft.version"), 1);
    assert_eq!(dynamic.records().len(), 6, "kraft.version is no metadata record");
    let read = Bootstrap::from_records(dynamic.records()).unwrap();
    assert_eq!(read.records(), dynamic.records());
    assert_eq!(Bootstrap::from_records(Vec::new()), Err(BootstrapError::NoVersion));
}

#[test]
fn old_metadata_versions_get_old_record_versions() {
    let levels = BTreeMap::from([("metadata.version".to_owned(), 7)]);
    let mut world = World::new(&levels);
    for line in ["activate 1", "register 1", "heartbeat 1", "create a", "heartbeat 1 fence"] {
        world.line(line);
    }
    assert_eq!(
        world.text,
        "\
activate 1
  1 FeatureLevel metadata.version=7
register 1
  2 RegisterBroker 1 epoch=2 fenced=true dirs=0 v1
  -> epoch 2
heartbeat 1
  3 BrokerRegistrationChange 1 fenced=-1
  -> caught_up=true fenced=false leaving=false stop=false
create a
  4 Topic a
  5 Partition 0 replicas=[1] isr=[1] leader=1
  6 Partition 1 replicas=[1] isr=[1] leader=1
  -> a partitions=2 rf=1 configs=0
heartbeat 1 fence
  7 PartitionChange a-0 leader=-1
  8 PartitionChange a-1 leader=-1
  9 BrokerRegistrationChange 1 fenced=1
  -> caught_up=true fenced=true leaving=false stop=false
"
    );
}

#[test]
fn snapshots_are_due_by_size_and_by_age_of_news() {
    let at = MonoTime::from_millis;
    let mut trigger = SnapshotTrigger::new(100, Some(Duration::from_secs(1)), at(0));
    assert!(!trigger.is_due(at(5_000)), "there is nothing new");
    trigger.applied(99);
    assert!(!trigger.is_due(at(999)));
    assert!(trigger.is_due(at(1_000)));
    trigger.written(at(1_000));
    assert!(!trigger.is_due(at(9_000)));
    trigger.applied(100);
    assert!(trigger.is_due(at(1_001)));
}
