//! Connections that never get on, for tests of how a broker serves others beside them.

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use anyhow::Result;
use ottla_codec::encode_to_bytes;
use ottla_protocol::{ApiKey, FetchRequest, fetch_request};

use crate::frame;

/// Versions that name topics, which every broker since Kafka 2.7 speaks.
const FETCH: i16 = 12;

/// Consumers that ask for all of partition 0, ten times, and read nothing.
///
/// # Errors
/// When the broker accepts no more.
pub fn stalled(bootstrap: &str, topic: &str, number: u32) -> Result<Vec<TcpStream>> {
    let partition = fetch_request::FetchPartition {
        partition: 0,
        current_leader_epoch: -1,
        partition_max_bytes: 50 << 20,
        ..Default::default()
    };
    let topic = fetch_request::FetchTopic {
        topic: topic.into(),
        partitions: [partition].into(),
        ..Default::default()
    };
    let request = FetchRequest {
        max_wait_ms: 500,
        max_bytes: 50 << 20,
        session_epoch: -1,
        topics: [topic].into(),
        ..Default::default()
    };
    let body = encode_to_bytes(&request, FETCH)?;
    let bytes = frame(ApiKey::Fetch, FETCH, 1, &body)?.repeat(10);
    let stalled = |_| {
        let mut stream = TcpStream::connect(bootstrap)?;
        stream.write_all(&bytes)?;
        Ok(stream)
    };
    (0..number).map(stalled).collect()
}

/// Connections that say nothing, half a length, or a part of a large request, and those that only shut
/// their side: a quarter each.
///
/// # Errors
/// When the broker accepts no more.
pub fn half_open(bootstrap: &str, number: u32) -> Result<Vec<TcpStream>> {
    let request = frame(ApiKey::Produce, 9, 1, &[0; 1 << 20])?;
    let half_open = |turn| {
        let mut stream = TcpStream::connect(bootstrap)?;
        match turn % 4 {
            0 => {}
            1 => stream.write_all(request.get(..2).unwrap_or_default())?,
            2 => stream.write_all(request.get(..70_000).unwrap_or_default())?,
            _ => stream.shutdown(Shutdown::Write)?,
        }
        Ok(stream)
    };
    (0..number).map(half_open).collect()
}
