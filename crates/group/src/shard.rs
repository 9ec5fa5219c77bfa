//! One shard: the groups of one partition of `__consumer_offsets`.
//!
//! This file is the door: what comes in is checked against the phase and sent to the module that
//! answers it. [`commit`] carries operations through the log, [`load`] reads them back.

mod admin;
mod classic_members;
mod commit;
mod consumer;
mod fetch;
mod load;
mod members;
mod offsets;
mod retention;

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_types::{MonoTime, Offset};

use crate::api::{GroupError, Output, Request, Response};
use crate::config::GroupConfig;
use crate::effects::Effects;
use crate::failed;
use crate::names::{Now, Token};
use crate::offsets::Offsets;
use crate::registry::{Group, Registry};
use crate::state::State;
use crate::stats::Stats;
use crate::timers::Timer;
use crate::topics::KnownTopics;

pub use load::LoggedRecord;
pub use offsets::DeletedTopic;

/// What a shard is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Reading its partition: requests are refused.
    Loading,
    /// Serving.
    Active,
    /// Another broker serves now.
    Closed,
}

/// Coordinator of the groups of one partition.
///
/// See the crate's documentation for how to drive it.
#[derive(Debug)]
pub struct GroupShard {
    phase: Phase,
    groups: Registry,
    offsets: Offsets,
    fx: Effects,
    topics: KnownTopics,
    high_watermark: Offset,
}

impl GroupShard {
    /// A shard that is to be loaded: [`Self::replay`] every record of the partition, then call
    /// [`Self::loaded`].
    pub fn new(config: GroupConfig) -> Self {
        Self {
            phase: Phase::Loading,
            groups: Registry::default(),
            offsets: Offsets::default(),
            fx: Effects::new(config),
            topics: KnownTopics::default(),
            high_watermark: Offset::ZERO,
        }
    }

    /// Changes settings; those that concern a wait apply to the next one.
    pub fn set_config(&mut self, config: GroupConfig) {
        self.fx.config = config;
    }

    /// Handles a request. Its answer comes out of [`Self::poll_output`], now or later.
    pub fn handle(&mut self, now: Now, request: Request, token: Token) {
        let refused = match self.phase {
            Phase::Loading => Some(GroupError::CoordinatorLoadInProgress),
            Phase::Closed => Some(GroupError::NotCoordinator),
            Phase::Active => None,
        };
        if let Some(error) = refused {
            self.fx.reply(token, failed::refuse(request, error));
            return;
        }
        match request {
            Request::JoinGroup(request) => self.join_group(now, request, token),
            Request::SyncGroup(request) => self.sync_group(now, request, token),
            Request::Heartbeat(request) => self.heartbeat(now, &request, token),
            Request::LeaveGroup(request) => self.leave_group(now, request, token),
            Request::OffsetCommit(request) => self.commit_offsets(now, request, token),
            Request::OffsetFetch(request) => self.fetch_offsets(request, token),
            Request::OffsetDelete(request) => self.delete_offsets(request, token),
            Request::DescribeGroups(groups) => {
                let described = groups.into_iter().map(|group| self.describe(group)).collect();
                self.fx.reply(token, Response::DescribeGroups(described));
            }
            Request::ListGroups(filter) => {
                let listed = self.list(&filter);
                self.fx.reply(token, Response::ListGroups(Ok(listed)));
            }
            Request::DeleteGroups(groups) => self.delete_groups(groups, token),
            Request::ConsumerGroupHeartbeat(beat) => self.consumer_beat(now, &beat, token),
            Request::ConsumerGroupDescribe(groups) => self.describe_consumers(groups, token),
        }
    }

    /// Acts on the passage of time.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.fx.timers.pop_due(now.mono) {
            self.fire(now, timer);
        }
    }

    fn fire(&mut self, now: Now, timer: Timer) {
        let Self { groups, fx, .. } = self;
        match timer {
            Timer::CompleteJoin(group) => {
                if let Some(group) = groups.classic_mut(&group) {
                    group.join_timeout(fx, now);
                }
            }
            Timer::InitialJoin { group, delay, remaining } => {
                if let Some(group) = groups.classic_mut(&group) {
                    group.first_members_timeout(fx, now, delay, remaining);
                }
            }
            Timer::PendingSync(group, generation) => {
                if let Some(group) = groups.classic_mut(&group) {
                    group.sync_timeout(fx, now, generation);
                }
            }
            Timer::Session(group, member) => {
                if let Some(group) = groups.classic_mut(&group) {
                    group.session_timeout(fx, now, &member);
                } else {
                    self.fence_consumers(now, &group, &BTreeSet::from([member]), None);
                }
            }
            Timer::Rebalance(group, member, epoch) => {
                self.consumer_late(now, &group, &member, epoch)
            }
            Timer::MemberJoin(group, member) | Timer::MemberSync(group, member) => {
                self.fence_consumers(now, &group, &BTreeSet::from([member]), None);
            }
            Timer::Resolve(group) => self.consumer_resolve(now, &group),
            Timer::Retention => self.expire_offsets(now),
            Timer::Commit => self.give_up(now),
        }
    }

    /// When [`Self::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<MonoTime> {
        self.fx.timers.next_at()
    }

    /// What is to be done next: answers first, then appends.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some((token, response)) = self.fx.replies.pop_front() {
            return Some(Output::Reply { token, response });
        }
        let (id, records) = self.fx.journal.next()?;
        Some(Output::Append { id, records })
    }

    /// What there is and what has happened.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            offsets: self.offsets.count(),
            uncommitted_appends: self.fx.journal.len(),
            timers: self.fx.timers.len(),
            counters: self.fx.counters,
            ..Stats::default()
        };
        for (_, group) in self.groups.all() {
            let group = match group {
                Group::Classic(group) => group,
                Group::Consumer(group) => {
                    stats.members += group.members().len();
                    stats.count_consumer(group.state());
                    continue;
                }
                Group::Foreign(_) => {
                    stats.groups_foreign += 1;
                    continue;
                }
            };
            stats.members += group.members().len();
            match group.state() {
                State::Empty => stats.groups_empty += 1,
                State::PreparingRebalance(_) => stats.groups_preparing_rebalance += 1,
                State::CompletingRebalance => stats.groups_completing_rebalance += 1,
                State::Stable => stats.groups_stable += 1,
                State::Dead => {}
            }
        }
        stats
    }

    /// Another broker takes over, or this one stops: everything that waits is refused with
    /// `NotCoordinator`, and so is every later request. Nothing more is appended.
    pub fn close(&mut self, now: Now) {
        self.phase = Phase::Closed;
        let error = GroupError::NotCoordinator;
        for done in self.fx.journal.close() {
            if let crate::journal::Done::Reply { token, response } = done {
                self.fx.reply(token, failed::fail(response, error));
            }
        }
        for group in self.groups.classic_groups() {
            if !matches!(group.state(), State::Dead) {
                group.refuse_all_parked(&mut self.fx, error);
                group.go_to(State::Dead, now.wall);
            }
        }
        self.fx.timers.clear();
    }

    /// Whether requests are served: loaded and not closed.
    pub fn is_active(&self) -> bool {
        self.phase == Phase::Active
    }

    fn after(&self, now: Now, wait: Duration) -> MonoTime {
        now.mono.after(wait)
    }
}
