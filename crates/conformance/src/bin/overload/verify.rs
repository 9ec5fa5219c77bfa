//! Whether everything that was acknowledged is there: once, and in the order of its connection.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use ottla_codec::RecordData;
use ottla_conformance::RawClient;
use ottla_protocol::{
    ApiKey, FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, fetch_request,
    list_offsets_request,
};
use ottla_record::{Batches, DecompressLimits};
use serde_json::{Value, json};

use crate::crowd::{Acknowledged, KINDS, Outcome};

/// Reads everything back.
pub(crate) fn all(bootstrap: &str, outcomes: &[&Outcome], probes: u64) -> Result<Value> {
    let mut client = RawClient::connect(bootstrap)?;
    let members = || outcomes.iter().flat_map(|outcome| &outcome.members);
    let (mut there, mut expired) = (0, 0);
    for (kind, (topic, partitions, _)) in KINDS.into_iter().enumerate() {
        let mut next: HashMap<u64, Option<u64>> = HashMap::new();
        for partition in 0..partitions {
            let partition = i32::try_from(partition)?;
            let read = read(&mut client, topic, partition, &mut next)?;
            there += read.records;
            expired += read.start;
            ensure!(
                read.start == 0 || topic == "large",
                "{topic}-{partition} has lost its beginning"
            );
        }
        for member in members().filter(|member| member.kind == kind) {
            check(member, next.get(&member.id).copied().flatten())
                .with_context(|| format!("connection {:x} to {topic}", member.id))?;
        }
    }
    let probed = end(&mut client, "probe", 0, -1)?;
    ensure!(u64::try_from(probed)? == probes, "{probed} of {probes} probes are there");
    let acknowledged: u64 = members().map(|member| member.acknowledged).sum();
    Ok(json!({
        "acknowledged": acknowledged + probes,
        "read_back": there + u64::try_from(probed)?,
        "expired_by_retention": expired,
        "lost": 0,
        "duplicated": 0,
        "reordered": 0,
    }))
}

/// `next` is the number behind the last one that was read; without one everything has expired.
fn check(member: &Acknowledged, next: Option<u64>) -> Result<()> {
    let Some(next) = next else {
        let expires = KINDS.get(member.kind).is_some_and(|(topic, ..)| *topic == "large");
        ensure!(expires || member.acknowledged == 0, "nothing of it is there");
        return Ok(());
    };
    ensure!(
        (member.acknowledged..=member.sent).contains(&next),
        "{} were acknowledged of {}, {next} are there",
        member.acknowledged,
        member.sent
    );
    Ok(())
}

struct Partition {
    start: u64,
    records: u64,
}

/// Reads a partition; the numbers of each connection must follow each other.
fn read(
    client: &mut RawClient,
    topic: &str,
    partition: i32,
    next: &mut HashMap<u64, Option<u64>>,
) -> Result<Partition> {
    let (start, end) = (end(client, topic, partition, -2)?, end(client, topic, partition, -1)?);
    let mut offset = start;
    while offset < end {
        let request = fetch(topic, partition, offset);
        let answer: FetchResponse = client.call(ApiKey::Fetch, 12, &request)?;
        let before = offset;
        for data in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
            ensure!(data.error_code == 0, "fetch: error {}", data.error_code);
            let Some(RecordData::Bytes(records)) = data.records else { continue };
            for batch in Batches::new(records) {
                let batch = batch?;
                ensure!(i64::try_from(batch.header().base_offset.0)? == offset, "a gap");
                offset = i64::try_from(batch.header().next_offset().0)?;
                for record in batch.records(&DecompressLimits::default())? {
                    let value = record?.value.context("a record without a value")?;
                    let (id, rest) = value.split_first_chunk().context("a short record")?;
                    let number = u64::from_be_bytes(*rest.first_chunk().context("a short record")?);
                    let id = u64::from_be_bytes(*id);
                    let known = next.entry(id).or_default();
                    // What retention has taken away comes before all that is left.
                    let expected = known.unwrap_or(if start == 0 { 0 } else { number });
                    ensure!(number == expected, "record {number} of {id:x}, not {expected}");
                    *known = Some(number + 1);
                }
            }
        }
        ensure!(before < offset, "nothing came at {offset} of {end}");
    }
    Ok(Partition { start: u64::try_from(start)?, records: u64::try_from(end - start)? })
}

fn fetch(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    let partition = fetch_request::FetchPartition {
        partition,
        current_leader_epoch: -1,
        fetch_offset: offset,
        partition_max_bytes: 8 << 20,
        ..Default::default()
    };
    let topic = fetch_request::FetchTopic {
        topic: topic.into(),
        partitions: [partition].into(),
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 8 << 20,
        session_epoch: -1,
        topics: [topic].into(),
        ..Default::default()
    }
}

/// Where a partition begins (-2) or ends (-1).
fn end(client: &mut RawClient, topic: &str, partition: i32, timestamp: i64) -> Result<i64> {
    let partition = list_offsets_request::ListOffsetsPartition {
        partition_index: partition,
        current_leader_epoch: -1,
        timestamp,
    };
    let topic =
        list_offsets_request::ListOffsetsTopic { name: topic.into(), partitions: vec![partition] };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let answer: ListOffsetsResponse = client.call(ApiKey::ListOffsets, 6, &request)?;
    let found = answer.topics.iter().flat_map(|topic| &topic.partitions).next();
    let found = found.context("no answer")?;
    ensure!(found.error_code == 0, "list offsets: error {}", found.error_code);
    Ok(found.offset)
}
