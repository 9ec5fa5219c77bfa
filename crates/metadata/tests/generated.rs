//! The generated code against the schema table: every message in every version.
//!
//! What Kafka itself writes is compared in crate `conformance`; the golden bytes here are its work.

use bytes::Bytes;
use ottla_codec::{Message, Reader, decode_exact, encode_to_bytes};
use ottla_testkit::Memory;
use ottla_testkit::codec::{Codec, Recoded, Table};

#[global_allocator]
static MEMORY: Memory = Memory;

const TABLES: &[&str] = &[include_str!("../schemas/metadata.schema")];

fn recode<M: Message + std::fmt::Debug>(bytes: Vec<u8>, version: i16) -> Result<Recoded, String> {
    let value: M = decode_exact(Bytes::from(bytes), version).map_err(|e| e.to_string())?;
    let bytes = encode_to_bytes(&value, version).map_err(|e| e.to_string())?;
    Ok(Recoded { debug: format!("{value:?}"), bytes: bytes.to_vec() })
}

fn decodes<M: Message>(bytes: Bytes, version: i16) -> bool {
    M::decode(&mut Reader::new(bytes), version).is_ok()
}

fn table() -> Table {
    macro_rules! codecs {
        ($($name:ident)*) => {
            [$(codec::<ottla_metadata::generated::$name>(),)*]
        };
    }
    Table::new(TABLES, &ottla_metadata::for_each_message!(codecs))
}

fn codec<M: Message + std::fmt::Debug>() -> Codec {
    Codec { name: M::NAME, versions: M::VERSIONS, recode: recode::<M>, decode: decodes::<M> }
}

#[test]
fn every_message_survives_a_round_trip() {
    table().check_round_trips("ottla-metadata", 100);
}

#[test]
fn kafkas_bytes_are_ours() {
    // Kafka 4.4 brought these; the golden bytes are from 4.3.1.
    let absent = ["UnregisterControllerRecord"];
    table().check_golden(include_str!("golden/generated.txt"), &absent);
}

#[test]
fn versions_that_do_not_exist_are_errors() {
    table().check_foreign_versions();
}

#[test]
fn damaged_bytes_take_little_memory_and_never_panic() {
    table().check_damaged("ottla-metadata", 100_000, 1 << 20);
}
