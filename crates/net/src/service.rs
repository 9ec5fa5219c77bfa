//! What net asks of its user: a [`Service`] that turns frames into answers.

use std::borrow::Cow;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use ottla_codec::Parts;

/// Turns the frames of connections into answers.
///
/// Net calls [`Service::call`] for the frames of one connection in order, on the connection's own
/// task; it must not block. What has to wait is returned as [`Handled::Later`]: such waits of one
/// connection may overlap, and their answers still leave in request order.
pub trait Service: Send + Sync + 'static {
    /// State that belongs to one connection, for instance who has authenticated on it.
    type Session: Send + 'static;

    /// A connection was accepted.
    fn open(&self, connection: &Arc<ConnectionContext>) -> Self::Session;

    /// Largest frame that is read now, in bytes. Small before authentication, asked before each
    /// frame; `configured` is what the listener's options say.
    fn frame_size_max(&self, session: &Self::Session, configured: usize) -> usize {
        let _ = session;
        configured
    }

    /// A frame arrived (header and body, without the size). Its memory stays charged to the
    /// memory budget until the answer is on its way.
    fn call(
        &self,
        session: &mut Self::Session,
        connection: &Arc<ConnectionContext>,
        frame: Bytes,
    ) -> Handled;

    /// Whether frames that have arrived together may be handed over together now; not while the
    /// answer to one decides how the next is read.
    fn gathers(&self, session: &Self::Session) -> bool {
        let _ = session;
        false
    }

    /// As [`Service::call`] for several frames that arrived together, in order, with one result
    /// each. What comes behind a result that closes the connection is not looked at.
    fn call_run(
        &self,
        session: &mut Self::Session,
        connection: &Arc<ConnectionContext>,
        frames: Vec<Bytes>,
    ) -> Vec<Handled> {
        let mut handled = Vec::with_capacity(frames.len());
        for frame in frames {
            handled.push(self.call(session, connection, frame));
            if handled.last().is_some_and(Handled::is_last) {
                break;
            }
        }
        handled
    }

    /// The connection is closed; requests that still waited have been dropped.
    fn closed(&self, session: Self::Session, connection: &Arc<ConnectionContext>) {
        let _ = (session, connection);
    }
}

/// An answer that comes later. Dropped unfinished when the connection closes.
pub type AnswerFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What became of one frame.
pub enum Handled {
    /// The answer is known already.
    Now(Answer),
    /// The request waits: for a disk, for replicas, for data.
    Later(AnswerFuture),
}

impl Handled {
    /// A wait, boxed.
    pub fn later(wait: impl Future<Output = Answer> + Send + 'static) -> Self {
        Self::Later(Box::pin(wait))
    }

    /// Whether the connection ends with this.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Now(Answer::Close(_) | Answer::SendAndClose(_, _)))
    }
}

impl From<Answer> for Handled {
    fn from(answer: Answer) -> Self {
        Self::Now(answer)
    }
}

/// How a request ends.
#[derive(Debug)]
pub enum Answer {
    /// Response header and body, without the size.
    Send(Parts),
    /// As `Send`, then the connection is closed; the text goes to the log.
    SendAndClose(Parts, Cow<'static, str>),
    /// Nothing is sent (Produce with acks=0).
    Nothing,
    /// The connection is closed without an answer, and the text logged: the frame was malformed
    /// or the peer may not go on.
    Close(Cow<'static, str>),
}

/// Facts about a connection that do not change while it lives.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConnectionContext {
    /// Number of this connection, unique in its server.
    pub id: u64,
    /// Name of the listener it came by, as configured.
    pub listener: Arc<str>,
    /// Place of that listener in the list that the server was started with.
    pub listener_index: usize,
    /// Our address.
    pub local: SocketAddr,
    /// The client's address.
    pub peer: SocketAddr,
}

impl ConnectionContext {
    /// A context made up for tests of a service, without a socket.
    pub fn detached(id: u64, listener: &str, local: SocketAddr, peer: SocketAddr) -> Self {
        Self { id, listener: Arc::from(listener), listener_index: 0, local, peer }
    }
}
