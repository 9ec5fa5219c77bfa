"""confluent-kafka: librdkafka for Python."""

import importlib.metadata

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition, libversion
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

LIMIT = 30.0
# The setting group.protocol came with librdkafka 2.4.0.
KNOWS_PROTOCOLS = (2, 4) <= tuple(map(int, libversion()[0].split(".")[:2]))


def text(data):
    return None if data is None else data.decode()


def version(library):
    """Of confluent-kafka, or of the librdkafka in it."""
    wheel = importlib.metadata.version("confluent-kafka")
    return f"{libversion()[0]} (confluent-kafka {wheel})" if library == "librdkafka" else wheel


class Client:
    def __init__(self, bootstrap, unsupported):
        self.unsupported = unsupported
        self.settings = {"bootstrap.servers": bootstrap}
        self.admin = AdminClient(self.settings)

    def create(self, topic, partitions, configs):
        self.admin.create_topics([NewTopic(topic, partitions, 1, config=configs)])[topic].result(LIMIT)

    def describe(self, topic):
        return len(self.admin.list_topics(topic, timeout=LIMIT).topics[topic].partitions)

    def topics(self):
        return list(self.admin.list_topics(timeout=LIMIT).topics)

    def configs(self, topic):
        [future] = self.admin.describe_configs([ConfigResource("topic", topic)]).values()
        return {name: entry.value for name, entry in future.result(LIMIT).items()}

    def delete(self, topic):
        self.admin.delete_topics([topic])[topic].result(LIMIT)

    def producer(self, codec, acks):
        return Sender({**self.settings, "compression.type": codec, "acks": acks, "linger.ms": 20, "enable.idempotence": acks == "all"})

    def reader(self):
        return Reader({**self.settings, "group.id": "unused", "auto.offset.reset": "earliest", "enable.auto.commit": False})

    def member(self, group, topic, protocol):
        if protocol != "classic" and not KNOWS_PROTOCOLS:
            raise self.unsupported("knows the classic group protocol only")
        settings = {**self.settings, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
        if KNOWS_PROTOCOLS:
            settings["group.protocol"] = protocol
        if protocol == "classic":
            settings |= {"session.timeout.ms": 10000, "heartbeat.interval.ms": 500}
        reader = Reader(settings)
        reader.consumer.subscribe([topic])
        return reader


class Sender:
    def __init__(self, settings):
        self.producer = Producer(settings)

    def send(self, topic, done, key=None, value=None, headers=(), partition=-1, timestamp=0):
        headers = [(name, None if data is None else data.encode()) for name, data in headers]

        def delivered(error, message):
            done(error, message.partition(), message.offset())

        while True:
            try:
                self.producer.produce(topic, value, key, partition=partition, on_delivery=delivered, timestamp=timestamp, headers=headers)
                break
            except BufferError:
                self.producer.poll(0.1)
        self.producer.poll(0)

    def close(self):
        self.producer.flush(60)


class Reader:
    def __init__(self, settings):
        self.consumer = Consumer(settings)

    def assign(self, topic, partitions):
        self.consumer.assign([TopicPartition(topic, number, 0) for number in partitions])

    def poll(self, seconds):
        records = []
        for message in self.consumer.consume(100, seconds):
            if message.error() is not None:
                if message.error().retriable() or message.error().code() < 0:
                    continue
                raise KafkaException(message.error())
            records.append({
                "partition": message.partition(), "offset": message.offset(), "timestamp": message.timestamp()[1],
                "key": text(message.key()), "value": text(message.value()),
                "headers": [[name, text(data)] for name, data in message.headers() or []],
            })
        return records

    def pause(self, topic, partition):
        self.consumer.pause([TopicPartition(topic, partition)])

    def resume(self, topic, partition):
        self.consumer.resume([TopicPartition(topic, partition)])

    def since(self, topic, timestamp):
        [found] = self.consumer.offsets_for_times([TopicPartition(topic, 0, timestamp)], LIMIT)
        return found.offset if 0 <= found.offset else None

    def assigned(self):
        return [f"{place.topic}-{place.partition}" for place in self.consumer.assignment()]

    def commit(self):
        try:
            self.consumer.commit(asynchronous=False)
        except KafkaException as error:
            # A rebalance or a restart of the broker is under way; what was read is read again.
            if error.args[0].fatal():
                raise

    def close(self):
        self.consumer.close()
