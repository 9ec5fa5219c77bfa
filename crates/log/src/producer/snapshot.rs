//! The `.snapshot` file: a version, a checksum, and Kafka's `ProducerSnapshot`.

use bytes::{Bytes, BytesMut};
use ottla_codec::{DecodeError, Message as _, Reader, Sink, Writer};
use ottla_types::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::{ProducerEntry, Producers, RememberedBatch};
use crate::format::{SNAPSHOT_CRC_AT, SNAPSHOT_ENTRIES_AT, SNAPSHOT_ENTRY_LEN, SNAPSHOT_VERSION};
use crate::generated::ProducerSnapshot;
use crate::generated::producer_snapshot::ProducerEntry as StoredEntry;

/// Why a snapshot cannot be used; an older one, or the batches, take its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("version {0} is not known")]
    Version(i16),
    #[error("checksum does not match")]
    Crc,
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

pub(crate) fn encode(producers: &Producers) -> Bytes {
    // In order of their ids, so that equal states are equal files.
    let mut sorted: Vec<_> = producers.entries.iter().collect();
    sorted.sort_unstable_by_key(|(id, _)| **id);
    let producer_entries = sorted.into_iter().map(|(id, entry)| store(*id, entry)).collect();
    let snapshot = ProducerSnapshot { crc: 0, producer_entries };
    let capacity = SNAPSHOT_ENTRIES_AT + 4 + producers.entries.len() * SNAPSHOT_ENTRY_LEN;
    let mut file = Writer::with_capacity(capacity);
    file.put_i16(SNAPSHOT_VERSION);
    snapshot.encode(SNAPSHOT_VERSION, &mut file).expect("every state fits the format");
    let mut file = BytesMut::from(file.into_bytes());
    let crc = ottla_record::crc32c(file.get(SNAPSHOT_ENTRIES_AT..).unwrap_or_default());
    if let Some(slot) = file.get_mut(SNAPSHOT_CRC_AT..SNAPSHOT_ENTRIES_AT) {
        slot.copy_from_slice(&crc.to_be_bytes());
    }
    file.freeze()
}

fn store(id: ProducerId, entry: &ProducerEntry) -> StoredEntry {
    let last = entry.batches.back();
    StoredEntry {
        producer_id: id.to_wire(),
        epoch: ProducerEpoch::option_to_wire(entry.epoch),
        last_sequence: Sequence::option_to_wire(last.map(|batch| batch.last_sequence)),
        last_offset: Offset::option_to_wire(last.map(|batch| batch.last_offset)),
        offset_delta: last.map_or(0, |batch| i32::try_from(batch.offset_delta).unwrap_or(0)),
        timestamp: entry.last_timestamp.0,
        coordinator_epoch: entry.coordinator_epoch,
        current_txn_first_offset: Offset::option_to_wire(entry.transaction_start),
    }
}

pub(crate) fn decode(file: Bytes) -> Result<Producers, SnapshotError> {
    let mut reader = Reader::new(file.clone());
    let version = reader.i16("version")?;
    if version != SNAPSHOT_VERSION {
        return Err(SnapshotError::Version(version));
    }
    let snapshot = ProducerSnapshot::decode(&mut reader, version)?;
    let crc = ottla_record::crc32c(file.get(SNAPSHOT_ENTRIES_AT..).unwrap_or_default());
    if snapshot.crc != crc {
        return Err(SnapshotError::Crc);
    }
    let mut producers = Producers::default();
    for stored in snapshot.producer_entries {
        // A negative id is no producer.
        let Some(id) = ProducerId::from_wire(stored.producer_id) else { continue };
        let entry = restore(&stored);
        if let Some(start) = entry.transaction_start {
            producers.open.insert(start, id);
        }
        producers.entries.insert(id, entry);
    }
    Ok(producers)
}

fn restore(stored: &StoredEntry) -> ProducerEntry {
    let last_timestamp = Timestamp(stored.timestamp);
    let offset_delta = u32::try_from(stored.offset_delta).unwrap_or_default();
    let last_offset = Offset::from_wire(stored.last_offset);
    let batch = Sequence::from_wire(stored.last_sequence)
        .zip(last_offset)
        .filter(|(_, last)| last.0 >= offset_delta.into())
        .map(|(last_sequence, last_offset)| RememberedBatch {
            last_sequence,
            last_offset,
            offset_delta,
            timestamp: last_timestamp,
        });
    ProducerEntry {
        epoch: ProducerEpoch::from_wire(stored.epoch),
        batches: batch.into_iter().collect(),
        last_timestamp,
        coordinator_epoch: stored.coordinator_epoch,
        transaction_start: Offset::from_wire(stored.current_txn_first_offset),
        partial: true,
    }
}
