//! Which partition a record goes to: as Kafka's Java client decides, so that keys land where
//! other producers put them.

use ottla_types::{PartitionIndex, murmur2};

/// Partition of a key: murmur2 of its bytes, as Java's default partitioner.
///
/// `partitions` must not be zero; if it is, the answer is partition 0.
pub fn partition_for_key(key: &[u8], partitions: u32) -> PartitionIndex {
    PartitionIndex(to_positive(murmur2(key)).checked_rem(partitions).unwrap_or(0))
}

/// Java's `Utils.toPositive`: the hash without its sign bit.
pub fn to_positive(hash: i32) -> u32 {
    hash.cast_unsigned() & i32::MAX.cast_unsigned()
}

/// Spreads records without a key: stays on one partition for a batch's worth of bytes, then goes
/// on to the next (KIP-480, KIP-794).
#[derive(Debug)]
pub(crate) struct Sticky {
    current: u32,
    written: usize,
    switch_bytes: usize,
}

impl Sticky {
    pub(crate) fn new(start: u32, switch_bytes: usize) -> Self {
        Self { current: start, written: 0, switch_bytes }
    }

    pub(crate) fn next(&mut self, record_bytes: usize, partitions: u32) -> PartitionIndex {
        if self.switch_bytes <= self.written {
            self.current = self.current.wrapping_add(1);
            self.written = 0;
        }
        self.written = self.written.saturating_add(record_bytes.max(1));
        PartitionIndex(self.current.checked_rem(partitions).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_land_where_javas_client_puts_them() {
        // Utils.toPositive(Utils.murmur2(key)) % 12 of kafka-clients 4.3.1; the hashes are those
        // of Kafka's UtilsTest.
        for (key, hash) in [("21", -973_932_308_i32), ("foobar", -790_332_482)] {
            let expected = to_positive(hash) % 12;
            assert_eq!(partition_for_key(key.as_bytes(), 12), PartitionIndex(expected), "{key}");
        }
        assert_eq!(to_positive(-973_932_308), 1_173_551_340);
        assert_eq!(partition_for_key(b"x", 0), PartitionIndex(0));
    }

    #[test]
    fn records_without_a_key_stay_together_and_move_on() {
        let mut sticky = Sticky::new(5, 100);
        let taken: Vec<_> = (0..7).map(|_| sticky.next(40, 3).0).collect();
        assert_eq!(taken, [2, 2, 2, 0, 0, 0, 1]);
    }
}
