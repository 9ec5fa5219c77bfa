//! Checks that generated code must pass, for all messages of one schema table.
//!
//! A crate hands in its table and one [`Codec`] for each message (its `for_each_message!` makes the list).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use crate::memory::Memory;
use crate::schema::{self, Message};
use crate::seed::{Random, Replay, cases, seed};
use crate::wire::Shape;

/// Reads bytes in a version, and returns the `Debug` text of the value and its bytes written again.
pub type Recode = fn(Vec<u8>, i16) -> Result<Recoded, String>;

/// A value that was read and written again.
#[derive(Clone, Debug)]
pub struct Recoded {
    /// `{:?}` of the value.
    pub debug: String,
    /// The value, written in the same version.
    pub bytes: Vec<u8>,
}

/// One generated message.
#[derive(Clone, Copy, Debug)]
pub struct Codec {
    /// Name in the schema.
    pub name: &'static str,
    /// Lowest and highest version.
    pub versions: (i16, i16),
    /// Reads all of the bytes and writes them again.
    pub recode: Recode,
    /// Only reads the start of the bytes; whether that was possible.
    pub decode: fn(bytes::Bytes, i16) -> bool,
}

/// The messages of a table with their codecs.
#[derive(Debug)]
pub struct Table {
    rows: Vec<(Message, Codec)>,
}

impl Table {
    /// Pairs the messages of `tables` with `codecs`.
    ///
    /// # Panics
    /// If a table is malformed, or one side has a message or version that the other lacks.
    pub fn new(tables: &[&str], codecs: &[Codec]) -> Self {
        let mut left: BTreeMap<&str, Codec> =
            codecs.iter().map(|codec| (codec.name, *codec)).collect();
        let mut rows = Vec::new();
        for table in tables {
            for message in schema::parse(table).expect("the schema table is well formed") {
                let codec = left.remove(message.name.as_str());
                let codec = codec.unwrap_or_else(|| panic!("{} has no code", message.name));
                let versions = (message.versions.low, message.versions.high);
                assert_eq!(codec.versions, versions, "versions of {}", message.name);
                rows.push((message, codec));
            }
        }
        assert!(left.is_empty(), "not in the table: {:?}", left.keys());
        Self { rows }
    }

    /// Every message in every version, with its codec.
    pub fn shapes(&self) -> impl Iterator<Item = (Shape<'_>, &Codec)> {
        self.rows.iter().flat_map(|(message, codec)| {
            (message.versions.low..=message.versions.high)
                .map(move |version| (Shape { message, version }, codec))
        })
    }

    /// Reads `values` random values of every message and version from bytes that the interpreter wrote,
    /// and demands the same value field by field and the same bytes back. The default value is among them.
    ///
    /// # Panics
    /// With the first difference, and how to repeat it.
    pub fn check_round_trips(&self, package: &str, values: u64) {
        let (seed, values) = (seed(1), cases(values));
        let _replay = Replay::with(format!(
            "OTTLA_SEED={seed} OTTLA_CASES={values} cargo test -p {package} round_trip"
        ));
        let mut random = Random::new(seed);
        for (shape, codec) in self.shapes() {
            for at in 0..values {
                let value = if at == 0 { shape.default() } else { shape.random(&mut random) };
                let (name, version) = (codec.name, shape.version);
                let bytes = shape.bytes(&value);
                let recoded = (codec.recode)(bytes.clone(), version)
                    .unwrap_or_else(|error| panic!("{name} v{version}: {error}\n{value:?}"));
                assert_eq!(recoded.debug, shape.debug(&value), "{name} v{version}");
                assert_eq!(recoded.bytes, bytes, "{name} v{version}: {}", recoded.debug);
            }
        }
    }

    /// A version below the lowest or above the highest is an error, not a panic.
    ///
    /// # Panics
    /// If one is accepted.
    pub fn check_foreign_versions(&self) {
        for (message, codec) in &self.rows {
            for version in [message.versions.low - 1, message.versions.high + 1, i16::MIN, i16::MAX]
            {
                let result = (codec.recode)(vec![0; 64], version);
                assert!(result.is_err(), "{} accepts version {version}", codec.name);
            }
        }
    }

    /// Reads lines of `message version hex`, which Kafka wrote, and writes the same bytes. Every message but
    /// those of `absent`, which that Kafka does not have, must be there.
    ///
    /// # Panics
    /// With the first difference.
    pub fn check_golden(&self, golden: &str, absent: &[&str]) {
        let mut unseen: BTreeSet<&str> = self.rows.iter().map(|row| row.0.name.as_str()).collect();
        for line in golden.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            let [name, version, hex] = words[..] else { panic!("malformed: {line}") };
            let row = self.rows.iter().find(|(message, _)| message.name == name);
            let (_, codec) = row.unwrap_or_else(|| panic!("no message {name}"));
            let recoded = (codec.recode)(from_hex(hex), version.parse().expect("a version"))
                .unwrap_or_else(|error| panic!("{name} v{version}: {error}"));
            assert_eq!(to_hex(&recoded.bytes), hex, "{name} v{version}: {}", recoded.debug);
            unseen.remove(name);
        }
        assert_eq!(unseen, absent.iter().copied().collect(), "messages without golden bytes");
    }

    /// Reads `count` damaged encodings, spread over all messages and versions: no panic, and never more
    /// memory than the input and `limit` bytes. [`Memory`] must be the test's allocator.
    ///
    /// # Panics
    /// If a decoder does, or if one takes more memory; and how to repeat it.
    pub fn check_damaged(&self, package: &str, count: u64, limit: usize) {
        let (seed, count) = (seed(2), cases(count));
        let _replay = Replay::with(format!(
            "OTTLA_SEED={seed} OTTLA_CASES={count} cargo test -p {package} damaged"
        ));
        assert_ne!(
            Memory::measure(|| vec![1_u8; 64]).1.peak,
            0,
            "the counting allocator is missing"
        );
        let mut random = Random::new(seed);
        let mut refused = 0;
        let mut tried = 0;
        while tried < count {
            let _: ControlFlow<()> = self.shapes().try_for_each(|(shape, codec)| {
                let whole = shape.bytes(&shape.random(&mut random));
                for _ in 0..20 {
                    refused +=
                        u64::from(!self.try_damaged(shape, codec, &whole, &mut random, limit));
                    tried += 1;
                }
                if tried < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
        }
        // Damage that nobody notices would mean that nothing was damaged.
        assert!(refused > tried / 10, "{refused} of {tried} refused");
    }

    fn try_damaged(
        &self,
        shape: Shape<'_>,
        codec: &Codec,
        whole: &[u8],
        random: &mut Random,
        limit: usize,
    ) -> bool {
        let mut damaged = whole.to_vec();
        damage(&mut damaged, random);
        let frame = bytes::Bytes::from(damaged);
        let (read, taken) = Memory::measure(|| (codec.decode)(frame.clone(), shape.version));
        assert!(
            taken.peak <= frame.len() + limit,
            "{} v{} took {taken:?} for {} bytes: {}",
            codec.name,
            shape.version,
            frame.len(),
            to_hex(&frame)
        );
        read
    }
}

/// Cuts, overwrites, inserts or doubles; often with the bytes that make lengths huge.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = random.index(bytes.len() + 1);
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => {
                let edge = *random.choose(&[0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff]);
                bytes.get_mut(at).into_iter().for_each(|byte| *byte = edge);
            }
            2 => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << random.below(8)),
            3 => {
                let len = random.index(9);
                let new = random.bytes(len);
                bytes.splice(at..at, new);
            }
            4 => {
                let huge: &[&[u8]] = &[
                    &[0xff, 0xff, 0xff, 0xff, 0x0f],
                    &[0xff, 0xff, 0x3d],
                    &[0x7f, 0xff, 0xff, 0xff],
                    &[0x00, 0x0f, 0x42, 0x40],
                    &[0x80, 0x00, 0x00, 0x00],
                ];
                let new = *random.choose(huge);
                let end = (at + new.len()).min(bytes.len());
                bytes.splice(at..end, new.iter().copied());
            }
            _ => {
                // A long tail makes room for a count that is too large.
                let fill = *random.choose(&[0x00, 0x01, 0x02, 0xff]);
                let len = random.index(4096);
                bytes.resize(bytes.len() + len, fill);
            }
        }
    }
}

/// Bytes as hexadecimal digits.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hexadecimal digits as bytes.
///
/// # Panics
/// If they are not.
pub fn from_hex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits");
    (0..text.len()).step_by(2).map(digits).collect()
}
