//! One shard: a core behind a short lock, and the carrying out of what it says.
//!
//! Every entry point does the same: lock, apply an event to the core, execute its outputs. The
//! partition's lock is only ever taken inside this one, never the other way round.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use ottla_group::{
    AppendFailure, AppendId, DeletedTopic, GroupConfig, GroupShard, Now, Output, Record, Request,
    Response, Stats, Token, Topic, Topics,
};
use ottla_types::{ErrorCode, MonoTime, Offset, PartitionIndex, TopicId};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::figures::ShardPhase;
use super::{Asked, Env, append};
use crate::partition::Partition;

/// The groups of one partition.
pub(super) struct Shard {
    partition: Arc<Partition>,
    env: Arc<Env>,
    state: Mutex<State>,
}

struct State {
    core: GroupShard,
    waiting: HashMap<Token, oneshot::Sender<Response>>,
    next_token: u64,
    /// Ends of appends that the high watermark does not cover yet, in order.
    uncovered: VecDeque<Offset>,
    /// Whether a task waits for the high watermark.
    watched: bool,
    /// The deadline that the timers know of.
    armed: Option<MonoTime>,
    /// Topics that were deleted while the shard was loaded.
    deleted: Vec<DeletedTopic>,
    closed: bool,
}

impl Shard {
    /// A shard that is to be loaded.
    pub(super) fn new(partition: Arc<Partition>, env: Arc<Env>) -> Arc<Self> {
        let core = GroupShard::new(env.settings.load().core.clone());
        let state = State {
            core,
            waiting: HashMap::new(),
            next_token: 0,
            uncovered: VecDeque::new(),
            watched: false,
            armed: None,
            deleted: Vec::new(),
            closed: false,
        };
        Arc::new(Self { partition, env, state: Mutex::new(state) })
    }

    pub(super) fn index(&self) -> PartitionIndex {
        self.partition.topic_partition().partition
    }

    pub(super) fn topic_id(&self) -> TopicId {
        self.partition.topic_id()
    }

    pub(super) fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    pub(super) fn env(&self) -> &Env {
        &self.env
    }

    pub(super) fn figures(&self) -> (ShardPhase, Stats) {
        let state = self.state.lock();
        let phase = match (state.closed, state.core.is_active()) {
            (true, _) => ShardPhase::Failed,
            (false, true) => ShardPhase::Active,
            (false, false) => ShardPhase::Loading,
        };
        (phase, state.core.stats())
    }

    /// Handles a request.
    pub(super) fn ask(self: &Arc<Self>, request: Request) -> Asked {
        let (answer, mut wait) = oneshot::channel();
        self.apply(|state, now| {
            let token = Token(state.next_token);
            state.next_token += 1;
            state.waiting.insert(token, answer);
            state.core.handle(now, request, token);
        });
        match wait.try_recv() {
            Ok(response) => Asked::Now(response),
            Err(_) => Asked::Later(wait),
        }
    }

    /// A deadline has come.
    pub(super) fn timeout(self: &Arc<Self>) {
        self.apply(|state, now| {
            if state.armed.is_some_and(|at| at <= now.mono) {
                state.armed = None;
            }
            state.core.handle_timeout(now);
        });
    }

    /// Takes over changed settings.
    pub(super) fn reconfigure(&self, config: &GroupConfig) {
        self.state.lock().core.set_config(config.clone());
    }

    /// Topics are gone; while the shard is loaded that is kept in mind.
    pub(super) fn topics_deleted(self: &Arc<Self>, topics: &[DeletedTopic]) {
        self.apply(|state, _| {
            if state.core.is_active() {
                state.core.topics_deleted(topics);
            } else if !state.closed {
                state.deleted.extend_from_slice(topics);
            }
        });
    }

    /// Topics have changed.
    pub(super) fn topics_changed(
        self: &Arc<Self>,
        topics: &Arc<dyn Topics>,
        changed: &[Topic],
        created: bool,
    ) {
        self.apply(|state, _| state.core.topics_changed(topics.clone(), changed, created));
    }

    /// The partition was read into `core`, up to `end`, and is committed: requests are served.
    pub(super) fn loaded(self: &Arc<Self>, mut core: GroupShard, end: Offset) {
        self.apply(|state, now| {
            if state.closed {
                return;
            }
            core.set_config(self.env.settings.load().core.clone());
            core.topics_changed((**self.env.topics.load()).clone(), &[], false);
            core.loaded(now, end);
            state.core = core;
            let deleted = std::mem::take(&mut state.deleted);
            state.core.topics_deleted(&deleted);
        });
    }

    /// Sends everybody away, for good.
    pub(super) fn close(self: &Arc<Self>) {
        self.apply(|state, now| {
            state.closed = true;
            state.core.close(now);
            state.uncovered.clear();
        });
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    fn apply(self: &Arc<Self>, event: impl FnOnce(&mut State, Now)) {
        let mut state = self.state.lock();
        let now = self.env.now();
        event(&mut state, now);
        self.execute(&mut state, now);
    }

    fn execute(self: &Arc<Self>, state: &mut State, now: Now) {
        loop {
            while let Some(output) = state.core.poll_output() {
                match output {
                    Output::Reply { token, response } => state.answer(token, response),
                    Output::Append { id, records } => self.append(state, now, id, &records),
                }
            }
            // Where a write counts as durable, the append itself has moved the high watermark.
            if !state.advance(now, self.partition.high_watermark()) {
                break;
            }
        }
        self.watch(state);
        let next = state.core.poll_timeout();
        if next != state.armed {
            self.env.timers.rearm(self.index(), state.armed, next);
            state.armed = next;
        }
    }

    fn append(&self, state: &mut State, now: Now, id: AppendId, records: &[Record]) {
        match self.write(now, records) {
            Ok(end) => {
                state.uncovered.push_back(end);
                state.core.appended(now, id, end);
            }
            Err(failure) => state.core.append_failed(now, id, failure),
        }
    }

    /// Appends one batch; answers the offset after it.
    fn write(&self, now: Now, records: &[Record]) -> Result<Offset, AppendFailure> {
        let partition = self.partition.topic_partition();
        let codec = self.env.settings.load().compression;
        let batch = append::batch(records, codec, now.wall).map_err(|error| {
            tracing::error!(%partition, %error, "cannot build a batch of group records");
            AppendFailure::Other
        })?;
        match self.partition.append_from_coordinator(batch, now.wall) {
            Ok(appended) => Ok(appended.last_offset.next()),
            Err(refusal) => {
                let (code, text) = (refusal.code, refusal.text());
                tracing::warn!(%partition, %code, text, "group records were not appended");
                Err(append::failure(refusal.code))
            }
        }
    }

    /// Makes sure that somebody waits for the high watermark while anything depends on it.
    fn watch(self: &Arc<Self>, state: &mut State) {
        if !state.watched && !state.uncovered.is_empty() {
            state.watched = true;
            self.env.runtime.spawn(watch(self.clone()));
        }
    }

    /// What the high watermark must reach next; without anything the watch is over.
    fn next_uncovered(&self) -> Option<Offset> {
        let mut state = self.state.lock();
        let next = state.uncovered.front().copied();
        state.watched = next.is_some();
        next
    }

    fn stop_watching(&self) {
        let mut state = self.state.lock();
        state.uncovered.clear();
        state.watched = false;
    }
}

impl State {
    fn answer(&mut self, token: Token, response: Response) {
        let waiting = self.waiting.remove(&token).expect("every token is answered once");
        // The client may be gone, and with it the receiver.
        let _ = waiting.send(response);
    }

    /// Tells the core how far the high watermark is; false if that is no news.
    fn advance(&mut self, now: Now, high_watermark: Offset) -> bool {
        let mut news = false;
        while self.uncovered.front().is_some_and(|end| *end <= high_watermark) {
            self.uncovered.pop_front();
            news = true;
        }
        if news {
            self.core.high_watermark(now, high_watermark);
        }
        news
    }
}

async fn watch(shard: Arc<Shard>) {
    while let Some(end) = shard.next_uncovered() {
        match shard.partition.covered(end).await {
            // Woken before time, because something about the partition has changed.
            Ok(()) | Err(ErrorCode::RequestTimedOut) => shard.apply(|_, _| {}),
            Err(code) => {
                // Whoever waits is answered when the commit timeout is over, or when metadata
                // says that another broker leads.
                tracing::warn!(partition = %shard.partition.topic_partition(), %code, "not committed");
                shard.stop_watching();
                return;
            }
        }
    }
}
