//! Brokers and people who ask a simulated controller at random.
//!
//! They know what the leader's own image says, so most of what they ask makes sense; some of it
//! is out of date or wrong, and must be refused without a trace.

use std::collections::BTreeMap;

use ottla_metadata::controller::*;
use ottla_metadata::features::supported_features;
use ottla_metadata::{
    BrokerRegistration, ClusterImage, ConfigKind, ConfigResource, Endpoint, LeaderRecovery,
    PartitionState, SecurityProtocol, TopicImage,
};
use ottla_quorum::Now;
use ottla_testkit::Random;
use ottla_types::{BrokerEpoch, DirectoryId, ErrorCode, IncarnationId, NodeId, TopicId, Uuid};

use crate::controlled::CLUSTER;
use crate::event::Ask;

/// The config that clients set, to values that grow.
pub(crate) const VALUE: &str = "retention.ms";

const BROKERS: u64 = 4;
const TOPICS: u64 = 5;

/// A request, and what to remember of it.
pub(crate) struct Client {
    pub(crate) request: Request,
    pub(crate) pending: Pending,
    pub(crate) asks: Vec<Ask>,
}

/// What an answer will mean.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pending {
    Register(NodeId),
    Topics,
    Config {
        topic: TopicId,
        value: u64,
    },
    ProducerIds,
    /// Nothing that is checked.
    Other,
}

fn other(request: Request) -> Client {
    Client { request, pending: Pending::Other, asks: Vec::new() }
}

/// The next request, or nothing if what was drawn makes no sense now.
pub(crate) fn ask(random: &mut Random, now: Now, image: &ClusterImage) -> Option<Client> {
    Some(match random.below(40) {
        0..=3 => register(random),
        4..=15 => heartbeat(random, image)?,
        16..=19 => create(random),
        20 => delete(random, image)?,
        21 => grow(random, image)?,
        22..=27 => change_isr(random, image)?,
        28 | 29 => elect(random, image)?,
        30..=33 => configure(random, now, image)?,
        34 | 35 => producer_ids(random, image)?,
        36 => assign(random, image)?,
        37 => elr(random),
        38 if random.once_in(4) => unregister(random, image)?,
        _ => quota(random),
    })
}

fn broker(random: &mut Random) -> NodeId {
    NodeId(u32::try_from(random.below(BROKERS)).expect("a few") + 1)
}

fn registered(random: &mut Random, image: &ClusterImage) -> Option<(NodeId, BrokerEpoch)> {
    let node = broker(random);
    let known: &BrokerRegistration = image.broker(node)?;
    // Some have missed that they were registered anew.
    let behind = if random.once_in(20) { 1 } else { 0 };
    Some((node, BrokerEpoch(known.epoch.0.saturating_sub(behind))))
}

fn topic<'a>(random: &mut Random, image: &'a ClusterImage) -> Option<&'a TopicImage> {
    let topics: Vec<&TopicImage> = image.topics().values().map(AsRef::as_ref).collect();
    (!topics.is_empty()).then(|| *random.choose(&topics))
}

fn directory(node: NodeId, number: u64) -> DirectoryId {
    DirectoryId(Uuid::from_parts(u64::from(node.0) + 100, number + 1))
}

fn register(random: &mut Random) -> Client {
    let node = broker(random);
    let port = 9092 + u16::try_from(node.0).expect("a few");
    let endpoint = Endpoint {
        name: "PLAINTEXT".to_owned(),
        host: "localhost".to_owned(),
        port,
        protocol: SecurityProtocol::Plaintext,
    };
    let clean = random.once_in(2);
    let request = Request::RegisterBroker(RegisterBroker {
        node,
        cluster_id: if random.once_in(30) { "other" } else { CLUSTER }.to_owned(),
        incarnation: IncarnationId(Uuid::from_parts(u64::from(node.0), random.below(3) + 1)),
        listeners: vec![endpoint],
        features: supported_features(),
        rack: None,
        migrating_zk: false,
        log_dirs: vec![directory(node, 0), directory(node, 1)],
        previous_epoch: clean.then(|| BrokerEpoch(random.below(200))),
        knows_clean_shutdown: true,
    });
    Client { request, pending: Pending::Register(node), asks: Vec::new() }
}

fn heartbeat(random: &mut Random, image: &ClusterImage) -> Option<Client> {
    let (node, epoch) = registered(random, image)?;
    Some(other(Request::Heartbeat(Heartbeat {
        node,
        epoch,
        metadata_offset: Some(image.end()),
        want_fence: random.once_in(15),
        want_shut_down: random.once_in(25),
        offline_dirs: if random.once_in(30) { vec![directory(node, 1)] } else { Vec::new() },
        cordoned_dirs: None,
    })))
}

fn create(random: &mut Random) -> Client {
    let name = format!("t{}", random.below(TOPICS));
    let topic = NewTopic {
        name,
        partitions: i32::try_from(1 + random.below(3)).expect("a few"),
        replication_factor: i16::try_from(1 + random.below(3)).expect("a few"),
        ..NewTopic::default()
    };
    let validate_only = random.once_in(10);
    let pending = if validate_only { Pending::Other } else { Pending::Topics };
    let request = Request::CreateTopics(CreateTopics { topics: vec![topic], validate_only });
    Client { request, pending, asks: Vec::new() }
}

fn delete(random: &mut Random, image: &ClusterImage) -> Option<Client> {
    let topic = topic(random, image)?;
    let selector = TopicSelector { name: None, id: topic.id };
    Some(Client {
        request: Request::DeleteTopics(vec![selector]),
        pending: Pending::Topics,
        asks: vec![Ask::DeleteTopic(topic.id.0)],
    })
}

fn grow(random: &mut Random, image: &ClusterImage) -> Option<Client> {
    let topic = topic(random, image)?;
    let more = MorePartitions {
        name: topic.name.to_string(),
        count: i32::try_from(1 + random.below(6)).expect("a few"),
        assignments: None,
    };
    let request = CreatePartitions { topics: vec![more], validate_only: random.once_in(10) };
    Some(other(Request::CreatePartitions(request)))
}

fn change_isr(random: &mut Random, image: &ClusterImage) -> Option<Client> {
    let topic = topic(random, image)?;
    let partitions: Vec<_> = topic.partitions.iter().collect();
    let (partition, state) = *random.choose(&partitions);
    let state: &PartitionState = state;
    let leader = state.leader?;
    let epoch = image.broker(leader)?.epoch;
    let kept = state.replicas.iter().filter(|id| **id == leader || random.once_in(2));
    let isr = kept
        .map(|id| {
            let known = image.broker(*id).map(|broker| broker.epoch);
            (id.to_wire(), known)
        })
        .collect();
    let behind = i32::from(random.once_in(15));
    let change = IsrChange {
        partition: partition.to_wire(),
        leader_epoch: state.leader_epoch.to_wire(),
        partition_epoch: state.partition_epoch.to_wire() - behind,
        isr,
        recovery: LeaderRecovery::Recovered,
    };
    let partitions = vec![(topic.id, change)];
    Some(other(Request::AlterPartition(AlterPartition { broker: leader, epoch, partitions })))
}

fn elect(random: &mut Random, image: &ClusterImage) -> Option<Client> {
    let topic = topic(random, image)?;
    let all = topic.partitions.keys().map(|partition| partition.to_wire()).collect();
    let partitions = (!random.once_in(3)).then(|| vec![(topic.name.to_string(), all)]);
    let kind = i8::from(random.once_in(3));
    Some(other(Request::ElectLeaders(ElectLeaders { kind, partitions })))
}

fn configure(random: &mut Random, now: Now, image: &ClusterImage) -> Option<Client> {
    let topic = topic(random, image)?;
    let resource = ConfigResource::topic(topic.name.as_str());
    let one = |name: &str, op: ConfigOp, pending| Client {
        request: Request::AlterConfigs(AlterConfigs {
            resources: vec![(resource.clone(), vec![(name.to_owned(), op)])],
            validate_only: false,
            forwarded: true,
        }),
        pending,
        asks: Vec::new(),
    };
    Some(match random.below(6) {
        0 => {
            let min = (1 + random.below(3)).to_string();
            one("min.insync.replicas", ConfigOp::Set(Some(min)), Pending::Other)
        }
        1 => {
            let on = random.once_in(2).to_string();
            one("unclean.leader.election.enable", ConfigOp::Set(Some(on)), Pending::Other)
        }
        2 => one("cleanup.policy", ConfigOp::Append(Some("compact".to_owned())), Pending::Other),
        3 => one(VALUE, ConfigOp::Set(Some("soon".to_owned())), Pending::Other),
        _ => {
            // Later requests have larger values.
            let value = now.mono.as_nanos();
            let pending = Pending::Config { topic: topic.id, value };
            one(VALUE, ConfigOp::Set(Some(value.to_string())), pending)
        }
    })
}

fn producer_ids(random: &mut Random, image: &ClusterImage) -> Option<Client> {
    let (broker, epoch) = registered(random, image)?;
    let request = Request::AllocateProducerIds { broker, epoch };
    Some(Client { request, pending: Pending::ProducerIds, asks: Vec::new() })
}

fn assign(random: &mut Random, image: &ClusterImage) -> Option<Client> {
    let (broker, epoch) = registered(random, image)?;
    let topic = topic(random, image)?;
    let replicas = topic
        .partitions
        .keys()
        .map(|partition| (directory(broker, random.below(2)), topic.id, *partition))
        .collect();
    Some(other(Request::AssignReplicasToDirs(AssignReplicasToDirs { broker, epoch, replicas })))
}

fn elr(random: &mut Random) -> Client {
    let name = "eligible.leader.replicas.version".to_owned();
    let (level, kind) = if random.once_in(2) { (1, 1) } else { (0, 2) };
    let updates = vec![(name, level, kind)];
    other(Request::UpdateFeatures(UpdateFeatures { updates, validate_only: random.once_in(10) }))
}

fn unregister(random: &mut Random, image: &ClusterImage) -> Option<Client> {
    let node = broker(random);
    let epoch = image.broker(node)?.epoch.0;
    let asks = vec![Ask::Unregister { node: node.0, epoch }];
    Some(Client { request: Request::UnregisterBroker(node), pending: Pending::Other, asks })
}

fn quota(random: &mut Random) -> Client {
    let name = format!("u{}", random.below(3));
    let value = (!random.once_in(3)).then_some(7.0);
    let change = QuotaChange {
        entity: vec![("user".to_owned(), Some(name))],
        ops: vec![("producer_byte_rate".to_owned(), value)],
    };
    other(Request::AlterQuotas(AlterQuotas { entries: vec![change], validate_only: false }))
}

/// A table of configs that is small enough to read.
pub(crate) struct Rules;

impl ConfigRules for Rules {
    fn validate(
        &self,
        _: &ConfigResource,
        configs: &BTreeMap<String, String>,
        _: &BTreeMap<String, String>,
    ) -> Outcome {
        match configs.get(VALUE).map(|text| text.parse::<u64>()) {
            Some(Err(_)) => {
                let text = format!("Invalid value for configuration {VALUE}");
                Err(ApiError::new(ErrorCode::InvalidConfig, text))
            }
            _ => Ok(()),
        }
    }

    fn is_list(&self, _: ConfigKind, name: &str) -> bool {
        name == "cleanup.policy"
    }

    fn default_value(&self, _: ConfigKind, name: &str) -> Option<String> {
        (name == "cleanup.policy").then(|| "delete".to_owned())
    }

    fn topic_config(&self, name: &str, layers: TopicLayers<'_>) -> Option<String> {
        let set = [layers.topic, layers.broker, layers.every_broker];
        let set = set.into_iter().find_map(|layer| layer.get(name).cloned());
        set.or_else(|| (name == "min.insync.replicas").then(|| "1".to_owned()))
    }

    fn topic_configs(&self, _: TopicLayers<'_>) -> Vec<EffectiveConfig> {
        Vec::new()
    }
}
