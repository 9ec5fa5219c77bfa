//! What a quorum node says about itself and its replicas: the data of DescribeQuorum and metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_types::{LeaderEpoch, MonoTime, NodeId, Offset, WallTime};
use raft::StateRole;

use crate::ids::ReplicaKey;
use crate::io::Now;
use crate::quorum::Quorum;

// Kafka forgets an observer that has not fetched for so long.
const OBSERVER_SESSION: Duration = Duration::from_secs(300);
const OBSERVERS_MAX: usize = 100_000;

/// Role of a node, in Kafka's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It leads.
    Leader,
    /// It asks for votes.
    Candidate,
    /// It asks whether it would get votes.
    Prospective,
    /// It follows a leader, and votes.
    Follower,
    /// It does not vote.
    Observer,
    /// It votes, and knows no leader.
    Unattached,
}

/// One replica, as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaView {
    /// Which one.
    pub key: ReplicaKey,
    /// Where its log ends, if it has said so in this epoch.
    pub end: Option<Offset>,
    /// When it last answered or fetched.
    pub last_fetch: Option<WallTime>,
    /// When it last had everything.
    pub last_caught_up: Option<WallTime>,
}

/// The answer to DescribeQuorum; only a leader has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumView {
    /// Who leads.
    pub leader: NodeId,
    /// Its epoch.
    pub epoch: LeaderEpoch,
    /// Offset after the last committed record.
    pub high_watermark: Offset,
    /// Voters, by node id.
    pub voters: Vec<ReplicaView>,
    /// Everybody else who follows.
    pub observers: Vec<ReplicaView>,
}

/// Numbers for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// `current-state`.
    pub role: Role,
    /// `current-epoch`.
    pub epoch: LeaderEpoch,
    /// `current-leader`.
    pub leader: Option<NodeId>,
    /// `current-vote`.
    pub vote: Option<ReplicaKey>,
    /// `high-watermark`.
    pub high_watermark: Offset,
    /// `log-end-offset`: with what is not committed yet.
    pub log_end: Offset,
    /// `log-end-epoch`.
    pub log_end_epoch: Option<LeaderEpoch>,
    /// `number-of-voters`.
    pub voters: usize,
    /// `number-of-observers`; 0 unless this node leads.
    pub observers: usize,
    /// Bytes of entries in the write-ahead log.
    pub wal_bytes: usize,
}

/// Observers that fetched lately.
#[derive(Debug, Default)]
pub(crate) struct Observers {
    seen: BTreeMap<ReplicaKey, Observer>,
}

#[derive(Debug)]
struct Observer {
    end: Offset,
    last_fetch: MonoTime,
    last_caught_up: Option<MonoTime>,
}

impl Quorum {
    /// Notes that an observer fetched from `end`; the shell that answers Fetch says so.
    pub fn observer_fetched(&mut self, now: Now, key: ReplicaKey, end: Offset) {
        let caught_up = (end >= self.log_end).then_some(now.mono);
        let seen = &mut self.observers.seen;
        seen.retain(|_, observer| now.mono.since(observer.last_fetch) < OBSERVER_SESSION);
        if self.leading.is_none() || seen.len() >= OBSERVERS_MAX {
            return;
        }
        let last_caught_up =
            caught_up.or_else(|| seen.get(&key).and_then(|old| old.last_caught_up));
        seen.insert(key, Observer { end, last_fetch: now.mono, last_caught_up });
    }

    /// The leader's view of everybody; `None` on other nodes.
    pub fn describe(&self, now: Now) -> Option<QuorumView> {
        let leading = self.leading.as_ref()?;
        let wall = |at: MonoTime| now.wall.minus(now.mono.since(at));
        let voters = self.voters.keys().map(|key| {
            let id = self.state.ids.find(key).expect("every voter has a number");
            if id == self.own {
                let now = Some(now.wall);
                let end = Some(leading.next);
                return ReplicaView { key, end, last_fetch: now, last_caught_up: now };
            }
            let matched = self.raw.raft.prs().get(id.to_wire()).map(|progress| progress.matched);
            let known = leading.peers.get(&id);
            let matched = matched.filter(|_| known.is_some());
            ReplicaView {
                key,
                end: matched.and_then(|index| self.raw.store().end_at(index)),
                last_fetch: known.map(|peer| wall(peer.last_answer)),
                last_caught_up: known.and_then(|peer| peer.last_caught_up).map(wall),
            }
        });
        let live = self.observers.seen.iter();
        let live = live.filter(|(_, seen)| now.mono.since(seen.last_fetch) < OBSERVER_SESSION);
        let observers = live.map(|(key, seen)| ReplicaView {
            key: *key,
            end: Some(seen.end),
            last_fetch: Some(wall(seen.last_fetch)),
            last_caught_up: seen.last_caught_up.map(wall),
        });
        Some(QuorumView {
            leader: self.config.own.node,
            epoch: leading.epoch,
            high_watermark: self.log_end,
            voters: voters.collect(),
            observers: observers.collect(),
        })
    }

    /// Numbers for metrics.
    pub fn stats(&self) -> Stats {
        let raft = &self.raw.raft;
        let leader = self.leader().map(|key| key.node);
        let role = match raft.state {
            StateRole::Leader => Role::Leader,
            StateRole::Candidate => Role::Candidate,
            StateRole::PreCandidate => Role::Prospective,
            StateRole::Follower if !self.voters.is_voter(self.config.own) => Role::Observer,
            StateRole::Follower if leader.is_some() => Role::Follower,
            StateRole::Follower => Role::Unattached,
        };
        let store = self.raw.store();
        let last = store.point(store.last_index());
        Stats {
            role,
            epoch: self.epoch(),
            leader,
            vote: self.state.vote.and_then(|id| self.state.ids.key(id)),
            high_watermark: self.log_end,
            log_end: self.leading.as_ref().map_or_else(|| store.end(), |leading| leading.next),
            log_end_epoch: last.and_then(|point| point.epoch),
            voters: self.voters.len(),
            observers: if leader == Some(self.config.own.node) {
                self.observers.seen.len()
            } else {
                0
            },
            wal_bytes: self.wal_bytes,
        }
    }
}
