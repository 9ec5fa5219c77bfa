//! Apache Kafka's generated codec and ours: the same JSON is the same bytes, both ways.
//!
//! Random values of every message in every version that Kafka 4.3.1 has. With `OTTLA_GOLDEN` set, Kafka's
//! bytes become the golden files of the crates instead.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use ottla_codec::{Message, decode_exact, encode_to_bytes};
use ottla_conformance::ensure_java;
use ottla_testkit::codec::{Codec, Recoded, Table, to_hex};
use ottla_testkit::wire::{Shape, Value};
use ottla_testkit::{Java, Random, Replay, cases, seed};
use serde_json::Value as Json;

const ORACLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/java/codec-oracle/CodecOracle.java");
const LIMIT: Duration = Duration::from_secs(300);

/// Fields that Kafka 4.4 added to existing versions; 4.3.1 passes over them.
const NEWER: &[(&str, &[&str])] = &[
    ("ConsumerGroupCurrentMemberAssignmentValue", &["AssignmentEpochs"]),
    ("StreamsGroupCurrentMemberAssignmentValue", &["AssignmentEpochs"]),
    (
        "StreamsGroupMetadataValue",
        &[
            "LastAssignmentConfigs",
            "StoredDescriptionTopologyEpoch",
            "FailedDescriptionTopologyEpoch",
        ],
    ),
];

/// Fields of old versions that Kafka 4.4 calls otherwise: message, its name, that of 4.3.1.
const RENAMED: &[(&str, &str, &str)] = &[
    ("StreamsGroupHeartbeatResponse", "acceptableRecoveryLagLegacy", "acceptableRecoveryLag"),
    ("TxnOffsetCommitRequest", "generationIdOrMemberEpoch", "generationId"),
];

/// Messages that Kafka 4.3.1 does not have in any version.
const ABSENT: &[&str] = &[
    "AbortedTxn",
    "StreamsGroupTopologyDescriptionUpdateRequest",
    "StreamsGroupTopologyDescriptionUpdateResponse",
    "UnregisterControllerRecord",
    "UnregisterControllerRequest",
    "UnregisterControllerResponse",
];

fn recode<M: Message + std::fmt::Debug>(bytes: Vec<u8>, version: i16) -> Result<Recoded, String> {
    let value: M = decode_exact(Bytes::from(bytes), version).map_err(|e| e.to_string())?;
    let bytes = encode_to_bytes(&value, version).map_err(|e| e.to_string())?;
    Ok(Recoded { debug: format!("{value:?}"), bytes: bytes.to_vec() })
}

fn codec<M: Message + std::fmt::Debug>() -> Codec {
    let decode = |bytes, version| decode_exact::<M>(bytes, version).is_ok();
    Codec { name: M::NAME, versions: M::VERSIONS, recode: recode::<M>, decode }
}

/// One crate with generated code.
struct Owner {
    name: &'static str,
    /// Java package of its messages.
    package: &'static str,
    table: Table,
}

fn owners() -> [Owner; 5] {
    macro_rules! owner {
        ($name:literal, $messages:path, $package:literal, $($table:literal)*) => {{
            let tables = [$(include_str!(concat!("../../", $name, "/schemas/", $table)),)*];
            Owner { name: $name, package: $package, table: Table::new(&tables, &$messages()) }
        }};
    }
    [
        owner!("protocol", protocol, "org.apache.kafka.common.message", "rpc.schema" "data.schema"),
        owner!("metadata", metadata, "org.apache.kafka.common.metadata", "metadata.schema"),
        owner!(
            "group",
            group,
            "org.apache.kafka.coordinator.group.generated",
            "group-coordinator.schema"
        ),
        owner!("record", record, "org.apache.kafka.common.message", "control.schema"),
        owner!(
            "log",
            log,
            "org.apache.kafka.server.log.remote.metadata.storage.generated",
            "storage.schema"
        ),
    ]
}

macro_rules! codecs_of {
    ($name:ident, $krate:ident) => {
        fn $name() -> Vec<Codec> {
            use $krate::generated::*;
            $krate::for_each_message!(codecs)
        }
    };
}

macro_rules! codecs {
    ($($message:ident)*) => { vec![$(codec::<$message>(),)*] };
}

codecs_of!(protocol, ottla_protocol);
codecs_of!(metadata, ottla_metadata);
codecs_of!(group, ottla_group);
codecs_of!(record, ottla_record);
codecs_of!(log, ottla_log);

/// A value, and what the two codecs make of it.
struct Case<'a> {
    owner: &'a Owner,
    shape: Shape<'a>,
    json: Json,
    ours: String,
}

impl Case<'_> {
    fn class(&self) -> String {
        let message = self.shape.message;
        // Kafka's generator adds a word to the names of requests, responses and headers.
        let suffix = match message.kind.as_str() {
            "request" | "response" | "header" => "Data",
            _ => "",
        };
        format!("{}.{}{suffix}", self.owner.package, message.name)
    }

    fn line(&self) -> String {
        format!("{}\t{}\t{}\t{}\n", self.class(), self.shape.version, self.json, self.ours)
    }
}

#[test]
fn every_message_has_kafkas_bytes() -> Result<()> {
    ensure_java!();
    let owners = owners();
    let (seed, values) = (seed(3), cases(20));
    let _replay = Replay::with(format!(
        "OTTLA_SEED={seed} OTTLA_CASES={values} cargo test -p ottla-conformance --test codec_oracle"
    ));
    let cases = random_cases(&owners, seed, values)?;
    let answers = ask(&cases)?;
    let mut compared: BTreeMap<&str, u64> = BTreeMap::new();
    let mut differences: BTreeMap<&str, String> = BTreeMap::new();
    for (case, answer) in cases.iter().zip(answers.lines()) {
        let name = case.shape.message.name.as_str();
        match check(case, answer) {
            Ok(present) => *compared.entry(name).or_default() += u64::from(present),
            Err(why) => {
                let text = || format!("{name} v{}: {why:#}\n{}", case.shape.version, case.json);
                differences.entry(name).or_insert_with(text);
            }
        }
    }
    let first: Vec<String> = differences.into_values().collect();
    ensure!(first.is_empty(), "{} messages differ:\n{}", first.len(), first.join("\n"));
    let missing: Vec<&str> =
        compared.iter().filter(|(_, count)| **count < values).map(|(name, _)| *name).collect();
    ensure!(missing == ABSENT, "never compared: {missing:?}");
    eprintln!("{} values of {} messages", compared.values().sum::<u64>(), compared.len());
    match std::env::var_os("OTTLA_GOLDEN") {
        Some(_) => write_golden(&cases, &answers),
        None => Ok(()),
    }
}

fn random_cases(owners: &[Owner], seed: u64, values: u64) -> Result<Vec<Case<'_>>> {
    let mut random = Random::new(seed);
    let mut cases = Vec::new();
    for owner in owners {
        for (shape, codec) in owner.table.shapes() {
            for at in 0..=values {
                let value = if at == 0 { shape.default() } else { shape.random(&mut random) };
                let value = without_newer(shape, value);
                let recoded = (codec.recode)(shape.bytes(&value), shape.version);
                let recoded =
                    recoded.map_err(|error| anyhow::anyhow!("{}: {error}", codec.name))?;
                ensure!(recoded.debug == shape.debug(&value), "{} v{}", codec.name, shape.version);
                cases.push(Case {
                    owner,
                    shape,
                    json: as_in_4_3(shape, shape.json(&value)),
                    ours: to_hex(&recoded.bytes),
                });
            }
        }
    }
    Ok(cases)
}

fn without_newer(shape: Shape<'_>, value: Value) -> Value {
    match NEWER.iter().find(|(message, _)| *message == shape.message.name) {
        Some((_, fields)) => shape.without(&value, fields),
        None => value,
    }
}

fn as_in_4_3(shape: Shape<'_>, mut json: Json) -> Json {
    let renamed = RENAMED.iter().filter(|(message, ..)| *message == shape.message.name);
    for (_, new, old) in renamed {
        let Some(fields) = json.as_object_mut() else { continue };
        if let Some(value) = fields.remove(*new) {
            fields.insert((*old).to_owned(), value);
        }
    }
    json
}

fn ask(cases: &[Case<'_>]) -> Result<String> {
    let mut input = String::new();
    cases.iter().for_each(|case| input.push_str(&case.line()));
    let ran = Java::find()?.run(ORACLE, &[], &input, LIMIT)?;
    ensure!(ran.code == Some(0), "the oracle ended with {:?}\n{}", ran.code, ran.stderr);
    ensure!(
        ran.stdout.lines().count() == cases.len(),
        "{} answers\n{}",
        ran.stdout.lines().count(),
        ran.stderr
    );
    Ok(ran.stdout)
}

/// Whether Kafka has the version; an error if it sees the value differently.
fn check(case: &Case<'_>, answer: &str) -> Result<bool> {
    match answer.split('\t').collect::<Vec<_>>()[..] {
        ["absent"] => Ok(false),
        ["ok", bytes, json] => {
            ensure!(bytes == case.ours, "Kafka writes {bytes}\nwe write     {}", case.ours);
            let theirs: Json = serde_json::from_str(json)?;
            same(case.shape, &case.json, &theirs)?;
            Ok(true)
        }
        _ => bail!("{answer}"),
    }
}

/// Whether Kafka read our bytes as the value that they came from. It prints record data as nothing.
fn same(shape: Shape<'_>, ours: &Json, theirs: &Json) -> Result<()> {
    let ours = shape.without_records(ours);
    ensure!(ours == *theirs, "Kafka reads our bytes as {theirs}");
    Ok(())
}

/// A short random value of each message and version, as Kafka writes it.
fn write_golden(cases: &[Case<'_>], answers: &str) -> Result<()> {
    let mut shortest: BTreeMap<(&str, &str, i16), &str> = BTreeMap::new();
    for (case, answer) in cases.iter().zip(answers.lines()) {
        let mut words = answer.split('\t');
        let (Some("ok"), Some(bytes)) = (words.next(), words.next()) else { continue };
        let key = (case.owner.name, case.shape.message.name.as_str(), case.shape.version);
        let enough = 40..240;
        let kept = shortest.entry(key).or_insert(bytes);
        if !enough.contains(&kept.len()) && kept.len() < bytes.len().min(enough.end) {
            *kept = bytes;
        }
    }
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    for ((owner, name, version), bytes) in shortest {
        let text = texts.entry(owner).or_insert_with(|| GOLDEN_HEAD.to_owned());
        writeln!(text, "{name} {version} {bytes}")?;
    }
    for (owner, text) in texts {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(owner).join("tests/golden");
        std::fs::create_dir_all(&path)?;
        std::fs::write(path.join("generated.txt"), text)?;
    }
    Ok(())
}

const GOLDEN_HEAD: &str = "\
# message version bytes, written by Apache Kafka 4.3.1. Renewed by:
# OTTLA_GOLDEN=1 cargo test -p ottla-conformance --test codec_oracle
";
