//! What a group may do to the world around it: answer, wait, ask for an append, count.
//!
//! Kept apart from the groups so that a group can be changed while it uses this.

use std::collections::VecDeque;
use std::time::Duration;

use crate::api::{GroupError, JoinGroupResponse, Record, Response, SyncGroupResponse};
use crate::config::GroupConfig;
use crate::journal::{Done, Journal, Op};
use crate::names::{GroupId, MemberId, Now, Token};
use crate::stats::Counters;
use crate::timers::{Timer, TimerKey, Timers};

/// The surroundings of a group.
#[derive(Debug)]
pub(crate) struct Effects {
    pub(crate) config: GroupConfig,
    pub(crate) timers: Timers,
    pub(crate) replies: VecDeque<(Token, Response)>,
    pub(crate) journal: Journal,
    pub(crate) counters: Counters,
}

impl Effects {
    pub(crate) fn new(config: GroupConfig) -> Self {
        Self {
            config,
            timers: Timers::default(),
            replies: VecDeque::new(),
            journal: Journal::default(),
            counters: Counters::default(),
        }
    }

    /// Answers at once.
    pub(crate) fn reply(&mut self, token: Token, response: Response) {
        self.replies.push_back((token, response));
    }

    /// Refuses a join.
    pub(crate) fn refuse_join(&mut self, token: Token, member: &MemberId, error: GroupError) {
        let member = member.clone();
        let response = JoinGroupResponse { error: Some(error), member, ..Default::default() };
        self.reply(token, Response::JoinGroup(response));
    }

    /// Refuses a sync.
    pub(crate) fn refuse_sync(&mut self, token: Token, error: GroupError) {
        let response = SyncGroupResponse { error: Some(error), ..Default::default() };
        self.reply(token, Response::SyncGroup(response));
    }

    /// Asks for an append; `done` happens when it is committed, or is known not to be.
    pub(crate) fn append(&mut self, records: Vec<Record>, ops: Vec<Op>, done: Vec<Done>) {
        let target = self.config.append_bytes_target;
        self.journal.push(records, ops, done, target);
    }

    /// (Re)starts the session of a member.
    pub(crate) fn start_session(
        &mut self,
        now: Now,
        group: &GroupId,
        member: &MemberId,
        timeout: Duration,
    ) {
        let timer = Timer::Session(group.clone(), member.clone());
        self.timers.schedule(now.mono.after(timeout), timer);
    }

    /// Ends the session of a member.
    pub(crate) fn end_session(&mut self, group: &GroupId, member: &MemberId) {
        self.timers.cancel(&TimerKey::Session(group.clone(), member.clone()));
    }
}
