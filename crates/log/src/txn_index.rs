//! The index of aborted transactions (`.txnindex`): what a reader of committed records must skip.
//!
//! Like the other indexes it is in memory for the segment that grows, and its file is complete once
//! the segment is closed. Nearly no segment has one: without an aborted transaction there is no file.
//! Source: Kafka's `AbortedTxn`, `TransactionIndex`.

use ottla_types::{Offset, ProducerId};

use crate::format::TXN_ENTRY_LEN;
use crate::index::Entry;

/// A transaction that was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// Offset of its first record in this partition.
    pub first_offset: Offset,
    /// Offset of the marker that ended it.
    pub last_offset: Offset,
    /// First offset that was still undecided once it had ended. Whatever was aborted before this
    /// offset is in this entry or in an earlier one.
    pub last_stable_offset: Offset,
}

impl AbortedTransaction {
    /// Whether it has records in a range that ends before `end`.
    pub(crate) fn touches(&self, from: Offset, end: Offset) -> bool {
        from <= self.last_offset && self.first_offset < end
    }
}

const VERSION: i16 = 0;

impl Entry for AbortedTransaction {
    const LEN: usize = TXN_ENTRY_LEN;
    const NEEDED: bool = false;

    fn decode(_base: Offset, bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first_chunk()?;
        if i16::from_be_bytes(*version) != VERSION {
            return None;
        }
        let mut numbers = rest.chunks_exact(size_of::<i64>());
        let mut next = || numbers.next()?.try_into().ok().map(i64::from_be_bytes);
        Some(Self {
            producer_id: ProducerId::from_wire(next()?)?,
            first_offset: Offset::from_wire(next()?)?,
            last_offset: Offset::from_wire(next()?)?,
            last_stable_offset: Offset::from_wire(next()?)?,
        })
    }

    fn encode(&self, _base: Offset, out: &mut Vec<u8>) {
        out.extend_from_slice(&VERSION.to_be_bytes());
        for number in [
            self.producer_id.to_wire(),
            self.first_offset.to_wire(),
            self.last_offset.to_wire(),
            self.last_stable_offset.to_wire(),
        ] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }

    fn follows(&self, previous: &Self) -> bool {
        previous.last_offset < self.last_offset
    }
}
