//! Fetch sessions (KIP-227): a consumer names its partitions once, then sends only differences,
//! and gets only what changed.
//!
//! Pure: time and session ids come in as arguments. It decides which partitions a request asks
//! for and which of them its answer must mention; reading data is done by [`crate::api::fetch`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ottla_codec::{Few, Str};
use ottla_types::{ErrorCode, MonoTime, TopicId};
use parking_lot::Mutex;

/// A topic as a request names it: by id from version 13 on, by name before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TopicKey {
    /// Version 13 and above.
    Id(TopicId),
    /// Up to version 12.
    Name(Str),
}

/// A partition as a request names it; the index is raw, because a client may send any number.
pub(crate) type PartitionKey = (TopicKey, i32);

/// What a request says about one partition (raw wire values).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FetchParams {
    /// Leader epoch that the client believes in, or -1.
    pub(crate) current_leader_epoch: i32,
    /// First offset wanted.
    pub(crate) fetch_offset: i64,
    /// Epoch of the last record that a follower has, or -1.
    pub(crate) last_fetched_epoch: i32,
    /// Log start offset of a follower, or -1.
    pub(crate) log_start_offset: i64,
    /// Most bytes wanted from this partition.
    pub(crate) max_bytes: i32,
}

/// One entry of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FetchTarget {
    /// The partition.
    pub(crate) key: PartitionKey,
    /// What is asked of it.
    pub(crate) params: FetchParams,
}

/// What an answer says about a partition, as far as the session must remember it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnswerSummary {
    /// High watermark in the answer.
    pub(crate) high_watermark: i64,
    /// Log start offset in the answer.
    pub(crate) log_start_offset: i64,
    /// Whether the answer holds records, an error, a diverging epoch or a preferred replica.
    pub(crate) must_send: bool,
}

#[derive(Debug)]
struct Cached {
    params: FetchParams,
    place: u64,
    // Values of the last answer; none before the first.
    last: Option<(i64, i64)>,
}

/// The partitions of one session, in the order in which they are served.
#[derive(Debug)]
pub(crate) struct Session {
    id: i32,
    epoch: i32,
    uses_ids: bool,
    partitions: HashMap<PartitionKey, Cached>,
    order: BTreeMap<u64, PartitionKey>,
    next_place: u64,
}

impl Session {
    fn new(id: i32, uses_ids: bool) -> Self {
        Self {
            id,
            epoch: 1,
            uses_ids,
            partitions: HashMap::new(),
            order: BTreeMap::new(),
            next_place: 0,
        }
    }

    fn put(&mut self, target: FetchTarget) {
        if let Some(cached) = self.partitions.get_mut(&target.key) {
            cached.params = target.params;
            return;
        }
        let place = self.next_place;
        self.next_place += 1;
        let (topic, index) = target.key;
        // It outlives the request.
        let topic = match topic {
            TopicKey::Name(name) => TopicKey::Name(name.detached()),
            id @ TopicKey::Id(_) => id,
        };
        self.order.insert(place, (topic.clone(), index));
        let cached = Cached { params: target.params, place, last: None };
        self.partitions.insert((topic, index), cached);
    }

    fn forget(&mut self, key: &PartitionKey) {
        if let Some(cached) = self.partitions.remove(key) {
            let removed = self.order.remove(&cached.place);
            assert!(removed.is_some(), "a cached partition has no place in the order");
        }
    }

    fn targets(&self) -> Few<FetchTarget> {
        assert_eq!(self.order.len(), self.partitions.len(), "order and partitions differ");
        let params = |key: &PartitionKey| self.partitions.get(key).map(|cached| cached.params);
        self.order
            .values()
            .filter_map(|key| Some(FetchTarget { key: key.clone(), params: params(key)? }))
            .collect()
    }

    /// Notes what is about to be answered; true if the answer must mention the partition.
    ///
    /// A partition that sent records goes to the end of the order, so that a busy one cannot
    /// starve the others.
    fn note(&mut self, key: &PartitionKey, answer: AnswerSummary) -> bool {
        let Some(cached) = self.partitions.get_mut(key) else { return answer.must_send };
        let now = (answer.high_watermark, answer.log_start_offset);
        let changed = cached.last != Some(now);
        cached.last = Some(now);
        if answer.must_send {
            let place = self.next_place;
            self.next_place += 1;
            let old = std::mem::replace(&mut cached.place, place);
            self.order.remove(&old);
            self.order.insert(place, key.clone());
        }
        answer.must_send || changed
    }
}

/// How a request is to be served.
#[derive(Debug)]
pub(crate) enum FetchContext {
    /// Without a session; answers name every partition.
    Sessionless(Few<FetchTarget>),
    /// Opens a session if the cache has room; answers name every partition.
    Full { targets: Few<FetchTarget>, uses_ids: bool },
    /// Within a session; answers name what changed.
    Incremental { session: Arc<Mutex<Session>>, targets: Few<FetchTarget> },
}

impl FetchContext {
    /// The partitions to read, in serving order.
    pub(crate) fn targets(&self) -> &[FetchTarget] {
        match self {
            Self::Sessionless(targets)
            | Self::Full { targets, .. }
            | Self::Incremental { targets, .. } => targets,
        }
    }

    /// Whether the answer mentions a partition; see [`Session::note`].
    pub(crate) fn include(&self, key: &PartitionKey, answer: AnswerSummary) -> bool {
        match self {
            Self::Sessionless(_) | Self::Full { .. } => true,
            Self::Incremental { session, .. } => session.lock().note(key, answer),
        }
    }
}

#[derive(Debug)]
struct Slot {
    session: Arc<Mutex<Session>>,
    created: MonoTime,
    used: MonoTime,
    size: usize,
    privileged: bool,
}

/// All sessions of a broker, at most `slots` of them.
#[derive(Debug)]
pub(crate) struct FetchSessionCache {
    slots: usize,
    eviction: Duration,
    sessions: HashMap<i32, Slot>,
    /// Sessions that lost their place so far.
    pub(crate) evictions: u64,
}

impl FetchSessionCache {
    /// Room for `slots` sessions; one that is younger or used within `eviction` keeps its place.
    pub(crate) fn new(slots: usize, eviction: Duration) -> Self {
        Self { slots, eviction, sessions: HashMap::new(), evictions: 0 }
    }

    /// Sessions now.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Partitions of all sessions now.
    pub(crate) fn partitions(&self) -> usize {
        self.sessions.values().map(|slot| slot.size).sum()
    }

    /// Finds out what a request with this session id and epoch asks for.
    ///
    /// # Errors
    /// `FETCH_SESSION_ID_NOT_FOUND`, `INVALID_FETCH_SESSION_EPOCH` and
    /// `FETCH_SESSION_TOPIC_ID_ERROR`, each for the whole answer.
    pub(crate) fn context(
        &mut self,
        now: MonoTime,
        (id, epoch): (i32, i32),
        uses_ids: bool,
        targets: Few<FetchTarget>,
        forget: &[PartitionKey],
    ) -> Result<FetchContext, ErrorCode> {
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
            self.sessions.remove(&id);
            return Ok(if epoch == FINAL_EPOCH {
                FetchContext::Sessionless(targets)
            } else {
                FetchContext::Full { targets, uses_ids }
            });
        }
        let slot = self.sessions.get_mut(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        let shared = slot.session.clone();
        let mut session = shared.lock();
        if session.epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.uses_ids != uses_ids {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        targets.into_iter().for_each(|target| session.put(target));
        forget.iter().for_each(|key| session.forget(key));
        slot.used = now;
        slot.size = session.partitions.len();
        if session.partitions.is_empty() {
            self.sessions.remove(&id);
            return Ok(FetchContext::Sessionless(Few::new()));
        }
        session.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        let targets = session.targets();
        drop(session);
        Ok(FetchContext::Incremental { session: shared, targets })
    }

    /// Closes the books on an answer and says which session id it carries; 0 is none.
    ///
    /// `included` answers are those of a full context, in order; `new_id` draws a random positive
    /// id when a session is opened.
    pub(crate) fn finish(
        &mut self,
        now: MonoTime,
        context: &FetchContext,
        answers: &[(PartitionKey, AnswerSummary)],
        privileged: bool,
        mut new_id: impl FnMut() -> i32,
    ) -> i32 {
        match context {
            FetchContext::Sessionless(_) => 0,
            FetchContext::Incremental { session, .. } => session.lock().id,
            FetchContext::Full { targets, .. } if targets.is_empty() => 0,
            FetchContext::Full { targets, uses_ids } => {
                if !self.make_room(now, targets.len(), privileged) {
                    return 0;
                }
                let id = std::iter::repeat_with(&mut new_id)
                    .find(|id| *id > 0 && !self.sessions.contains_key(id))
                    .unwrap_or_default();
                let mut session = Session::new(id, *uses_ids);
                targets.iter().for_each(|target| session.put(target.clone()));
                for (key, answer) in answers {
                    session.note(key, *answer);
                }
                let size = session.partitions.len();
                let session = Arc::new(Mutex::new(session));
                let slot = Slot { session, created: now, used: now, size, privileged };
                self.sessions.insert(id, slot);
                assert!(self.sessions.len() <= self.slots, "more sessions than slots");
                id
            }
        }
    }

    /// Frees a slot if none is free: first a session unused for the eviction time, then an old
    /// one of less worth (a follower's session is worth more, then the larger).
    fn make_room(&mut self, now: MonoTime, size: usize, privileged: bool) -> bool {
        if self.sessions.len() < self.slots {
            return true;
        }
        let stale = self.sessions.iter().min_by_key(|(_, slot)| slot.used);
        let victim = match stale {
            Some((&id, slot)) if now.since(slot.used) > self.eviction => Some(id),
            _ => self
                .sessions
                .iter()
                .filter(|(_, slot)| now.since(slot.created) > self.eviction)
                .min_by_key(|(id, slot)| (slot.privileged, slot.size, **id))
                .filter(|(_, slot)| (slot.privileged, slot.size) < (privileged, size))
                .map(|(&id, _)| id),
        };
        match victim {
            Some(id) => {
                self.sessions.remove(&id);
                self.evictions += 1;
                true
            }
            None => false,
        }
    }
}

const INITIAL_EPOCH: i32 = 0;
const FINAL_EPOCH: i32 = -1;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(partition: i32) -> PartitionKey {
        (TopicKey::Name("t".into()), partition)
    }

    fn target(partition: i32, fetch_offset: i64) -> FetchTarget {
        let params = FetchParams {
            current_leader_epoch: -1,
            fetch_offset,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            max_bytes: 1000,
        };
        FetchTarget { key: key(partition), params }
    }

    fn answer(high_watermark: i64, must_send: bool) -> AnswerSummary {
        AnswerSummary { high_watermark, log_start_offset: 0, must_send }
    }

    fn open(cache: &mut FetchSessionCache, now: MonoTime, id: i32, partitions: i32) -> i32 {
        let targets = (0..partitions).map(|p| target(p, 0)).collect();
        let context = cache.context(now, (0, 0), false, targets, &[]).unwrap();
        let answers: Vec<_> = (0..partitions).map(|p| (key(p), answer(5, false))).collect();
        cache.finish(now, &context, &answers, false, || id)
    }

    #[test]
    fn incremental_answers_name_only_what_changed() {
        let mut cache = FetchSessionCache::new(10, Duration::from_secs(120));
        let now = MonoTime::ZERO;
        assert_eq!(open(&mut cache, now, 7, 3), 7);
        let context =
            cache.context(now, (7, 1), false, Few::from_buf([target(1, 9)]), &[key(2)]).unwrap();
        let offsets: Vec<_> = context.targets().iter().map(|t| t.params.fetch_offset).collect();
        assert_eq!(offsets, [0, 9]);
        assert!(!context.include(&key(0), answer(5, false)), "nothing changed");
        assert!(context.include(&key(1), answer(6, false)), "the high watermark moved");
        assert!(context.include(&key(0), answer(6, true)), "records");
        assert_eq!(cache.finish(now, &context, &[], false, || 0), 7);
        // The partition that sent records now comes last.
        let context = cache.context(now, (7, 2), false, Few::new(), &[]).unwrap();
        let order: Vec<_> = context.targets().iter().map(|t| t.key.1).collect();
        assert_eq!(order, [1, 0]);
    }

    #[test]
    fn wrong_ids_epochs_and_kinds_are_told_apart() {
        let mut cache = FetchSessionCache::new(10, Duration::from_secs(120));
        let now = MonoTime::ZERO;
        open(&mut cache, now, 7, 1);
        let mut ask = |session, ids| cache.context(now, session, ids, Few::new(), &[]).unwrap_err();
        assert_eq!(ask((8, 1), false), ErrorCode::FetchSessionIdNotFound);
        assert_eq!(ask((7, 2), false), ErrorCode::InvalidFetchSessionEpoch);
        assert_eq!(ask((7, 1), true), ErrorCode::FetchSessionTopicIdError);
    }

    #[test]
    fn closing_and_emptying_end_a_session() {
        let mut cache = FetchSessionCache::new(10, Duration::from_secs(120));
        let now = MonoTime::ZERO;
        open(&mut cache, now, 7, 1);
        let context =
            cache.context(now, (7, -1), false, Few::from_buf([target(0, 0)]), &[]).unwrap();
        assert!(matches!(context, FetchContext::Sessionless(targets) if targets.len() == 1));
        assert_eq!(cache.len(), 0);
        open(&mut cache, now, 8, 1);
        let context = cache.context(now, (8, 1), false, Few::new(), &[key(0)]).unwrap();
        assert_eq!((context.targets().len(), cache.len()), (0, 0));
    }

    #[test]
    fn a_full_cache_evicts_the_idle_then_the_small() {
        let mut cache = FetchSessionCache::new(2, Duration::from_secs(120));
        let at = |secs: u64| MonoTime::from_millis(secs * 1000);
        open(&mut cache, at(0), 1, 5);
        open(&mut cache, at(0), 2, 1);
        assert_eq!(open(&mut cache, at(1), 3, 9), 0, "both are young");
        cache.context(at(130), (1, 1), false, Few::new(), &[]).unwrap();
        assert_eq!(open(&mut cache, at(130), 3, 1), 3, "2 was idle");
        cache.context(at(251), (1, 2), false, Few::new(), &[]).unwrap();
        cache.context(at(251), (3, 1), false, Few::new(), &[]).unwrap();
        assert_eq!(open(&mut cache, at(251), 4, 2), 4, "3 is smaller");
        assert_eq!((cache.evictions, cache.partitions()), (2, 7));
    }
}
