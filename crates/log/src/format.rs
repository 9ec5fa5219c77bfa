//! Layouts and names of the files beside the `.log`: indexes, snapshots, checkpoints.
//!
//! Binary numbers are big-endian. `docs/formats/log.md` draws every one. Sources: Kafka's
//! `OffsetIndex`, `TimeIndex`, `ProducerStateManager`, `LogFileUtils`.

/// One entry of an offset index: relative offset `int32`, file position `int32`.
pub const OFFSET_ENTRY_LEN: usize = 8;
/// One entry of a time index: timestamp `int64`, relative offset `int32`.
pub const TIME_ENTRY_LEN: usize = 12;
/// One entry of an index of aborted transactions: version `int16`, then producer id, first offset,
/// last offset and last stable offset, `int64` each.
pub const TXN_ENTRY_LEN: usize = 2 + 4 * 8;

/// Version of a producer snapshot, `int16`.
pub const SNAPSHOT_VERSION: i16 = 1;
/// CRC-32C of everything behind it, `uint32`.
pub const SNAPSHOT_CRC_AT: usize = size_of::<i16>();
/// Number of entries, `int32`, then the entries.
pub const SNAPSHOT_ENTRIES_AT: usize = SNAPSHOT_CRC_AT + size_of::<u32>();
/// One entry: producer id 8, epoch 2, last sequence 4, last offset 8, offset delta 4, timestamp
/// 8, coordinator epoch 4, first offset of the open transaction 8.
pub const SNAPSHOT_ENTRY_LEN: usize = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8;

/// Batches.
pub const LOG_SUFFIX: &str = ".log";
/// Offset index.
pub const INDEX_SUFFIX: &str = ".index";
/// Time index.
pub const TIME_INDEX_SUFFIX: &str = ".timeindex";
/// Index of aborted transactions.
pub const TXN_INDEX_SUFFIX: &str = ".txnindex";
/// Producer state.
pub const SNAPSHOT_SUFFIX: &str = ".snapshot";
/// Renamed away, to be removed after `file.delete.delay.ms`.
pub const DELETED_SUFFIX: &str = ".deleted";
/// Result of a compaction that was not finished.
pub const CLEANED_SUFFIX: &str = ".cleaned";
/// An offset index of such a result.
pub const INDEX_CLEANED_SUFFIX: &str = ".index.cleaned";
/// A time index of such a result.
pub const TIME_INDEX_CLEANED_SUFFIX: &str = ".timeindex.cleaned";
/// An index of aborted transactions of such a result.
pub const TXN_INDEX_CLEANED_SUFFIX: &str = ".txnindex.cleaned";
/// Result of a compaction that was finished but not yet put in place.
pub const SWAP_SUFFIX: &str = ".swap";
/// Bytes that recovery cut off; Ottla's own, which Kafka ignores.
pub const QUARANTINE_SUFFIX: &str = ".quarantine";

/// Epochs and their first offsets, in each partition's directory.
pub const EPOCHS_FILE: &str = "leader-epoch-checkpoint";
/// Topic id, in each partition's directory.
pub const PARTITION_METADATA_FILE: &str = "partition.metadata";
/// Identity of a log directory.
pub const META_PROPERTIES_FILE: &str = "meta.properties";
/// Present after a clean shutdown.
pub const CLEAN_SHUTDOWN_FILE: &str = ".kafka_cleanshutdown";
/// Locked by the process that uses the directory.
pub const LOCK_FILE: &str = ".lock";
/// Offsets up to which each partition is known to be on disk.
pub const RECOVERY_POINTS_FILE: &str = "recovery-point-offset-checkpoint";
/// First offsets that consumers may read.
pub const LOG_STARTS_FILE: &str = "log-start-offset-checkpoint";
/// High watermarks.
pub const HIGH_WATERMARKS_FILE: &str = "replication-offset-checkpoint";
/// Offsets up to which compaction has come.
pub const CLEANER_OFFSETS_FILE: &str = "cleaner-offset-checkpoint";

/// Ends the name of a partition directory that waits for its removal.
pub const DELETE_DIR_SUFFIX: &str = "-delete";
/// Ends the name of a partition directory that is being filled from another disk.
pub const FUTURE_DIR_SUFFIX: &str = "-future";
/// Ends the name of a partition directory that no metadata knows.
pub const STRAY_DIR_SUFFIX: &str = "-stray";

/// Digits of an offset in a file name.
const OFFSET_DIGITS: usize = 20;

/// Name of a file that belongs to the segment or snapshot at `offset`.
pub fn file_name(offset: ottla_types::Offset, suffix: &str) -> String {
    format!("{:0width$}{suffix}", offset.0, width = OFFSET_DIGITS)
}

/// Offset in the name of a segment's file, if the name is one with this suffix.
pub fn offset_in_name(name: &str, suffix: &str) -> Option<ottla_types::Offset> {
    let digits = name.strip_suffix(suffix)?;
    let all_digits = digits.len() == OFFSET_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    let raw = all_digits.then(|| digits.parse::<i64>().ok())??;
    ottla_types::Offset::from_wire(raw)
}

const _: () = {
    assert!(OFFSET_ENTRY_LEN == 2 * size_of::<i32>(), "Kafka's OffsetIndex.ENTRY_SIZE");
    assert!(TIME_ENTRY_LEN == size_of::<i64>() + size_of::<i32>(), "Kafka's TimeIndex.ENTRY_SIZE");
    assert!(TXN_ENTRY_LEN == 34, "Kafka's AbortedTxn.TOTAL_SIZE");
    assert!(SNAPSHOT_CRC_AT == 2, "Kafka's ProducerStateManager.CRC_OFFSET");
    assert!(SNAPSHOT_ENTRIES_AT == 6, "Kafka's ProducerStateManager.PRODUCER_ENTRIES_OFFSET");
    assert!(SNAPSHOT_ENTRY_LEN == 46, "sum of the entry's fields");
};

#[cfg(test)]
mod tests {
    use ottla_types::Offset;

    use super::*;

    #[test]
    fn names_carry_offsets() {
        assert_eq!(file_name(Offset(42), LOG_SUFFIX), "00000000000000000042.log");
        assert_eq!(offset_in_name("00000000000000000042.log", LOG_SUFFIX), Some(Offset(42)));
        for other in ["42.log", "00000000000000000042.index", "0000000000000000004x.log"] {
            assert_eq!(offset_in_name(other, LOG_SUFFIX), None, "{other}");
        }
        assert_eq!(offset_in_name("99999999999999999999.log", LOG_SUFFIX), None);
    }
}
