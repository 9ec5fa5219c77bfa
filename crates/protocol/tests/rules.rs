//! What generated code promises beyond the bytes: errors that name a field, null, unknown tags, no copies.

use bytes::Bytes;
use ottla_codec::{
    DecodeErrorKind, EncodeError, Message, Part, Reader, RecordData, Str, decode_exact,
    encode_to_bytes, encode_to_parts,
};
use ottla_protocol::delete_topics_request::DeleteTopicState;
use ottla_protocol::fetch_response::{FetchableTopicResponse, PartitionData};
use ottla_protocol::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::*;

#[test]
fn a_field_that_the_version_lacks_is_an_error_unless_it_may_be_dropped() {
    // DeleteTopicsRequest: Topics 6+ has no stand-in before version 6, TopicNames 0-5 may be dropped.
    let topics = vec![DeleteTopicState::default()];
    let request =
        DeleteTopicsRequest { topics, topic_names: vec!["t".into()], ..Default::default() };
    assert_eq!(
        encode_to_bytes(&request, 5),
        Err(EncodeError::FieldNotInVersion { field: "Topics", version: 5 })
    );
    let bytes = encode_to_bytes(&request, 6).unwrap();
    let read: DeleteTopicsRequest = decode_exact(bytes, 6).unwrap();
    assert_eq!(read, DeleteTopicsRequest { topic_names: Vec::new(), ..request });
}

#[test]
fn null_is_refused_where_the_version_has_none() {
    let request = MetadataRequest { topics: None, ..Default::default() };
    assert_eq!(
        encode_to_bytes(&request, 0),
        Err(EncodeError::NullNotAllowed { field: "Topics", version: 0 })
    );
    assert_eq!(encode_to_bytes(&request, 1).unwrap(), Bytes::from_static(&[255; 4]));
    let error = decode_exact::<MetadataRequest>(Bytes::from_static(&[255; 4]), 0).unwrap_err();
    assert_eq!((error.field, error.kind), ("Topics", DecodeErrorKind::UnexpectedNull));
}

#[test]
fn unknown_tags_are_passed_over_and_limited() {
    let known = encode_to_bytes(&HeartbeatResponse::default(), 4).unwrap();
    let (body, tags) = known.split_at(known.len() - 1);
    assert_eq!(tags, [0]);
    let with = |tags: &[u8]| Bytes::from([body, tags].concat());
    let read = |bytes| decode_exact::<HeartbeatResponse>(bytes, 4);
    assert_eq!(read(with(&[2, 9, 1, 0xaa, 77, 2, 1, 2])), Ok(HeartbeatResponse::default()));
    // Twice the same tag, a tag longer than the frame, and more tags than Kafka takes.
    assert!(read(with(&[2, 9, 0, 9, 0])).is_err());
    assert!(read(with(&[1, 9, 5, 0])).is_err());
    let error = read(with(&[0x91, 0x4e])).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::TooLong { len: 10_001, limit: 10_000 });
}

#[test]
fn a_huge_count_is_refused_before_anything_is_allocated() {
    let error =
        decode_exact::<MetadataRequest>(Bytes::from_static(&[0, 15, 66, 64, 0, 0]), 1).unwrap_err();
    // A million names need at least two bytes each.
    let kind = DecodeErrorKind::Truncated { needed: 2_000_000, remaining: 2 };
    assert_eq!((error.field, error.kind), ("Topics", kind));
}

#[test]
fn records_and_strings_are_slices_of_the_frame() {
    let partition =
        PartitionProduceData { index: 1, records: Some(Bytes::from(vec![7; 4096]).into()) };
    let topic = TopicProduceData {
        name: Str::from_static("orders"),
        partition_data: [partition].into(),
        ..Default::default()
    };
    let request = ProduceRequest { topic_data: [topic].into(), ..Default::default() };
    let frame = encode_to_bytes(&request, 12).unwrap();
    let read: ProduceRequest = decode_exact(frame.clone(), 12).unwrap();
    let inside = |bytes: &[u8]| frame.as_ptr_range().contains(&bytes.as_ptr());
    let topic = &read.topic_data[0];
    assert!(inside(topic.name.as_bytes()), "the name was copied");
    let records = topic.partition_data[0].records.as_ref().and_then(RecordData::as_bytes);
    assert!(inside(records.unwrap()), "the records were copied");
}

#[test]
fn encoding_a_fetch_response_copies_no_record() {
    let batches = Bytes::from(vec![9; 10_000]);
    let partition = PartitionData { records: Some(batches.clone().into()), ..Default::default() };
    let topic = FetchableTopicResponse { partitions: [partition].into(), ..Default::default() };
    let response = FetchResponse { responses: [topic].into(), ..Default::default() };
    let parts = encode_to_parts(&response, 17).unwrap();
    let shared = parts
        .iter()
        .filter(|part| matches!(part, Part::Bytes(bytes) if bytes.as_ptr() == batches.as_ptr()));
    assert_eq!(shared.count(), 1, "{parts:?}");
    let total: usize = parts.iter().map(Part::len).sum();
    assert_eq!(total, response.encoded_len(17).unwrap());
}

#[test]
fn headers_follow_the_api() {
    assert_eq!(ApiKey::Fetch.request_header_version(11), 1);
    assert_eq!(ApiKey::Fetch.request_header_version(12), 2);
    assert_eq!(ApiKey::Fetch.response_header_version(12), 1);
    // KIP-511: the client cannot know yet whether the broker is flexible.
    assert_eq!(ApiKey::ApiVersions.request_header_version(4), 2);
    assert_eq!(ApiKey::ApiVersions.response_header_version(4), 0);
    assert_eq!(ApiKey::SaslHandshake.request_header_version(1), 1);
    // The client id keeps its classic length in the flexible header.
    let client_id = Some(Str::from_static("me"));
    let header = RequestHeader { client_id, correlation_id: 5, ..Default::default() };
    let bytes = encode_to_bytes(&header, 2).unwrap();
    assert_eq!(bytes.as_ref(), [0, 0, 0, 0, 0, 0, 0, 5, 0, 2, b'm', b'e', 0]);
}

#[test]
fn the_table_of_apis_agrees_with_the_messages() {
    macro_rules! check {
        ($($api:ident $request:ident $response:ident,)*) => {
            $({
                let versions = ApiKey::$api.versions();
                let range = (*versions.start(), *versions.end());
                assert_eq!(range, $request::VERSIONS);
                assert_eq!(range, $response::VERSIONS);
                assert_eq!(ApiKey::from_key(ApiKey::$api.key()), Some(ApiKey::$api));
                assert_eq!(concat!(stringify!($api), "Request"), $request::NAME);
                assert!(ApiKey::$api.on_broker() || ApiKey::$api.on_controller());
            })*
        };
    }
    for_each_api!(check);
    // ControlledShutdown went with ZooKeeper (KIP-833).
    assert_eq!(ApiKey::from_key(7), None);
    assert_eq!(ApiKey::from_key(-1), None);
    assert_eq!(ApiKey::InitProducerId.latest_stable_version(), 5);
    assert_eq!(ApiKey::all().count(), 91);
}

#[test]
fn what_follows_a_message_stays_in_the_reader() {
    let bytes = encode_to_bytes(&ResponseHeader { correlation_id: 8 }, 0).unwrap();
    let mut reader = Reader::new(Bytes::from([bytes.as_ref(), b"rest"].concat()));
    assert_eq!(ResponseHeader::decode(&mut reader, 0).unwrap().correlation_id, 8);
    assert_eq!(reader.rest(), Bytes::from_static(b"rest"));
}
