//! `uniform` where everybody asks for the same topics: everyone gets the same number or one more,
//! keeps what fits into that, and the rest goes to who is short.

use std::collections::BTreeMap;

use ottla_types::{PartitionIndex, TopicId};

use super::Spec;
use crate::consumer::member::Partitions;
use crate::consumer::partitions::PartitionSet;
use crate::names::MemberId;

pub(super) fn assign(group: &Spec) -> BTreeMap<MemberId, Partitions> {
    let Some(first) = group.members.values().next() else { return BTreeMap::new() };
    let subscribed = &first.topics;
    if subscribed.is_empty() {
        return BTreeMap::new();
    }
    let (mut free, total) = free_partitions(group);
    let count = group.members.len();
    let (least, mut extra) = (total / count, total % count);
    let mut all: BTreeMap<MemberId, Partitions> = BTreeMap::new();
    let mut unfilled: Vec<(&MemberId, usize)> = Vec::new();
    for (position, (id, member)) in group.members.iter().enumerate() {
        let mut mine = Partitions::new();
        let may_have_extra = 0 < extra;
        let mut quota = least + usize::from(may_have_extra);
        for (topic, partitions) in &member.before {
            if !subscribed.contains(topic) {
                continue;
            }
            let known = group.partitions.get(topic).copied().unwrap_or(0);
            let mut kept = PartitionSet::default();
            for index in partitions.iter().filter(|index| index.0 < known) {
                if 0 < quota {
                    quota -= 1;
                    kept.insert(index);
                } else {
                    free.push((*topic, index));
                }
            }
            if !kept.is_empty() {
                mine.insert(*topic, kept);
            }
        }
        let mut takes_extra = may_have_extra;
        // The extra one is left to a member that has it already, while there are enough of them.
        if 0 < quota && may_have_extra && extra < count - position {
            quota -= 1;
            takes_extra = false;
        }
        if 0 < quota {
            unfilled.push((id, quota));
        }
        extra -= usize::from(takes_extra);
        all.insert(id.clone(), mine);
    }
    let mut free = free.into_iter();
    for (id, quota) in unfilled {
        let Some(mine) = all.get_mut(id) else { continue };
        let mut given: BTreeMap<TopicId, Vec<PartitionIndex>> = BTreeMap::new();
        for (topic, index) in free.by_ref().take(quota) {
            given.entry(topic).or_default().push(index);
        }
        for (topic, partitions) in given {
            mine.entry(topic).or_default().extend(partitions);
        }
    }
    assert!(free.next().is_none(), "quotas add up to the partitions");
    all
}

/// Partitions that nobody had, and how many there are in all.
fn free_partitions(group: &Spec) -> (Vec<(TopicId, PartitionIndex)>, usize) {
    let (mut free, mut total) = (Vec::new(), 0);
    for (topic, count) in &group.partitions {
        let count = usize::try_from(*count).unwrap_or(usize::MAX);
        total += count;
        let mut unowned = vec![true; count];
        let before = group.members.values().filter_map(|member| member.before.get(topic));
        for index in before.flat_map(PartitionSet::iter) {
            let place = usize::try_from(index.0).ok().and_then(|at| unowned.get_mut(at));
            place.into_iter().for_each(|unowned| *unowned = false);
        }
        let all = (0..).map(PartitionIndex).zip(unowned);
        free.extend(all.filter(|(_, unowned)| *unowned).map(|(index, _)| (*topic, index)));
    }
    (free, total)
}
