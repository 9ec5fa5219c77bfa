"""Executes one command a line with a Kafka client for Python; see ../README.md."""

import importlib
import importlib.metadata
import json
import sys
import threading
import time

LIBRARIES = {"confluent-kafka": "with_confluent", "librdkafka": "with_confluent", "kafka-python": "with_kafka_python", "aiokafka": "with_aiokafka"}
PATIENCE = 60.0


class Unsupported(Exception):
    """The library cannot do this."""


class Member:
    """A member of a group that polls and commits on a thread of its own."""

    def __init__(self, consumer, seen):
        self.consumer, self.seen = consumer, seen
        self.assigned, self.error, self.stopping = [], None, False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while not self.stopping:
                records = self.consumer.poll(0.2)
                for record in records:
                    self.seen.append(record["value"])
                if records:
                    self.consumer.commit()
                self.assigned = sorted(self.consumer.assigned())
            self.consumer.close()
        except Exception as error:  # reported by member.state
            self.error = f"{type(error).__name__}: {error}"

    def stop(self):
        self.stopping = True
        self.thread.join(PATIENCE)


class Load:
    """Sends numbers until it is stopped."""

    def __init__(self, producer, topic):
        self.producer, self.topic = producer, topic
        self.acknowledged, self.failed, self.stopping = 0, [], False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def done(self, error, _partition, _offset):
        if error is None:
            self.acknowledged += 1
        else:
            self.failed.append(str(error))

    def run(self):
        number = 0
        while not self.stopping:
            for _ in range(10):
                self.producer.send(self.topic, value=str(number), done=self.done)
                number += 1
            time.sleep(0.01)
        self.producer.close()

    def stop(self):
        self.stopping = True
        self.thread.join(PATIENCE)
        return {"acknowledged": self.acknowledged, "failed": self.failed[:3]}


class Driver:
    def __init__(self, client):
        self.client = client
        self.members, self.loads, self.seen = {}, {}, {}

    def answer(self, line):
        command = json.loads(line)
        try:
            run = getattr(self, command["do"].replace(".", "_"))
            return {"ok": run(command)}
        except Exception as error:
            return {"error": type(error).__name__, "message": str(error)}

    def version(self, _command):
        return self.client.version

    def create(self, command):
        self.client.create(command["topic"], command["partitions"], command.get("configs", {}))

    def describe(self, command):
        return self.client.describe(command["topic"])

    def topics(self, _command):
        return sorted(self.client.topics())

    def configs(self, command):
        return self.client.configs(command["topic"])

    def delete(self, command):
        self.client.delete(command["topic"])

    def produce(self, command):
        places = [None] * len(command["records"])
        producer = self.client.producer("none", command.get("acks", "all"))
        for at, record in enumerate(command["records"]):

            def done(error, partition, offset, at=at):
                if error is not None:
                    raise RuntimeError(str(error))
                places[at] = [partition, offset]

            producer.send(command["topic"], done=done, **record)
        producer.close()
        return places

    def generate(self, command):
        answers = []
        producer = self.client.producer(command["codec"], "all")
        for number in range(command["count"]):
            value = str(number).ljust(command["size"], ".")
            producer.send(command["topic"], value=value, done=lambda error, _p, _o: answers.append(error))
        producer.close()
        refused = [error for error in answers if error is not None]
        if refused:
            raise RuntimeError(str(refused[0]))
        return len(answers)

    def consume(self, command):
        reader = self.client.reader()
        reader.assign(command["topic"], command["partitions"])
        records, end = [], time.monotonic() + PATIENCE
        while len(records) < command["count"] and time.monotonic() < end:
            records.extend(reader.poll(0.5))
        reader.close()
        return records

    def count(self, command):
        values = [record["value"] for record in self.consume(command)]
        return {"count": len(values), "bytes": sum(map(len, values)), "sum": sum(int(v.rstrip(".")) for v in values)}

    def since(self, command):
        reader = self.client.reader()
        offset = reader.since(command["topic"], command["timestamp"])
        reader.close()
        return offset

    def pause(self, command):
        reader = self.client.reader()
        reader.assign(command["topic"], [0, 1])
        reader.pause(command["topic"], 1)
        paused = self.partitions_of(reader, command["count"])
        reader.resume(command["topic"], 1)
        resumed = self.partitions_of(reader, command["count"])
        reader.close()
        return [paused, resumed]

    @staticmethod
    def partitions_of(reader, count):
        seen, number, end = set(), 0, time.monotonic() + PATIENCE
        while number < count and time.monotonic() < end:
            for record in reader.poll(0.5):
                seen.add(record["partition"])
                number += 1
        return sorted(seen)

    def load_start(self, command):
        self.loads[command["load"]] = Load(self.client.producer("none", "all"), command["topic"])

    def load_stop(self, command):
        return self.loads.pop(command["load"]).stop()

    def member_start(self, command):
        consumer = self.client.member(command["group"], command["topic"], command["protocol"])
        self.members[command["member"]] = Member(consumer, self.seen.setdefault(command["group"], []))

    def member_state(self, command):
        member = self.members[command["member"]]
        return {"assigned": member.assigned, "error": member.error}

    def member_stop(self, command):
        self.members.pop(command["member"]).stop()

    def group_seen(self, command):
        seen = list(self.seen[command["group"]])
        return {"records": len(set(seen)), "deliveries": len(seen)}


def main():
    library, bootstrap = sys.argv[1:]
    # Answers alone go to stdout; whatever a library prints goes to stderr.
    answers, sys.stdout = sys.stdout, sys.stderr
    module = importlib.import_module(LIBRARIES[library])
    client = module.Client(bootstrap, Unsupported)
    client.version = getattr(module, "version", importlib.metadata.version)(library)
    driver = Driver(client)
    for line in sys.stdin:
        print(json.dumps(driver.answer(line)), file=answers, flush=True)


if __name__ == "__main__":
    main()
