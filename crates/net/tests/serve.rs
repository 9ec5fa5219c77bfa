//! The server over real loopback sockets: order, back-pressure, limits, draining.
//!
//! A frame is a correlation id and a command in words. Waits are released by the test, so every
//! order of events is made, not hoped for.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test code: a panic is how it fails"
)]

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ottla_codec::{FileRange, Part, Parts};
use ottla_net::{
    Answer, BoundListener, CallError, ConnectionContext, ConnectionLimits, Handled,
    ListenerOptions, MemoryBudget, Outbound, OutboundOptions, Server, ServerOptions, Service,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};

const PATIENCE: Duration = Duration::from_secs(20);

/// Does what the frame says and reports what it was asked.
struct Script {
    asked: mpsc::UnboundedSender<String>,
    gates: Mutex<HashMap<String, oneshot::Receiver<()>>>,
    file: Arc<File>,
}

impl Service for Script {
    type Session = ();

    fn open(&self, connection: &Arc<ConnectionContext>) {
        assert_eq!(&*connection.listener, "TEST");
    }

    fn call(&self, _: &mut (), _: &Arc<ConnectionContext>, frame: Bytes) -> Handled {
        let id = frame.slice(..4);
        let command = String::from_utf8_lossy(&frame[4..]).trim_end().to_owned();
        let _ = self.asked.send(command.clone());
        let words: Vec<&str> = command.split(' ').collect();
        let echo = vec![Part::Bytes(id.clone()), Part::Bytes(frame.slice(4..))];
        match words[0] {
            "wait" => {
                let gate = self.gates.lock().unwrap().remove(words[1]).unwrap();
                Handled::later(async move {
                    let _ = gate.await;
                    Answer::Send(echo.into())
                })
            }
            "nothing" => Answer::Nothing.into(),
            "bad" => Answer::Close("told to".into()).into(),
            "last" => Answer::SendAndClose(echo.into(), "told to".into()).into(),
            "big" => {
                let body = Bytes::from(vec![7; words[1].parse().unwrap()]);
                Answer::Send(vec![Part::Bytes(id), Part::Bytes(body)].into()).into()
            }
            "file" => {
                let range = |position, len| {
                    Part::File(FileRange { file: Arc::clone(&self.file), position, len })
                };
                let len = words[1].parse().unwrap();
                let tail = Part::Bytes(Bytes::from_static(b"tail"));
                Answer::Send(vec![Part::Bytes(id), range(10, len), tail, range(0, 1)].into()).into()
            }
            _ => Answer::Send(echo.into()).into(),
        }
    }

    fn closed(&self, (): (), _: &Arc<ConnectionContext>) {
        let _ = self.asked.send("closed".to_owned());
    }
}

struct World {
    server: Server,
    port: u16,
    asked: mpsc::UnboundedReceiver<String>,
    gates: HashMap<&'static str, oneshot::Sender<()>>,
}

const FILE_LEN: usize = 600_000;

fn world(gates: &[&'static str], options: ServerOptions) -> World {
    let mut file = tempfile();
    let content: Vec<u8> = (0..FILE_LEN).map(|at| u8::try_from(at % 251).unwrap()).collect();
    file.write_all(&content).unwrap();
    let (asked_sender, asked) = mpsc::unbounded_channel();
    let (mut open, mut waits) = (HashMap::new(), HashMap::new());
    for gate in gates {
        let (sender, receiver) = oneshot::channel();
        open.insert(*gate, sender);
        waits.insert((*gate).to_owned(), receiver);
    }
    let service = Script { asked: asked_sender, gates: Mutex::new(waits), file: Arc::new(file) };
    let listener = BoundListener::bind(ListenerOptions::new("TEST", "127.0.0.1", 0)).unwrap();
    let port = listener.address().port();
    let server = Server::start(vec![listener], Arc::new(service), options);
    World { server, port, asked, gates: open }
}

/// A file that is gone from its folder as soon as it is open.
fn tempfile() -> File {
    let name = format!("ottla-net-{}-{:?}", std::process::id(), std::thread::current().id());
    let path = std::env::temp_dir().join(name);
    let file =
        File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    file
}

impl World {
    async fn asked(&mut self) -> String {
        tokio::time::timeout(PATIENCE, self.asked.recv()).await.unwrap().unwrap()
    }

    fn release(&mut self, gate: &str) {
        self.gates.remove(gate).unwrap().send(()).unwrap();
    }

    async fn peer(&self) -> Peer {
        Peer(TcpStream::connect(("127.0.0.1", self.port)).await.unwrap())
    }

    async fn outbound(&self) -> Outbound {
        Outbound::connect("127.0.0.1", self.port, &OutboundOptions::default()).await.unwrap()
    }
}

/// A client that writes what it is told.
struct Peer(TcpStream);

impl Peer {
    async fn ask(&mut self, commands: &[&str]) {
        let mut bytes = Vec::new();
        for command in commands {
            let size = i32::try_from(4 + command.len()).unwrap();
            bytes.extend_from_slice(&size.to_be_bytes());
            bytes.extend_from_slice(b"0001");
            bytes.extend_from_slice(command.as_bytes());
        }
        self.0.write_all(&bytes).await.unwrap();
    }

    async fn frame(&mut self) -> Option<Vec<u8>> {
        let read = async {
            let size = self.0.read_i32().await.ok()?;
            let mut frame = vec![0; usize::try_from(size).unwrap()];
            self.0.read_exact(&mut frame).await.ok()?;
            Some(frame)
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap()
    }

    async fn answer(&mut self) -> Option<String> {
        self.frame().await.map(|frame| String::from_utf8_lossy(&frame[4..]).trim_end().to_owned())
    }
}

#[tokio::test]
async fn answers_leave_in_request_order_while_waits_overlap() {
    let mut world = world(&["a", "b"], ServerOptions::default());
    let mut peer = world.peer().await;
    peer.ask(&["wait a", "wait b", "nothing", "now c"]).await;
    for started in ["wait a", "wait b", "nothing", "now c"] {
        assert_eq!(world.asked().await, started);
    }
    world.release("b");
    world.release("a");
    for answered in ["wait a", "wait b", "now c"] {
        assert_eq!(peer.answer().await.unwrap(), answered);
    }
}

#[tokio::test]
async fn a_full_window_is_not_read_beyond() {
    let options = options(|o| o.in_flight_max = 2);
    let mut world = world(&["a", "b"], options);
    let mut peer = world.peer().await;
    peer.ask(&["wait a", "wait b", "now c"]).await;
    assert_eq!(world.asked().await, "wait a");
    assert_eq!(world.asked().await, "wait b");
    // A second connection is served, while the first one's third request is not started.
    let mut other = world.peer().await;
    other.ask(&["now d"]).await;
    assert_eq!(other.answer().await.unwrap(), "now d");
    assert_eq!(world.asked().await, "now d");
    world.release("a");
    assert_eq!(peer.answer().await.unwrap(), "wait a");
    assert_eq!(world.asked().await, "now c");
    world.release("b");
    assert_eq!(peer.answer().await.unwrap(), "wait b");
    assert_eq!(peer.answer().await.unwrap(), "now c");
}

#[tokio::test]
async fn a_used_up_budget_stops_reading_until_an_answer_leaves() {
    let options = options(|o| o.budget = MemoryBudget::new(100_000));
    let mut world = world(&["a"], options);
    let large = |command: &str| format!("{command:60000}");
    let mut first = world.peer().await;
    first.ask(&[&large("wait a")]).await;
    assert_eq!(world.asked().await, "wait a");
    assert_eq!(world.server.budget().used(), 60_004);
    let mut second = world.peer().await;
    second.ask(&[&large("now b")]).await;
    // A request that fits what is left passes.
    let mut third = world.peer().await;
    third.ask(&["now c"]).await;
    assert_eq!(world.asked().await, "now c");
    world.release("a");
    assert_eq!(world.asked().await, "now b");
    assert_eq!(second.answer().await.unwrap(), "now b");
    assert_eq!(first.answer().await.unwrap(), "wait a");
}

#[tokio::test]
async fn a_malformed_frame_closes_its_connection_after_what_was_asked_before() {
    let mut world = world(&["a"], options(|o| o.frame_size_max = 1_000));
    let mut peer = world.peer().await;
    peer.ask(&["now", "wait a"]).await;
    peer.0.write_all(&1_001_i32.to_be_bytes()).await.unwrap();
    assert_eq!(peer.answer().await.unwrap(), "now");
    assert_eq!((world.asked().await, world.asked().await), ("now".into(), "wait a".into()));
    world.release("a");
    assert_eq!(peer.answer().await.unwrap(), "wait a");
    assert_eq!(peer.answer().await, None);
    assert_eq!(world.asked().await, "closed");
    assert_eq!(world.server.stats().snapshot().malformed, 1);
}

#[tokio::test]
async fn a_service_may_end_a_connection_with_or_without_an_answer() {
    let mut world = world(&[], ServerOptions::default());
    let mut peer = world.peer().await;
    peer.ask(&["now a", "bad", "now b"]).await;
    assert_eq!(peer.answer().await.unwrap(), "now a");
    assert_eq!(peer.answer().await, None);
    let mut peer = world.peer().await;
    peer.ask(&["last", "now b"]).await;
    assert_eq!(peer.answer().await.unwrap(), "last");
    assert_eq!(peer.answer().await, None);
    for asked in ["now a", "bad", "closed", "last", "closed"] {
        assert_eq!(world.asked().await, asked);
    }
}

#[tokio::test]
async fn a_last_answer_arrives_though_more_was_sent_than_is_read() {
    let mut world = world(&[], ServerOptions::default());
    // The answer is larger than what arrives before somebody reads it.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 << 10).unwrap();
    let address = ([127, 0, 0, 1], world.port).into();
    let mut peer = Peer(socket.connect(address).await.unwrap());
    let last = format!("last {}", "x".repeat(400_000));
    let more = format!("now {}", "y".repeat(1_000_000));
    peer.ask(&[&last, &more, &more, &more]).await;
    assert_eq!(world.asked().await, last);
    assert_eq!(peer.answer().await.unwrap(), last);
    assert_eq!(peer.answer().await, None);
    // The service hears of the end at once, whatever the peer does.
    assert_eq!(world.asked().await, "closed");
}

#[tokio::test]
async fn a_peer_that_does_not_stop_sending_is_cut() {
    let mut world = world(&[], ServerOptions::default());
    let mut peer = world.peer().await;
    peer.ask(&["bad"]).await;
    assert_eq!((world.asked().await, world.asked().await), ("bad".into(), "closed".into()));
    let flood = vec![0; 1 << 20];
    let endless = async { while peer.0.write_all(&flood).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, endless).await.unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_peers_that_were_refused() {
    let mut world = world(&[], ServerOptions::default());
    let mut peer = world.peer().await;
    peer.ask(&["bad"]).await;
    assert_eq!((world.asked().await, world.asked().await), ("bad".into(), "closed".into()));
    assert_eq!(world.server.shutdown(Duration::from_secs(1)).await.cut, 0);
    assert_eq!(peer.answer().await, None);
}

#[tokio::test]
async fn file_ranges_and_bytes_mix() {
    let world = world(&[], ServerOptions::default());
    let mut peer = world.peer().await;
    for len in [0, 1, 5_000, FILE_LEN - 10] {
        peer.ask(&[&format!("file {len}")]).await;
        let frame = peer.frame().await.unwrap();
        let range = (10..10 + len).map(|at| u8::try_from(at % 251).unwrap());
        let expected: Vec<u8> = b"0001".iter().copied().chain(range).collect();
        assert!(frame[..4 + len] == expected[..], "range of {len}");
        assert_eq!(&frame[4 + len..], b"tail\0");
    }
    // A file that ends too early cannot be answered any more.
    peer.ask(&[&format!("file {FILE_LEN}")]).await;
    assert_eq!(peer.frame().await, None);
}

#[tokio::test]
async fn a_client_that_does_not_read_costs_no_more_than_one_answer() {
    let mut world = world(&[], options(|o| o.idle_max = Duration::from_millis(200)));
    let mut slow = world.peer().await;
    let big = format!("big {}", 32 << 20);
    slow.ask(&[&big]).await;
    assert_eq!(world.asked().await, big);
    slow.ask(&["now never"]).await;
    let mut quick = world.peer().await;
    quick.ask(&["now"]).await;
    assert_eq!(quick.answer().await.unwrap(), "now");
    assert_eq!(world.asked().await, "now");
    // Its next request was never started, and in the end it is cut.
    drop(quick);
    assert_eq!(world.asked().await, "closed");
    assert_eq!(world.asked().await, "closed");
}

#[tokio::test]
async fn silence_ends_a_connection_and_waiting_does_not() {
    let mut world = world(&["a"], options(|o| o.idle_max = Duration::from_millis(50)));
    let mut waiting = world.peer().await;
    waiting.ask(&["wait a"]).await;
    assert_eq!(world.asked().await, "wait a");
    let mut silent = world.peer().await;
    assert_eq!(silent.answer().await, None);
    assert_eq!(world.asked().await, "closed");
    world.release("a");
    assert_eq!(waiting.answer().await.unwrap(), "wait a");
}

#[tokio::test]
async fn a_frame_that_stands_still_gives_its_memory_back() {
    let mut world = world(&[], options(|o| o.stall_max = Duration::from_millis(50)));
    let mut peer = world.peer().await;
    let mut bytes = 1_000_000_i32.to_be_bytes().to_vec();
    bytes.resize(1_000, 0);
    peer.0.write_all(&bytes).await.unwrap();
    assert_eq!(peer.answer().await, None);
    assert_eq!(world.asked().await, "closed");
    assert_eq!(world.server.budget().used(), 0);
}

#[tokio::test]
async fn a_frame_that_trickles_gives_its_memory_back() {
    let world = world(&[], options(|o| o.stall_max = Duration::from_millis(100)));
    let mut peer = world.peer().await;
    peer.0.write_all(&1_000_000_i32.to_be_bytes()).await.unwrap();
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let trickle = async {
        while peer.0.write_all(&[0]).await.is_ok() {
            tick.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, trickle).await.unwrap();
    assert_eq!(world.server.budget().used(), 0);
}

#[tokio::test]
async fn connections_of_one_address_are_limited() {
    let mut world = world(&[], options(|o| o.connections.per_ip_max = 1));
    let mut first = world.peer().await;
    first.ask(&["now"]).await;
    assert_eq!(first.answer().await.unwrap(), "now");
    let mut second = world.peer().await;
    assert_eq!(second.answer().await, None);
    assert_eq!(world.server.stats().snapshot().refused, 1);
    drop(first);
    assert_eq!((world.asked().await, world.asked().await), ("now".into(), "closed".into()));
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_one_to_close() {
    let mut world = world(&[], options(|o| o.connections.total_max = 1));
    let mut first = world.peer().await;
    first.ask(&["now a"]).await;
    assert_eq!(world.asked().await, "now a");
    let mut second = world.peer().await;
    second.ask(&["now b"]).await;
    assert_eq!(first.answer().await.unwrap(), "now a");
    first.ask(&["now c"]).await;
    assert_eq!(first.answer().await.unwrap(), "now c");
    drop(first);
    assert_eq!(second.answer().await.unwrap(), "now b");
    for asked in ["now c", "closed", "now b"] {
        assert_eq!(world.asked().await, asked);
    }
}

#[tokio::test]
async fn shutdown_finishes_what_is_in_flight_and_takes_nothing_new() {
    let mut world = world(&["a"], ServerOptions::default());
    let mut idle = world.peer().await;
    idle.ask(&["now"]).await;
    assert_eq!(idle.answer().await.unwrap(), "now");
    let mut busy = world.peer().await;
    busy.ask(&["wait a"]).await;
    assert_eq!((world.asked().await, world.asked().await), ("now".into(), "wait a".into()));
    let down = tokio::spawn(world.server.shutdown(PATIENCE));
    assert_eq!(idle.answer().await, None);
    world.gates.remove("a").unwrap().send(()).unwrap();
    assert_eq!(busy.answer().await.unwrap(), "wait a");
    assert_eq!(busy.answer().await, None);
    assert_eq!(down.await.unwrap().cut, 0);
    assert!(TcpStream::connect(("127.0.0.1", world.port)).await.is_err());
}

#[tokio::test]
async fn shutdown_cuts_what_is_not_done_in_time() {
    let mut world = world(&["a"], ServerOptions::default());
    let mut busy = world.peer().await;
    busy.ask(&["wait a"]).await;
    assert_eq!(world.asked().await, "wait a");
    assert_eq!(world.server.shutdown(Duration::from_millis(20)).await.cut, 1);
    assert_eq!(busy.answer().await, None);
    assert_eq!(world.asked.recv().await.unwrap(), "closed");
}

#[tokio::test]
async fn outbound_pipelines_and_matches() {
    let mut world = world(&["a"], ServerOptions::default());
    let peer = world.outbound().await;
    let slow = tokio::spawn(call(peer.clone(), "wait a"));
    assert_eq!(world.asked().await, "wait a");
    let quick = tokio::spawn(call(peer.clone(), "now b"));
    assert_eq!(world.asked().await, "now b");
    world.release("a");
    assert_eq!(slow.await.unwrap().unwrap(), "wait a");
    assert_eq!(quick.await.unwrap().unwrap(), "now b");
    // Also for what is larger than every buffer.
    assert_eq!(call(peer, &format!("big {}", 5 << 20)).await.unwrap().len(), 5 << 20);
}

#[tokio::test]
async fn outbound_tells_closed_from_late_from_nonsense() {
    let world = world(&["a"], ServerOptions::default());
    let closed = call(world.outbound().await, "bad").await.unwrap_err();
    assert!(matches!(closed, CallError::Closed { .. }), "{closed}");

    let peer = world.outbound().await;
    let timeout = Duration::from_millis(20);
    let late = peer.call(timeout, |id| Ok::<_, String>(request(id, "wait a"))).await.unwrap_err();
    assert!(matches!(late, CallError::TimedOut { .. }), "{late}");
    assert!(peer.is_closed());
    let after = call(peer, "now").await.unwrap_err();
    assert!(matches!(after, CallError::Closed { .. }), "{after}");

    let nonsense = world.outbound().await;
    let wrong = nonsense.call(PATIENCE, |_| Ok::<_, String>(request(99, "now"))).await.unwrap_err();
    assert!(wrong.to_string().ends_with("response 99 instead of 0"), "{wrong}");
}

async fn call(peer: Outbound, command: &str) -> Result<String, CallError> {
    let response = peer.call(PATIENCE, |id| Ok::<_, String>(request(id, command))).await?;
    Ok(String::from_utf8_lossy(&response[4..]).into_owned())
}

fn request(id: i32, command: &str) -> Parts {
    let head = Bytes::copy_from_slice(&id.to_be_bytes());
    vec![Part::Bytes(head), Part::Bytes(Bytes::copy_from_slice(command.as_bytes()))].into()
}

#[tokio::test]
async fn a_smaller_limit_closes_the_connection_that_was_quiet_longest() {
    let world = world(&[], ServerOptions::default());
    let mut peers = Vec::new();
    for name in ["a", "b"] {
        let mut peer = world.peer().await;
        peer.ask(&[name]).await;
        assert_eq!(peer.answer().await.unwrap(), name);
        peers.push(peer);
    }
    let [mut first, mut second] = <[Peer; 2]>::try_from(peers).ok().unwrap();
    first.ask(&["again"]).await;
    assert_eq!(first.answer().await.unwrap(), "again");
    let mut limits = ConnectionLimits::default();
    limits.total_max = 1;
    world.server.limits().set(limits);
    assert_eq!(second.answer().await, None);
    first.ask(&["still"]).await;
    assert_eq!(first.answer().await.unwrap(), "still");
    // A larger one lets those in that wait.
    let mut third = world.peer().await;
    third.ask(&["late"]).await;
    world.server.limits().set(ConnectionLimits::default());
    assert_eq!(third.answer().await.unwrap(), "late");
}

fn options(change: impl FnOnce(&mut ServerOptions)) -> ServerOptions {
    let mut options = ServerOptions::default();
    change(&mut options);
    options
}
