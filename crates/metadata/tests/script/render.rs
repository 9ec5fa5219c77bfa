//! Records and answers as short text.

use std::fmt::Write as _;

use ottla_metadata::controller::*;
use ottla_metadata::*;
use ottla_types::*;

/// A record: its name, and the fields that say something.
pub(super) fn record(record: &Record, image: &ClusterImage) -> String {
    use MetadataRecord as M;
    let mut text = match record.message() {
        M::FeatureLevel(r) => format!("FeatureLevel {}={}", r.name, r.feature_level),
        M::Config(r) => format!(
            "Config {}:{} {}={}",
            r.resource_type,
            r.resource_name,
            r.name,
            r.value.as_ref().map_or("null", |value| value.as_str())
        ),
        M::RegisterBroker(r) => format!(
            "RegisterBroker {} epoch={} fenced={} dirs={}",
            r.broker_id,
            r.broker_epoch,
            r.fenced,
            r.log_dirs.len()
        ),
        M::UnregisterBroker(r) => format!("UnregisterBroker {}", r.broker_id),
        M::BrokerRegistrationChange(r) => {
            let mut text = format!("BrokerRegistrationChange {}", r.broker_id);
            for (name, value) in
                [("fenced", r.fenced), ("inControlledShutdown", r.in_controlled_shutdown)]
            {
                if value != 0 {
                    write!(text, " {name}={value}").unwrap();
                }
            }
            if !r.log_dirs.is_empty() {
                write!(text, " dirs={}", r.log_dirs.len()).unwrap();
            }
            if let Some(dirs) = &r.cordoned_log_dirs {
                write!(text, " cordoned={}", dirs.len()).unwrap();
            }
            text
        }
        M::Topic(r) => format!("Topic {}", r.name),
        M::RemoveTopic(r) => format!("RemoveTopic {}", topic_name(r.topic_id, image)),
        M::Partition(r) => {
            format!(
                "Partition {} replicas={:?} isr={:?} leader={}",
                r.partition_id, r.replicas, r.isr, r.leader
            )
        }
        M::PartitionChange(r) => partition_change(r, image),
        M::ProducerIds(r) => {
            format!("ProducerIds broker={} next={}", r.broker_id, r.next_producer_id)
        }
        M::ClearElr(r) => format!("ClearElr '{}'", r.topic_name),
        M::ClientQuota(r) => {
            let value = if r.remove { "removed".to_owned() } else { r.value.to_string() };
            format!("ClientQuota {}={value}", r.key)
        }
        M::BeginTransaction(_) => "BeginTransaction".to_owned(),
        M::EndTransaction(_) => "EndTransaction".to_owned(),
        other => other.name().to_owned(),
    };
    if record.version() > 0 {
        write!(text, " v{}", record.version()).unwrap();
    }
    text
}

fn topic_name(id: Uuid, image: &ClusterImage) -> String {
    // A topic of the same batch is not in the image yet.
    image
        .topic_by_id(TopicId(id))
        .map_or_else(|| "(new)".to_owned(), |topic| topic.name.to_string())
}

fn partition_change(r: &generated::PartitionChangeRecord, image: &ClusterImage) -> String {
    let mut text = format!("PartitionChange {}-{}", topic_name(r.topic_id, image), r.partition_id);
    if r.leader != -2 {
        write!(text, " leader={}", r.leader).unwrap();
    }
    let lists = [
        ("isr", &r.isr),
        ("replicas", &r.replicas),
        ("elr", &r.eligible_leader_replicas),
        ("lastKnownElr", &r.last_known_elr),
    ];
    for (name, list) in lists {
        if let Some(list) = list {
            write!(text, " {name}={list:?}").unwrap();
        }
    }
    if r.leader_recovery_state != -1 {
        write!(text, " recovery={}", r.leader_recovery_state).unwrap();
    }
    if let Some(dirs) = &r.directories {
        write!(text, " dirs={}", dirs.len()).unwrap();
    }
    text
}

fn error(error: &ApiError) -> String {
    match &error.message {
        Some(message) => format!("{}: {message}", error.code.name()),
        None => error.code.name().to_owned(),
    }
}

fn outcome(result: &Outcome) -> String {
    result.as_ref().map_or_else(error, |()| "ok".to_owned())
}

/// An answer on one line.
pub(super) fn response(response: &Response, image: &ClusterImage) -> String {
    let parts: Vec<String> = match response {
        Response::Refused(refused) => vec![error(refused)],
        Response::BrokerRegistered(epoch) => vec![format!("epoch {epoch}")],
        Response::Heartbeat(reply) => vec![format!(
            "caught_up={} fenced={} leaving={} stop={}",
            reply.caught_up, reply.fenced, reply.in_controlled_shutdown, reply.should_shut_down
        )],
        Response::Done => vec!["done".to_owned()],
        Response::TopicsCreated(topics) => topics.iter().map(created).collect(),
        Response::TopicsDeleted(topics) => {
            let name =
                |topic: &DeletedTopic| topic.name.clone().unwrap_or_else(|| "null".to_owned());
            topics.iter().map(|t| format!("{} {}", name(t), outcome(&t.result))).collect()
        }
        Response::PartitionsCreated(topics) => named(topics),
        Response::PartitionsAltered(partitions) => partitions
            .iter()
            .map(|(id, partition, result)| {
                format!("{}-{partition} {}", topic_name(id.0, image), altered(result))
            })
            .collect(),
        Response::LeadersElected(topics) => topics
            .iter()
            .flat_map(|(name, partitions)| {
                partitions
                    .iter()
                    .map(move |(at, result)| format!("{name}-{at} {}", outcome(result)))
            })
            .collect(),
        Response::ReplicasAssigned(replicas) => replicas
            .iter()
            .map(|(_, id, partition, code)| {
                format!("{}-{partition} {}", topic_name(id.0, image), code.name())
            })
            .collect(),
        Response::ConfigsAltered(resources) => named(resources),
        Response::QuotasAltered(entities) => named(entities),
        Response::FeaturesUpdated(result) => vec![outcome(result)],
        Response::ProducerIds { first, len } => vec![format!("{len} ids from {first}")],
    };
    parts.join("; ")
}

fn named<T: std::fmt::Display>(results: &[(T, Outcome)]) -> Vec<String> {
    results.iter().map(|(name, result)| format!("{name} {}", outcome(result))).collect()
}

fn created(topic: &CreatedTopic) -> String {
    match &topic.result {
        Ok(info) => format!(
            "{} partitions={} rf={} configs={}",
            topic.name,
            info.partitions,
            info.replication_factor,
            info.configs.len()
        ),
        Err(why) => format!("{} {}", topic.name, error(why)),
    }
}

fn altered(result: &Result<AlteredPartition, ErrorCode>) -> String {
    match result {
        Ok(p) => format!(
            "leader={:?} epoch={} isr={:?} partition_epoch={}",
            p.leader.map(|leader| leader.0),
            p.leader_epoch,
            p.isr.iter().map(|node| node.0).collect::<Vec<_>>(),
            p.partition_epoch
        ),
        Err(code) => code.name().to_owned(),
    }
}
