//! Consumer groups in scripts: topics, heartbeats, and what came of them as text.

use std::sync::Arc;

use ottla_codec::{Message, Reader};
use ottla_group::generated::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataValue,
    ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataValue,
};
use ottla_group::{
    Assignor, Beat, ConsumerAssignment, ConsumerGroupHeartbeat, ConsumerGroupHeartbeatResponse,
    DescribedConsumerGroup, Epoch, GroupId, Record, Refused, Topic, TopicInfo, Topics,
};
use ottla_types::{PartitionIndex, TopicId, Uuid};

use crate::parse::Line;
use crate::show::value;

/// The topics of a script: the first has id 1, and so on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) version: u64,
    /// Name, id, partitions, rack of all.
    pub(crate) topics: Vec<(Topic, TopicId, u32, Option<String>)>,
}

impl Cluster {
    /// `topics t:3 u:2@rack v=7`
    pub(crate) fn read(line: &Line) -> Arc<Self> {
        let mut cluster = Self { version: 1, topics: Vec::new() };
        cluster.version = u64::try_from(line.number("v", 1)).unwrap();
        for (number, word) in (1..).zip(line.words(0)) {
            let (name, rest) = word.split_once(':').unwrap();
            let (count, rack) = rest.split_once('@').unwrap_or((rest, ""));
            let rack = (!rack.is_empty()).then(|| rack.to_owned());
            cluster.topics.push((name.into(), id(number), count.parse().unwrap(), rack));
        }
        Arc::new(cluster)
    }
}

pub(crate) fn id(number: u64) -> TopicId {
    TopicId(Uuid::from_parts(0, number))
}

fn number(id: TopicId) -> u128 {
    u128::from_be_bytes(id.0.0)
}

impl Topics for Cluster {
    fn version(&self) -> u64 {
        self.version
    }

    fn find(&self, name: &str) -> Option<TopicInfo> {
        let found = self.topics.iter().find(|topic| &*topic.0 == name)?;
        Some(TopicInfo { id: found.1, partitions: found.2 })
    }

    fn name_of(&self, id: TopicId) -> Option<Topic> {
        self.topics.iter().find(|topic| topic.1 == id).map(|topic| topic.0.clone())
    }

    fn racks(&self, id: TopicId, _partition: PartitionIndex) -> Vec<String> {
        let found = self.topics.iter().find(|topic| topic.1 == id);
        found.and_then(|topic| topic.3.clone()).into_iter().collect()
    }

    fn names(&self) -> Vec<Topic> {
        self.topics.iter().map(|topic| topic.0.clone()).collect()
    }
}

/// `beat g m epoch=0 topics=t,u regex= owned=1-0,1-1 instance= rack= rebalance= assignor=`
pub(crate) fn beat(line: &Line) -> ConsumerGroupHeartbeat {
    let beat = match line.number("epoch", 0) {
        0 => Beat::Join,
        -1 => Beat::Leave,
        -2 => Beat::LeaveForNow,
        epoch => Beat::Stay(Epoch(i32::try_from(epoch).unwrap())),
    };
    let joining = beat == Beat::Join;
    let words = |key: &str| -> Option<Vec<String>> {
        line.get(key).map(|text| text.split_terminator(',').map(str::to_owned).collect())
    };
    let mut owned: Option<Vec<(TopicId, Vec<PartitionIndex>)>> = joining.then(Vec::new);
    for word in words("owned").unwrap_or_default() {
        let (topic, index) = word.split_once('-').unwrap_or(("", ""));
        let owned = owned.get_or_insert_default();
        if let (Ok(topic), Ok(index)) = (topic.parse(), index.parse()) {
            owned.push((id(topic), vec![PartitionIndex(index)]));
        }
    }
    let all = |words: Vec<String>| words.iter().map(|word| word.as_str().into()).collect();
    ConsumerGroupHeartbeat {
        group: line.word(0).into(),
        member: line.word(1).into(),
        beat,
        instance: line.get("instance").map(Into::into),
        rack: line.get("rack").map(Into::into),
        rebalance_timeout: (joining || line.get("rebalance").is_some())
            .then(|| line.millis("rebalance", 60_000)),
        topics: words("topics").map(all),
        regex: line.get("regex").map(Into::into),
        assignor: line.get("assignor").and_then(Assignor::named),
        owned,
        client_id: line.or("client", "c").into(),
        client_host: "/10.0.0.1".into(),
    }
}

pub(crate) fn show_beat(result: &Result<ConsumerGroupHeartbeatResponse, Refused>) -> String {
    match result {
        Err(refused) => {
            format!("beat {:?} ({})", refused.error, refused.message.as_deref().unwrap_or("-"))
        }
        Ok(fine) => {
            let interval = fine.interval.map_or(0, |interval| interval.as_millis());
            let assignment = match &fine.assignment {
                None => "as before".to_owned(),
                Some(topics) => topics.iter().map(|(id, all)| partitions(*id, all)).collect(),
            };
            format!("beat {} epoch={} interval={interval} {assignment}", fine.member, fine.epoch)
        }
    }
}

fn partitions(id: TopicId, all: &[PartitionIndex]) -> String {
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    format!("{}[{}]", number(id), all.join(","))
}

pub(crate) fn show_group(
    (id, described): &(GroupId, Result<DescribedConsumerGroup, Refused>),
) -> String {
    let group = match described {
        Err(refused) => {
            let text = refused.message.as_deref().unwrap_or("-");
            return format!("describe {id} {:?} ({text})", refused.error);
        }
        Ok(group) => group,
    };
    let assignment = |all: &[ConsumerAssignment]| -> String {
        all.iter().map(|topic| partitions(topic.topic_id, &topic.partitions)).collect()
    };
    let mut out = format!(
        "describe {id} {} epoch={} assignment={} {}",
        group.state, group.epoch, group.assignment_epoch, group.assignor
    );
    for member in &group.members {
        let instance = member.instance.as_ref().map_or(String::new(), |id| format!("/{id}"));
        out += &format!(
            "\n  {}{instance} epoch={} topics={:?} regex={:?} has {} target {}",
            member.member,
            member.epoch,
            member.topics,
            member.regex,
            assignment(&member.assignment),
            assignment(&member.target),
        );
    }
    out
}

/// One record, read by the generated types and not by the coordinator.
pub(crate) fn show_record(id: i16, key: &mut Reader, record: &Record) -> String {
    let text = |body: Option<String>| body.unwrap_or_else(|| "gone".to_owned());
    let topics = |topics: &[(Uuid, Vec<i32>)]| -> String {
        let topic = |(id, all): &(Uuid, Vec<i32>)| format!("{}{all:?}", number(TopicId(*id)));
        topics.iter().map(topic).collect()
    };
    match id {
        5 => show_member(key, record),
        6 => {
            let body = value::<ConsumerGroupTargetAssignmentMetadataValue>(record);
            let body = body.map(|(_, value)| {
                format!("{} at={}", value.assignment_epoch, value.assignment_timestamp)
            });
            format!("6 target epoch {}", text(body))
        }
        7 => {
            let key = ConsumerGroupTargetAssignmentMemberKey::decode(key, 0).unwrap();
            let body =
                value::<ConsumerGroupTargetAssignmentMemberValue>(record).map(|(_, value)| {
                    let all = value.topic_partitions.into_iter();
                    topics(&all.map(|topic| (topic.topic_id, topic.partitions)).collect::<Vec<_>>())
                });
            format!("7 target {} {}", &*key.member_id, text(body))
        }
        8 => {
            let key = ConsumerGroupCurrentMemberAssignmentKey::decode(key, 0).unwrap();
            let body = value::<ConsumerGroupCurrentMemberAssignmentValue>(record).map(|(_, value)| {
                let held = |all: &[_]| -> String {
                    let topic = |topic: &ottla_group::generated::consumer_group_current_member_assignment_value::TopicPartitions| {
                        let epochs = topic.assignment_epochs.as_ref();
                        format!("{}{:?}@{:?}", number(TopicId(topic.topic_id)), topic.partitions, epochs.unwrap())
                    };
                    all.iter().map(topic).collect()
                };
                format!(
                    "epoch={} previous={} state={} has {} revoking {}",
                    value.member_epoch,
                    value.previous_member_epoch,
                    value.state,
                    held(&value.assigned_partitions),
                    held(&value.partitions_pending_revocation)
                )
            });
            format!("8 current {} {}", &*key.member_id, text(body))
        }
        16 => {
            let key = ConsumerGroupRegularExpressionKey::decode(key, 0).unwrap();
            let body = value::<ConsumerGroupRegularExpressionValue>(record).map(|(_, value)| {
                let topics: Vec<&str> = value.topics.iter().map(|topic| &**topic).collect();
                format!("{topics:?} version={} at={}", value.version, value.timestamp)
            });
            format!("16 regex {} {}", &*key.regular_expression, text(body))
        }
        3 => {
            let body = value::<ConsumerGroupMetadataValue>(record);
            let body =
                body.map(|(_, value)| format!("{} hash={}", value.epoch, value.metadata_hash));
            format!("3 epoch {}", text(body))
        }
        id => format!("{id} {}", if record.value.is_some() { "set" } else { "gone" }),
    }
}

fn show_member(key: &mut Reader, record: &Record) -> String {
    let key = ConsumerGroupMemberMetadataKey::decode(key, 0).unwrap();
    let body = value::<ConsumerGroupMemberMetadataValue>(record).map(|(_, value)| {
        let topics: Vec<&str> = value.subscribed_topic_names.iter().map(|topic| &**topic).collect();
        format!(
            "{:?} regex={:?} instance={:?} rack={:?} rebalance={} assignor={:?} {} {}",
            topics,
            value.subscribed_topic_regex.as_deref(),
            value.instance_id.as_deref(),
            value.rack_id.as_deref(),
            value.rebalance_timeout_ms,
            value.server_assignor.as_deref(),
            &*value.client_id,
            &*value.client_host,
        )
    });
    format!("5 member {} {}", &*key.member_id, body.unwrap_or_else(|| "gone".to_owned()))
}
