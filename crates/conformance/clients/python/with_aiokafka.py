"""aiokafka: asyncio; its loop runs on a thread, and every call waits for the loop's answer."""

import asyncio
import threading

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

LOOP = asyncio.new_event_loop()


def wait(coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, LOOP).result(90)


async def made(factory):
    return factory()


def text(data):
    return None if data is None else data.decode()


def data(value):
    return None if value is None else value.encode()


class Client:
    def __init__(self, bootstrap, unsupported):
        threading.Thread(target=LOOP.run_forever, daemon=True).start()
        self.settings = {"bootstrap_servers": bootstrap}
        self.unsupported = unsupported
        self.admin = wait(made(lambda: AIOKafkaAdminClient(**self.settings)))
        wait(self.admin.start())

    def create(self, topic, partitions, configs):
        answer = wait(self.admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs)]))
        for _, code, message in answer.topic_errors:
            if code:
                raise RuntimeError(f"{code}: {message}")

    def describe(self, topic):
        [found] = wait(self.admin.describe_topics([topic]))
        return len(found["partitions"])

    def topics(self):
        return wait(self.admin.list_topics())

    def configs(self, topic):
        [answer] = wait(self.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))
        return {entry[0]: entry[1] for resource in answer.resources for entry in resource[4]}

    def delete(self, topic):
        wait(self.admin.delete_topics([topic]))

    def producer(self, codec, acks):
        settings = {"acks": acks if acks == "all" else int(acks), "linger_ms": 20, "enable_idempotence": acks == "all"}
        codec = None if codec == "none" else codec
        producer = wait(made(lambda: AIOKafkaProducer(**self.settings, **settings, compression_type=codec, max_request_size=2_000_000)))
        wait(producer.start())
        return Sender(producer)

    def reader(self):
        return Reader(self.consumer(auto_offset_reset="earliest"))

    def member(self, group, topic, protocol):
        if protocol != "classic":
            raise self.unsupported("knows the classic group protocol only")
        settings = {"group_id": group, "auto_offset_reset": "earliest", "enable_auto_commit": False}
        return Reader(self.consumer(topic, **settings, session_timeout_ms=10000, heartbeat_interval_ms=500))

    def consumer(self, *topics, **settings):
        consumer = wait(made(lambda: AIOKafkaConsumer(*topics, **self.settings, **settings)))
        wait(consumer.start())
        return consumer


class Sender:
    def __init__(self, producer):
        self.producer, self.waiting = producer, []

    def send(self, topic, done, key=None, value=None, headers=(), partition=None, timestamp=None):
        headers = [(name, data(content)) for name, content in headers]
        future = wait(self.producer.send(topic, data(value), data(key), partition, timestamp, headers))

        def delivered(future):
            error = future.exception()
            found = None if error else future.result()
            done(error, found and found.partition, found and found.offset)

        LOOP.call_soon_threadsafe(future.add_done_callback, delivered)
        self.waiting.append(future)

    def close(self):
        wait(self.producer.stop())


class Reader:
    def __init__(self, consumer):
        self.consumer = consumer

    def assign(self, topic, partitions):
        wait(made(lambda: self.consumer.assign([TopicPartition(topic, number) for number in partitions])))

    def poll(self, seconds):
        batches = wait(self.consumer.getmany(timeout_ms=int(seconds * 1000)))
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
        wait(made(lambda: self.consumer.pause(TopicPartition(topic, partition))))

    def resume(self, topic, partition):
        wait(made(lambda: self.consumer.resume(TopicPartition(topic, partition))))

    def since(self, topic, timestamp):
        place = TopicPartition(topic, 0)
        wait(made(lambda: self.consumer.assign([place])))
        found = wait(self.consumer.offsets_for_times({place: timestamp}))[place]
        return None if found is None else found.offset

    def assigned(self):
        return [f"{place.topic}-{place.partition}" for place in self.consumer.assignment()]

    def commit(self):
        try:
            wait(self.consumer.commit())
        except KafkaError:
            # A rebalance or a restart of the broker is under way; what was read is read again.
            pass

    def close(self):
        wait(self.consumer.stop())
