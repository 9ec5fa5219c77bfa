//! Collects answers about partitions under their topics, in order of the first mention.

use std::collections::HashMap;
use std::hash::Hash;

/// Topics of an answer, found by key without a search through all of them.
#[derive(Debug)]
pub(crate) struct ByTopic<K, T> {
    topics: Vec<T>,
    places: HashMap<K, usize>,
}

impl<K: Hash + Eq, T> ByTopic<K, T> {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self { topics: Vec::new(), places: HashMap::new() }
    }

    /// The topic with this key; `make` makes one that is new.
    pub(crate) fn topic(&mut self, key: K, make: impl FnOnce() -> T) -> Option<&mut T> {
        let place = *self.places.entry(key).or_insert_with(|| {
            self.topics.push(make());
            self.topics.len() - 1
        });
        self.topics.get_mut(place)
    }

    /// The topics, in order of their first mention.
    pub(crate) fn into_topics(self) -> Vec<T> {
        self.topics
    }
}
