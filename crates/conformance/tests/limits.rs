//! Hostile clients against the limits of a node: it serves an honest client meanwhile, its memory
//! stays bounded, and its log says of each what is worth knowing, once.
//!
//! Nothing here measures time: what must not wait is asked for while it would have to wait.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_conformance::{Honest, frame};
use ottla_protocol::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_protocol::{ApiKey, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use ottla_testkit::{Kind, Node, NodeOptions};

/// What hostile clients may add to resident memory beside what the budget allows.
const SLACK: u64 = 48 << 20;
const LIMIT: Duration = Duration::from_secs(30);

/// A node, an honest client on it, and what the node weighs while only that one is there.
struct World {
    node: Node,
    honest: Honest,
    turn: i64,
    before: u64,
}

impl World {
    fn start(options: NodeOptions) -> Result<Self> {
        let node = Node::start(Kind::Ottla, options)?;
        let honest = Honest::start(&node)?;
        let mut world = Self { node, honest, turn: 0, before: 0 };
        for _ in 0..30 {
            world.serves()?;
        }
        world.before = world.node.usage()?.resident;
        Ok(world)
    }

    /// The honest client writes and reads.
    fn serves(&mut self) -> Result<()> {
        self.turn += 1;
        self.honest.work(self.turn).with_context(|| self.node.tail())
    }

    fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.node.bootstrap())?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(stream)
    }

    fn growth(&self) -> Result<u64> {
        Ok(self.node.usage()?.resident.saturating_sub(self.before))
    }

    /// Resident memory is within these bytes of what it was, and the node stops cleanly.
    fn ends_within(mut self, growth_max: u64) -> Result<()> {
        self.serves()?;
        let growth = self.growth()?;
        ensure!(growth <= growth_max, "it grew by {growth} bytes, at most {growth_max} are right");
        let output = self.node.process()?.output();
        ensure!(!output.contains("panicked"), "{}", self.node.tail());
        self.node.stop().map(drop)
    }

    fn set(&mut self, configs: &[(&str, &str)]) -> Result<()> {
        let configs = configs.iter().map(|(name, value)| AlterableConfig {
            name: (*name).into(),
            config_operation: 0,
            value: Some((*value).into()),
        });
        // Of all brokers.
        let resource = AlterConfigsResource {
            resource_type: 4,
            resource_name: "".into(),
            configs: configs.collect(),
        };
        let request = IncrementalAlterConfigsRequest {
            resources: vec![resource],
            ..IncrementalAlterConfigsRequest::default()
        };
        let answer: IncrementalAlterConfigsResponse =
            self.honest.client.call(ApiKey::IncrementalAlterConfigs, 1, &request)?;
        let of_all = answer.responses.first().context("no answer")?;
        ensure!(of_all.error_code == 0, "{:?}", of_all.error_message);
        Ok(())
    }
}

/// A request that anybody may ask at any time, and that has a short answer.
fn api_versions() -> Result<Vec<u8>> {
    frame(ApiKey::ApiVersions, 0, 1, &[])
}

fn is_answered(stream: &mut TcpStream) -> Result<bool> {
    let mut byte = [0];
    match stream.read(&mut byte) {
        Ok(read) => Ok(read == 1),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Writes until the node takes no more.
fn push(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    stream.set_nonblocking(true)?;
    let mut left = bytes;
    while !left.is_empty() {
        match stream.write(left) {
            Ok(written) => left = left.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        }
    }
    stream.set_nonblocking(false)?;
    Ok(())
}

#[test]
fn requests_that_arrive_byte_by_byte_hold_nobody_up() -> Result<()> {
    let mut world = World::start(NodeOptions::default())?;
    let request = api_versions()?;
    let mut slow: Vec<_> = (0..300).map(|_| world.connect()).collect::<Result<_>>()?;
    for byte in &request {
        for stream in &mut slow {
            stream.write_all(std::slice::from_ref(byte))?;
        }
        world.serves()?;
    }
    for stream in &mut slow {
        ensure!(is_answered(stream)?, "a slow request is a request");
    }
    world.ends_within(SLACK)
}

#[test]
fn half_frames_of_thousands_of_connections_cost_little() -> Result<()> {
    let mut world = World::start(NodeOptions::default())?;
    let request = api_versions()?;
    let half = request.get(..9).context("a short frame")?;
    let mut open = Vec::new();
    for turn in 0..3000 {
        let mut stream = world.connect()?;
        stream.write_all(half)?;
        open.push(stream);
        if turn % 500 == 0 {
            world.serves()?;
        }
    }
    world.serves()?;
    println!("3000 half-open connections: {} KiB", world.growth()? >> 10);
    let held = world.growth()?;
    ensure!(held <= 3000 * (24 << 10), "{held} bytes for 3000 connections");
    drop(open);
    world.ends_within(3000 * (24 << 10))
}

#[test]
fn giant_lengths_cost_what_has_arrived_and_not_more_than_the_budget() -> Result<()> {
    const BUDGET: u64 = 16 << 20;
    let options = NodeOptions::default()
        .with("queued.max.request.bytes", &BUDGET.to_string())
        .with("socket.request.max.bytes", &BUDGET.to_string());
    let mut world = World::start(options)?;
    let mut open = Vec::new();
    for turn in 0..500 {
        let mut stream = world.connect()?;
        stream.write_all(&16_000_000_i32.to_be_bytes())?;
        open.push(stream);
        if turn % 100 == 0 {
            world.serves()?;
        }
    }
    // Then they send as much of it as is taken: together that would be ten times the budget.
    let part = vec![0; 320 << 10];
    for (turn, stream) in open.iter_mut().enumerate() {
        push(stream, &part)?;
        if turn % 50 == 0 {
            world.serves()?;
        }
    }
    for _ in 0..50 {
        world.serves()?;
    }
    println!("500 giant frames: {} KiB", world.growth()? >> 10);
    ensure!(world.growth()? <= BUDGET + SLACK, "{} bytes", world.growth()?);
    drop(open);
    world.ends_within(BUDGET + SLACK)
}

#[test]
fn clients_that_never_read_their_answers_are_not_read_either() -> Result<()> {
    let mut world = World::start(NodeOptions::default())?;
    let requests = api_versions()?.repeat(20_000);
    let mut deaf: Vec<_> = (0..50).map(|_| world.connect()).collect::<Result<_>>()?;
    for _ in 0..5 {
        for stream in &mut deaf {
            push(stream, &requests)?;
        }
        world.serves()?;
    }
    // Each of them is stuck: what it sends is left in its socket.
    let stuck = |stream: &mut TcpStream| push(stream, &requests).is_ok();
    ensure!(deaf.iter_mut().all(stuck), "one was closed");
    println!("50 deaf clients: {} KiB", world.growth()? >> 10);
    ensure!(world.growth()? <= SLACK, "{} bytes", world.growth()?);
    drop(deaf);
    world.ends_within(SLACK)
}

#[test]
fn a_malformed_request_is_one_line_in_the_log() -> Result<()> {
    const EACH: usize = 20;
    let mut world = World::start(NodeOptions::default())?;
    let malformed: [&[u8]; 5] = [
        &0_i32.to_be_bytes(),
        &(-1_i32).to_be_bytes(),
        &i32::MAX.to_be_bytes(),
        // An API that nobody knows; a Metadata request that ends in its topics.
        &[0, 0, 0, 10, 0x7f, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        &[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff],
    ];
    for bytes in malformed {
        for _ in 0..EACH {
            let mut stream = world.connect()?;
            stream.write_all(bytes)?;
            ensure!(!is_answered(&mut stream)?, "{bytes:?} is answered");
        }
        world.serves()?;
    }
    let output = world.node.process()?.output();
    let lines = output.lines().filter(|line| line.contains("connection closed")).count();
    ensure!(lines == EACH * malformed.len(), "{lines} lines\n{}", world.node.tail());
    world.ends_within(SLACK)
}

#[test]
fn a_flood_of_connections_waits_until_others_close() -> Result<()> {
    let mut world = World::start(NodeOptions::default().with("max.connections", "20"))?;
    let request = api_versions()?;
    let mut open: Vec<_> = (0..60).map(|_| world.connect()).collect::<Result<_>>()?;
    for stream in &mut open {
        stream.write_all(&request)?;
    }
    world.serves()?;
    // One is the honest client's; the others are served in the order in which they came.
    for (at, stream) in open.iter_mut().enumerate().take(19) {
        ensure!(is_answered(stream)?, "connection {at}");
    }
    let next = open.get_mut(19).context("20 connections")?;
    next.set_read_timeout(Some(Duration::from_millis(20)))?;
    ensure!(is_answered(next).is_err(), "one more than 20 connections is served");
    next.set_read_timeout(Some(LIMIT))?;
    for stream in open.drain(..19).collect::<Vec<_>>() {
        drop(stream);
        world.serves()?;
    }
    for (at, stream) in open.iter_mut().enumerate().take(19) {
        ensure!(is_answered(stream)?, "connection {at} of those that waited");
    }
    // A larger limit is there at once.
    world.set(&[("max.connections", "200")])?;
    for stream in open.iter_mut().skip(19) {
        ensure!(is_answered(stream)?, "the limit is larger now");
    }
    world.ends_within(SLACK)
}

#[test]
fn an_address_has_its_share_and_no_more() -> Result<()> {
    let mut world = World::start(NodeOptions::default().with("max.connections.per.ip", "5"))?;
    let request = api_versions()?;
    let served = |world: &World, count: usize| -> Result<(Vec<TcpStream>, usize)> {
        let (mut open, mut refused) = (Vec::new(), 0);
        for _ in 0..count {
            let mut stream = world.connect()?;
            // The node may have closed it before there is anything to read.
            let sent = stream.write_all(&request);
            match sent.is_ok() && is_answered(&mut stream)? {
                true => open.push(stream),
                false => refused += 1,
            }
        }
        Ok((open, refused))
    };
    let (open, refused) = served(&world, 10)?;
    ensure!((open.len(), refused) == (4, 6), "{} open, {refused} refused", open.len());
    world.serves()?;
    world.set(&[("max.connections.per.ip.overrides", "127.0.0.1:8")])?;
    let (more, refused) = served(&world, 4)?;
    ensure!((more.len(), refused) == (3, 1), "{} more, {refused} refused", more.len());
    // A smaller share closes nobody who is there.
    world.set(&[("max.connections.per.ip.overrides", "")])?;
    for mut stream in open.into_iter().chain(more) {
        stream.write_all(&request)?;
        ensure!(is_answered(&mut stream)?, "one was closed");
    }
    world.ends_within(SLACK)
}

#[test]
fn a_listener_has_limits_of_its_own_that_take_effect_at_once() -> Result<()> {
    let name = "listener.name.plaintext.max.connections";
    let mut world = World::start(NodeOptions::default().with(name, "3"))?;
    let request = api_versions()?;
    let mut open: Vec<_> = (0..3).map(|_| world.connect()).collect::<Result<_>>()?;
    for stream in &mut open {
        stream.write_all(&request)?;
    }
    let mut last = open.pop().context("three connections")?;
    ensure!(open.iter_mut().all(|stream| is_answered(stream).unwrap_or(false)), "two have a place");
    last.set_read_timeout(Some(Duration::from_millis(20)))?;
    ensure!(is_answered(&mut last).is_err(), "the fourth connection is served");
    last.set_read_timeout(Some(LIMIT))?;
    world.set(&[(name, "4")])?;
    ensure!(is_answered(&mut last)?, "there is a place now");
    // A smaller limit of all listeners closes those that were quiet longest, as in Kafka.
    world.set(&[("max.connections", "2")])?;
    let closed = |stream: &mut TcpStream| -> Result<bool> {
        let mut rest = Vec::new();
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(stream.read_to_end(&mut rest).is_ok())
    };
    ensure!(
        open.iter_mut().all(|stream| closed(stream).unwrap_or(false)),
        "they were quiet longest"
    );
    world.ends_within(SLACK)
}

#[test]
fn new_connections_come_at_a_rate() -> Result<()> {
    let mut world = World::start(NodeOptions::default())?;
    world.set(&[("max.connection.creation.rate", "1")])?;
    let request = api_versions()?;
    let mut open: Vec<_> = (0..40).map(|_| world.connect()).collect::<Result<_>>()?;
    for stream in &mut open {
        stream.write_all(&request)?;
        stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    }
    // Some come at once, as Kafka's window of ten seconds lets them; then it is one a second.
    let held_up = open.iter_mut().position(|stream| !is_answered(stream).unwrap_or(false));
    let at_once = held_up.context("none had to wait")?;
    ensure!((5..35).contains(&at_once), "{at_once} came at once");
    world.serves()?;
    world.set(&[("max.connection.creation.rate", "1000000")])?;
    for stream in open.iter_mut().skip(at_once) {
        stream.set_read_timeout(Some(LIMIT))?;
        ensure!(is_answered(stream)?, "the rate is large now");
    }
    world.ends_within(SLACK)
}

#[test]
fn what_is_said_of_clients_is_bounded() -> Result<()> {
    // A client that is refused for its address is no news for the log: there may be millions.
    let mut world = World::start(NodeOptions::default())?;
    world.set(&[("max.connections.per.ip", "1")])?;
    for _ in 0..200 {
        let mut stream = world.connect()?;
        ensure!(!is_answered(&mut stream)?, "it is refused");
    }
    let lines = world.node.process()?.output().lines().count();
    ensure!(lines < 100, "{lines} lines\n{}", world.node.tail());
    world.ends_within(SLACK)
}
