//! librdkafka through crate rdkafka: the engine below most clients that are not Java.

#[cfg(not(feature = "librdkafka"))]
#[test]
fn librdkafka_is_compiled_in() {
    ottla_testkit::note_skip(
        "librdkafka",
        "librdkafka",
        "built without the feature; it needs make and a C compiler",
    );
}

#[cfg(feature = "librdkafka")]
mod with_librdkafka {
    use std::collections::HashSet;
    use std::time::Duration;

    use anyhow::{Context, Result, ensure};
    use ottla_testkit::{Kind, Node, NodeOptions, wait_until};
    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
    use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
    use rdkafka::{ClientConfig, error::KafkaError, types::RDKafkaErrorCode};

    const LIMIT: Duration = Duration::from_secs(60);
    const POLL: Duration = Duration::from_millis(100);

    /// A node of the kind that is tested; none if that is Kafka and Java is missing.
    fn node() -> Result<Option<Node>> {
        if Kind::target() == Kind::Kafka && ottla_testkit::Java::find().is_err() {
            return Ok(None);
        }
        let options = NodeOptions::default().with("num.partitions", "4");
        Node::start(Kind::target(), options).map(Some)
    }

    fn producer(node: &Node, codec: &str) -> Result<BaseProducer> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", node.bootstrap()).set("compression.type", codec);
        config.set("enable.idempotence", "true").set("linger.ms", "5");
        Ok(config.create()?)
    }

    fn consumer(node: &Node, group: &str) -> Result<BaseConsumer> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", node.bootstrap()).set("group.id", group);
        config.set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
        config.set("session.timeout.ms", "10000");
        Ok(config.create()?)
    }

    fn send(producer: &BaseProducer, topic: &str, range: std::ops::Range<u32>) -> Result<()> {
        for number in range {
            let (key, value) = (format!("key {number}"), format!("{number} {}", "x".repeat(200)));
            let headers = OwnedHeaders::new()
                .insert(Header { key: "number", value: Some(&number.to_string()) });
            let mut record = BaseRecord::to(topic).key(&key).payload(&value).headers(headers);
            while let Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) =
                producer.send(record)
            {
                producer.poll(POLL);
                record = back;
            }
        }
        Ok(producer.flush(LIMIT)?)
    }

    #[test]
    fn every_codec_passes_through_a_group() -> Result<()> {
        let Some(node) = node()? else { return Ok(()) };
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let topic = format!("codec-{codec}");
            send(&producer(&node, codec)?, &topic, 0..1000)?;
            let consumer = consumer(&node, codec)?;
            consumer.subscribe(&[&topic])?;
            let mut seen = HashSet::new();
            wait_until("a thousand records", LIMIT, || {
                while let Some(Ok(message)) = consumer.poll(POLL) {
                    let header = message
                        .headers()
                        .map(|h| h.get(0))
                        .and_then(|h| h.value.map(<[u8]>::to_vec));
                    let payload = message.payload().unwrap_or_default();
                    let number = payload.split(|b| *b == b' ').next().map(<[u8]>::to_vec);
                    assert_eq!(header, number);
                    seen.insert(number);
                }
                seen.len() == 1000
            })
            .with_context(|| format!("{codec}: {} records\n{}", seen.len(), node.tail()))?;
            consumer.commit_consumer_state(CommitMode::Sync)?;
        }
        Ok(())
    }

    #[test]
    fn two_members_share_and_a_third_takes_over_from_the_commit() -> Result<()> {
        let Some(node) = node()? else { return Ok(()) };
        send(&producer(&node, "none")?, "shared", 0..100)?;
        let (one, two) = (consumer(&node, "g")?, consumer(&node, "g")?);
        one.subscribe(&["shared"])?;
        two.subscribe(&["shared"])?;
        let mut seen = 0;
        wait_until("a shared topic", LIMIT, || {
            for member in [&one, &two] {
                if let Some(Ok(message)) = member.poll(POLL) {
                    seen += 1;
                    member.commit_message(&message, CommitMode::Sync).ok();
                }
            }
            let counts = [&one, &two].map(|m| m.assignment().map_or(0, |a| a.count()));
            counts == [2, 2] && seen >= 100
        })
        .with_context(|| format!("{seen} records\n{}", node.tail()))?;
        drop((one, two));
        send(&producer(&node, "none")?, "shared", 100..150)?;
        let third = consumer(&node, "g")?;
        third.subscribe(&["shared"])?;
        let mut fresh = HashSet::new();
        wait_until("fifty records more", LIMIT, || {
            if let Some(Ok(message)) = third.poll(POLL) {
                fresh.insert((message.partition(), message.offset()));
            }
            fresh.len() == 50
        })?;
        ensure!(third.poll(POLL).is_none(), "a committed record came again");
        Ok(())
    }

    #[test]
    fn metadata_watermarks_and_times_are_found() -> Result<()> {
        let Some(node) = node()? else { return Ok(()) };
        let producer = producer(&node, "none")?;
        for (value, time) in [("a", 1000), ("b", 2000), ("c", 3000)] {
            let record =
                BaseRecord::<(), str>::to("times").payload(value).partition(0).timestamp(time);
            producer.send(record).map_err(|(e, _)| e)?;
        }
        producer.flush(LIMIT)?;
        let consumer = consumer(&node, "times")?;
        let metadata = consumer.fetch_metadata(Some("times"), LIMIT)?;
        assert_eq!(metadata.topics()[0].partitions().len(), 4);
        assert_eq!(consumer.fetch_watermarks("times", 0, LIMIT)?, (0, 3));
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition_offset("times", 0, Offset::Offset(1500))?;
        let found = consumer.offsets_for_times(wanted, LIMIT)?;
        assert_eq!(found.elements()[0].offset(), Offset::Offset(1));
        Ok(())
    }
}
