//! Small things that the tools inherit from Java: the order of hash maps, regular expressions of
//! topics.

use regex::Regex;

use super::stop::{Run, Stop};

/// `String.hashCode`.
pub(super) fn hash(text: &str) -> u32 {
    let step = |hash: u32, unit: u16| hash.wrapping_mul(31).wrapping_add(u32::from(unit));
    text.encode_utf16().fold(0, step)
}

/// The order in which a `HashMap` with room for `capacity` yields keys that came in this order: those
/// of one bucket stay as they came.
pub(super) fn hash_order<T>(items: &mut [T], capacity: usize, key: impl Fn(&T) -> &str) {
    hash_order_by(items, capacity, |item| hash(key(item)));
}

/// As [`hash_order`], for keys with these hashes.
pub(super) fn hash_order_by<T>(items: &mut [T], capacity: usize, hash: impl Fn(&T) -> u32) {
    let mut size = capacity.max(1).next_power_of_two();
    while size * 3 / 4 < items.len() {
        size *= 2;
    }
    let mask = u32::try_from(size - 1).unwrap_or(u32::MAX);
    items.sort_by_key(|item| {
        let hash = hash(item);
        (hash ^ (hash >> 16)) & mask
    });
}

/// Topics that `kafka-topics --topic` and the like choose.
#[derive(Debug)]
pub(super) struct IncludeList(Regex);

impl IncludeList {
    /// Reads a list of expressions, comma between them.
    pub(super) fn new(text: &str) -> Run<Self> {
        let quotes = ['"', '\''];
        let text = text.trim().replace(',', "|").replace(' ', "");
        let text = text.trim_matches(quotes);
        let regex = Regex::new(&format!("^(?:{text})$")).map_err(|_| Stop::Thrown {
            class: "java.lang.RuntimeException".to_owned(),
            message: format!("{text} is an invalid regex."),
        })?;
        Ok(Self(regex))
    }

    /// Whether a topic is chosen.
    pub(super) fn allows(&self, topic: &str) -> bool {
        self.0.is_match(topic)
    }
}

/// Topics of Kafka's own.
pub(super) fn is_internal(topic: &str) -> bool {
    ["__consumer_offsets", "__transaction_state", "__share_group_state"].contains(&topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        assert_eq!(hash("hello"), 99_162_322);
        assert_eq!(hash(""), 0);
        // As Java 17 prints the keys of such maps.
        let mut items = ["retention.ms", "cleanup.policy", "a", "b", "flush.ms", "ü"];
        hash_order(&mut items, 16, |item| item);
        assert_eq!(items, ["a", "cleanup.policy", "b", "flush.ms", "retention.ms", "ü"]);
        let mut topics: Vec<String> = (0..13).map(|number| format!("topic-{number}")).collect();
        hash_order(&mut topics, 16, |item| item);
        let numbers: Vec<&str> = topics.iter().map(|topic| &topic["topic-".len()..]).collect();
        assert_eq!(numbers.join(" "), "6 7 8 9 0 1 2 3 10 4 11 5 12");
        // "Aa" and "BB" have one hash.
        for mut keys in [["x", "Aa", "BB"], ["BB", "x", "Aa"]] {
            let came: Vec<&str> = keys.into_iter().filter(|key| *key != "x").collect();
            hash_order(&mut keys, 16, |key| key);
            assert_eq!(keys.into_iter().filter(|key| *key != "x").collect::<Vec<_>>(), came);
        }
    }

    #[test]
    fn lists_of_topics() {
        let list = IncludeList::new("\"a.*, b\"").unwrap();
        assert!(list.allows("abc") && list.allows("b") && !list.allows("cb"));
        assert!(IncludeList::new("[").is_err());
    }
}
