//! Properties of the assignors on random groups, and the ranges of a known one.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{PartitionIndex, TopicId, Uuid};
use proptest::prelude::*;

use super::{Assignor, MemberSpec, Spec};
use crate::consumer::member::Partitions;
use crate::consumer::partitions::PartitionSet;
use crate::names::MemberId;

fn topic(number: u64) -> TopicId {
    TopicId(Uuid::from_parts(0, number))
}

fn spec(topics: &[u32], wishes: &[Vec<bool>]) -> Spec {
    let number = |at: usize| u64::try_from(at).unwrap();
    let partitions: BTreeMap<TopicId, u32> =
        topics.iter().enumerate().map(|(at, count)| (topic(number(at)), *count)).collect();
    let member = |(at, wish): (usize, &Vec<bool>)| {
        let ids = wish.iter().enumerate().filter(|(_, wanted)| **wanted);
        let topics: BTreeSet<TopicId> = ids.map(|(at, _)| topic(number(at))).collect();
        let id = MemberId::from(format!("m{at:03}"));
        (id, MemberSpec { instance: None, topics, before: Partitions::new() })
    };
    let members: BTreeMap<MemberId, MemberSpec> = wishes.iter().enumerate().map(member).collect();
    let mut sets = members.values().map(|member| &member.topics);
    let first = sets.next().cloned();
    let homogeneous = sets.all(|topics| Some(topics) == first.as_ref());
    let wanted: BTreeSet<TopicId> =
        members.values().flat_map(|member| member.topics.iter().copied()).collect();
    let partitions = partitions.into_iter().filter(|(id, _)| wanted.contains(id)).collect();
    Spec { members, partitions, homogeneous }
}

/// Everyone goes on with what was assigned.
fn settle(spec: &mut Spec, assigned: &BTreeMap<MemberId, Partitions>) {
    for (id, member) in &mut spec.members {
        member.before = assigned.get(id).cloned().unwrap_or_default();
    }
}

fn check_whole(spec: &Spec, assigned: &BTreeMap<MemberId, Partitions>) {
    let mut owners: BTreeMap<(TopicId, PartitionIndex), &MemberId> = BTreeMap::new();
    for (id, partitions) in assigned {
        for (topic, all) in partitions {
            assert!(!all.is_empty(), "no topic without partitions");
            assert!(spec.members[id].topics.contains(topic), "only who asked");
            for index in all.iter() {
                assert!(owners.insert((*topic, index), id).is_none(), "one owner");
            }
        }
    }
    let all: u32 = spec.partitions.values().sum();
    assert_eq!(owners.len(), usize::try_from(all).unwrap(), "none is left");
}

fn sizes(assigned: &BTreeMap<MemberId, Partitions>) -> Vec<usize> {
    assigned.values().map(|topics| topics.values().map(|all| all.iter().len()).sum()).collect()
}

fn moved(before: &BTreeMap<MemberId, Partitions>, after: &BTreeMap<MemberId, Partitions>) -> usize {
    let lost = |(id, topics): (&MemberId, &Partitions)| -> usize {
        let now = after.get(id).cloned().unwrap_or_default();
        let gone = |(topic, all): (&TopicId, &PartitionSet)| {
            let now = now.get(topic);
            all.iter().filter(|index| now.is_none_or(|now| !now.as_map().contains(*index))).count()
        };
        topics.iter().map(gone).sum()
    };
    before.iter().filter(|(id, _)| after.contains_key(*id)).map(lost).sum()
}

proptest! {
    #[test]
    fn everything_is_assigned_once_to_who_asked(
        topics in prop::collection::vec(1..30u32, 1..6),
        wishes in prop::collection::vec(prop::collection::vec(any::<bool>(), 5), 1..12),
        uniform in any::<bool>(),
    ) {
        let assignor = if uniform { Assignor::Uniform } else { Assignor::Range };
        let wishes: Vec<Vec<bool>> =
            wishes.iter().map(|wish| wish[..topics.len()].to_vec()).collect();
        let mut spec = spec(&topics, &wishes);
        let first = assignor.assign(&spec);
        check_whole(&spec, &first);
        // Nothing moves without a reason.
        settle(&mut spec, &first);
        let second = assignor.assign(&spec);
        prop_assert_eq!(moved(&first, &second), 0);
        // A death moves what is orphaned, and everything has an owner again.
        let dead = spec.members.keys().next().cloned().unwrap();
        let left = spec.members.remove(&dead).unwrap();
        let still: BTreeSet<TopicId> =
            spec.members.values().flat_map(|member| member.topics.iter().copied()).collect();
        spec.partitions.retain(|id, _| still.contains(id));
        spec.homogeneous &= !left.topics.is_empty();
        let third = assignor.assign(&spec);
        check_whole(&spec, &third);
    }

    #[test]
    fn uniform_is_even_and_moves_as_little_as_it_can(
        topics in prop::collection::vec(1..30u32, 1..6),
        members in 2..12usize,
    ) {
        let wishes = vec![vec![true; topics.len()]; members + 1];
        let mut all = spec(&topics, &wishes);
        let (late, joining) = all.members.pop_last().unwrap();
        let first = Assignor::Uniform.assign(&all);
        let even = |assigned: &BTreeMap<MemberId, Partitions>| {
            let sizes = sizes(assigned);
            sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1
        };
        prop_assert!(even(&first));
        settle(&mut all, &first);
        all.members.insert(late.clone(), joining);
        let second = Assignor::Uniform.assign(&all);
        prop_assert!(even(&second));
        let got: usize = second[&late].values().map(|all| all.iter().len()).sum();
        prop_assert_eq!(moved(&first, &second), got);
        settle(&mut all, &second);
        all.members.remove(&late);
        let third = Assignor::Uniform.assign(&all);
        prop_assert!(even(&third));
        prop_assert_eq!(moved(&second, &third), 0);
    }
}

#[test]
fn ranges_lie_side_by_side_and_static_members_come_first() {
    let mut spec = spec(&[3, 3], &[vec![true, true], vec![true, true]]);
    spec.members.get_mut("m001").unwrap().instance = Some("i".into());
    let assigned = Assignor::Range.assign(&spec);
    let counts = |id: &str| -> Vec<Vec<u32>> {
        let topics = assigned[id].values();
        topics.map(|all| all.iter().map(|index| index.0).collect()).collect()
    };
    assert_eq!(counts("m001"), [[0, 1], [0, 1]]);
    assert_eq!(counts("m000"), [[2], [2]]);
}
