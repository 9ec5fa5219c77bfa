//! Layout of Kafka's record batch, version 2, and of what lies inside it.
//!
//! All numbers are big-endian. Source: Kafka's `DefaultRecordBatch` (KIP-98). `docs/formats/log.md`
//! draws it.

/// Offset of the first record, `int64`.
pub const BASE_OFFSET_AT: usize = 0;
/// Bytes after this field, `int32`.
pub const LENGTH_AT: usize = BASE_OFFSET_AT + size_of::<i64>();
/// Epoch of the leader that appended the batch, `int32`; not covered by the CRC.
pub const LEADER_EPOCH_AT: usize = LENGTH_AT + size_of::<i32>();
/// Format version, `int8`.
pub const MAGIC_AT: usize = LEADER_EPOCH_AT + size_of::<i32>();
/// CRC-32C of everything from the attributes on, `uint32`.
pub const CRC_AT: usize = MAGIC_AT + size_of::<i8>();
/// Flags, `int16`.
pub const ATTRIBUTES_AT: usize = CRC_AT + size_of::<u32>();
/// Last offset less base offset, `int32`.
pub const LAST_OFFSET_DELTA_AT: usize = ATTRIBUTES_AT + size_of::<i16>();
/// Timestamp that the records' deltas start from, `int64`.
pub const BASE_TIMESTAMP_AT: usize = LAST_OFFSET_DELTA_AT + size_of::<i32>();
/// Largest timestamp of a record, `int64`.
pub const MAX_TIMESTAMP_AT: usize = BASE_TIMESTAMP_AT + size_of::<i64>();
/// Producer id or -1, `int64`.
pub const PRODUCER_ID_AT: usize = MAX_TIMESTAMP_AT + size_of::<i64>();
/// Producer epoch or -1, `int16`.
pub const PRODUCER_EPOCH_AT: usize = PRODUCER_ID_AT + size_of::<i64>();
/// Sequence of the first record or -1, `int32`.
pub const BASE_SEQUENCE_AT: usize = PRODUCER_EPOCH_AT + size_of::<i16>();
/// Number of records, `int32`.
pub const RECORD_COUNT_AT: usize = BASE_SEQUENCE_AT + size_of::<i32>();
/// Bytes before the first record.
pub const HEADER_LEN: usize = RECORD_COUNT_AT + size_of::<i32>();

/// Bytes that the length field does not count.
pub const OVERHEAD: usize = LENGTH_AT + size_of::<i32>();
/// Bytes up to and including the magic byte: the least that tells how to read on.
pub const PREFIX_LEN: usize = MAGIC_AT + size_of::<i8>();
/// The only format version that is written and read.
pub const MAGIC: u8 = 2;
/// Least value of the length field in the oldest format; anything below is no batch at all.
pub const LEGACY_LENGTH_MIN: usize = 14;

/// Bits of the attributes that name the codec.
pub const CODEC_MASK: u16 = 0x07;
/// Timestamps are the time of the append.
pub const LOG_APPEND_TIME_BIT: u16 = 0x08;
/// Part of a transaction.
pub const TRANSACTIONAL_BIT: u16 = 0x10;
/// Holds control records, which no consumer sees.
pub const CONTROL_BIT: u16 = 0x20;
/// The base timestamp is a delete horizon (KIP-534).
pub const DELETE_HORIZON_BIT: u16 = 0x40;

const _: () = {
    assert!(OVERHEAD == 12, "Kafka's Records.LOG_OVERHEAD");
    assert!(PREFIX_LEN == 17, "Kafka's Records.HEADER_SIZE_UP_TO_MAGIC");
    assert!(CRC_AT == 17, "Kafka's DefaultRecordBatch.CRC_OFFSET");
    assert!(ATTRIBUTES_AT == 21, "Kafka's DefaultRecordBatch.ATTRIBUTES_OFFSET");
    assert!(RECORD_COUNT_AT == 57, "Kafka's DefaultRecordBatch.RECORDS_COUNT_OFFSET");
    assert!(HEADER_LEN == 61, "Kafka's DefaultRecordBatch.RECORD_BATCH_OVERHEAD");
};
