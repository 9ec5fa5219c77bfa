//! A coordinator's records on their way into the log.

use bytes::Bytes;
use ottla_group::{AppendFailure, Record};
use ottla_record::{BatchBuilder, BuildError, Compression};
use ottla_types::{ErrorCode, WallTime};

/// One batch of these records, all with the same timestamp.
pub(super) fn batch(
    records: &[Record],
    codec: Compression,
    now: WallTime,
) -> Result<Bytes, BuildError> {
    assert!(!records.is_empty(), "an append has records");
    let mut builder = BatchBuilder::new(codec);
    for record in records {
        builder.push_pair(now.timestamp(), Some(&record.key), record.value.as_deref());
    }
    builder.build()
}

/// What a refused append means to a coordinator: Kafka's grouping of the errors.
pub(super) fn failure(code: ErrorCode) -> AppendFailure {
    use ErrorCode as E;
    match code {
        E::UnknownTopicOrPartition
        | E::NotEnoughReplicas
        | E::NotEnoughReplicasAfterAppend
        | E::RequestTimedOut => AppendFailure::Unavailable,
        E::NotLeaderOrFollower | E::KafkaStorageError => AppendFailure::NotLeader,
        E::MessageTooLarge | E::RecordListTooLarge | E::InvalidFetchSize => AppendFailure::TooLarge,
        _ => AppendFailure::Other,
    }
}

#[cfg(test)]
mod tests {
    use ottla_record::{Batch, DecompressLimits};
    use ottla_types::{Timestamp, WallTime};

    use super::*;

    #[test]
    fn records_come_back_as_they_were() {
        let records = vec![
            Record { key: Bytes::from_static(b"k1"), value: Some(Bytes::from_static(b"v")) },
            Record { key: Bytes::from_static(b"k2"), value: None },
        ];
        for codec in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let bytes = batch(&records, codec, WallTime::from_millis(7)).unwrap();
            let batch = Batch::parse_checked(bytes).unwrap();
            let header = batch.header();
            assert_eq!((header.producer_id, header.max_timestamp), (None, Timestamp(7)));
            assert_eq!(header.compression().unwrap(), codec);
            let read: Vec<_> = batch
                .records(&DecompressLimits::UNLIMITED)
                .unwrap()
                .map(|record| record.unwrap())
                .map(|record| Record { key: record.key.unwrap(), value: record.value })
                .collect();
            assert_eq!(read, records);
        }
    }
}
