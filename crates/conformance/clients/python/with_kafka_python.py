"""kafka-python: written in Python alone."""

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, NewTopic
from kafka.errors import KafkaError


def text(data):
    return None if data is None else data.decode()


def data(value):
    return None if value is None else value.encode()


class Client:
    def __init__(self, bootstrap, unsupported):
        self.settings = {"bootstrap_servers": bootstrap}
        self.unsupported = unsupported
        self.admin = KafkaAdminClient(**self.settings)

    def create(self, topic, partitions, configs):
        self.admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs)])

    def describe(self, topic):
        [found] = self.admin.describe_topics([topic])
        return len(found["partitions"])

    def topics(self):
        return self.admin.list_topics()

    def configs(self, topic):
        found = self.admin.describe_configs([ConfigResource("TOPIC", topic)])["topic"][topic]
        return {name: entry["value"] for name, entry in found.items()}

    def delete(self, topic):
        self.admin.delete_topics([topic])

    def producer(self, codec, acks):
        settings = {"acks": acks if acks == "all" else int(acks), "linger_ms": 20, "enable_idempotence": acks == "all"}
        return Sender(KafkaProducer(**self.settings, **settings, compression_type=None if codec == "none" else codec))

    def reader(self):
        return Reader(KafkaConsumer(**self.settings, auto_offset_reset="earliest"))

    def member(self, group, topic, protocol):
        if protocol != "classic":
            raise self.unsupported("knows the classic group protocol only")
        settings = {"group_id": group, "auto_offset_reset": "earliest", "enable_auto_commit": False}
        times = {"session_timeout_ms": 10000, "heartbeat_interval_ms": 500}
        return Reader(KafkaConsumer(topic, **self.settings, **settings, **times))


class Sender:
    def __init__(self, producer):
        self.producer = producer

    def send(self, topic, done, key=None, value=None, headers=(), partition=None, timestamp=None):
        headers = [(name, data(content)) for name, content in headers]
        future = self.producer.send(topic, data(value), data(key), headers, partition, timestamp)
        future.add_callback(lambda found: done(None, found.partition, found.offset))
        future.add_errback(lambda error: done(error, None, None))

    def close(self):
        self.producer.flush(60)
        self.producer.close()


class Reader:
    def __init__(self, consumer):
        self.consumer = consumer

    def assign(self, topic, partitions):
        self.consumer.assign([TopicPartition(topic, number) for number in partitions])

    def poll(self, seconds):
        batches = self.consumer.poll(int(seconds * 1000))
        return [
            {
                "partition": record.partition, "offset": record.offset, "timestamp": record.timestamp,
                "key": text(record.key), "value": text(record.value),
                "headers": [[name, text(content)] for name, content in record.headers],
            }
            for batch in batches.values()
            for record in batch
        ]

    def pause(self, topic, partition):
        self.consumer.pause(TopicPartition(topic, partition))

    def resume(self, topic, partition):
        self.consumer.resume(TopicPartition(topic, partition))

    def since(self, topic, timestamp):
        place = TopicPartition(topic, 0)
        found = self.consumer.offsets_for_times({place: timestamp})[place]
        return None if found is None else found.offset

    def assigned(self):
        return [f"{place.topic}-{place.partition}" for place in self.consumer.assignment()]

    def commit(self):
        try:
            self.consumer.commit()
        except KafkaError:
            # A rebalance or a restart of the broker is under way; what was read is read again.
            pass

    def close(self):
        self.consumer.close()
