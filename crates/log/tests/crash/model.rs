//! What a log should hold: the batches that were appended, and what was promised of them.
//!
//! Simple on purpose. A batch is known by its checksum, which covers all its records; producers,
//! transactions and epochs are what a replay of the batches says.

use std::collections::BTreeMap;

use ottla_record::BatchHeader;

/// A batch that was given to the log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) base: u64,
    /// Offset after its last record.
    pub(crate) next: u64,
    pub(crate) epoch: u32,
    pub(crate) crc: u32,
    pub(crate) producer: Option<u64>,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Data { first_sequence: u32, transactional: bool },
    Marker { aborts: bool },
}

// Short: a failed run prints dozens.
impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { base, next, epoch, crc, producer, kind } = self;
        write!(f, "{base}..{next} e{epoch} {crc:08x}")?;
        match (producer, kind) {
            (None, _) => Ok(()),
            (Some(id), Kind::Marker { aborts }) => write!(f, " p{id} aborts={aborts}"),
            (Some(id), Kind::Data { first_sequence, .. }) => write!(f, " p{id}#{first_sequence}"),
        }
    }
}

impl Batch {
    /// The batch with such a header on the disk.
    pub(crate) fn found(header: &BatchHeader) -> Self {
        let aborts = false;
        let first_sequence = header.base_sequence.map(|first| first.0);
        let transactional = header.attributes.is_transactional();
        let data = |first_sequence| Kind::Data { first_sequence, transactional };
        Self {
            base: header.base_offset.0,
            next: header.next_offset().0,
            epoch: header.leader_epoch.map_or(u32::MAX, |epoch| epoch.0),
            crc: header.crc,
            producer: header.producer_id.map(|id| id.0),
            kind: first_sequence.map_or(Kind::Marker { aborts }, data),
        }
    }

    /// Whether this is what was found.
    pub(crate) fn is(&self, found: &Self) -> bool {
        let what = |batch: &Self| (batch.base, batch.next, batch.epoch, batch.crc);
        what(self) == what(found)
    }
}

/// What a log knows of a producer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) last_sequence: Option<u32>,
    pub(crate) transaction_start: Option<u64>,
    /// Its last batch of data begins here.
    pub(crate) seen_at: u64,
}

/// A transaction that was aborted: producer, first offset, offset of the marker.
pub(crate) type Aborted = (u64, u64, u64);

/// What the workload has done, and what it was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// In order; the last one may still be on its way.
    pub(crate) batches: Vec<Batch>,
    /// As it was before a truncation that has not come back yet.
    pub(crate) before: Option<Vec<Batch>>,
    /// Records before this were reported as durable.
    pub(crate) durable: u64,
    /// Records before this may be gone: they were deleted, or are being deleted.
    pub(crate) start: u64,
    /// First offset that may be read, as the log was told.
    pub(crate) log_start: u64,
    /// Where the log begins if there is no batch.
    pub(crate) first: u64,
    pub(crate) epoch: u32,
    /// Numbers the values, so that no two batches are alike.
    pub(crate) serial: u64,
}

impl Model {
    pub(crate) fn end(&self) -> u64 {
        self.batches.last().map_or(self.first, |batch| batch.next)
    }

    pub(crate) fn producers_at(&self, end: u64) -> BTreeMap<u64, Producer> {
        replay(&self.batches, end).0
    }

    /// What the log may be: as it is, or as it was before a truncation that is under way.
    pub(crate) fn histories(&self) -> impl Iterator<Item = &[Batch]> {
        [Some(&self.batches), self.before.as_ref()].into_iter().flatten().map(Vec::as_slice)
    }
}

/// Producers and aborted transactions as the batches before `end` say.
pub(crate) fn replay(batches: &[Batch], end: u64) -> (BTreeMap<u64, Producer>, Vec<Aborted>) {
    let mut producers: BTreeMap<u64, Producer> = BTreeMap::new();
    let mut aborted = Vec::new();
    for batch in batches.iter().filter(|batch| batch.next <= end) {
        let Some(id) = batch.producer else { continue };
        let known = producers.entry(id).or_default();
        match batch.kind {
            Kind::Data { first_sequence, transactional } => {
                let count = u32::try_from(batch.next - batch.base).expect("small");
                known.last_sequence = Some(first_sequence + count - 1);
                known.seen_at = batch.base;
                if transactional && known.transaction_start.is_none() {
                    known.transaction_start = Some(batch.base);
                }
            }
            Kind::Marker { aborts } => {
                if let (Some(start), true) = (known.transaction_start.take(), aborts) {
                    aborted.push((id, start, batch.base));
                }
            }
        }
    }
    (producers, aborted)
}
