//! Snapshots of the metadata log: Kafka's `.checkpoint` files, as functions on bytes.
//!
//! A snapshot is batches of records with offsets counted from 0: first a control batch with the
//! SnapshotHeader (and, at kraft.version 1, KRaftVersion and KRaftVoters), then the records, last
//! a control batch with the SnapshotFooter. Sources: KIP-630, Kafka's `RecordsSnapshotWriter`.
//! What the records mean is the business of whoever wrote them.

use std::fmt;

use bytes::{Bytes, BytesMut};
use ottla_record::{Batch, BatchBuilder, Batches, BuildError, Compression};
use ottla_types::{LeaderEpoch, Offset, Timestamp, WallTime};

use crate::control::{Control, ControlBatch, ControlError, ControlState};
use crate::voters::KRaftVersion;

/// Names a snapshot: it covers the log up to `end`, whose last batch is of `epoch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId {
    /// Offset after the last record that is covered.
    pub end: Offset,
    /// Epoch of that record.
    pub epoch: LeaderEpoch,
}

impl SnapshotId {
    /// The checkpoint that formatting writes: it covers nothing, but may name the first voters.
    pub const BOOTSTRAP: Self = Self { end: Offset::ZERO, epoch: LeaderEpoch::ZERO };

    /// Name of its file.
    pub fn file_name(self) -> String {
        format!("{self}.checkpoint")
    }

    /// The snapshot whose file has this name; `None` for other files, such as unfinished
    /// (`.part`) or deleted (`.deleted`) ones.
    pub fn from_file_name(name: &str) -> Option<Self> {
        let (end, epoch) = name.strip_suffix(".checkpoint")?.split_once('-')?;
        if end.len() != 20 || epoch.len() != 10 {
            return None;
        }
        let end = Offset::from_wire(end.parse().ok()?)?;
        Some(Self { end, epoch: LeaderEpoch::from_wire(epoch.parse().ok()?)? })
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{:010}", self.end.0, self.epoch.0)
    }
}

/// Writes a snapshot; who writes a large one takes its bytes away piece by piece.
#[derive(Debug)]
pub struct SnapshotBuilder {
    id: SnapshotId,
    now: WallTime,
    next: Offset,
    out: BytesMut,
}

impl SnapshotBuilder {
    /// Begins a snapshot. `last_timestamp` is the append time of the newest record it covers.
    pub fn new(
        id: SnapshotId,
        now: WallTime,
        last_timestamp: Timestamp,
        control: &ControlState,
    ) -> Self {
        let mut header = ControlBatch::new(Offset::ZERO, id.epoch, now);
        header.push_snapshot_header(last_timestamp);
        if let (KRaftVersion::Dynamic, Some(voters)) = (control.kraft_version, &control.voters) {
            header.push_voters(control.kraft_version, voters);
        }
        let mut builder = Self { id, now, next: Offset::ZERO, out: BytesMut::new() };
        builder.push_batch(&header.build());
        builder
    }

    /// Adds one batch of records, given by their values.
    ///
    /// # Errors
    /// The batch is too large for its format.
    ///
    /// # Panics
    /// If there is no record.
    pub fn push<'a>(
        &mut self,
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), BuildError> {
        let builder = BatchBuilder::new(Compression::None).base_offset(self.next);
        let mut builder = builder.leader_epoch(self.id.epoch);
        for value in values {
            builder.push_pair(self.now.timestamp(), None, Some(value));
        }
        self.push_batch(&builder.build()?);
        Ok(())
    }

    /// Bytes that were not taken away yet.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether all bytes so far were taken away.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Takes the bytes so far away; they come before all others.
    pub fn take(&mut self) -> Bytes {
        self.out.split().freeze()
    }

    /// Ends the snapshot and returns the rest of the file's bytes.
    pub fn finish(mut self) -> Bytes {
        let mut footer = ControlBatch::new(self.next, self.id.epoch, self.now);
        footer.push_snapshot_footer();
        self.push_batch(&footer.build());
        self.out.freeze()
    }

    fn push_batch(&mut self, bytes: &Bytes) {
        let batch = Batch::parse(bytes.clone()).expect("it was just built");
        assert!(batch.header().base_offset == self.next, "snapshot offsets are consecutive");
        self.next = batch.header().next_offset();
        self.out.extend_from_slice(bytes);
    }
}

/// A complete snapshot.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Append time of the newest record that it covers.
    pub last_timestamp: Timestamp,
    /// `kraft.version` and voters.
    pub control: ControlState,
    /// The batches of records between header and footer.
    pub batches: Vec<Batch>,
}

/// The bytes are not a complete snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// A batch is damaged.
    #[error("batch {number} of the snapshot")]
    Batch {
        /// Which one, from 0.
        number: usize,
        /// What is wrong.
        #[source]
        source: ControlError,
    },
    /// No header at the start, so this is something else.
    #[error("the snapshot does not begin with a header")]
    NoHeader,
    /// No footer at the end: the file was not finished, or was cut.
    #[error("the snapshot does not end with a footer")]
    NoFooter,
}

impl Snapshot {
    /// Reads a snapshot that is in memory as a whole.
    ///
    /// # Errors
    /// It is damaged or incomplete.
    pub fn read(id: SnapshotId, bytes: Bytes) -> Result<Self, SnapshotError> {
        let mut reader = SnapshotReader::new(id);
        let mut batches = Vec::new();
        let mut walk = Batches::new(bytes);
        for batch in walk.by_ref() {
            batches.extend(reader.batch(batch.map_err(|error| reader.damaged(error.into()))?)?);
        }
        if !walk.rest().is_empty() {
            return Err(SnapshotError::NoFooter);
        }
        let (last_timestamp, control) = reader.finish()?;
        Ok(Self { last_timestamp, control, batches })
    }
}

/// Reads a snapshot batch by batch, so that nobody needs all of it at once.
#[derive(Debug)]
pub struct SnapshotReader {
    id: SnapshotId,
    number: usize,
    last_timestamp: Option<Timestamp>,
    control: ControlState,
    complete: bool,
}

impl SnapshotReader {
    /// Begins.
    pub fn new(id: SnapshotId) -> Self {
        let control = ControlState::default();
        Self { id, number: 0, last_timestamp: None, control, complete: false }
    }

    /// Takes the next batch; gives it back if it holds records.
    ///
    /// # Errors
    /// The batch is damaged, does not belong there, or follows the footer.
    pub fn batch(&mut self, batch: Batch) -> Result<Option<Batch>, SnapshotError> {
        let batch = Batch::parse_checked(batch.into_bytes());
        let batch = batch.map_err(|error| self.damaged(error.into()))?;
        if self.complete {
            return Err(SnapshotError::NoFooter);
        }
        let controls = self.control.observe(&batch);
        for (_, record) in controls.map_err(|error| self.damaged(error))? {
            match record {
                Control::SnapshotHeader { last_timestamp } if self.number == 0 => {
                    self.last_timestamp = Some(last_timestamp);
                }
                Control::SnapshotFooter => self.complete = true,
                _ => {}
            }
        }
        if self.last_timestamp.is_none() {
            return Err(SnapshotError::NoHeader);
        }
        self.number += 1;
        Ok(Some(batch).filter(|batch| !batch.header().attributes.is_control()))
    }

    /// What is said of a batch that cannot even be handed in.
    pub fn damaged(&self, source: ControlError) -> SnapshotError {
        SnapshotError::Batch { number: self.number, source }
    }

    /// Append time of the newest record that the snapshot covers, once its header was read.
    pub fn last_timestamp(&self) -> Option<Timestamp> {
        self.last_timestamp
    }

    /// Ends: what [`Snapshot::last_timestamp`] and [`Snapshot::control`] are.
    ///
    /// # Errors
    /// The snapshot does not end here.
    pub fn finish(mut self) -> Result<(Timestamp, ControlState), SnapshotError> {
        let last_timestamp = self.last_timestamp.ok_or(SnapshotError::NoHeader)?;
        if !self.complete {
            return Err(SnapshotError::NoFooter);
        }
        // Voters of the bootstrap checkpoint are not in the log yet.
        self.control.in_log &= self.id != SnapshotId::BOOTSTRAP;
        Ok((last_timestamp, self.control))
    }
}

#[cfg(test)]
mod tests {
    use ottla_types::{DirectoryId, NodeId, Uuid};

    use super::*;
    use crate::ids::ReplicaKey;
    use crate::voters::{Voter, VoterSet};

    fn id() -> SnapshotId {
        SnapshotId { end: Offset(1234), epoch: LeaderEpoch(5) }
    }

    fn snapshot(control: &ControlState) -> Bytes {
        let now = WallTime::from_millis(1_700_000_000_000);
        let mut builder = SnapshotBuilder::new(id(), now, Timestamp(77), control);
        builder.push([b"one".as_slice(), b"two"]).unwrap();
        builder.push([b"three".as_slice()]).unwrap();
        builder.finish()
    }

    fn dynamic() -> ControlState {
        let key = ReplicaKey::new(NodeId(1), DirectoryId(Uuid::from_parts(1, 2)));
        let voters = VoterSet::new([Voter::new(key, Vec::new())]);
        let kraft_version = KRaftVersion::Dynamic;
        ControlState { kraft_version, voters: Some(voters), in_log: true }
    }

    #[test]
    fn names_are_kafkas() {
        assert_eq!(id().file_name(), "00000000000000001234-0000000005.checkpoint");
        assert_eq!(SnapshotId::from_file_name(&id().file_name()), Some(id()));
        for other in ["1234-5.checkpoint", "00000000000000001234-0000000005.checkpoint.part", "x"] {
            assert_eq!(SnapshotId::from_file_name(other), None, "{other}");
        }
    }

    #[test]
    fn what_was_written_comes_back() {
        for control in [ControlState { in_log: false, ..ControlState::default() }, dynamic()] {
            let read = Snapshot::read(id(), snapshot(&control)).unwrap();
            assert_eq!((read.last_timestamp, &read.control), (Timestamp(77), &control));
            let offsets =
                |batch: &Batch| (batch.header().base_offset.0, batch.header().record_count);
            let first = if control.voters.is_some() { 3 } else { 1 };
            let offsets: Vec<_> = read.batches.iter().map(offsets).collect();
            assert_eq!(offsets, [(first, 2), (first + 2, 1)]);
        }
    }

    #[test]
    fn bytes_that_are_taken_away_are_the_same() {
        let now = WallTime::from_millis(1_700_000_000_000);
        let mut builder = SnapshotBuilder::new(id(), now, Timestamp(77), &dynamic());
        let mut pieces = vec![builder.take()];
        assert!(builder.is_empty());
        builder.push([b"one".as_slice(), b"two"]).unwrap();
        pieces.push(builder.take());
        builder.push([b"three".as_slice()]).unwrap();
        pieces.push(builder.finish());
        assert_eq!(pieces.concat(), snapshot(&dynamic()));
    }

    #[test]
    fn nothing_follows_the_footer() {
        let whole = snapshot(&dynamic());
        let twice = [whole.clone(), whole].concat();
        assert!(matches!(Snapshot::read(id(), twice.into()), Err(SnapshotError::NoFooter)));
    }

    #[test]
    fn an_unfinished_snapshot_is_refused_at_every_length() {
        let whole = snapshot(&dynamic());
        for cut in 0..whole.len() {
            assert!(Snapshot::read(id(), whole.slice(..cut)).is_err(), "cut at {cut}");
        }
        let headless =
            whole.slice(Batches::new(whole.clone()).next().unwrap().unwrap().bytes().len()..);
        assert!(matches!(Snapshot::read(id(), headless), Err(SnapshotError::NoHeader)));
        let mut flipped = whole.to_vec();
        flipped[90] ^= 1;
        assert!(matches!(Snapshot::read(id(), flipped.into()), Err(SnapshotError::Batch { .. })));
    }

    #[test]
    fn the_bootstrap_checkpoint_is_not_the_log() {
        let now = WallTime::from_millis(0);
        let id = SnapshotId::BOOTSTRAP;
        let bytes = SnapshotBuilder::new(id, now, Timestamp(0), &dynamic()).finish();
        let read = Snapshot::read(id, bytes).unwrap();
        assert_eq!((read.control.in_log, read.control.voters), (false, dynamic().voters));
    }
}
