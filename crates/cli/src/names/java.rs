//! Small things that the tools inherit from Java and Scala: the order of hash maps, numbers, regular
//! expressions of topics.

use std::collections::BTreeMap;

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

/// The order in which an immutable set or map of Scala's yields different keys that were added in this order.
pub(super) fn scala_order(keys: Vec<String>) -> Vec<String> {
    let room = keys.len();
    scala_part(keys, room)
}

/// As [`scala_order`], for those of its keys that are left when others, `all` with them, were filtered out.
pub(super) fn scala_part(keys: Vec<String>, all: usize) -> Vec<String> {
    if all <= 4 { keys } else { scala_tree(keys, 0) }
}

/// A node of the tree that a large one is: first come the keys that are alone in their place, then the nodes below.
fn scala_tree(keys: Vec<String>, level: u32) -> Vec<String> {
    let mut places: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for key in keys {
        let place = (scala_hash(&key) >> (5 * level)) & 31;
        places.entry(place).or_default().push(key);
    }
    let (alone, more): (Vec<_>, Vec<_>) = places.into_values().partition(|keys| keys.len() == 1);
    let below = more.into_iter().flat_map(|keys| {
        // The last level has two bits; keys of one hash stay as they came.
        if level < 6 { scala_tree(keys, level + 1) } else { keys }
    });
    alone.into_iter().flatten().chain(below).collect()
}

/// `Hashing.improve` of a text's hash.
fn scala_hash(text: &str) -> u32 {
    let hash = hash(text);
    let hash = hash.wrapping_add(!(hash << 9));
    let hash = hash ^ (hash >> 14);
    let hash = hash.wrapping_add(hash << 4);
    hash ^ (hash >> 10)
}

/// `Double.toString`.
pub(super) fn double(value: f64) -> String {
    if value == 0.0 || !value.is_finite() || (1e-3..1e7).contains(&value.abs()) {
        return match value {
            _ if value.is_nan() => "NaN".to_owned(),
            _ if value.is_infinite() => {
                if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
            }
            _ => format!("{value:?}"),
        };
    }
    let text = format!("{value:E}");
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => text,
    }
}

/// `Double.parseDouble`, which takes a letter for the type as well.
pub(super) fn parse_double(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    // Words that Rust takes and Java does not.
    let digits =
        plain.trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_digit() || c == '.');
    match text.trim_start_matches(['+', '-']) {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }),
        _ if digits => plain.parse().ok(),
        _ => None,
    }
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
    fn sets_of_scala() {
        // As Scala 2.13's `HashSet` yields them.
        for (came, expected) in [
            ("d c b a", "d c b a"),
            ("a b c d e f", "e f a b c d"),
            ("Aa BB x y z AaAa BBBB AaBB", "x y z Aa BB AaAa BBBB AaBB"),
            (
                "t-0 t-1 t-2 t-3 t-4 t-5 t-6 t-7 t-8 t-9 t-10 t-11 t-12",
                "t-7 t-4 t-6 t-1 t-8 t-2 t-10 t-5 t-0 t-12 t-9 t-3 t-11",
            ),
        ] {
            let keys = came.split(' ').map(str::to_owned).collect();
            assert_eq!(scala_order(keys).join(" "), expected);
        }
    }

    #[test]
    fn doubles() {
        for (value, expected) in [
            (0.0, "0.0"),
            (1024.0, "1024.0"),
            (0.25, "0.25"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (12_345_678.5, "1.23456785E7"),
            (-0.0005, "-5.0E-4"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(double(value), expected);
            assert_eq!(parse_double(expected), Some(value));
        }
        for (text, expected) in
            [(" 1e3 ", Some(1000.0)), ("5d", Some(5.0)), ("inf", None), ("x", None), ("", None)]
        {
            assert_eq!(parse_double(text), expected, "{text}");
        }
    }

    #[test]
    fn lists_of_topics() {
        let list = IncludeList::new("\"a.*, b\"").unwrap();
        assert!(list.allows("abc") && list.allows("b") && !list.allows("cb"));
        assert!(IncludeList::new("[").is_err());
    }
}
