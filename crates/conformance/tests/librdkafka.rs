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
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Duration;

    use anyhow::{Context, Result, ensure};
    use ottla_testkit::{Kind, Node, NodeOptions, wait_until};
    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
    use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
    use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
    use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
    use rdkafka::{ClientConfig, ClientContext, error::KafkaError, types::RDKafkaErrorCode};

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
        share_and_take_over(consumer)
    }

    /// The same with the consumer protocol (KIP-848), whose times are the broker's.
    #[test]
    fn consumers_of_the_new_protocol_share_and_take_over() -> Result<()> {
        share_and_take_over(|node, group| {
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", node.bootstrap()).set("group.id", group);
            config.set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
            config.set("group.protocol", "consumer");
            Ok(config.create()?)
        })
    }

    fn share_and_take_over(consumer: impl Fn(&Node, &str) -> Result<BaseConsumer>) -> Result<()> {
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

    /// Key, value and headers of a message, nothing and empty kept apart.
    type Parts = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

    fn parts<M: Message<Headers: Headers>>(message: &M) -> Parts {
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        let headers = headers.map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec)));
        (
            message.key().map(<[u8]>::to_vec),
            message.payload().map(<[u8]>::to_vec),
            headers.collect(),
        )
    }

    /// Reads this many messages of partition 0 from its start.
    fn read(node: &Node, topic: &str, count: usize) -> Result<Vec<Parts>> {
        let consumer = consumer(node, "reader")?;
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition_offset(topic, 0, Offset::Beginning)?;
        consumer.assign(&wanted)?;
        let mut seen = Vec::new();
        wait_until("the records", LIMIT, || {
            while let Some(Ok(message)) = consumer.poll(POLL) {
                seen.push(parts(&message));
            }
            seen.len() >= count
        })
        .with_context(|| format!("{} of {count}\n{}", seen.len(), node.tail()))?;
        Ok(seen)
    }

    #[test]
    fn nothing_and_empty_stay_apart() -> Result<()> {
        let Some(node) = node()? else { return Ok(()) };
        let producer = producer(&node, "lz4")?;
        let bytes = |text: &str| Some(text.as_bytes().to_vec());
        let sent: [Parts; 4] = [
            (None, bytes("no key"), vec![]),
            (bytes("no value"), None, vec![("h".into(), None), ("h".into(), bytes(""))]),
            (bytes(""), bytes(""), vec![("ü".into(), bytes("2"))]),
            (None, None, vec![]),
        ];
        for (key, value, headers) in &sent {
            let mut record = BaseRecord::<[u8], [u8]>::to("nulls").partition(0);
            record.key = key.as_deref();
            record.payload = value.as_deref();
            let all = headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
                all.insert(Header { key, value: value.as_deref() })
            });
            producer.send(record.headers(all)).map_err(|(e, _)| e)?;
        }
        producer.flush(LIMIT)?;
        assert_eq!(read(&node, "nulls", sent.len())?, sent);
        Ok(())
    }

    #[test]
    fn large_messages_pass_up_to_the_brokers_limit() -> Result<()> {
        let Some(node) = node()? else { return Ok(()) };
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", node.bootstrap()).set("message.max.bytes", "5000000");
        let reports = Reports::default();
        let producer: BaseProducer<Reports> = config.create_with_context(reports.clone())?;
        // 1048588 is the broker's limit for a batch; its head and the record's need less than 100 bytes.
        for size in [1_048_480, 1_048_600, 2_000_000, 1_000_000] {
            let value = "y".repeat(size);
            let record = BaseRecord::<(), str>::to("large").partition(0).payload(&value);
            producer.send(record).map_err(|(e, _)| e)?;
            producer.flush(LIMIT)?;
        }
        let too_large = Some(RDKafkaErrorCode::MessageSizeTooLarge);
        assert_eq!(reports.taken(), [None, too_large, too_large, None]);
        let sizes: Vec<usize> = read(&node, "large", 2)?
            .iter()
            .map(|(_, value, _)| value.as_ref().map_or(0, Vec::len))
            .collect();
        assert_eq!(sizes, [1_048_480, 1_000_000]);
        Ok(())
    }

    #[test]
    fn an_idempotent_producer_goes_on_over_kills() -> Result<()> {
        let Some(mut node) = node()? else { return Ok(()) };
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", node.bootstrap()).set("enable.idempotence", "true");
        config.set("linger.ms", "1").set("reconnect.backoff.ms", "10");
        config.set("reconnect.backoff.max.ms", "100").set("retry.backoff.ms", "10");
        let reports = Reports::default();
        let producer: BaseProducer<Reports> = config.create_with_context(reports.clone())?;
        let mut number = 0_u32;
        let mut send_for = |time: Duration| {
            let begun = std::time::Instant::now();
            while begun.elapsed() < time {
                let value = number.to_string();
                let record = BaseRecord::<(), str>::to("kills").partition(0).payload(&value);
                if producer.send(record).is_ok() {
                    number += 1;
                }
                producer.poll(Duration::from_millis(1));
            }
        };
        for _ in 0..3 {
            send_for(Duration::from_millis(400));
            node.kill9()?;
            send_for(Duration::from_millis(100));
            node.restart()?;
        }
        producer.flush(LIMIT)?;
        let refused: Vec<_> = reports.taken().into_iter().flatten().collect();
        ensure!(refused.is_empty(), "{refused:?}\n{}", node.tail());
        let seen = read(&node, "kills", number as usize)?;
        let values = seen.into_iter().map(|(_, value, _)| value.unwrap_or_default());
        let expected = (0..number).map(|n| n.to_string().into_bytes());
        ensure!(values.eq(expected), "lost, twice or out of order");
        Ok(())
    }

    /// How each message ended, in the order of the answers.
    #[derive(Clone, Default)]
    struct Reports(Arc<Mutex<Vec<Option<RDKafkaErrorCode>>>>);

    impl Reports {
        fn taken(&self) -> Vec<Option<RDKafkaErrorCode>> {
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
        }
    }

    impl ClientContext for Reports {}

    impl ProducerContext for Reports {
        type DeliveryOpaque = ();

        fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
            let error = result.as_ref().err().and_then(|(e, _)| e.rdkafka_error_code());
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(error);
        }
    }
}
