//! `range`: each topic is cut into ranges, one for each subscriber; static members come first, by
//! instance id.

use std::collections::BTreeMap;

use ottla_types::{PartitionIndex, TopicId};

use super::{MemberSpec, Spec};
use crate::consumer::member::Partitions;
use crate::names::MemberId;

struct Topic {
    partitions: u32,
    quota: u32,
    extra: u32,
    next: u32,
}

pub(super) fn assign(group: &Spec) -> BTreeMap<MemberId, Partitions> {
    let mut members: Vec<(&MemberId, &MemberSpec)> = group.members.iter().collect();
    members.sort_by_key(|(id, member)| (member.instance.is_none(), member.instance.clone(), *id));
    let mut subscribers: BTreeMap<TopicId, u32> = BTreeMap::new();
    for topic in members.iter().flat_map(|(_, member)| &member.topics) {
        *subscribers.entry(*topic).or_default() += 1;
    }
    let mut topics: BTreeMap<TopicId, Topic> = BTreeMap::new();
    for (id, subscribers) in subscribers {
        let partitions = group.partitions.get(&id).copied().unwrap_or(0);
        let (quota, extra) = (partitions / subscribers, partitions % subscribers);
        topics.insert(id, Topic { partitions, quota, extra, next: 0 });
    }
    let mut all = BTreeMap::new();
    for (id, member) in members {
        let mut mine = Partitions::new();
        for topic_id in &member.topics {
            let Some(topic) = topics.get_mut(topic_id) else { continue };
            let start = topic.next;
            let one_more = u32::from(0 < topic.extra);
            topic.extra -= one_more;
            topic.next = (start + topic.quota + one_more).min(topic.partitions);
            if start < topic.next {
                let range = (start..topic.next).map(PartitionIndex);
                mine.insert(*topic_id, range.collect());
            }
        }
        all.insert(id.clone(), mine);
    }
    all
}
