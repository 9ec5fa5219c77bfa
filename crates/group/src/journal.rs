//! What has been decided but is not yet committed: records on their way into the log, and the
//! answers that wait for them.
//!
//! Appends happen in order, so whatever fails is the newest there is: rolling back is undoing
//! the newest operations in reverse. [`crate::shard`] undoes and commits; this file keeps the
//! books.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use ottla_types::{Generation, MonoTime, Offset, PartitionIndex};

use crate::api::{Record, Response};
use crate::classic::StaticReplacement;
use crate::consumer::Undo;
use crate::names::{AppendId, GroupId, MemberId, Token, Topic};

/// A change of the state that its records are to make permanent.
#[derive(Debug)]
pub(crate) enum Op {
    /// An offset was set or removed.
    Offset { group: GroupId, topic: Topic, partition: PartitionIndex },
    /// Something about a consumer group changed.
    Consumer { group: GroupId, undo: Undo },
    /// A group appeared.
    Created(GroupId),
    /// A group went.
    Removed(GroupId),
}

/// What to do once records are committed, or are known not to be.
#[derive(Debug)]
pub(crate) enum Done {
    /// Answer a request.
    Reply { token: Token, response: Response },
    /// A leader's assignment is stored: hand it out.
    Assigned { group: GroupId, generation: Generation, assignments: BTreeMap<MemberId, Bytes> },
    /// A static member's new id is stored: let it in without a rebalance.
    StaticReplaced { group: GroupId, replacement: Box<StaticReplacement> },
    /// A new group is stored; its first member may wait in it already.
    GroupCreated { group: GroupId, token: Token },
}

/// Records with what hangs on them.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) id: AppendId,
    pub(crate) records: Vec<Record>,
    pub(crate) bytes: usize,
    pub(crate) ops: Vec<Op>,
    pub(crate) done: Vec<Done>,
}

/// Records that are in the log and not yet below the high watermark.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) end: Offset,
    pub(crate) give_up_at: MonoTime,
    pub(crate) ops: Vec<Op>,
    pub(crate) done: Vec<Done>,
}

/// The books.
///
/// Order, oldest first: `appended`, then `outstanding`, then `queued`.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    queued: VecDeque<Append>,
    outstanding: Option<Append>,
    appended: VecDeque<Appended>,
    last_id: u64,
    pushed: u64,
}

impl Journal {
    /// Queues records that belong together; operations and continuations go with them. They
    /// share an append with what is queued already as long as it stays below `target` bytes.
    pub(crate) fn push(
        &mut self,
        records: Vec<Record>,
        ops: Vec<Op>,
        done: Vec<Done>,
        target: usize,
    ) {
        assert!(!records.is_empty(), "an append has records");
        self.pushed += 1;
        let bytes = records.iter().map(size_of_record).sum::<usize>();
        match self.queued.back_mut() {
            Some(last) if last.bytes + bytes <= target => {
                last.bytes += bytes;
                last.records.extend(records);
                last.ops.extend(ops);
                last.done.extend(done);
            }
            _ => {
                self.last_id += 1;
                let id = AppendId(self.last_id);
                self.queued.push_back(Append { id, records, bytes, ops, done });
            }
        }
    }

    /// Lets `done` wait for everything that is on its way; gives it back if nothing is.
    pub(crate) fn after_all(&mut self, done: Done) -> Option<Done> {
        assert!(self.outstanding.is_none(), "an append is answered before anything else");
        if let Some(last) = self.queued.back_mut() {
            last.done.push(done);
        } else if let Some(last) = self.appended.back_mut() {
            last.done.push(done);
        } else {
            return Some(done);
        }
        None
    }

    /// The next append to carry out.
    pub(crate) fn next(&mut self) -> Option<(AppendId, Vec<Record>)> {
        assert!(self.outstanding.is_none(), "an append is answered before the next is asked for");
        let mut append = self.queued.pop_front()?;
        let records = std::mem::take(&mut append.records);
        let id = append.id;
        self.outstanding = Some(append);
        Some((id, records))
    }

    /// Notes that the outstanding append is in the log, up to `end`.
    pub(crate) fn appended(&mut self, id: AppendId, end: Offset, give_up_at: MonoTime) {
        let append = self.outstanding.take().expect("an append is outstanding");
        assert!(append.id == id, "appends are answered in order");
        if let Some(last) = self.appended.back() {
            assert!(last.end < end, "the log grows");
        }
        let Append { ops, done, .. } = append;
        self.appended.push_back(Appended { end, give_up_at, ops, done });
    }

    /// Takes what failed: the outstanding append and all that were queued behind it, because
    /// they were decided on its ground. Newest first.
    pub(crate) fn failed(&mut self, id: AppendId) -> Vec<Append> {
        let append = self.outstanding.take().expect("an append is outstanding");
        assert!(append.id == id, "appends are answered in order");
        let mut all: Vec<Append> = self.queued.drain(..).rev().collect();
        all.push(append);
        all
    }

    /// Takes the oldest append that the high watermark covers.
    pub(crate) fn pop_committed(&mut self, high_watermark: Offset) -> Option<Appended> {
        if self.appended.front()?.end <= high_watermark { self.appended.pop_front() } else { None }
    }

    /// Takes the continuations whose time is up.
    pub(crate) fn give_up(&mut self, now: MonoTime) -> Vec<Done> {
        let late = self.appended.iter_mut().take_while(|appended| appended.give_up_at <= now);
        late.flat_map(|appended| std::mem::take(&mut appended.done)).collect()
    }

    /// When the oldest continuation's time is up.
    pub(crate) fn give_up_at(&self) -> Option<MonoTime> {
        let waiting = self.appended.iter().find(|appended| !appended.done.is_empty())?;
        Some(waiting.give_up_at)
    }

    /// Takes every continuation: nothing will be committed here any more.
    pub(crate) fn close(&mut self) -> Vec<Done> {
        let mut done = Vec::new();
        for appended in self.appended.drain(..) {
            done.extend(appended.done);
        }
        for append in self.outstanding.take().into_iter().chain(self.queued.drain(..)) {
            done.extend(append.done);
        }
        done
    }

    /// Counts the calls of [`Self::push`], to see whether an operation made records.
    pub(crate) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Appends that are not committed.
    pub(crate) fn len(&self) -> usize {
        self.queued.len() + usize::from(self.outstanding.is_some()) + self.appended.len()
    }
}

/// What a record takes in a batch, at most.
fn size_of_record(record: &Record) -> usize {
    // Length, attributes, two deltas and two lengths are varints of at most 10 bytes each.
    const OVERHEAD: usize = 60;
    OVERHEAD + record.key.len() + record.value.as_ref().map_or(0, Bytes::len)
}
