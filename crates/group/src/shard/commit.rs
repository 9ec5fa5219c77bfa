//! Operations on their way through the log: appended, committed, failed, late.

use ottla_types::Offset;

use super::{GroupShard, Phase};
use crate::api::{AppendFailure, GroupError};
use crate::failed;
use crate::journal::{Append, Done, Op};
use crate::names::{AppendId, Now};
use crate::registry::Group;
use crate::timers::{Timer, TimerKey};

impl GroupShard {
    /// The append that was asked for last is in the log; `end` is the offset after its last
    /// record. Its answers wait until the high watermark reaches `end`.
    ///
    /// # Panics
    /// If no append is outstanding, or another one.
    pub fn appended(&mut self, now: Now, id: AppendId, end: Offset) {
        let give_up_at = self.after(now, self.fx.config.commit_timeout);
        self.fx.journal.appended(id, end, give_up_at);
        self.release(now);
    }

    /// The high watermark of the partition.
    pub fn high_watermark(&mut self, now: Now, high_watermark: Offset) {
        // A new leader may not know it yet and report an older one.
        if self.high_watermark < high_watermark {
            self.high_watermark = high_watermark;
            self.release(now);
        }
    }

    /// The append that was asked for last did not happen. It is undone, with everything that was
    /// decided after it, and answered with an error.
    ///
    /// # Panics
    /// If no append is outstanding, or another one.
    pub fn append_failed(&mut self, now: Now, id: AppendId, failure: AppendFailure) {
        let error = GroupError::from(failure);
        let failed = self.fx.journal.failed(id);
        let mut late = Vec::new();
        for Append { ops, done, .. } in failed {
            self.fx.counters.failed_appends += 1;
            for op in ops.into_iter().rev() {
                self.undo(now, op, error);
            }
            late.push(done);
        }
        // Answers in the order of the requests.
        for done in late.into_iter().rev().flatten() {
            self.finish(now, done, Err(error));
        }
    }

    fn release(&mut self, now: Now) {
        while let Some(committed) = self.fx.journal.pop_committed(self.high_watermark) {
            for op in committed.ops {
                self.commit(op);
            }
            for done in committed.done {
                self.finish(now, done, Ok(()));
            }
        }
        self.watch_commits();
    }

    /// The oldest answers have waited too long. Their records stay where they are.
    pub(super) fn give_up(&mut self, now: Now) {
        for done in self.fx.journal.give_up(now.mono) {
            self.finish(now, done, Err(GroupError::CoordinatorNotAvailable));
        }
        self.watch_commits();
    }

    fn watch_commits(&mut self) {
        match self.fx.journal.give_up_at() {
            Some(at) => self.fx.timers.schedule(at, Timer::Commit),
            None => self.fx.timers.cancel(&TimerKey::Commit),
        }
    }

    fn commit(&mut self, op: Op) {
        match op {
            // A consumer group has one view; answers about it wait for what is on its way.
            Op::Consumer { .. } => {}
            Op::Offset { group, topic, partition } => {
                self.offsets.commit(&group, &topic, partition);
            }
            Op::Created(group) => self.groups.commit_create(&group),
            Op::Removed(group) => self.groups.commit_remove(&group),
        }
    }

    fn undo(&mut self, now: Now, op: Op, error: GroupError) {
        match op {
            Op::Consumer { group, undo } => self.undo_consumer(now, &group, undo),
            Op::Offset { group, topic, partition } => self.offsets.undo(&group, &topic, partition),
            Op::Created(id) => {
                let watched = match self.groups.undo_create(&id) {
                    Group::Classic(mut group) => {
                        group.refuse_all_parked(&mut self.fx, error);
                        group.watched()
                    }
                    Group::Consumer(group) => group.members().map(|(id, _)| id.clone()).collect(),
                    Group::Foreign(_) => Vec::new(),
                };
                self.forget_timers(&id, watched);
            }
            Op::Removed(group) => {
                self.groups.undo_remove(&group);
                self.resume(now, &group);
            }
        }
    }

    fn finish(&mut self, now: Now, done: Done, result: Result<(), GroupError>) {
        assert!(self.phase == Phase::Active, "only an active shard commits");
        let Self { groups, fx, .. } = self;
        match done {
            Done::Reply { token, response } => match result {
                Ok(()) => fx.reply(token, response),
                Err(error) => fx.reply(token, failed::fail(response, error)),
            },
            Done::Assigned { group, generation, assignments } => {
                if let Some(group) = groups.classic_mut(&group) {
                    group.assigned(fx, now, generation, assignments, result);
                }
            }
            Done::StaticReplaced { group, replacement } => {
                if let Some(group) = groups.classic_mut(&group) {
                    group.replaced(fx, now, *replacement, result);
                }
            }
            Done::GroupCreated { group, token } => {
                // If the append failed, the group is gone and its members have their answer;
                // this is for a commit that takes too long.
                if let Err(error) = result
                    && let Some(group) = groups.classic_mut(&group)
                    && let Some(member) = group.joined_by(token)
                {
                    group.refuse_parked(fx, &member, error);
                    group.remove_and_rebalance(fx, now, &member);
                }
            }
        }
    }
}
