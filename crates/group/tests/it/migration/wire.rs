//! Subscriptions and assignments, as kafka-clients put them into requests of the classic protocol.

use bytes::{BufMut, Bytes, BytesMut};
use ottla_codec::Reader;

use super::{Owned, TOPIC};

/// What a member asks for and has, in version 1.
pub(super) fn subscription(owned: &Owned) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(1);
    bytes.put_i32(1);
    put_topic(&mut bytes);
    bytes.put_i32(-1);
    put_partitions(&mut bytes, owned);
    bytes.freeze()
}

pub(super) fn assignment(share: &Owned) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(1);
    put_partitions(&mut bytes, share);
    bytes.put_i32(-1);
    bytes.freeze()
}

fn put_topic(bytes: &mut BytesMut) {
    bytes.put_i16(i16::try_from(TOPIC.len()).unwrap());
    bytes.put_slice(TOPIC.as_bytes());
}

fn put_partitions(bytes: &mut BytesMut, partitions: &Owned) {
    bytes.put_i32(1);
    put_topic(bytes);
    bytes.put_i32(i32::try_from(partitions.len()).unwrap());
    for index in partitions {
        bytes.put_u32(*index);
    }
}

/// What a member's metadata say that it has.
pub(super) fn owned_of(metadata: &Bytes) -> Owned {
    let mut reader = Reader::new(metadata.clone());
    reader.i16("version").unwrap();
    assert_eq!(reader.i32("topics").unwrap(), 1);
    reader.string("topic").unwrap();
    reader.i32("user data").unwrap();
    partitions(&mut reader)
}

/// What an assignment gives.
pub(super) fn given(assignment: &Bytes) -> Owned {
    if assignment.is_empty() {
        return Owned::new();
    }
    let mut reader = Reader::new(assignment.clone());
    reader.i16("version").unwrap();
    partitions(&mut reader)
}

fn partitions(reader: &mut Reader) -> Owned {
    let mut all = Owned::new();
    for _ in 0..reader.i32("topics").unwrap() {
        assert_eq!(&*reader.string("topic").unwrap(), TOPIC);
        for _ in 0..reader.i32("partitions").unwrap() {
            all.insert(u32::try_from(reader.i32("partition").unwrap()).unwrap());
        }
    }
    all
}
