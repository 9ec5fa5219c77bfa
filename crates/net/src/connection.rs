//! One accepted connection: a single task that reads frames, calls the service and writes the
//! answers in request order.
//!
//! It is a hand-written poll function, since four things make progress at once: requests that
//! wait, answers that leave, bytes that arrive, and the clock. Reading stops while an answer does
//! not fit the socket, while the window of requests in flight is full, and while the memory
//! budget is used up; that is the whole back-pressure.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use ottla_codec::Parts;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::budget::{MemoryBudget, MemoryPermit};
use crate::buffer::BufferPool;
use crate::frame::{FrameReader, Step};
use crate::linger;
use crate::output::Output;
use crate::service::{Answer, AnswerFuture, ConnectionContext, Handled, Service};
use crate::stats::NetStats;

/// What every connection of a server shares.
pub(crate) struct Shared<S> {
    pub(crate) service: Arc<S>,
    pub(crate) budget: MemoryBudget,
    pub(crate) pool: Arc<BufferPool>,
    pub(crate) stats: Arc<NetStats>,
    pub(crate) limits: Limits,
}

/// Limits of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) frame_size_max: usize,
    pub(crate) in_flight_max: usize,
    pub(crate) idle_max: Duration,
    pub(crate) stall_max: Duration,
}

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The peer closed it, between frames.
    Peer,
    /// Nothing moved for too long.
    Idle,
    /// A frame began, holds memory, and did not go on, or too slowly.
    Stalled,
    /// The server is going down and nothing is left to answer.
    Drained,
    /// The frame or the request in it was malformed, or the service ended the connection.
    Refused(String),
    /// The socket failed.
    Io(io::Error),
}

/// When anything last moved on a connection; whoever chooses one to close looks at it.
#[derive(Debug)]
pub(crate) struct Activity {
    began: std::time::Instant,
    last_us: AtomicU64,
}

impl Activity {
    pub(crate) fn new(began: std::time::Instant) -> Self {
        let activity = Self { began, last_us: AtomicU64::new(0) };
        activity.note(Instant::now());
        activity
    }

    /// Microseconds since some moment that all connections share.
    pub(crate) fn last(&self) -> u64 {
        self.last_us.load(Relaxed)
    }

    fn note(&self, now: Instant) {
        let since = now.into_std().saturating_duration_since(self.began);
        self.last_us.store(u64::try_from(since.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }
}

/// Resolves when the server begins to drain.
pub(crate) type DrainSignal = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) struct Connection<S: Service> {
    shared: Arc<Shared<S>>,
    context: Arc<ConnectionContext>,
    /// Taken only when the connection is dropped.
    session: Option<S::Session>,
    stream: TcpStream,
    reader: FrameReader,
    slots: VecDeque<Slot>,
    output: Output,
    /// Set when the connection is to be closed once the output is empty.
    closing: Option<String>,
    waiting_for_budget: Option<Pin<Box<dyn Future<Output = MemoryPermit> + Send>>>,
    drain: Option<DrainSignal>,
    last_progress: Instant,
    activity: Arc<Activity>,
    /// Since when a frame holds memory, and how much of it has arrived meanwhile.
    holding: Option<(Instant, usize)>,
    timer: Pin<Box<Sleep>>,
}

/// One request in flight; the front one's answer leaves first.
struct Slot {
    state: SlotState,
    /// Given back when the answer is queued for writing.
    _memory: MemoryPermit,
}

enum SlotState {
    Waits { answer: AnswerFuture, fresh: bool },
    Done(Answer),
}

/// What one attempt to read came to.
enum Read {
    /// Frames were handed over or a limit was reached; look at the answers first.
    Progress,
    /// Nothing to read now.
    Blocked,
}

impl<S: Service> Connection<S> {
    pub(crate) fn new(
        shared: Arc<Shared<S>>,
        context: Arc<ConnectionContext>,
        stream: TcpStream,
        activity: Arc<Activity>,
        drain: DrainSignal,
    ) -> Self {
        let now = Instant::now();
        Self {
            session: Some(shared.service.open(&context)),
            reader: FrameReader::new(Arc::clone(&shared.pool)),
            slots: VecDeque::new(),
            output: Output::default(),
            closing: None,
            waiting_for_budget: None,
            drain: Some(drain),
            last_progress: now,
            activity,
            holding: None,
            timer: Box::pin(tokio::time::sleep_until(now + shared.limits.idle_max)),
            shared,
            context,
            stream,
        }
    }

    /// Serves the connection until it ends, and logs an end that somebody should know about.
    pub(crate) async fn run(mut self) {
        let end = std::future::poll_fn(|cx| self.poll(cx)).await;
        let (listener, peer) = (&self.context.listener, self.context.peer);
        if matches!(end, End::Idle) {
            NetStats::add(&self.shared.stats.expired, 1);
        }
        match &end {
            End::Refused(reason) => {
                NetStats::add(&self.shared.stats.malformed, 1);
                tracing::warn!(%listener, %peer, %reason, "connection closed");
            }
            End::Stalled => {
                tracing::warn!(%listener, %peer, "connection closed: a request did not arrive whole");
            }
            End::Io(error) => tracing::debug!(%listener, %peer, %error, "connection lost"),
            End::Peer | End::Idle | End::Drained => {
                tracing::debug!(%listener, %peer, reason = ?end, "connection closed");
            }
        }
        self.leave(&end).await;
    }

    /// Gives everything back, and then lets the last answer arrive if it was this side that ended
    /// the connection.
    async fn leave(&mut self, end: &End) {
        self.close_session();
        self.waiting_for_budget = None;
        self.reader = FrameReader::new(Arc::clone(&self.shared.pool));
        match (end, self.drain.take()) {
            (End::Refused(_), Some(stopping)) => {
                linger::until_closed(&mut self.stream, stopping).await;
            }
            (End::Refused(_) | End::Drained, _) => linger::in_a_hurry(&mut self.stream).await,
            (End::Peer | End::Idle | End::Stalled | End::Io(_), _) => {}
        }
    }

    /// Tells the service of the end, once.
    fn close_session(&mut self) {
        // Requests that still wait go first, so that `closed` really is the last call.
        self.slots.clear();
        if let Some(session) = self.session.take() {
            self.shared.service.closed(session, &self.context);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.mark_all_fresh();
        for _ in 0..ROUNDS_MAX {
            if let Some(end) = self.settle(cx) {
                return Poll::Ready(end);
            }
            if !self.may_read(cx) {
                return self.poll_clock(cx);
            }
            match self.poll_read(cx) {
                Err(end) => return Poll::Ready(self.last_words(cx, end)),
                Ok(Read::Progress) => {}
                Ok(Read::Blocked) => return self.poll_clock(cx),
            }
        }
        // Other connections of this thread get their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Collects answers, writes what fits, and says whether the connection is over.
    fn settle(&mut self, cx: &mut Context<'_>) -> Option<End> {
        self.poll_slots(cx);
        if let Err(error) = self.collect() {
            return Some(End::Io(error));
        }
        if let Poll::Ready(Err(error)) = self.flush(cx) {
            return Some(End::Io(error));
        }
        if !self.output.is_empty() {
            return None;
        }
        if let Some(reason) = self.closing.take() {
            return Some(End::Refused(reason));
        }
        (self.is_draining(cx) && self.slots.is_empty()).then_some(End::Drained)
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut written = 0;
        let flushed = self.output.poll_flush(cx, &self.stream, &mut written);
        if written > 0 {
            NetStats::add(&self.shared.stats.sent_bytes, written);
            self.moved();
        }
        flushed
    }

    fn moved(&mut self) {
        self.last_progress = Instant::now();
        self.activity.note(self.last_progress);
    }

    fn mark_all_fresh(&mut self) {
        for slot in &mut self.slots {
            if let SlotState::Waits { fresh, .. } = &mut slot.state {
                *fresh = true;
            }
        }
    }

    /// Polls every wait that may have news: all of them after a wake-up, new ones after a read.
    /// Waits behind the front are polled too, because they overlap with it.
    fn poll_slots(&mut self, cx: &mut Context<'_>) {
        for slot in &mut self.slots {
            if let SlotState::Waits { answer, fresh } = &mut slot.state
                && std::mem::take(fresh)
                && let Poll::Ready(answer) = answer.as_mut().poll(cx)
            {
                slot.state = SlotState::Done(answer);
            }
        }
    }

    /// Moves finished requests from the front to the output; request order is kept by never
    /// passing one that waits.
    fn collect(&mut self) -> io::Result<()> {
        while self.closing.is_none() {
            let Some(Slot { state: SlotState::Done(_), .. }) = self.slots.front() else {
                return Ok(());
            };
            let Some(Slot { state: SlotState::Done(answer), .. }) = self.slots.pop_front() else {
                return Ok(());
            };
            match answer {
                Answer::Send(parts) => self.queue(parts)?,
                Answer::Nothing => {}
                Answer::Close(reason) => self.closing = Some(reason.into_owned()),
                Answer::SendAndClose(parts, reason) => {
                    self.queue(parts)?;
                    self.closing = Some(reason.into_owned());
                }
            }
        }
        self.slots.clear();
        Ok(())
    }

    fn queue(&mut self, parts: Parts) -> io::Result<()> {
        self.output.push_frame(parts)
    }

    fn may_read(&mut self, cx: &mut Context<'_>) -> bool {
        self.closing.is_none()
            && self.output.is_empty()
            && self.slots.len() < self.shared.limits.in_flight_max
            && !self.is_draining(cx)
    }

    fn is_draining(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(drain) = &mut self.drain else { return true };
        if drain.as_mut().poll(cx).is_ready() {
            self.drain = None;
        }
        self.drain.is_none()
    }

    /// Hands over the frames that are there; when there is none, reads once.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<Read, End> {
        if let Some(wait) = &mut self.waiting_for_budget {
            let Poll::Ready(permit) = wait.as_mut().poll(cx) else { return Ok(Read::Blocked) };
            self.waiting_for_budget = None;
            self.reader.grant(permit);
        }
        let mut handed = 0;
        while self.slots.len() < self.shared.limits.in_flight_max {
            let configured = self.shared.limits.frame_size_max;
            let Some(session) = &self.session else { return Err(End::Drained) };
            let limit = self.shared.service.frame_size_max(session, configured);
            match self.reader.next(limit, &self.shared.budget) {
                Err(error) => {
                    // What was asked before the malformed frame is still answered.
                    self.closing_after_slots(error.to_string());
                    return Ok(Read::Progress);
                }
                Ok(Step::Frame(frame, memory)) => {
                    handed += 1;
                    if self.hand_over(limit, frame, memory) {
                        return Ok(Read::Progress);
                    }
                }
                Ok(Step::NeedBudget(bytes)) => {
                    let wait = self.shared.budget.clone().acquire(bytes);
                    self.waiting_for_budget = Some(Box::pin(wait));
                    return Ok(Read::Progress);
                }
                Ok(Step::NeedBytes) if handed > 0 => return Ok(Read::Progress),
                Ok(Step::NeedBytes) => return self.fill(cx),
            }
        }
        Ok(Read::Progress)
    }

    fn fill(&mut self, cx: &mut Context<'_>) -> Result<Read, End> {
        match self.reader.poll_fill(cx, &mut self.stream, &self.shared.budget) {
            Poll::Pending => Ok(Read::Blocked),
            Poll::Ready(Ok(0)) => Err(End::Peer),
            Poll::Ready(Ok(bytes)) => {
                NetStats::add(&self.shared.stats.received_bytes, bytes);
                self.moved();
                if let Some((_, arrived)) = &mut self.holding {
                    *arrived += bytes;
                }
                Ok(Read::Progress)
            }
            Poll::Ready(Err(error)) => Err(End::Io(error)),
        }
    }

    /// Calls the service with a frame and, if the service likes, with those that have arrived
    /// behind it; true when no further frame may be read.
    fn hand_over(&mut self, limit: usize, frame: bytes::Bytes, memory: MemoryPermit) -> bool {
        let Some(session) = &mut self.session else { return true };
        let shared = &self.shared;
        self.holding = None;
        let gathers = shared.service.gathers(session);
        let mut room = shared.limits.in_flight_max - self.slots.len() - 1;
        let mut next = || {
            room = room.checked_sub(1).filter(|_| gathers)?;
            match self.reader.next(limit, &shared.budget) {
                Ok(Step::Frame(frame, memory)) => Some((frame, memory)),
                _ => None,
            }
        };
        let Some(second) = next() else {
            NetStats::add(&shared.stats.requests, 1);
            let handled = shared.service.call(session, &self.context, frame);
            return self.take_slot(handled, memory);
        };
        let (mut frames, mut permits) = (vec![frame, second.0], vec![memory, second.1]);
        while let Some((frame, memory)) = next() {
            frames.push(frame);
            permits.push(memory);
        }
        NetStats::add(&shared.stats.requests, frames.len());
        let run = shared.service.call_run(session, &self.context, frames);
        run.into_iter().zip(permits).any(|(handled, memory)| self.take_slot(handled, memory))
    }

    /// Takes in what became of a frame; true if the connection ends with it.
    fn take_slot(&mut self, handled: Handled, memory: MemoryPermit) -> bool {
        let last = handled.is_last();
        let state = match handled {
            Handled::Now(answer) => SlotState::Done(answer),
            Handled::Later(answer) => SlotState::Waits { answer, fresh: true },
        };
        self.slots.push_back(Slot { state, _memory: memory });
        last
    }

    fn closing_after_slots(&mut self, reason: String) {
        let state = SlotState::Done(Answer::Close(reason.into()));
        let _memory = MemoryPermit::none();
        self.slots.push_back(Slot { state, _memory });
    }

    /// The peer is gone: what is already answered is offered to the socket once more.
    fn last_words(&mut self, cx: &mut Context<'_>, end: End) -> End {
        if matches!(end, End::Peer) && self.collect().is_ok() {
            let _ = self.flush(cx);
        }
        end
    }

    /// Decides whether the connection has been quiet for too long. The timer is moved lazily: when
    /// it fires, not whenever something moves.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let holds_memory = self.reader.holds_budget() || self.waiting_for_budget.is_some();
            let limits = &self.shared.limits;
            let patience =
                if holds_memory { limits.stall_max.min(limits.idle_max) } else { limits.idle_max };
            let mut deadline = self.last_progress + patience;
            if !holds_memory || self.waiting_for_budget.is_some() {
                self.holding = None;
            } else {
                // A byte now and then is progress, but not for a peer that holds others up.
                let (since, arrived) = *self.holding.get_or_insert((self.last_progress, 0));
                let due = Duration::from_millis(arrived as u64 * 1000 / SLOWEST);
                deadline = deadline.min(since + limits.stall_max + due);
            }
            if deadline < self.timer.deadline() {
                self.timer.as_mut().reset(deadline);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            let mut next = deadline;
            if deadline <= now {
                // A request that waits for its answer is not idle, unless that answer is what the
                // peer does not read.
                if holds_memory {
                    return Poll::Ready(End::Stalled);
                }
                if self.slots.is_empty() || !self.output.is_empty() {
                    return Poll::Ready(End::Idle);
                }
                self.last_progress = now;
                next = now + patience;
            }
            self.timer.as_mut().reset(next);
        }
    }
}

/// Also when the task is cut or has panicked, the service hears of the end.
impl<S: Service> Drop for Connection<S> {
    fn drop(&mut self) {
        self.close_session();
    }
}

/// Bytes a second that a frame which holds memory must bring on the whole.
const SLOWEST: u64 = 1 << 10;

/// Rounds of one wake-up before the task yields.
const ROUNDS_MAX: usize = 32;
