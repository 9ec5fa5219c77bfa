// @platformatic/kafka: TypeScript, with the requests of the newest versions.

import { setTimeout as sleep } from "node:timers/promises";

import { Unsupported, library } from "./library.mjs";

const { Admin, Consumer, Producer } = await library("@platformatic/kafka/dist/index.js");
const TOPIC = 2;

const data = (value) => (value == null ? value : Buffer.from(value));
const text = (value) => (value == null ? null : value.toString());
const retrying = { retries: 20, retryDelay: 100 };
let readers = 0;

export async function open(bootstrap) {
  return new Client({ bootstrapBrokers: [bootstrap], clientId: "matrix", ...retrying });
}

class Client {
  constructor(options) {
    this.options = options;
    this.admin = new Admin({ ...options, retries: 3 });
  }

  async create(topic, partitions, configs) {
    const entries = Object.entries(configs).map(([name, value]) => ({ name, value }));
    await this.admin.createTopics({ topics: [topic], partitions, replicas: 1, configs: entries });
    return null;
  }

  async describe(topic) {
    const { topics } = await this.admin.metadata({ topics: [topic], forceUpdate: true });
    return topics.get(topic).partitionsCount;
  }

  topics() {
    return this.admin.listTopics();
  }

  async configs(topic) {
    const [found] = await this.admin.describeConfigs({ resources: [{ resourceType: TOPIC, resourceName: topic, configurationKeys: null }] });
    return Object.fromEntries(found.configs.map((entry) => [entry.name, entry.value]));
  }

  async delete(topic) {
    await this.admin.deleteTopics({ topics: [topic] });
    return null;
  }

  async producer(codec, acks) {
    if (codec === "zstd") throw new Unsupported("needs Node.js 22");
    const settings = { retries: true, acks: acks === "all" ? -1 : Number(acks), idempotent: acks === "all", compression: codec };
    const producer = new Producer({ ...this.options, ...settings });
    return {
      async send(topic, records) {
        const messages = records.map(({ partition, key, value, headers, timestamp }) => ({
          topic, partition, key: data(key), value: data(value),
          timestamp: timestamp === undefined ? undefined : BigInt(timestamp),
          headers: new Map((headers ?? []).map(([name, content]) => [Buffer.from(name), data(content)])),
        }));
        const { offsets } = await producer.send({ messages });
        return [offsets[0].partition, Number(offsets[0].offset)];
      },
      close: () => producer.close(),
    };
  }

  async reader(topic, take, paused = []) {
    if (paused.length > 0) throw new Unsupported("pauses a whole stream only");
    const consumer = new Consumer({ ...this.options, groupId: `reader-${process.pid}-${readers++}` });
    await this.start(consumer, topic, take, "earliest");
    return { close: () => consumer.close(true) };
  }

  async member(groupId, topic, protocol, take) {
    const times = protocol === "classic" ? { sessionTimeout: 10_000, heartbeatInterval: 500 } : {};
    const consumer = new Consumer({ ...this.options, groupId, groupProtocol: protocol, ...times });
    await this.start(consumer, topic, take, "committed");
    const assigned = () => (consumer.assignments ?? []).flatMap(({ topic, partitions }) => partitions.map((partition) => `${topic}-${partition}`));
    return { state: () => ({ assigned: assigned(), error: null }), close: () => consumer.close(true) };
  }

  async start(consumer, topic, take, mode) {
    const stream = await consumer.consume({ topics: [topic], mode, fallbackMode: "earliest", autocommit: 500, maxWaitTime: 200 });
    stream.on("data", (message) => {
      const headers = [...message.headers].map(([name, value]) => [text(name), text(value)]);
      const { partition, offset, timestamp } = message;
      take({ partition, offset: Number(offset), timestamp: Number(timestamp), key: text(message.key), value: text(message.value), headers });
    });
    stream.on("error", () => this.restart(consumer, topic, take, mode));
  }

  /**
   * A stream that failed is over, and its consumer makes the next one: so its documentation has it. A kill of the broker
   * always comes to that: the library cannot read the tagged field beside FENCED_LEADER_EPOCH, of any broker.
   */
  async restart(consumer, topic, take, mode) {
    while (!consumer.closed) {
      try {
        return await this.start(consumer, topic, take, mode);
      } catch {
        await sleep(100);
      }
    }
  }

  async since(topic, timestamp) {
    const consumer = new Consumer({ ...this.options, groupId: "times" });
    const found = await consumer.listOffsetsWithTimestamps({ topics: [topic], timestamp: BigInt(timestamp) });
    await consumer.close(true);
    const { offset } = found.get(topic).get(0);
    return offset < 0n ? null : Number(offset);
  }
}
