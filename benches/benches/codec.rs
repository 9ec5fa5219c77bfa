//! The two messages that carry the load: decoding Produce and Fetch requests, encoding an answer.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot be set up has nothing to measure")]
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ottla_benches::batch;
use ottla_codec::{RecordData, Str, decode_exact, encode_to_bytes, encode_to_parts};
use ottla_protocol::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use ottla_protocol::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};

const PRODUCE: i16 = 12;
const FETCH: i16 = 12;

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec decode");
    let request = ProduceRequest {
        acks: 1,
        topic_data: [TopicProduceData {
            name: Str::from("orders"),
            partition_data: [PartitionProduceData {
                index: 0,
                records: Some(RecordData::from(batch(16, 1024))),
            }]
            .into(),
            ..TopicProduceData::default()
        }]
        .into(),
        ..ProduceRequest::default()
    };
    let frame = encode_to_bytes(&request, PRODUCE).unwrap();
    group.bench_function("produce, one batch of 16 KiB", |bencher| {
        bencher.iter(|| decode_exact::<ProduceRequest>(frame.clone(), PRODUCE).unwrap());
    });
    let request = FetchRequest {
        topics: [FetchTopic {
            topic: Str::from("orders"),
            partitions: (0..100)
                .map(|partition| FetchPartition { partition, ..FetchPartition::default() })
                .collect(),
            ..FetchTopic::default()
        }]
        .into(),
        ..FetchRequest::default()
    };
    let frame = encode_to_bytes(&request, FETCH).unwrap();
    group.bench_function("fetch, 100 partitions", |bencher| {
        bencher.iter(|| decode_exact::<FetchRequest>(frame.clone(), FETCH).unwrap());
    });
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec encode");
    let response = FetchResponse {
        responses: [FetchableTopicResponse {
            topic: Str::from("orders"),
            partitions: [PartitionData {
                records: Some(RecordData::from(batch(1000, 1024))),
                ..PartitionData::default()
            }]
            .into(),
            ..FetchableTopicResponse::default()
        }]
        .into(),
        ..FetchResponse::default()
    };
    // Its time must not depend on the size of the records: they are not copied.
    group.bench_function("fetch, one batch of 1 MiB", |bencher| {
        bencher.iter(|| black_box(encode_to_parts(&response, FETCH).unwrap()));
    });
    group.finish();
}

criterion_group!(benches, decode, encode);
criterion_main!(benches);
