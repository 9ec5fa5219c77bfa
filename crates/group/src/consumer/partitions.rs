//! Partitions of one topic in order: a set, and a map to something about each.
//!
//! Sorted vectors: groups walk all of their partitions again and again, and almost always add behind the
//! last one. Adding in front of others moves those, so many are added together.

use ottla_types::PartitionIndex;

/// Something about each of some partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionMap<V>(Vec<(PartitionIndex, V)>);

impl<V> Default for PartitionMap<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V: Copy> PartitionMap<V> {
    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn place(&self, index: PartitionIndex) -> Result<usize, usize> {
        match self.0.last() {
            Some((last, _)) if *last >= index => {
                self.0.binary_search_by_key(&index, |(index, _)| *index)
            }
            _ => Err(self.0.len()),
        }
    }

    /// What is known of one.
    pub(crate) fn get(&self, index: PartitionIndex) -> Option<V> {
        let place = self.place(index).ok()?;
        self.0.get(place).map(|(_, value)| *value)
    }

    /// Whether one is in it.
    pub(crate) fn contains(&self, index: PartitionIndex) -> bool {
        self.place(index).is_ok()
    }

    /// Adds one, or changes what is known of it.
    pub(crate) fn insert(&mut self, index: PartitionIndex, value: V) {
        match self.place(index) {
            Ok(place) => {
                if let Some(found) = self.0.get_mut(place) {
                    found.1 = value;
                }
            }
            Err(place) => self.0.insert(place, (index, value)),
        }
    }

    /// Adds those of another; `both` says what holds of one that is in both.
    pub(crate) fn merge(
        &mut self,
        other: impl IntoIterator<Item = (PartitionIndex, V)>,
        both: impl Fn(V, V) -> V,
    ) {
        let sorted = self.0.len();
        self.0.extend(other);
        let whole = |pair: &[(PartitionIndex, V)]| matches!(pair, [a, b] if a.0 < b.0);
        if self.0.get(sorted.saturating_sub(1)..).is_some_and(|new| new.windows(2).all(whole)) {
            return;
        }
        // Stable: of equal ones the earlier comes first.
        self.0.sort_by_key(|(index, _)| *index);
        self.0.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                earlier.1 = both(earlier.1, later.1);
            }
            same
        });
    }

    /// Keeps those that are so.
    pub(crate) fn retain(&mut self, mut is: impl FnMut(PartitionIndex, V) -> bool) {
        self.0.retain(|(index, value)| is(*index, *value));
    }

    /// Says the same of all.
    pub(crate) fn fill(&mut self, value: V) {
        self.0.iter_mut().for_each(|(_, known)| *known = value);
    }

    /// In order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (PartitionIndex, V)> {
        self.0.iter().copied()
    }

    /// In order, without what is known of them.
    pub(crate) fn keys(&self) -> impl ExactSizeIterator<Item = PartitionIndex> {
        self.0.iter().map(|(index, _)| *index)
    }
}

impl<V: Copy> FromIterator<(PartitionIndex, V)> for PartitionMap<V> {
    fn from_iter<I: IntoIterator<Item = (PartitionIndex, V)>>(items: I) -> Self {
        let mut map = Self::default();
        map.merge(items, |_, later| later);
        map
    }
}

impl<'a, V: Copy> IntoIterator for &'a PartitionMap<V> {
    type Item = (PartitionIndex, V);
    type IntoIter = std::iter::Copied<std::slice::Iter<'a, (PartitionIndex, V)>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().copied()
    }
}

/// Answers for partitions in ascending order, going once over those of a map.
#[derive(Debug)]
pub(crate) struct Walk<'a, V>(&'a [(PartitionIndex, V)]);

impl<'a, V> Walk<'a, V> {
    /// Over nothing if there is no map.
    pub(crate) fn over(map: Option<&'a PartitionMap<V>>) -> Self {
        Self(map.map_or(&[], |map| &map.0))
    }

    /// Whether the partition is in the map. It is not before one that was asked for.
    pub(crate) fn comes_to(&mut self, index: PartitionIndex) -> bool {
        while let Some(((first, _), rest)) = self.0.split_first() {
            if index <= *first {
                return index == *first;
            }
            self.0 = rest;
        }
        false
    }
}

/// Some partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PartitionSet(PartitionMap<()>);

impl PartitionSet {
    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same as a map.
    pub(crate) fn as_map(&self) -> &PartitionMap<()> {
        &self.0
    }

    /// Adds one.
    pub(crate) fn insert(&mut self, index: PartitionIndex) {
        self.0.insert(index, ());
    }

    /// Adds those of another.
    pub(crate) fn extend(&mut self, other: impl IntoIterator<Item = PartitionIndex>) {
        self.0.merge(other.into_iter().map(|index| (index, ())), |(), ()| ());
    }

    /// In order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = PartitionIndex> {
        self.0.keys()
    }
}

impl FromIterator<PartitionIndex> for PartitionSet {
    fn from_iter<I: IntoIterator<Item = PartitionIndex>>(items: I) -> Self {
        let mut set = Self::default();
        set.extend(items);
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u32, u8),
        Merge(Vec<(u32, u8)>),
        Retain(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_u32..40, any::<u8>()).prop_map(|(index, value)| Step::Insert(index, value)),
            prop::collection::vec((0_u32..40, any::<u8>()), 0..10).prop_map(Step::Merge),
            any::<u8>().prop_map(Step::Retain),
        ]
    }

    proptest! {
        #[test]
        fn as_a_tree(steps in prop::collection::vec(step(), 0..40)) {
            let mut map = PartitionMap::default();
            let mut tree: BTreeMap<PartitionIndex, u8> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Insert(index, value) => {
                        map.insert(PartitionIndex(index), value);
                        tree.insert(PartitionIndex(index), value);
                    }
                    Step::Merge(items) => {
                        let items = items.into_iter().map(|(index, value)| (PartitionIndex(index), value));
                        map.merge(items.clone(), u8::wrapping_add);
                        for (index, value) in items {
                            let known = tree.get(&index).copied();
                            tree.insert(index, known.map_or(value, |known| known.wrapping_add(value)));
                        }
                    }
                    Step::Retain(least) => {
                        map.retain(|_, value| value >= least);
                        tree.retain(|_, value| *value >= least);
                    }
                }
                prop_assert!(map.iter().eq(tree.iter().map(|(index, value)| (*index, *value))));
                let mut walk = Walk::over(Some(&map));
                for index in (0..40).map(PartitionIndex) {
                    prop_assert_eq!(walk.comes_to(index), tree.contains_key(&index));
                    prop_assert_eq!(map.get(index), tree.get(&index).copied());
                }
            }
        }
    }
}
