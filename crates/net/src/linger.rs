//! The end of a connection that this side ends: its last answer must arrive.
//!
//! A socket that is closed while it holds unread input, or that receives more later, resets the
//! connection, and a reset destroys what is still on its way to the peer. So the answer is ended
//! with a FIN, and what the peer still sends is read and thrown away until it closes too. How
//! much and for how long is bounded: whoever sends on and on is reset after all.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes that are thrown away for one connection.
const BYTES_MAX: usize = 16 << 20;
/// Time that a peer has to close its side.
const TIME_MAX: Duration = Duration::from_secs(2);
/// The same while the server is going down and waits for its connections.
const TIME_MAX_STOPPING: Duration = Duration::from_millis(100);

/// Waits for the peer to close, at most until the server begins to go down.
pub(crate) async fn until_closed(stream: &mut TcpStream, stopping: impl Future<Output = ()>) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut closed = pin!(tokio::time::timeout(TIME_MAX, discard(stream)));
    let mut stopping = pin!(stopping);
    std::future::poll_fn(|cx| {
        let over = closed.as_mut().poll(cx).is_ready() || stopping.as_mut().poll(cx).is_ready();
        if over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// For a server that is going down: waits only for a peer that has sent more than was read.
pub(crate) async fn in_a_hurry(stream: &mut TcpStream) {
    let mut one = [0];
    if !matches!(stream.try_read(&mut one), Ok(1)) || stream.shutdown().await.is_err() {
        return;
    }
    // Late is as good as closed: there is no more time.
    let _ = tokio::time::timeout(TIME_MAX_STOPPING, discard(stream)).await;
}

async fn discard(stream: &mut TcpStream) {
    let mut buffer = vec![0; 16 << 10];
    let mut left = BYTES_MAX;
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        match left.checked_sub(read) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
