//! Record batches: checksum, walking records, building, and each codec both ways.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot be set up has nothing to measure")]
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ottla_benches::batch;
use ottla_record::{Batch, BatchBuilder, Compression, DecompressLimits};
use ottla_types::Timestamp;

fn read(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record read");
    for (name, records, value) in [("16 x 1 KiB", 16, 1024), ("160 x 100 B", 160, 100)] {
        let bytes = batch(records, value);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("header only, {name}"), |bencher| {
            bencher.iter(|| Batch::parse(bytes.clone()).unwrap());
        });
        group.bench_function(format!("checksum, {name}"), |bencher| {
            bencher.iter(|| Batch::parse_checked(bytes.clone()).unwrap());
        });
        let parsed = Batch::parse(bytes).unwrap();
        group.bench_function(format!("every record, {name}"), |bencher| {
            bencher.iter(|| {
                for record in parsed.records(&DecompressLimits::default()).unwrap() {
                    black_box(record.unwrap());
                }
            });
        });
    }
    group.finish();
}

fn codecs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record codec");
    // Text that repeats itself here and there, like JSON does.
    let value: Vec<u8> = (0..1024_u32)
        .map(|at| if at % 16 < 12 { b'a' } else { at.wrapping_mul(31).to_be_bytes()[3] })
        .collect();
    let codecs = [
        ("none", Compression::None),
        ("gzip", Compression::Gzip),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd),
    ];
    group.throughput(Throughput::Bytes(64 << 10));
    for (name, codec) in codecs {
        let build = || {
            let mut builder = BatchBuilder::new(codec);
            for _ in 0..64 {
                builder.push_pair(Timestamp(1), None, Some(&value));
            }
            builder.build().unwrap()
        };
        group.bench_function(format!("build {name}"), |bencher| bencher.iter(build));
        let parsed = Batch::parse(build()).unwrap();
        group.bench_function(format!("read {name}"), |bencher| {
            bencher.iter(|| {
                parsed.records(&DecompressLimits::default()).unwrap().map(black_box).count()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, read, codecs);
criterion_main!(benches);
