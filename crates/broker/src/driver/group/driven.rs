//! The driver on a partition with real files: records are synced before an answer leaves, and the
//! next coordinator finds what the last one promised.

use std::future::Future;
use std::time::Duration;

use ottla_group::{
    CommittedOffset, GroupError, JoinGroup, OffsetCommit, OffsetCommitPartition, OffsetCommitTopic,
    OffsetFetch, OffsetFetchTopic,
};
use ottla_log::{FsStorage, LogConfig, PartitionLog};
use ottla_testkit::Folder;
use ottla_types::{LeaderEpoch, Offset, TopicName, TopicPartition, Uuid};

use super::*;
use crate::partition::{Durability, PartitionConfig, Role};
use crate::replicas::Directory;

const INDEX: PartitionIndex = PartitionIndex(3);

/// Runs a test with a partition of the offsets topic that this broker leads.
fn with_partition<F: Future<Output = ()>>(
    durability: Durability,
    test: impl FnOnce(GroupHandle, Arc<Partition>) -> F,
) {
    let folder = Folder::new("groups").unwrap();
    let clock = Clock::start();
    let name = TopicPartition::new(TopicName::parse(OFFSETS_TOPIC).unwrap(), INDEX);
    let config = Arc::new(LogConfig::default());
    let id = Some(TopicId(Uuid([7; 16])));
    let (storage, now) = (Arc::new(FsStorage::default()), clock.wall());
    let log =
        PartitionLog::create(storage, folder.path(), name, id, Offset::ZERO, config.clone(), now);
    let path = folder.path().display().to_string();
    let directory = Arc::new(Directory::start(0, path, Arc::default(), 1).unwrap());
    let config = PartitionConfig {
        log: config,
        durability,
        min_insync_replicas: 1,
        file_delete_delay: Duration::ZERO,
        flush_messages: None,
        flush_age: None,
    };
    let role = Role::Leader { epoch: LeaderEpoch(0), isr: 1, replicas: 1 };
    let partition = Partition::new(log.unwrap(), directory.clone(), Arc::new(config), role);
    let partition = Arc::new(partition);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let test = test(coordinator(clock), partition);
        tokio::time::timeout(Duration::from_secs(60), test).await.unwrap();
    });
    directory.close();
}

fn coordinator(clock: Clock) -> GroupHandle {
    let core = GroupConfig::default();
    // Smaller than the batches, so that loading takes more than one read.
    let settings = Settings { core, compression: Compression::Zstd, load_bytes: 1 };
    GroupHandle::with(clock, settings)
}

/// Asks until the shard is loaded.
async fn ask(groups: &GroupHandle, request: Request) -> Response {
    loop {
        let response = match groups.ask_partition(INDEX, request.clone()) {
            Asked::Now(response) => response,
            Asked::Later(wait) => wait.await.unwrap(),
        };
        let loading = request.clone().refuse(GroupError::CoordinatorLoadInProgress);
        if response != loading {
            return response;
        }
        tokio::task::yield_now().await;
    }
}

fn commit(offset: i64) -> Request {
    let partition = OffsetCommitPartition {
        partition: PartitionIndex(0),
        offset: CommittedOffset(offset),
        leader_epoch: None,
        metadata: String::new(),
    };
    let topic_id = TopicId::default();
    Request::OffsetCommit(OffsetCommit {
        group: "g".into(),
        generation: None,
        member: "".into(),
        instance: None,
        retention: None,
        knows_group_id_not_found: true,
        topics: vec![OffsetCommitTopic {
            topic: "t".into(),
            topic_id,
            partitions: [partition].into(),
        }],
    })
}

fn join() -> Request {
    Request::JoinGroup(JoinGroup {
        group: "g".into(),
        member: "".into(),
        instance: None,
        client_id: "c".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(10),
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), bytes::Bytes::new())],
        random: Uuid([1; 16]),
        member_id_required: false,
        skip_assignment: false,
    })
}

async fn committed(groups: &GroupHandle) -> Option<i64> {
    let topic = OffsetFetchTopic {
        topic: "t".into(),
        topic_id: TopicId::default(),
        partitions: vec![PartitionIndex(0)],
    };
    let (group, topics) = ("g".into(), Some(vec![topic]));
    let request = Request::OffsetFetch(OffsetFetch {
        group,
        member: None,
        member_epoch: None,
        topics,
        require_stable: false,
    });
    match ask(groups, request).await {
        Response::OffsetFetch(Ok(topics)) => {
            let value = topics[0].partitions[0].1.clone().unwrap();
            value.map(|value| value.offset.0)
        }
        other => panic!("{other:?}"),
    }
}

fn is_ok(response: &Response) -> bool {
    match response {
        Response::OffsetCommit(topics) => topics[0].partitions[0].1.is_ok(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_next_coordinator_finds_what_was_committed() {
    with_partition(Durability::Fsync, async |groups, partition| {
        groups.partition_led(partition.clone());
        assert_eq!(committed(&groups).await, None);
        for offset in 0..20 {
            assert!(is_ok(&ask(&groups, commit(offset)).await));
            let durable = partition.with_log(|log| log.flushed_to() == log.end_offset());
            assert_eq!(durable, Some(true), "answered before it was durable");
        }
        assert_eq!(committed(&groups).await, Some(19));
        // Led again in another epoch: nothing is loaded anew.
        groups.partition_led(partition.clone());
        assert_eq!(committed(&groups).await, Some(19));
        let other = coordinator(Clock::start());
        other.partition_led(partition);
        assert_eq!(committed(&other).await, Some(19));
    });
}

#[test]
fn a_write_is_enough_where_that_is_all_that_was_asked_for() {
    with_partition(Durability::Os, async |groups, partition| {
        groups.partition_led(partition);
        assert_eq!(committed(&groups).await, None);
        let Asked::Now(response) = groups.ask_partition(INDEX, commit(5)) else {
            panic!("nothing was to be waited for");
        };
        assert!(is_ok(&response));
    });
}

#[test]
fn losing_the_partition_sends_away_who_waits() {
    with_partition(Durability::Fsync, async |groups, partition| {
        groups.partition_led(partition.clone());
        assert_eq!(committed(&groups).await, None);
        let asked = groups.ask_partition(INDEX, join());
        let Asked::Later(waiting) = asked else { panic!("the first rebalance is delayed") };
        groups.partition_lost(partition.topic_id(), INDEX);
        match waiting.await {
            Ok(Response::JoinGroup(joined)) => {
                assert_eq!(joined.error, Some(GroupError::NotCoordinator));
            }
            other => panic!("{other:?}"),
        }
        assert!(!is_ok(&ask(&groups, commit(1)).await));
        // And it comes back.
        groups.partition_led(partition);
        assert_eq!(committed(&groups).await, None);
        assert!(is_ok(&ask(&groups, commit(1)).await));
    });
}

#[test]
fn a_refused_append_is_told_and_timers_run_by_themselves() {
    with_partition(Durability::Fsync, async |groups, partition| {
        // A replica too few: nothing can be appended, and the client hears of it.
        partition.set_role(Role::Leader { epoch: LeaderEpoch(0), isr: 0, replicas: 1 });
        groups.partition_led(partition.clone());
        assert_eq!(committed(&groups).await, None);
        let refused = ask(&groups, commit(1)).await;
        let unavailable = commit(1).refuse(GroupError::CoordinatorNotAvailable);
        assert_eq!(refused, unavailable);
        partition.set_role(Role::Leader { epoch: LeaderEpoch(0), isr: 1, replicas: 1 });
        let mut core = GroupConfig::default();
        core.initial_rebalance_delay = Duration::from_millis(20);
        for shard in groups.shards() {
            shard.reconfigure(&core);
        }
        match ask(&groups, join()).await {
            Response::JoinGroup(joined) => {
                assert_eq!((joined.error, joined.members.len()), (None, 1))
            }
            other => panic!("{other:?}"),
        }
    });
}
