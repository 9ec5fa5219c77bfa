//! Answers and records as text.

use bytes::Bytes;
use ottla_codec::{Message, Reader};
use ottla_group::generated::{
    GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue,
};
use ottla_group::{
    DescribedGroup, GroupError, JoinGroupResponse, LeaveGroupResponse, OffsetValue, Record,
    Response,
};
use ottla_types::PartitionIndex;

/// One answer on one line, or on one for each part.
pub(crate) fn response(response: &Response) -> String {
    match response {
        Response::JoinGroup(joined) => join(joined),
        Response::SyncGroup(synced) => match synced.error {
            Some(error) => format!("sync {error:?}"),
            None => format!(
                "sync {} type={} protocol={}",
                text(&synced.assignment),
                synced.protocol_type.as_deref().unwrap_or("-"),
                synced.protocol_name.as_deref().unwrap_or("-"),
            ),
        },
        Response::Heartbeat(result) => format!("heartbeat {}", plain(result)),
        Response::LeaveGroup(left) => leave(left),
        Response::OffsetCommit(topics) => {
            let topics = topics.iter().map(|topic| results(&topic.topic, &topic.partitions));
            format!("commit {}", topics.collect::<Vec<_>>().join(" "))
        }
        Response::OffsetFetch(Err(error)) => format!("fetch {error:?}"),
        Response::OffsetFetch(Ok(topics)) => {
            let mut out = "fetch".to_owned();
            for topic in topics {
                for (partition, value) in &topic.partitions {
                    out += &format!(" {}-{partition}={}", topic.topic, offset(value));
                }
            }
            out
        }
        Response::OffsetDelete(Err(error)) => format!("offset-delete {error:?}"),
        Response::OffsetDelete(Ok(topics)) => {
            let topics = topics.iter().map(|topic| results(&topic.topic, &topic.partitions));
            format!("offset-delete {}", topics.collect::<Vec<_>>().join(" "))
        }
        Response::DescribeGroups(groups) => {
            groups.iter().map(describe).collect::<Vec<_>>().join("\n")
        }
        Response::ListGroups(Err(error)) => format!("list {error:?}"),
        Response::ListGroups(Ok(groups)) => {
            let group = |group: &ottla_group::ListedGroup| {
                let kind = group.kind.name();
                format!(" {}({:?} {} {kind})", group.group, group.protocol_type, group.state)
            };
            format!("list{}", groups.iter().map(group).collect::<String>())
        }
        Response::DeleteGroups(groups) => {
            let group = |(group, result): &(_, Result<(), GroupError>)| {
                format!(" {group}={}", plain(result))
            };
            format!("delete{}", groups.iter().map(group).collect::<String>())
        }
        Response::ConsumerGroupHeartbeat(result) => crate::consumer::show_beat(result),
        Response::ConsumerGroupDescribe(groups) => {
            groups.iter().map(crate::consumer::show_group).collect::<Vec<_>>().join("\n")
        }
        other => format!("{other:?}"),
    }
}

fn join(joined: &JoinGroupResponse) -> String {
    if let Some(error) = joined.error {
        return format!("join {error:?} member={:?}", joined.member);
    }
    let skip = if joined.skip_assignment { " skip-assignment" } else { "" };
    let member = |member: &ottla_group::JoinedMember| {
        let instance = member.instance.as_ref().map_or(String::new(), |id| format!("/{id}"));
        format!("{}{instance}", member.member)
    };
    let members = joined.members.iter().map(member).collect::<Vec<_>>().join(" ");
    format!(
        "join {} generation={} leader={} type={} protocol={}{skip} members=[{members}]",
        joined.member,
        joined.generation.map_or_else(|| "-".into(), |generation| generation.to_string()),
        joined.leader,
        joined.protocol_type.as_deref().unwrap_or("-"),
        joined.protocol_name.as_deref().unwrap_or("-"),
    )
}

fn leave(left: &LeaveGroupResponse) -> String {
    if let Some(error) = left.error {
        return format!("leave {error:?}");
    }
    let member = |member: &ottla_group::LeftMember| {
        let instance = member.instance.as_ref().map_or(String::new(), |id| format!("/{id}"));
        let result = member.error.map_or(Ok(()), Err);
        format!(" {}{instance}={}", member.member, plain(&result))
    };
    format!("leave{}", left.members.iter().map(member).collect::<String>())
}

fn describe(group: &DescribedGroup) -> String {
    if let Some(error) = group.error {
        let message = group.error_message.as_deref().unwrap_or("-");
        return format!("describe {} {error:?} {} ({message})", group.group, group.state);
    }
    let mut out = format!(
        "describe {} {} type={:?} protocol={:?}",
        group.group, group.state, group.protocol_type, group.protocol_name
    );
    for member in &group.members {
        let instance = member.instance.as_ref().map_or(String::new(), |id| format!("/{id}"));
        out += &format!(
            "\n  {}{instance} {} {} metadata={} assignment={}",
            member.member,
            member.client_id,
            member.client_host,
            text(&member.metadata),
            text(&member.assignment)
        );
    }
    out
}

fn results(topic: &str, partitions: &[(PartitionIndex, Result<(), GroupError>)]) -> String {
    let partition = |(partition, result): &(PartitionIndex, Result<(), GroupError>)| {
        format!("{topic}-{partition}={}", plain(result))
    };
    partitions.iter().map(partition).collect::<Vec<_>>().join(" ")
}

fn plain(result: &Result<(), GroupError>) -> String {
    match result {
        Ok(()) => "ok".into(),
        Err(error) => format!("{error:?}"),
    }
}

fn offset(value: &Result<Option<OffsetValue>, GroupError>) -> String {
    match value {
        Err(error) => format!("{error:?}"),
        Ok(None) => "none".into(),
        Ok(Some(value)) => {
            let epoch = value.leader_epoch.map_or(String::new(), |epoch| format!("@{epoch}"));
            let metadata = if value.metadata.is_empty() {
                String::new()
            } else {
                format!("({})", value.metadata)
            };
            format!("{}{epoch}{metadata}", value.offset.0)
        }
    }
}

fn text(bytes: &Bytes) -> String {
    let printable = |byte: &u8| byte.is_ascii_graphic();
    if bytes.is_empty() {
        "-".into()
    } else if bytes.iter().all(printable) {
        String::from_utf8_lossy(bytes).into_owned()
    } else {
        format!("<{} bytes>", bytes.len())
    }
}

/// One record, read by the generated types and not by the coordinator.
pub(crate) fn record(record: &Record) -> String {
    let mut key = Reader::new(record.key.clone());
    let id = key.i16("id").expect("an id");
    match id {
        1 => {
            let key = OffsetCommitKey::decode(&mut key, 0).expect("a key");
            let name = format!("offset {} {}-{}", &*key.group, &*key.topic, key.partition);
            let Some((version, value)) = value::<OffsetCommitValue>(record) else {
                return format!("{name} gone");
            };
            let metadata = if value.metadata.is_empty() {
                String::new()
            } else {
                format!(" metadata={}", &*value.metadata)
            };
            let expire = match value.expire_timestamp {
                -1 => String::new(),
                at => format!(" expires={at}"),
            };
            let epoch = value.leader_epoch;
            let at = value.commit_timestamp;
            let topic_id = value.topic_id;
            format!(
                "{name} v{version} {} epoch={epoch} at={at}{expire} id={topic_id}{metadata}",
                value.offset
            )
        }
        2 => {
            let key = GroupMetadataKey::decode(&mut key, 0).expect("a key");
            let name = format!("group {}", &*key.group);
            match value::<GroupMetadataValue>(record) {
                None => format!("{name} gone"),
                Some((version, value)) => format!("{name} v{version} {}", group(&value)),
            }
        }
        3..=8 | 16 => crate::consumer::show_record(id, &mut key, record),
        id => format!("record {id} {}", if record.value.is_some() { "set" } else { "gone" }),
    }
}

fn group(value: &GroupMetadataValue) -> String {
    let mut out = format!(
        "type={:?} generation={} protocol={} leader={} since={}",
        &*value.protocol_type,
        value.generation,
        value.protocol.as_deref().unwrap_or("-"),
        value.leader.as_deref().unwrap_or("-"),
        value.current_state_timestamp,
    );
    for member in &value.members {
        let instance = member.group_instance_id.as_ref();
        let instance = instance.map_or(String::new(), |id| format!("/{}", &**id));
        out += &format!(
            "\n  {}{instance} {} {} rebalance={} session={} subscription={} assignment={}",
            &*member.member_id,
            &*member.client_id,
            &*member.client_host,
            member.rebalance_timeout,
            member.session_timeout,
            text(&member.subscription),
            text(&member.assignment),
        );
    }
    out
}

pub(crate) fn value<M: Message>(record: &Record) -> Option<(i16, M)> {
    let mut reader = Reader::new(record.value.clone()?);
    let version = reader.i16("version").expect("a version");
    Some((version, M::decode(&mut reader, version).expect("a value")))
}
