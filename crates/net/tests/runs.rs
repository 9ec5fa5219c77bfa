//! Requests that arrive together reach a service that likes it together, in the bounds of the window.

#![allow(clippy::unwrap_used, reason = "test code: a panic is how it fails")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_codec::Part;
use ottla_net::{
    Answer, BoundListener, ConnectionContext, Handled, ListenerOptions, Server, ServerOptions,
    Service,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(20);

/// Answers each frame with its place in the run it came with; `x` ends the connection.
struct Places;

impl Service for Places {
    type Session = ();

    fn open(&self, _: &Arc<ConnectionContext>) {}

    fn call(&self, (): &mut (), _: &Arc<ConnectionContext>, frame: Bytes) -> Handled {
        answer(&frame, 1, 1)
    }

    fn gathers(&self, (): &()) -> bool {
        true
    }

    fn call_run(
        &self,
        (): &mut (),
        _: &Arc<ConnectionContext>,
        frames: Vec<Bytes>,
    ) -> Vec<Handled> {
        let count = frames.len();
        frames.iter().enumerate().map(|(at, frame)| answer(frame, at + 1, count)).collect()
    }
}

fn answer(frame: &Bytes, place: usize, count: usize) -> Handled {
    if frame.ends_with(b"x") {
        return Answer::Close("told to".into()).into();
    }
    let text = format!("{place}/{count}");
    Answer::Send(vec![Part::Bytes(frame.slice(..4)), Part::Bytes(text.into())].into()).into()
}

/// What comes back for frames sent in one write; the end of the connection is "closed".
async fn check(in_flight_max: usize, frames: &[&str], expected: &[&str]) {
    let mut options = ServerOptions::default();
    options.in_flight_max = in_flight_max;
    let listener = BoundListener::bind(ListenerOptions::new("TEST", "127.0.0.1", 0)).unwrap();
    let port = listener.address().port();
    let _server = Server::start(vec![listener], Arc::new(Places), options);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut bytes = Vec::new();
    for frame in frames {
        bytes.extend_from_slice(&u32::try_from(4 + frame.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(b"0001");
        bytes.extend_from_slice(frame.as_bytes());
    }
    stream.write_all(&bytes).await.unwrap();
    for expected in expected {
        let read = async {
            let size = stream.read_u32().await.ok()?;
            let mut frame = vec![0; usize::try_from(size).unwrap()];
            stream.read_exact(&mut frame).await.ok()?;
            Some(String::from_utf8(frame.split_off(4)).unwrap())
        };
        let got = tokio::time::timeout(PATIENCE, read).await.unwrap();
        assert_eq!(got.as_deref().unwrap_or("closed"), *expected);
    }
}

#[tokio::test]
async fn what_arrived_together_is_handed_over_together() {
    check(10, &["a", "b", "c"], &["1/3", "2/3", "3/3"]).await;
}

#[tokio::test]
async fn a_run_is_no_longer_than_the_window() {
    check(2, &["a", "b", "c"], &["1/2", "2/2", "1/1"]).await;
}

#[tokio::test]
async fn what_stands_behind_an_end_is_not_answered() {
    check(10, &["a", "x", "c"], &["1/3", "closed"]).await;
}
