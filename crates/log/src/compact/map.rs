//! The newest offset of each key, in bounded memory (Kafka's `SkimpyOffsetMap`).
//!
//! A key is known by 128 bits of XXH3 alone, so two keys with the same hash would be one; the seed,
//! which the caller draws, keeps clients from making such keys. An entry takes 24 bytes. Entries
//! are never taken out.

use ottla_types::Offset;
use twox_hash::XxHash3_128;

/// Bytes that each key takes: its hash and the offset.
const ENTRY_LEN: usize = size_of::<Entry>();

/// Both halves of the hash, and the offset and 1; 0 there is a free entry. Side by side, so that a
/// search costs one miss of the cache.
type Entry = [u64; 3];

/// What every key's newest offset is, in a part of a log.
#[derive(Debug)]
pub struct OffsetMap {
    seed: u64,
    /// Keys that fit, of those `keys_max` are taken.
    slots: usize,
    keys_max: usize,
    keys: usize,
    entries: Vec<Entry>,
    latest: Option<Offset>,
}

/// How large a map of keys may get.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapSettings {
    /// Most bytes that it takes, 24 for each key.
    pub memory: usize,
    /// Part of that, between 0 and 1, at which it is full.
    pub load: f64,
    /// Drawn at random by the caller, so that nobody can make keys of the same hash.
    pub seed: u64,
}

impl OffsetMap {
    /// An empty map; `keys_expected` bounds what is set aside now.
    pub(crate) fn new(settings: MapSettings, keys_expected: u64) -> Self {
        let MapSettings { memory, load, seed } = settings;
        let slots = memory / ENTRY_LEN;
        let keys_max = part_of(slots, load);
        let expected = usize::try_from(keys_expected).unwrap_or(usize::MAX);
        // A third stays free, so that a search is short.
        let room = expected.saturating_add(expected / 2).saturating_add(1).min(slots);
        Self { seed, slots, keys_max, keys: 0, entries: vec![[0; 3]; room], latest: None }
    }

    /// Whether it has room for a single key; without it compaction never gets anywhere.
    pub fn is_usable(&self) -> bool {
        self.keys_max > 0
    }

    /// Part of its slots that are taken, between 0 and 1.
    pub fn utilization(&self) -> f64 {
        ratio(self.keys as u64, self.slots as u64)
    }

    /// Last offset that it knows about; records behind it are not judged.
    pub(crate) fn latest(&self) -> Option<Offset> {
        self.latest
    }

    /// Notes a key; false if it is new and there is no room for it.
    pub(crate) fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        // As Kafka: a full map takes not even a key that it knows.
        if self.keys_max <= self.keys {
            return false;
        }
        let Some(at) = self.find(hash) else { return false };
        let [upper, lower] = hash;
        let entry = &mut self.entries[at];
        self.keys += usize::from(entry[2] == 0);
        *entry = [upper, lower, offset.0 + 1];
        assert!(self.keys <= self.keys_max, "the map is bounded");
        self.latest = Some(offset);
        true
    }

    /// Newest offset of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Offset> {
        let at = self.find(self.hash(key))?;
        self.entries[at][2].checked_sub(1).map(Offset)
    }

    /// Everything up to `offset` has been noted.
    pub(crate) fn cover(&mut self, offset: Offset) {
        self.latest = Some(offset);
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        let hash = XxHash3_128::oneshot_with_seed(self.seed, key);
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default();
        [half(hash >> 64), half(hash)]
    }

    /// The entry of a hash, or the free one where it belongs; `None` if all are taken by others.
    fn find(&self, [upper, lower]: [u64; 2]) -> Option<usize> {
        let room = self.entries.len();
        // Where the search begins: the hash spread evenly over the entries.
        let start = usize::try_from((u128::from(upper) * room as u128) >> 64).unwrap_or(0);
        let (before, from) = self.entries.split_at(start.min(room));
        let fits = |entry: &Entry| entry[2] == 0 || (entry[0], entry[1]) == (upper, lower);
        let behind = from.iter().position(fits).map(|at| start + at);
        behind.or_else(|| before.iter().position(fits))
    }
}

/// One number divided by another; 0 for nothing of nothing.
#[allow(clippy::cast_precision_loss, reason = "a ratio needs no 64 bits")]
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a number of slots, which the cast cuts to a whole one as Kafka does"
)]
fn part_of(slots: usize, load: f64) -> usize {
    ((slots as f64 * load) as usize).min(slots)
}

const _: () = assert!(ENTRY_LEN == 24, "Kafka's SkimpyOffsetMap.bytesPerEntry");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_their_newest_offset() {
        let mut map = OffsetMap::new(MapSettings { memory: 24 * 1000, load: 0.9, seed: 7 }, 900);
        for offset in 0..3000_u64 {
            let key = (offset % 700).to_string();
            assert!(map.put(key.as_bytes(), Offset(offset)));
        }
        for key in 0..700_u64 {
            let newest = (0..3000).rev().find(|offset| offset % 700 == key).map(Offset);
            assert_eq!(map.get(key.to_string().as_bytes()), newest, "{key}");
        }
        assert_eq!(map.get(b"none"), None);
        assert_eq!(map.latest(), Some(Offset(2999)));
        assert!((map.utilization() - 0.7).abs() < 1e-9);
    }

    #[test]
    fn a_full_map_says_so() {
        let mut map = OffsetMap::new(MapSettings { memory: 24 * 10, load: 0.5, seed: 0 }, u64::MAX);
        for offset in 0..5_u64 {
            assert!(map.put(&[b'a' + u8::try_from(offset).unwrap()], Offset(offset)));
        }
        assert!(!map.put(b"z", Offset(5)));
        assert!(!map.put(b"a", Offset(5)), "not even a key that is known");
        assert_eq!(map.get(b"a"), Some(Offset(0)));
        assert_eq!(map.latest(), Some(Offset(4)));
        assert!(!OffsetMap::new(MapSettings { memory: 23, load: 1.0, seed: 0 }, 10).is_usable());
    }
}
