//! Lines of a script as requests.

use ottla_metadata::controller::*;
use ottla_metadata::*;
use ottla_types::*;

use super::{dir, features};

/// `key=value` words of a line.
struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.get(key).and_then(|text| text.parse().ok())
    }

    fn numbers<T: std::str::FromStr>(&self, key: &str) -> Option<Vec<T>> {
        let list = self.get(key)?.split(',').filter(|word| !word.is_empty());
        Some(list.filter_map(|word| word.parse().ok()).collect())
    }

    fn has(&self, flag: &str) -> bool {
        self.0.contains(&flag)
    }
}

/// The request of one line.
pub(super) fn request(line: &str, image: &ClusterImage) -> Request {
    let mut plain = line.split_whitespace();
    let (verb, name) = (plain.next().unwrap(), plain.next().unwrap_or_default());
    let words = Words(plain.collect());
    match verb {
        "register" | "heartbeat" | "unregister" | "assign" | "ids" => {
            of_broker(verb, NodeId(name.parse().unwrap()), &words, image)
        }
        "create" | "delete" | "grow" | "isr" | "elect" => of_topics(verb, name, &words, image),
        _ => of_settings(verb, name, &words),
    }
}

fn of_broker(verb: &str, node: NodeId, words: &Words<'_>, image: &ClusterImage) -> Request {
    let known = image.broker(node).map_or(BrokerEpoch(0), |broker| broker.epoch);
    let epoch = words.number("epoch").map_or(known, BrokerEpoch);
    match verb {
        "register" => Request::RegisterBroker(register(node, words)),
        "heartbeat" => Request::Heartbeat(Heartbeat {
            node,
            epoch,
            metadata_offset: Some(Offset(words.number("offset").unwrap_or(1_000))),
            want_fence: words.has("fence"),
            want_shut_down: words.has("stop"),
            offline_dirs: dirs(words.numbers("offline").unwrap_or_default()),
            cordoned_dirs: words.numbers("cordoned").map(dirs),
        }),
        "unregister" => Request::UnregisterBroker(node),
        "assign" => {
            let (topic, partition) = words.get("replica").unwrap().rsplit_once('-').unwrap();
            let topic = image.topic(topic).map(|topic| topic.id).unwrap_or_default();
            let partition = PartitionIndex(partition.parse().unwrap());
            let replicas = vec![(dir(words.number("dir").unwrap()), topic, partition)];
            Request::AssignReplicasToDirs(AssignReplicasToDirs { broker: node, epoch, replicas })
        }
        _ => Request::AllocateProducerIds { broker: node, epoch },
    }
}

fn of_topics(verb: &str, name: &str, words: &Words<'_>, image: &ClusterImage) -> Request {
    match verb {
        "create" => Request::CreateTopics(CreateTopics {
            topics: name.split('+').map(|name| new_topic(name, words)).collect(),
            validate_only: words.has("dry"),
        }),
        "delete" => {
            Request::DeleteTopics(name.split('+').map(|name| selector(name, image)).collect())
        }
        "grow" => Request::CreatePartitions(CreatePartitions {
            topics: vec![MorePartitions {
                name: name.to_owned(),
                count: words.number("to").unwrap(),
                assignments: words.get("assign").map(assignments),
            }],
            validate_only: words.has("dry"),
        }),
        "isr" => Request::AlterPartition(isr(name, words, image)),
        _ => Request::ElectLeaders(ElectLeaders {
            kind: words.number("kind").unwrap_or(0),
            partitions: (name != "*").then(|| {
                let (topic, partition) = name.rsplit_once('-').unwrap();
                vec![(topic.to_owned(), vec![partition.parse().unwrap()])]
            }),
        }),
    }
}

fn of_settings(verb: &str, name: &str, words: &Words<'_>) -> Request {
    match verb {
        "config" => Request::AlterConfigs(AlterConfigs {
            resources: vec![(
                resource(name),
                words.0.iter().filter_map(|word| config_op(word)).collect(),
            )],
            validate_only: words.has("dry"),
            forwarded: words.has("forwarded"),
        }),
        "replace" => Request::ReplaceConfigs(ReplaceConfigs {
            resources: vec![(resource(name), pairs(&words.0))],
            validate_only: words.has("dry"),
            forwarded: true,
        }),
        "quota" => Request::AlterQuotas(AlterQuotas {
            entries: vec![QuotaChange {
                entity: pairs(&name.split(',').collect::<Vec<_>>()),
                ops: pairs(&words.0)
                    .into_iter()
                    .map(|(key, value)| (key, value.and_then(|text| text.parse().ok())))
                    .collect(),
            }],
            validate_only: false,
        }),
        "feature" => Request::UpdateFeatures(UpdateFeatures {
            updates: vec![(
                name.to_owned(),
                words.number("to").unwrap(),
                words.number("type").unwrap_or(1),
            )],
            validate_only: words.has("dry"),
        }),
        other => panic!("no such line: {other}"),
    }
}

fn dirs(numbers: Vec<u64>) -> Vec<DirectoryId> {
    numbers.into_iter().map(dir).collect()
}

fn register(node: NodeId, words: &Words<'_>) -> RegisterBroker {
    let own_dir = u64::from(node.0) * 10;
    RegisterBroker {
        node,
        cluster_id: words.get("cluster").unwrap_or("c").to_owned(),
        incarnation: IncarnationId(Uuid::from_parts(9, words.number("as").unwrap_or(1))),
        listeners: vec![Endpoint {
            name: "PLAINTEXT".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 9092,
            protocol: SecurityProtocol::Plaintext,
        }],
        features: if words.has("old") { Default::default() } else { features() },
        rack: words.get("rack").map(ToOwned::to_owned),
        migrating_zk: false,
        log_dirs: match words.numbers("dirs") {
            Some(numbers) => dirs(numbers),
            None => vec![dir(own_dir)],
        },
        previous_epoch: words.number("after").map(BrokerEpoch),
        knows_clean_shutdown: true,
    }
}

fn assignments(text: &str) -> Vec<Vec<i32>> {
    text.split(';').map(|part| part.split(',').map(|id| id.parse().unwrap()).collect()).collect()
}

fn new_topic(name: &str, words: &Words<'_>) -> NewTopic {
    NewTopic {
        name: name.to_owned(),
        partitions: words.number("partitions").unwrap_or(-1),
        replication_factor: words.number("rf").unwrap_or(-1),
        assignments: match words.get("assign") {
            Some(text) => (0..).zip(assignments(text)).collect(),
            None => Vec::new(),
        },
        configs: words
            .0
            .iter()
            .filter_map(|word| word.strip_prefix("set:"))
            .map(|pair| pair.split_once('=').map_or((pair, None), |(n, v)| (n, Some(v))))
            .map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)))
            .collect(),
    }
}

fn selector(name: &str, image: &ClusterImage) -> TopicSelector {
    match name.strip_prefix("id:") {
        Some(name) => {
            let id = image.topic(name).map_or(TopicId(Uuid::from_parts(7, 7)), |topic| topic.id);
            TopicSelector { name: None, id }
        }
        None => TopicSelector { name: Some(name.to_owned()), id: TopicId::default() },
    }
}

fn isr(name: &str, words: &Words<'_>, image: &ClusterImage) -> AlterPartition {
    let (topic, partition) = name.rsplit_once('-').unwrap();
    let partition: i32 = partition.parse().unwrap();
    let found = image.topic(topic);
    let state = found
        .and_then(|topic| topic.partitions.get(&PartitionIndex::from_wire(partition).unwrap()));
    let broker = NodeId(words.number("by").unwrap());
    let members: Vec<i32> = words.numbers("to").unwrap();
    let epochs = |id: i32| image.broker(NodeId::from_wire(id)?).map(|broker| broker.epoch);
    let change = IsrChange {
        partition,
        leader_epoch: words
            .number("leader_epoch")
            .unwrap_or_else(|| state.map_or(0, |state| state.leader_epoch.to_wire())),
        partition_epoch: words
            .number("partition_epoch")
            .unwrap_or_else(|| state.map_or(0, |state| state.partition_epoch.to_wire())),
        isr: members.iter().map(|id| (*id, epochs(*id))).collect(),
        recovery: if words.has("recovering") {
            LeaderRecovery::Recovering
        } else {
            LeaderRecovery::Recovered
        },
    };
    AlterPartition {
        broker,
        epoch: image.broker(broker).map_or(BrokerEpoch(0), |broker| broker.epoch),
        partitions: vec![(found.map(|topic| topic.id).unwrap_or_default(), change)],
    }
}

fn resource(name: &str) -> ConfigResource {
    let (kind, name) = name.split_once(':').unwrap();
    let kind = match kind {
        "topic" => ConfigKind::Topic,
        "broker" => ConfigKind::Broker,
        "group" => ConfigKind::Group,
        other => panic!("no such resource: {other}"),
    };
    ConfigResource::new(kind, name)
}

fn config_op(word: &str) -> Option<(String, ConfigOp)> {
    let value = |text: &str| Some(text.to_owned());
    let named = |name: &str, op| Some((name.to_owned(), op));
    if let Some((name, text)) = word.split_once("+=") {
        return named(name, ConfigOp::Append(value(text)));
    }
    if let Some((name, text)) = word.split_once("-=") {
        return named(name, ConfigOp::Subtract(value(text)));
    }
    if let Some((name, text)) = word.split_once('=') {
        return named(name, ConfigOp::Set(value(text)));
    }
    named(word.strip_prefix('-')?, ConfigOp::Delete)
}

fn pairs(words: &[&str]) -> NameValues {
    let pairs = words.iter().filter_map(|word| word.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), (value != "null").then(|| value.to_owned())))
        .collect()
}
