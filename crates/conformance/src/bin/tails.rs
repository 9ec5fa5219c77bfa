//! A client that measures how long records and requests take, for `cargo xtask bench tails`.
//!
//! `tails BOOTSTRAP steady SECONDS` sends 10 MB/s in records of 1 KiB, ten in each batch, and times each
//! record from when it was due to when a consumer on another connection has it. `tails BOOTSTRAP
//! requests SECONDS` sends 1,000 produce requests of one record a second over 100 connections and times
//! their answers. Load is open: what is late is due when it was due, so a stall counts for every record
//! that it held up. One JSON object goes to stdout. `tails BOOTSTRAP hold NUMBER` opens connections, each
//! with one ApiVersions request, says so, and keeps them until its input ends. `tails answer` is what no
//! broker can be quicker than: it says where it listens, and answers `requests` without doing anything.
//!
//! The topics `steady` and `requests` must exist. Threads and blocking sockets, because their timing is
//! finer than a runtime's.

#![allow(clippy::print_stdout, reason = "the result is what it prints")]

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use ottla_codec::{RecordData, decode_exact, encode_to_bytes};
use ottla_conformance::{RawClient, frame};
use ottla_protocol::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, FetchRequest, FetchResponse,
    ListOffsetsRequest, ListOffsetsResponse, ProduceRequest, ProduceResponse, fetch_request,
    list_offsets_request, produce_request,
};
use ottla_record::{BatchBuilder, Batches, Compression, DecompressLimits};
use ottla_types::Timestamp;

/// Versions that name topics, which every broker since Kafka 2.7 speaks.
const PRODUCE: i16 = 9;
const FETCH: i16 = 12;
const LIST_OFFSETS: i16 = 6;
const API_VERSIONS: i16 = 3;

const STEADY_EVERY: Duration = Duration::from_millis(1);
const STEADY_RECORDS: usize = 10;
const CONNECTIONS: u32 = 100;
const REQUESTS_EVERY: Duration = Duration::from_millis(100);
const PARTITIONS: u32 = 10;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [bootstrap, "steady", seconds] => report(steady(bootstrap, seconds.parse()?)?),
        [bootstrap, "requests", seconds] => report(requests(bootstrap, seconds.parse()?)?),
        [bootstrap, "hold", number] => hold(bootstrap, number.parse()?),
        ["answer"] => answer_all(),
        _ => bail!(
            "tails BOOTSTRAP steady|requests SECONDS, tails BOOTSTRAP hold NUMBER, tails answer"
        ),
    }
}

fn report(mut nanos: Vec<u64>) -> Result<()> {
    ensure!(!nanos.is_empty(), "nothing was measured");
    nanos.sort_unstable();
    let at = |share: usize| {
        let place = nanos.len() * share / 1000;
        nanos.get(place.min(nanos.len() - 1)).map_or(0, |nanos| nanos / 1000)
    };
    println!(
        r#"{{"count": {}, "p50": {}, "p99": {}, "p999": {}, "max": {}}}"#,
        nanos.len(),
        at(500),
        at(990),
        at(999),
        at(1000)
    );
    Ok(())
}

/// Latencies from due to consumed, of all records but those of the first two seconds.
fn steady(bootstrap: &str, seconds: u32) -> Result<Vec<u64>> {
    let begun = Instant::now();
    let done = Arc::new(AtomicBool::new(false));
    let offset = end_of(bootstrap, "steady")?;
    let total = u64::from(seconds) * 1000 * STEADY_RECORDS as u64;
    let consumer = {
        let (bootstrap, done) = (bootstrap.to_owned(), done.clone());
        thread::spawn(move || consume(&bootstrap, offset, total, begun, &done))
    };
    let mut stream = TcpStream::connect(bootstrap)?;
    stream.set_nodelay(true)?;
    let answers = stream.try_clone()?;
    let batches = seconds * 1000;
    let reader = thread::spawn(move || read_answers(answers, batches));
    let mut value = vec![b'x'; 1024 - OVERHEAD];
    for number in 0..batches {
        let due = Duration::from_millis(50) + STEADY_EVERY * number;
        wait_for_due(begun, due);
        let stamp = u64::try_from(due.as_nanos())?.to_be_bytes();
        for (place, byte) in value.iter_mut().zip(stamp) {
            *place = byte;
        }
        let body = encode_to_bytes(&produce("steady", 0, &value, STEADY_RECORDS)?, PRODUCE)?;
        stream.write_all(&frame(ApiKey::Produce, PRODUCE, i32::try_from(number)?, &body)?)?;
    }
    reader.join().ok().context("the reader of answers panicked")??;
    let waited = Instant::now();
    while !consumer.is_finished() && waited.elapsed() < Duration::from_secs(30) {
        thread::park_timeout(Duration::from_millis(10));
    }
    done.store(true, Ordering::Release);
    consumer.join().ok().context("the consumer panicked")?
}

/// Returns when it is time; the kernel's timers are some 50 microseconds late.
fn wait_for_due(begun: Instant, due: Duration) {
    while let Some(early) = due.checked_sub(begun.elapsed()) {
        thread::park_timeout(early);
    }
}

// Of a record in a batch: lengths, attributes, deltas.
const OVERHEAD: usize = 8;

fn produce(topic: &str, partition: i32, value: &[u8], records: usize) -> Result<ProduceRequest> {
    let mut builder = BatchBuilder::new(Compression::None);
    for _ in 0..records {
        builder.push_pair(Timestamp(1), None, Some(value));
    }
    let data = produce_request::PartitionProduceData {
        index: partition,
        records: Some(RecordData::Bytes(builder.build()?)),
    };
    let topic = produce_request::TopicProduceData {
        name: topic.into(),
        partition_data: [data].into(),
        ..Default::default()
    };
    Ok(ProduceRequest {
        acks: 1,
        timeout_ms: 30_000,
        topic_data: [topic].into(),
        ..Default::default()
    })
}

fn check(answer: &ProduceResponse) -> Result<()> {
    let mut partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    ensure!(partitions.all(|partition| partition.error_code == 0), "refused: {answer:?}");
    Ok(())
}

fn read_answers(mut stream: TcpStream, number: u32) -> Result<()> {
    for _ in 0..number {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length))?];
        stream.read_exact(&mut answer)?;
        // Correlation id and an empty tag buffer.
        check(&decode_exact(Bytes::from(answer).slice(5..), PRODUCE)?)?;
    }
    Ok(())
}

fn end_of(bootstrap: &str, topic: &str) -> Result<i64> {
    let partition = list_offsets_request::ListOffsetsPartition {
        partition_index: 0,
        current_leader_epoch: -1,
        timestamp: -1,
    };
    let topic = list_offsets_request::ListOffsetsTopic {
        name: topic.into(),
        partitions: [partition].into(),
    };
    let request =
        ListOffsetsRequest { replica_id: -1, topics: [topic].into(), ..Default::default() };
    let mut client = RawClient::connect(bootstrap)?;
    let answer: ListOffsetsResponse = client.call(ApiKey::ListOffsets, LIST_OFFSETS, &request)?;
    let found = answer.topics.iter().flat_map(|topic| &topic.partitions).next();
    Ok(found.context("no answer")?.offset)
}

fn consume(
    bootstrap: &str,
    mut offset: i64,
    total: u64,
    begun: Instant,
    done: &AtomicBool,
) -> Result<Vec<u64>> {
    let mut client = RawClient::connect(bootstrap)?;
    let (mut nanos, mut seen) = (Vec::new(), 0);
    while seen < total && !done.load(Ordering::Acquire) {
        let answer: FetchResponse = client.call(ApiKey::Fetch, FETCH, &fetch(offset))?;
        let now = u64::try_from(begun.elapsed().as_nanos())?;
        for partition in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
            ensure!(partition.error_code == 0, "fetch: error {}", partition.error_code);
            let Some(RecordData::Bytes(records)) = partition.records else { continue };
            for batch in Batches::new(records) {
                let batch = batch?;
                offset = i64::try_from(batch.header().next_offset().0)?;
                for record in batch.records(&DecompressLimits::default())? {
                    let record = record?;
                    let value = record.value.context("a record without a value")?;
                    let stamp = value.first_chunk().context("a short record")?;
                    let due = u64::from_be_bytes(*stamp);
                    if Duration::from_nanos(due) > WARM {
                        nanos.push(now.saturating_sub(due));
                    }
                    seen += 1;
                }
            }
        }
    }
    ensure!(seen == total, "{seen} of {total} records arrived");
    Ok(nanos)
}

/// What is due before this is not counted.
const WARM: Duration = Duration::from_secs(2);

fn fetch(offset: i64) -> FetchRequest {
    let partition = fetch_request::FetchPartition {
        partition: 0,
        current_leader_epoch: -1,
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic = fetch_request::FetchTopic {
        topic: "steady".into(),
        partitions: [partition].into(),
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 50 << 20,
        session_epoch: -1,
        topics: [topic].into(),
        ..Default::default()
    }
}

/// Latencies from due to answered.
fn requests(bootstrap: &str, seconds: u32) -> Result<Vec<u64>> {
    let begun = Instant::now();
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let bootstrap = bootstrap.to_owned();
            thread::spawn(move || request(&bootstrap, number, seconds, begun))
        })
        .collect();
    let mut nanos = Vec::new();
    for thread in threads {
        nanos.extend(thread.join().ok().context("a connection's thread panicked")??);
    }
    Ok(nanos)
}

fn request(bootstrap: &str, number: u32, seconds: u32, begun: Instant) -> Result<Vec<u64>> {
    let mut client = RawClient::connect(bootstrap)?;
    let partition = i32::try_from(number % PARTITIONS)?;
    let one = produce("requests", partition, &[b'x'; 100], 1)?;
    let mut nanos = Vec::new();
    let first = Duration::from_millis(200) + REQUESTS_EVERY * number / CONNECTIONS;
    for turn in 0..seconds * 10 {
        let due = first + REQUESTS_EVERY * turn;
        wait_for_due(begun, due);
        check(&client.call(ApiKey::Produce, PRODUCE, &one)?)?;
        if due > WARM {
            let late = begun.elapsed().saturating_sub(due);
            nanos.push(u64::try_from(late.as_nanos())?);
        }
    }
    Ok(nanos)
}

fn hold(bootstrap: &str, number: usize) -> Result<()> {
    let ask = ApiVersionsRequest {
        client_software_name: "tails".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    let mut held = Vec::with_capacity(number);
    for _ in 0..number {
        let mut client = RawClient::connect(bootstrap)?;
        let _: ApiVersionsResponse = client.call(ApiKey::ApiVersions, API_VERSIONS, &ask)?;
        held.push(client);
    }
    println!("{} connections", held.len());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn answer_all() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    // Its threads end with the process.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn answer(stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = BufReader::new(stream.try_clone()?);
    let mut answers = stream;
    let body = encode_to_bytes(&ProduceResponse::default(), PRODUCE)?;
    loop {
        let mut length = [0; 4];
        requests.read_exact(&mut length)?;
        let mut request = vec![0; usize::try_from(i32::from_be_bytes(length))?];
        requests.read_exact(&mut request)?;
        // Behind key and version; back with an empty tag buffer.
        let correlation = request.get(4..8).context("a request without a header")?;
        let length = u32::try_from(correlation.len() + 1 + body.len())?.to_be_bytes();
        answers.write_all(&[&length[..], correlation, &[0], &body[..]].concat())?;
    }
}
