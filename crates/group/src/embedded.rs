//! The consumers' own protocol inside classic requests: subscriptions and assignments, which a
//! coordinator reads and writes only where a group has members of both protocols (KIP-848).

use bytes::{BufMut, Bytes, BytesMut};
use ottla_codec::{DecodeError, Reader};
use ottla_types::PartitionIndex;

use crate::names::Topic;

/// Newest version that says something to a coordinator; later ones only append.
const VERSION_MAX: i16 = 3;

/// Partitions of one topic.
pub(crate) type TopicPartitions = (Topic, Vec<PartitionIndex>);

/// What a consumer asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ConsumerSubscription {
    pub(crate) topics: Vec<Topic>,
    /// What it has.
    pub(crate) owned: Vec<TopicPartitions>,
    pub(crate) rack: Option<String>,
}

/// What a consumer was given.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ConsumerAssignment {
    pub(crate) partitions: Vec<TopicPartitions>,
    /// An assignor has put something of its own in.
    pub(crate) has_user_data: bool,
}

/// Reads a subscription; `None` if it is none.
pub(crate) fn subscription(metadata: &Bytes) -> Option<ConsumerSubscription> {
    let mut reader = Reader::new(metadata.clone());
    let version = read_version(&mut reader)?;
    read_subscription(&mut reader, version).ok()
}

/// Reads an assignment; `None` if it is none.
pub(crate) fn assignment(bytes: &Bytes) -> Option<ConsumerAssignment> {
    let mut reader = Reader::new(bytes.clone());
    read_version(&mut reader)?;
    let partitions = read_partitions(&mut reader).ok()?;
    let user_data = reader.nullable_bytes("user data").ok()?;
    let has_user_data = user_data.is_some_and(|data| !data.is_empty());
    Some(ConsumerAssignment { partitions, has_user_data })
}

/// Writes an assignment in the version of a member's metadata.
pub(crate) fn write_assignment(partitions: &[TopicPartitions], metadata: &Bytes) -> Bytes {
    let mut reader = Reader::new(metadata.clone());
    let version = read_version(&mut reader).unwrap_or_default();
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    bytes.put_u32(count(partitions.len()));
    for (topic, partitions) in partitions {
        // Names of topics that exist are short.
        bytes.put_u16(u16::try_from(topic.len()).unwrap_or_default());
        bytes.put_slice(topic.as_bytes());
        bytes.put_u32(count(partitions.len()));
        for index in partitions {
            bytes.put_i32(index.to_wire());
        }
    }
    bytes.put_i32(-1);
    bytes.freeze()
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn read_version(reader: &mut Reader) -> Option<i16> {
    let version = reader.i16("version").ok()?;
    (0 <= version).then(|| version.min(VERSION_MAX))
}

fn read_subscription(
    reader: &mut Reader,
    version: i16,
) -> Result<ConsumerSubscription, DecodeError> {
    // A name takes at least its two bytes of length.
    let len = reader.array_len("topics", 2)?;
    let mut read = ConsumerSubscription::default();
    for _ in 0..len {
        read.topics.push(Topic::from(&*reader.string("topic")?));
    }
    reader.nullable_bytes("user data")?;
    if 1 <= version {
        read.owned = read_partitions(reader)?;
    }
    if 2 <= version {
        reader.i32("generation")?;
    }
    if 3 <= version {
        read.rack = reader.nullable_string("rack")?.map(|rack| rack.to_string());
    }
    Ok(read)
}

fn read_partitions(reader: &mut Reader) -> Result<Vec<TopicPartitions>, DecodeError> {
    // A topic takes at least the lengths of its name and of its partitions.
    let len = reader.array_len("topics", 6)?;
    let mut all = Vec::with_capacity(len);
    for _ in 0..len {
        let topic = Topic::from(&*reader.string("topic")?);
        let len = reader.array_len("partitions", 4)?;
        let mut partitions = Vec::with_capacity(len);
        for _ in 0..len {
            partitions.extend(PartitionIndex::from_wire(reader.i32("partition")?));
        }
        all.push((topic, partitions));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_read_and_damage_is_noticed() {
        let got = |bytes: &'static [u8]| subscription(&Bytes::from_static(bytes));
        let v0 = b"\0\0\0\0\0\x01\0\x01a\xff\xff\xff\xff";
        assert_eq!(got(v0).map(|s| s.topics), Some(vec!["a".into()]));
        let v3 =
            b"\0\x03\0\0\0\0\xff\xff\xff\xff\0\0\0\x01\0\x01b\0\0\0\x01\0\0\0\x07\0\0\0\x02\0\x01r";
        let read = got(v3).unwrap_or_default();
        assert_eq!(read.owned, [("b".into(), vec![PartitionIndex(7)])]);
        assert_eq!(read.rack.as_deref(), Some("r"));
        assert_eq!(got(b"\0\x01\0\0\0\0\xff\xff\xff\xff"), None);
        assert_eq!(got(b"\xff\xff\0\0\0\0\xff\xff\xff\xff"), None);
    }

    #[test]
    fn a_written_assignment_is_read_back() {
        let all = vec![("t".into(), vec![PartitionIndex(0), PartitionIndex(2)])];
        let bytes = write_assignment(&all, &Bytes::from_static(b"\0\x01"));
        assert_eq!(bytes.get(..2), Some(&b"\0\x01"[..]));
        let expected = ConsumerAssignment { partitions: all, has_user_data: false };
        assert_eq!(assignment(&bytes), Some(expected));
    }
}
