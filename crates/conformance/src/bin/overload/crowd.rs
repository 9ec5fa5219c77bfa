//! Everybody else: producers that offer more than can be taken.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use ottla_codec::decode_exact;
use ottla_protocol::ProduceResponse;
use serde_json::{Value, json};

use crate::PRODUCE;

/// How many requests a connection has under way: what Kafka's producer does.
const WINDOW: u32 = 5;

/// Topic, number of partitions and bytes of a value.
pub(crate) const KINDS: [(&str, u32, usize); 2] = [("small", 8, 100), ("large", 4, 256 << 10)];

/// Producers, half of them of each kind.
pub(crate) struct Crowd {
    begun: Instant,
    done: Arc<AtomicBool>,
    members: Vec<Member>,
}

struct Member {
    kind: usize,
    id: u64,
    window: Arc<Window>,
    writer: JoinHandle<Result<()>>,
    reader: JoinHandle<Result<()>>,
}

/// What was offered and what came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    seconds: f64,
    pub(crate) members: Vec<Acknowledged>,
}

/// One connection sent records numbered from 0 on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Acknowledged {
    pub(crate) kind: usize,
    pub(crate) id: u64,
    pub(crate) sent: u64,
    /// So many, from the first on.
    pub(crate) acknowledged: u64,
}

#[derive(Default)]
struct Window {
    counts: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Default, Clone, Copy)]
struct Counts {
    sent: u64,
    answered: u64,
    ended: bool,
}

impl Crowd {
    /// Starts `each` connections of each kind. `offered` are requests a second of each kind that 32
    /// connections were answered: each offers its share of that; without it they offer what they can.
    pub(crate) fn start(bootstrap: &str, each: u32, offered: Option<[f64; 2]>) -> Result<Self> {
        let done = Arc::new(AtomicBool::new(false));
        let begun = Instant::now();
        let mut members = Vec::new();
        for (kind, (topic, partitions, size)) in KINDS.into_iter().enumerate() {
            let every = offered
                .and_then(|rates| rates.get(kind).copied())
                .map(|rate| Duration::from_secs_f64(32.0 / rate.max(1.0)));
            for number in 0..each {
                // No two connections of a run have the same id.
                let id = u64::from(std::process::id()) << 32
                    | u64::from(each) << 16
                    | u64::try_from(kind)? << 12
                    | u64::from(number);
                let partition = i32::try_from(number % partitions)?;
                let stream = connect(bootstrap)?;
                let answers = stream.try_clone()?;
                let window = Arc::new(Window::default());
                let (of_writer, of_reader) = (window.clone(), window.clone());
                let stop = done.clone();
                let writer = thread::spawn(move || {
                    let load = Load { topic, partition, size, id, every };
                    let sent = load.send(&stream, &of_writer, &stop, begun);
                    of_writer.update(|counts| counts.ended = true);
                    sent
                });
                let reader = thread::spawn(move || read_answers(&answers, &of_reader));
                members.push(Member { kind, id, window, writer, reader });
            }
        }
        Ok(Self { begun, done, members })
    }

    /// Ends the load, waits for what is under way, and says what came of it.
    pub(crate) fn stop(self) -> Result<Outcome> {
        let seconds = self.begun.elapsed().as_secs_f64();
        self.done.store(true, Ordering::Release);
        let mut members = Vec::new();
        for member in self.members {
            member.writer.join().ok().context("a writer panicked")??;
            member.reader.join().ok().context("a reader panicked")??;
            let counts = member.window.update(|counts| *counts);
            members.push(Acknowledged {
                kind: member.kind,
                id: member.id,
                sent: counts.sent,
                acknowledged: counts.answered,
            });
        }
        Ok(Outcome { seconds, members })
    }
}

impl Outcome {
    /// Requests a second that were acknowledged, of each kind.
    pub(crate) fn rates(&self) -> [f64; 2] {
        [0, 1].map(|kind| {
            let of_kind = self.members.iter().filter(|member| member.kind == kind);
            of_kind.map(|member| member.acknowledged).sum::<u64>() as f64 / self.seconds
        })
    }

    pub(crate) fn json(&self) -> Value {
        let [small, large] = self.rates();
        json!({
            "connections": self.members.len(),
            "seconds": self.seconds,
            "small_per_second": small,
            "large_per_second": large,
        })
    }
}

impl Window {
    fn update<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        let mut counts = self.counts.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let value = change(&mut counts);
        drop(counts);
        self.changed.notify_all();
        value
    }

    /// Waits until `ready`, looking again each second in case nobody tells.
    fn wait(&self, ready: impl Fn(&Counts) -> bool) -> Counts {
        let mut counts = self.counts.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        while !ready(&counts) {
            let waited = self.changed.wait_timeout(counts, Duration::from_secs(1));
            counts = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
        *counts
    }
}

struct Load {
    topic: &'static str,
    partition: i32,
    size: usize,
    id: u64,
    every: Option<Duration>,
}

impl Load {
    fn send(
        &self,
        mut stream: &TcpStream,
        window: &Window,
        done: &AtomicBool,
        begun: Instant,
    ) -> Result<()> {
        let mut value = vec![b'x'; self.size];
        let mut number = 0_u64;
        loop {
            let counts = window
                .wait(|counts| counts.sent - counts.answered < u64::from(WINDOW) || counts.ended);
            if counts.ended || done.load(Ordering::Acquire) {
                return Ok(());
            }
            if let Some(every) = self.every {
                let due = every.mul_f64(number as f64);
                while let Some(early) = due.checked_sub(begun.elapsed()) {
                    if done.load(Ordering::Acquire) {
                        return Ok(());
                    }
                    thread::park_timeout(early.min(Duration::from_millis(100)));
                }
            }
            let stamp = [self.id.to_be_bytes(), number.to_be_bytes()].concat();
            for (place, byte) in value.iter_mut().zip(stamp) {
                *place = byte;
            }
            let correlation_id = i32::try_from(number & 0x7fff_ffff)?;
            let bytes = crate::produce(self.topic, self.partition, &value, correlation_id)?;
            window.update(|counts| counts.sent += 1);
            stream.write_all(&bytes).context("the broker closed a producer's connection")?;
            number += 1;
        }
    }
}

fn read_answers(mut stream: &TcpStream, window: &Window) -> Result<()> {
    let mut answer = Vec::new();
    loop {
        let counts = window.wait(|counts| counts.answered < counts.sent || counts.ended);
        if counts.answered == counts.sent {
            return Ok(());
        }
        let mut length = [0; 4];
        let read = stream.read_exact(&mut length);
        if let Err(error) = read {
            window.update(|counts| counts.ended = true);
            return Err(error).context("a producer's connection was lost");
        }
        answer.resize(usize::try_from(i32::from_be_bytes(length))?, 0);
        stream.read_exact(&mut answer)?;
        // Correlation id and an empty tag buffer.
        let body: ProduceResponse =
            decode_exact(Bytes::copy_from_slice(&answer).slice(5..), PRODUCE)?;
        if let Err(error) = crate::base_offset(&body) {
            window.update(|counts| counts.ended = true);
            return Err(error).context("a record was refused");
        }
        window.update(|counts| counts.answered += 1);
    }
}

fn connect(bootstrap: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(bootstrap).context("it accepts no more connections")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    stream.set_write_timeout(Some(Duration::from_secs(120)))?;
    Ok(stream)
}
