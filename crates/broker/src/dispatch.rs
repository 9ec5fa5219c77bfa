//! From a frame to an answer: reads the header, finds the handler, writes what it says.
//!
//! One table, [`Dispatcher::route`], names the handler of each API; which of them a listener
//! offers is said by [`crate::api`]. A request that cannot be understood closes its connection
//! with one log line, as in Kafka; only ApiVersions of an unknown version is answered (KIP-511).

use std::borrow::Cow;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use ottla_codec::{DecodeError, Message, Reader, Sink, Str, Writer};
use ottla_net::{Answer, ConnectionContext, Handled, Service};
use ottla_protocol::{ApiKey, ProduceRequest, RequestHeader, ResponseHeader};
use ottla_types::MonoTime;
use tokio::sync::watch;

use crate::api;
use crate::driver::lifecycle::Phase;
use crate::shared::Shared;
use crate::telemetry::RequestTimer;

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenerKind {
    /// Clients and other brokers.
    Broker,
    /// Controllers and brokers that talk to the controller.
    Controller,
}

/// Who asks, how and when.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    /// The API.
    pub(crate) api: ApiKey,
    /// Version of request and answer.
    pub(crate) version: i16,
    /// Number that the answer repeats.
    pub(crate) correlation_id: i32,
    /// Name that the client gave itself.
    pub(crate) client_id: Option<Str>,
    /// Name of the listener the request came by; answers carry its endpoints.
    pub(crate) listener: Arc<str>,
    /// What that listener is for.
    pub(crate) kind: ListenerKind,
    /// Address of the client.
    pub(crate) peer: SocketAddr,
    /// Size of the frame.
    pub(crate) bytes: u64,
    /// When the frame was complete.
    pub(crate) received: MonoTime,
    /// Set when the request came inside an Envelope: the answer is wanted as bytes.
    pub(crate) forwarded: bool,
}

impl RequestContext {
    /// The client id, or the empty text.
    pub(crate) fn client(&self) -> &str {
        self.client_id.as_deref().unwrap_or_default()
    }
}

/// A response that comes later.
pub(crate) type Pending<R> = Pin<Box<dyn Future<Output = Reply<R>> + Send>>;

/// What a handler answers.
pub(crate) enum Reply<R> {
    /// The response.
    Now(R),
    /// The response comes when the future ends; it must not answer `Later` again.
    Later(Pending<R>),
    /// No response is wanted (Produce with acks=0).
    Nothing,
    /// The connection is closed, for this reason.
    Close(Cow<'static, str>),
}

impl<R: Send + 'static> Reply<R> {
    /// A response that comes later.
    pub(crate) fn later(wait: impl Future<Output = R> + Send + 'static) -> Self {
        Self::Later(Box::pin(async move { Self::Now(wait.await) }))
    }
}

/// What the broker knows of one connection.
#[derive(Clone, Debug)]
pub(crate) struct ClientSession {
    /// What the connection's listener is for.
    kind: ListenerKind,
    /// Name and version of the client software, once it said so (KIP-511).
    pub(crate) software: Option<(Str, Str)>,
}

/// The service behind all listeners of a node.
pub(crate) struct Dispatcher {
    shared: Arc<Shared>,
    /// Whether the broker has been unfenced once; a later fence turns no client away.
    started: AtomicBool,
}

impl Service for Dispatcher {
    type Session = ClientSession;

    fn open(&self, connection: &Arc<ConnectionContext>) -> ClientSession {
        let kind = self.shared.listener_kind(&connection.listener);
        ClientSession { kind, software: None }
    }

    fn call(
        &self,
        session: &mut ClientSession,
        connection: &Arc<ConnectionContext>,
        frame: Bytes,
    ) -> Handled {
        let received = self.shared.clock.now();
        match self.read_header(session, connection, &frame, received) {
            Ok(Parsed::Request(ctx, body)) => {
                if session.kind == ListenerKind::Broker
                    && let Some(start) = self.start_in_progress()
                {
                    if ctx.api == ApiKey::ApiVersions {
                        // Only for what the session learns; the answer would be out of date.
                        let _ = handle(&self.shared, session, ctx.clone(), body.clone());
                    }
                    return answer_after(start, self.shared.clone(), session.clone(), ctx, body);
                }
                handle(&self.shared, session, ctx, body)
            }
            Ok(Parsed::Answered(answer)) => Handled::Now(answer),
            Err(reason) => Handled::Now(Answer::Close(reason)),
        }
    }

    fn gathers(&self, session: &ClientSession) -> bool {
        session.kind == ListenerKind::Broker
    }

    /// Produce requests that arrived together are handled together.
    fn call_run(
        &self,
        session: &mut ClientSession,
        connection: &Arc<ConnectionContext>,
        frames: Vec<Bytes>,
    ) -> Vec<Handled> {
        let mut handled = Vec::with_capacity(frames.len());
        let mut frames = frames.into_iter().peekable();
        while let Some(first) = frames.next() {
            let mut run = vec![first];
            while run.last().is_some_and(is_produce)
                && let Some(next) = frames.next_if(is_produce)
            {
                run.push(next);
            }
            if let Some(together) = self.produce_run(session, connection, &run) {
                handled.extend(together);
                continue;
            }
            for frame in run {
                handled.push(self.call(session, connection, frame));
                if handled.last().is_some_and(Handled::is_last) {
                    return handled;
                }
            }
        }
        handled
    }
}

fn is_produce(frame: &Bytes) -> bool {
    frame.first_chunk().is_some_and(|key| i16::from_be_bytes(*key) == ApiKey::Produce.key())
}

/// What became of a header.
enum Parsed {
    Request(RequestContext, Reader),
    Answered(Answer),
}

fn handle(
    shared: &Arc<Shared>,
    session: &mut ClientSession,
    ctx: RequestContext,
    body: Reader,
) -> Handled {
    match ctx.api {
        ApiKey::ApiVersions => api::api_versions::handle_frame(shared, session, ctx, body),
        _ => api::route(shared, ctx, body),
    }
}

/// Answers a request of a client that came before the start was complete. As in Kafka, nobody is
/// told of topics that are missing only because the metadata were not read yet.
fn answer_after(
    mut start: watch::Receiver<Phase>,
    shared: Arc<Shared>,
    mut session: ClientSession,
    ctx: RequestContext,
    body: Reader,
) -> Handled {
    Handled::later(async move {
        // Its sender goes when the node does, and then any answer is as good.
        let _ = start.wait_for(|phase| Phase::Running <= *phase).await;
        match handle(&shared, &mut session, ctx, body) {
            Handled::Now(answer) => answer,
            Handled::Later(wait) => wait.await,
        }
    })
}

impl Dispatcher {
    /// A service for the listeners of this node.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, started: AtomicBool::new(false) }
    }

    /// Handles several Produce requests together, unless there is something special about one.
    fn produce_run(
        &self,
        session: &ClientSession,
        connection: &Arc<ConnectionContext>,
        frames: &[Bytes],
    ) -> Option<Vec<Handled>> {
        if frames.len() < 2 || self.start_in_progress().is_some() {
            return None;
        }
        let received = self.shared.clock.now();
        let (mut contexts, mut requests) = (Vec::new(), Vec::new());
        for frame in frames {
            let parsed = self.read_header(session, connection, frame, received).ok()?;
            let Parsed::Request(ctx, mut body) = parsed else { return None };
            let request = ProduceRequest::decode(&mut body, ctx.version).ok()?;
            // Without answers a failure closes the connection before the next request is read.
            if request.acks == 0 {
                return None;
            }
            contexts.push(ctx);
            requests.push(request);
        }
        let shared = &self.shared;
        let timers: Vec<_> = contexts.iter().map(|ctx| RequestTimer::start(shared, ctx)).collect();
        let replies = api::produce::handle_run(shared, contexts.iter().zip(requests).collect());
        let handled = contexts.into_iter().zip(replies).zip(timers);
        Some(handled.map(|((ctx, reply), timer)| settle(ctx, reply, timer)).collect())
    }

    /// The broker's phase, to wait on, if it has not served clients yet.
    fn start_in_progress(&self) -> Option<watch::Receiver<Phase>> {
        if self.started.load(Ordering::Acquire) {
            return None;
        }
        let (phase, _) = self.shared.lifecycle.get()?;
        if *phase.borrow() < Phase::Running {
            return Some(phase.clone());
        }
        self.started.store(true, Ordering::Release);
        None
    }

    fn read_header(
        &self,
        session: &ClientSession,
        connection: &Arc<ConnectionContext>,
        frame: &Bytes,
        received: MonoTime,
    ) -> Result<Parsed, Cow<'static, str>> {
        let mut peek = Reader::new(frame.clone());
        let key = peek.i16("request_api_key").map_err(|error| unreadable(&error))?;
        let version = peek.i16("request_api_version").map_err(|error| unreadable(&error))?;
        let correlation_id = peek.i32("correlation_id").map_err(|error| unreadable(&error))?;
        let api = ApiKey::from_key(key).ok_or_else(|| format!("unknown API key {key}"))?;
        if !api::offers(session.kind, api, version) {
            if api == ApiKey::ApiVersions {
                return Ok(Parsed::Answered(api::api_versions::unsupported(correlation_id)));
            }
            let name = api.name();
            return Err(format!("{name} version {version} is not offered here").into());
        }
        let mut body = Reader::with_budget(frame.clone(), decode_budget(frame.len()));
        let header = RequestHeader::decode(&mut body, api.request_header_version(version))
            .map_err(|error| unreadable(&error))?;
        let ctx = RequestContext {
            api,
            version,
            correlation_id,
            client_id: header.client_id,
            listener: connection.listener.clone(),
            kind: session.kind,
            peer: connection.peer,
            bytes: u64::try_from(frame.len()).unwrap_or(u64::MAX),
            received,
            forwarded: false,
        };
        Ok(Parsed::Request(ctx, body))
    }
}

/// Reads the body, calls `handler`, and writes its response; the core of every route.
pub(crate) fn serve<Q, R>(
    shared: &Arc<Shared>,
    ctx: RequestContext,
    mut body: Reader,
    handler: impl FnOnce(&Arc<Shared>, &RequestContext, Q) -> Reply<R>,
) -> Handled
where
    Q: Message,
    R: Message + Send + 'static,
{
    let request = match Q::decode(&mut body, ctx.version) {
        Ok(request) => request,
        Err(error) => {
            let text = format!("{} version {}: {error}", ctx.api.name(), ctx.version);
            return Handled::Now(Answer::Close(text.into()));
        }
    };
    drop(body);
    let timer = RequestTimer::start(shared, &ctx);
    let reply = handler(shared, &ctx, request);
    settle(ctx, reply, timer)
}

fn settle<R>(ctx: RequestContext, reply: Reply<R>, mut timer: RequestTimer) -> Handled
where
    R: Message + Send + 'static,
{
    match reply {
        Reply::Later(wait) => {
            timer.waits();
            Handled::later(async move {
                let reply = wait.await;
                finish(&ctx, reply, &timer)
            })
        }
        reply => Handled::Now(finish(&ctx, reply, &timer)),
    }
}

fn finish<R: Message>(ctx: &RequestContext, reply: Reply<R>, timer: &RequestTimer) -> Answer {
    match reply {
        Reply::Now(response) => answer(ctx, &response, timer),
        Reply::Nothing => {
            timer.answered();
            Answer::Nothing
        }
        Reply::Close(reason) => Answer::Close(reason),
        Reply::Later(_) => Answer::Close(Cow::Borrowed("a handler waited twice")),
    }
}

/// Writes header and body of a response, and counts the request with the errors in its answer.
pub(crate) fn answer<R: Message>(
    ctx: &RequestContext,
    response: &R,
    timer: &RequestTimer,
) -> Answer {
    let header_version = ctx.api.response_header_version(ctx.version);
    let header = ResponseHeader { correlation_id: ctx.correlation_id };
    let mut writer = Writer::with_capacity(RESPONSE);
    let written = header
        .encode(header_version, &mut writer)
        .and_then(|()| response.encode(ctx.version, &mut writer));
    timer.answered();
    timer.errors(writer.errors());
    match written {
        Ok(()) if writer.len() <= MAX_RESPONSE => Answer::Send(writer.into_parts()),
        Ok(()) => Answer::Close(Cow::Borrowed("the response is larger than a frame can be")),
        Err(error) => Answer::Close(format!("cannot write {}: {error}", R::NAME).into()),
    }
}

// Memory that decoding one request may take: honest messages stay far below, and a large hostile
// frame gets little more than its own size.
fn decode_budget(frame: usize) -> usize {
    (frame.saturating_mul(8)).min(DECODE_MEMORY).saturating_add(512 << 10)
}

const DECODE_MEMORY: usize = 64 << 20;

// Most responses fit into this, file ranges aside.
const RESPONSE: usize = 256;

// A frame's size is an int32.
const MAX_RESPONSE: usize = 0x7fff_ffff;

fn unreadable(error: &DecodeError) -> Cow<'static, str> {
    format!("unreadable request header: {error}").into()
}
