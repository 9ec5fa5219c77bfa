//! `uniform` where members ask for different topics: everyone keeps what it still asks for, free
//! partitions go to the subscriber with the fewest, and then partitions move from the fullest to
//! the emptiest subscribers of a topic until nothing improves.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use ottla_types::{PartitionIndex, TopicId};

use super::Spec;
use crate::consumer::member::Partitions;
use crate::names::MemberId;

/// How often all topics are gone through, at most.
const ROUNDS_MAX: usize = 16;

pub(super) fn assign(group: &Spec) -> BTreeMap<MemberId, Partitions> {
    let mut builder = Builder::new(group);
    if builder.subscribers.is_empty() {
        return BTreeMap::new();
    }
    builder.give_free();
    builder.balance();
    builder.result()
}

struct Builder<'a> {
    group: &'a Spec,
    members: Vec<&'a MemberId>,
    /// Members of each topic, by position.
    subscribers: BTreeMap<TopicId, Vec<usize>>,
    /// Who is to have each partition.
    owners: BTreeMap<TopicId, Vec<Option<usize>>>,
    /// How many partitions each member is to have.
    sizes: Vec<usize>,
}

impl<'a> Builder<'a> {
    fn new(group: &'a Spec) -> Self {
        let members: Vec<&MemberId> = group.members.keys().collect();
        let mut subscribers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
        for (position, member) in group.members.values().enumerate() {
            for topic in &member.topics {
                subscribers.entry(*topic).or_default().push(position);
            }
        }
        let slots = |topic: &TopicId| {
            let count = group.partitions.get(topic).copied().unwrap_or(0);
            vec![None; usize::try_from(count).unwrap_or(0)]
        };
        let mut owners: BTreeMap<TopicId, Vec<Option<usize>>> =
            subscribers.keys().map(|topic| (*topic, slots(topic))).collect();
        let mut sizes = vec![0; members.len()];
        for (position, member) in group.members.values().enumerate() {
            for (topic, partitions) in &member.before {
                if !member.topics.contains(topic) {
                    continue;
                }
                for index in partitions.iter() {
                    let slot = owners.get_mut(topic).and_then(|owners| at(owners, index));
                    if let Some(slot) = slot.filter(|slot| slot.is_none()) {
                        *slot = Some(position);
                        add(&mut sizes, position);
                    }
                }
            }
        }
        Self { group, members, subscribers, owners, sizes }
    }

    /// Fullest topics first: partitions for each subscriber, then fewer subscribers, then the id
    /// as Java compares it.
    fn sorted(&self, topics: impl Iterator<Item = TopicId>) -> Vec<TopicId> {
        let shape = |topic: &TopicId| {
            let partitions = self.owners.get(topic).map_or(0, Vec::len);
            (partitions, self.subscribers.get(topic).map_or(1, Vec::len))
        };
        let mut topics: Vec<TopicId> = topics.collect();
        topics.sort_by(|one, other| {
            let ((p1, s1), (p2, s2)) = (shape(one), shape(other));
            // p2 / s2 against p1 / s1, without fractions.
            let ratio: Ordering = (p2 * s1).cmp(&(p1 * s2));
            ratio.then(s1.cmp(&s2)).then(java_order(*one).cmp(&java_order(*other)))
        });
        topics
    }

    fn give_free(&mut self) {
        let is_free = |owners: &Vec<Option<usize>>| owners.iter().any(Option::is_none);
        let open = self.owners.iter().filter(|(_, owners)| is_free(owners));
        for topic in self.sorted(open.map(|(topic, _)| *topic)) {
            let Some(mut scale) = self.scale(topic) else { continue };
            for slot in 0..self.owners.get(&topic).map_or(0, Vec::len) {
                if self.owner(topic, slot).is_none() {
                    let member = scale.next_lightest(&self.sizes);
                    self.give(topic, slot, member);
                }
            }
        }
    }

    fn balance(&mut self) {
        let shared = self.subscribers.iter().filter(|(_, members)| 2 <= members.len());
        let topics = self.sorted(shared.map(|(topic, _)| *topic));
        // The last topic in which something moved: without a move until it comes again, all is done.
        let mut last = None;
        for _ in 0..ROUNDS_MAX {
            for (position, topic) in topics.iter().enumerate() {
                if last == Some(position) {
                    return;
                }
                if self.balance_topic(*topic) || last.is_none() {
                    last = Some(position);
                }
            }
        }
    }

    /// Tells whether anything moved.
    fn balance_topic(&mut self, topic: TopicId) -> bool {
        let Some(mut scale) = self.scale(topic) else { return false };
        if scale.spread(&self.sizes) <= 1 {
            return false;
        }
        let mut owned: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (slot, owner) in self.owners.get(&topic).into_iter().flatten().enumerate() {
            if let Some(owner) = owner {
                owned.entry(*owner).or_default().push(slot);
            }
        }
        let mut moved = false;
        while !scale.is_even() {
            let from = loop {
                match scale.next_heaviest(&self.sizes) {
                    None => return moved,
                    Some(member) if owned.get(&member).is_none_or(Vec::is_empty) => {
                        scale.exclude_heaviest();
                    }
                    Some(member) => break member,
                }
            };
            let Some(slot) = owned.get_mut(&from).and_then(Vec::pop) else { return moved };
            let to = scale.next_lightest(&self.sizes);
            if scale.is_even() {
                return moved;
            }
            self.give(topic, slot, to);
            moved = true;
        }
        moved
    }

    fn scale(&self, topic: TopicId) -> Option<Scale> {
        let members = self.subscribers.get(&topic)?;
        Scale::new(members, &self.sizes)
    }

    fn owner(&self, topic: TopicId, slot: usize) -> Option<usize> {
        self.owners.get(&topic).and_then(|owners| owners.get(slot).copied().flatten())
    }

    fn give(&mut self, topic: TopicId, slot: usize, member: usize) {
        if let Some(before) = self.owner(topic, slot)
            && let Some(size) = self.sizes.get_mut(before)
        {
            assert!(0 < *size, "an owner has partitions");
            *size -= 1;
        }
        add(&mut self.sizes, member);
        if let Some(owner) = self.owners.get_mut(&topic).and_then(|owners| owners.get_mut(slot)) {
            *owner = Some(member);
        }
    }

    fn result(self) -> BTreeMap<MemberId, Partitions> {
        let mut all: BTreeMap<MemberId, Partitions> =
            self.group.members.keys().map(|id| (id.clone(), Partitions::new())).collect();
        for (topic, owners) in self.owners {
            for (index, owner) in (0..).map(PartitionIndex).zip(owners) {
                let member = owner.and_then(|owner| self.members.get(owner).copied());
                if let Some(mine) = member.and_then(|member| all.get_mut(member)) {
                    mine.entry(topic).or_default().insert(index);
                }
            }
        }
        all
    }
}

fn at(owners: &mut [Option<usize>], index: PartitionIndex) -> Option<&mut Option<usize>> {
    owners.get_mut(usize::try_from(index.0).ok()?)
}

fn add(sizes: &mut [usize], member: usize) {
    if let Some(size) = sizes.get_mut(member) {
        *size += 1;
    }
}

fn java_order(id: TopicId) -> (i64, i64) {
    let whole = u128::from_be_bytes(id.0.0);
    let half = |part: u128| u64::try_from(part & u128::from(u64::MAX)).unwrap_or(0).cast_signed();
    (half(whole >> 64), half(whole))
}

/// The subscribers of a topic by what they have, with a level that rises from below and one that
/// sinks from above.
struct Scale {
    sorted: Vec<usize>,
    low: Level,
    high: Level,
}

struct Level {
    /// Size at which members of this level are.
    size: isize,
    start: usize,
    end: usize,
    next: Option<usize>,
}

impl Scale {
    fn new(members: &[usize], sizes: &[usize]) -> Option<Self> {
        let mut sorted = members.to_vec();
        sorted.sort_by_key(|member| (size_of(sizes, *member), *member));
        let (first, last) = (*sorted.first()?, *sorted.last()?);
        let low = Level { size: size_of(sizes, first) - 1, start: 0, end: 0, next: Some(0) };
        let high = Level {
            size: size_of(sizes, last) + 1,
            start: sorted.len(),
            end: sorted.len(),
            next: sorted.len().checked_sub(1),
        };
        Some(Self { sorted, low, high })
    }

    fn spread(&self, sizes: &[usize]) -> isize {
        let size = |member: Option<&usize>| member.map_or(0, |member| size_of(sizes, *member));
        size(self.sorted.last()) - size(self.sorted.first())
    }

    fn is_even(&self) -> bool {
        self.high.size - self.low.size <= 1
    }

    fn size_at(&self, position: usize, sizes: &[usize]) -> Option<isize> {
        self.sorted.get(position).map(|member| size_of(sizes, *member))
    }

    fn next_lightest(&mut self, sizes: &[usize]) -> usize {
        let mut next = self.low.next.unwrap_or(0);
        if self.low.end <= next {
            self.low.size += 1;
            while self.size_at(self.low.end, sizes) == Some(self.low.size) {
                self.low.end += 1;
            }
            next = 0;
        }
        self.low.next = Some(next + 1);
        self.sorted.get(next).copied().expect("the lower level has a member")
    }

    fn next_heaviest(&mut self, sizes: &[usize]) -> Option<usize> {
        if self.high.next.is_none_or(|next| next < self.high.start) {
            let below = self.high.start.checked_sub(1);
            match below.and_then(|below| self.size_at(below, sizes)) {
                // Everyone of the level was excluded: go on with whoever is below.
                Some(size) if self.high.end <= self.high.start => self.high.size = size,
                _ => self.high.size -= 1,
            }
            while let Some(below) = self.high.start.checked_sub(1)
                && self.size_at(below, sizes) == Some(self.high.size)
            {
                self.high.start = below;
            }
            self.high.next = self.high.end.checked_sub(1);
        }
        let next = self.high.next?;
        self.high.next = next.checked_sub(1);
        self.sorted.get(next).copied()
    }

    /// The member that came last has nothing to give: out of the level with it.
    fn exclude_heaviest(&mut self) {
        let position = self.high.next.map_or(0, |next| next + 1);
        let Some(last) = self.high.end.checked_sub(1) else { return };
        self.sorted.swap(position, last);
        self.high.end = last;
    }
}

fn size_of(sizes: &[usize], member: usize) -> isize {
    sizes.get(member).and_then(|size| isize::try_from(*size).ok()).unwrap_or(0)
}
