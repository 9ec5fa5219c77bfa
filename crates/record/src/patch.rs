//! What a leader changes in a producer's batch: the header alone, never the records.

use bytes::Bytes;
use ottla_types::{LeaderEpoch, Offset, Timestamp};

use crate::batch::{Batch, crc_of};
use crate::builder::join;
use crate::compress::{CompressionSettings, DecompressLimits, compress, decompress};
use crate::error::{BatchError, BuildError};
use crate::format::{
    ATTRIBUTES_AT, BASE_OFFSET_AT, CRC_AT, HEADER_LEN, LEADER_EPOCH_AT, MAX_TIMESTAMP_AT,
};
use crate::header::{Compression, TimestampType};

/// What the header of an appended batch gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Epoch of the leader that appends.
    pub leader_epoch: LeaderEpoch,
    /// What the timestamps are to mean.
    pub timestamp_type: TimestampType,
    /// The batch's largest timestamp: that of its records, or the time of the append. `None`
    /// believes the producer.
    pub max_timestamp: Option<Timestamp>,
}

impl Patch {
    /// Gives a header its place in a log; neither field is covered by the checksum.
    pub fn place(header: &mut [u8; HEADER_LEN], base_offset: Offset, leader_epoch: LeaderEpoch) {
        put(header, BASE_OFFSET_AT, base_offset.to_wire().to_be_bytes());
        put(header, LEADER_EPOCH_AT, leader_epoch.to_wire().to_be_bytes());
    }
}

impl Batch {
    /// The header after `patch`; the body stays as it is.
    ///
    /// Offset and epoch are not covered by the checksum. It is computed again only if the
    /// timestamp, or its type, changes.
    pub fn patched_header(&self, patch: &Patch) -> [u8; HEADER_LEN] {
        // From the bytes, not from the fields: what this crate does not know stays as it was.
        let mut out = self.bytes().first_chunk::<HEADER_LEN>().copied().unwrap_or([0; HEADER_LEN]);
        Patch::place(&mut out, patch.base_offset, patch.leader_epoch);
        let old = self.header();
        let max = patch.max_timestamp.unwrap_or(old.max_timestamp);
        if old.attributes.timestamp_type() != patch.timestamp_type || old.max_timestamp != max {
            let attributes = old.attributes.with_timestamp_type(patch.timestamp_type);
            put(&mut out, ATTRIBUTES_AT, attributes.0.to_be_bytes());
            put(&mut out, MAX_TIMESTAMP_AT, max.0.to_be_bytes());
            let crc = crc_of(&out, self.bytes().get(HEADER_LEN..).unwrap_or_default());
            put(&mut out, CRC_AT, crc.to_be_bytes());
        }
        out
    }

    /// The same batch with its records compressed otherwise; offsets, timestamps and producer
    /// stay. The records are not parsed, so check them first.
    ///
    /// # Errors
    /// The outer error is about the batch's data, the inner one about writing it.
    pub fn recompress(
        &self,
        settings: CompressionSettings,
        limits: &DecompressLimits,
    ) -> Result<Result<Self, BuildError>, BatchError> {
        let records = decompress(self.header().compression()?, &self.body(), limits)?;
        let packed = match settings.codec {
            Compression::None => Ok(records),
            _ => compress(settings, &records).map(Bytes::from),
        };
        let mut header = *self.header();
        header.attributes = header.attributes.with_compression(settings.codec);
        match packed.and_then(|body| join(header, &body)) {
            Ok(bytes) => Self::parse(bytes).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }
}

fn put<const N: usize>(out: &mut [u8; HEADER_LEN], at: usize, value: [u8; N]) {
    if let Some(slot) = out.get_mut(at..at + N) {
        slot.copy_from_slice(&value);
    }
}
