// kafkajs: unmaintained, and more used than any other client for Node.js.

import { Unsupported, library } from "./library.mjs";

const kafkajs = await library("kafkajs/index.js");
const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, logLevel } = kafkajs;

/** kafkajs has gzip alone; the rest is plugged in, as its documentation says. */
async function plugIn() {
  const snappy = await library("snappy/index.js");
  const lz4 = await library("lz4-napi/index.js");
  const { ZstdCodec } = await library("zstd-codec/index.js");
  const zstd = await new Promise((ready) => ZstdCodec.run((codec) => ready(new codec.Simple())));
  const codec = (compress, decompress) => () => ({
    compress: async (encoder) => Buffer.from(await compress(encoder.buffer)),
    decompress: async (buffer) => Buffer.from(await decompress(buffer)),
  });
  CompressionCodecs[CompressionTypes.Snappy] = codec(snappy.compress, unframed(snappy));
  CompressionCodecs[CompressionTypes.LZ4] = codec(lz4.compressFrame, lz4.decompressFrame);
  CompressionCodecs[CompressionTypes.ZSTD] = codec((data) => zstd.compress(data), (data) => zstd.decompress(data));
}

/** Snappy as Java frames it (xerial), or bare. */
const unframed = (snappy) => async (buffer) => {
  if (buffer.subarray(1, 7).toString() !== "SNAPPY") return snappy.uncompress(buffer);
  const blocks = [];
  for (let at = 16; at < buffer.length; ) {
    const size = buffer.readInt32BE(at);
    blocks.push(await snappy.uncompress(buffer.subarray(at + 4, at + 4 + size)));
    at += 4 + size;
  }
  return Buffer.concat(blocks);
};

const CODECS = { none: "None", gzip: "GZIP", snappy: "Snappy", lz4: "LZ4", zstd: "ZSTD" };
const text = (data) => (data == null ? null : data.toString());
// A consumer that closes waits for its last fetch.
const quick = { maxWaitTimeInMs: 200 };
let readers = 0;

export async function open(bootstrap) {
  await plugIn();
  const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.NOTHING, retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 100 } });
  const admin = kafka.admin();
  await admin.connect();
  return new Client(kafka, admin);
}

class Client {
  constructor(kafka, admin) {
    this.kafka = kafka;
    this.admin = admin;
  }

  async create(topic, numPartitions, configs) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }));
    const made = await this.admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1, configEntries }] });
    if (!made) throw new Error(`there is a topic ${topic}`);
    return null;
  }

  async describe(topic) {
    const { topics } = await this.admin.fetchTopicMetadata({ topics: [topic] });
    return topics[0].partitions.length;
  }

  topics() {
    return this.admin.listTopics();
  }

  async configs(name) {
    const { resources } = await this.admin.describeConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name }], includeSynonyms: false });
    return Object.fromEntries(resources[0].configEntries.map((entry) => [entry.configName, entry.configValue]));
  }

  async delete(topic) {
    await this.admin.deleteTopics({ topics: [topic] });
    return null;
  }

  async producer(codec, acks) {
    const producer = this.kafka.producer({ idempotent: acks === "all", maxInFlightRequests: 1 });
    await producer.connect();
    const compression = CompressionTypes[CODECS[codec]];
    return {
      async send(topic, records) {
        const messages = records.map((record) => ({ ...record, headers: headersOf(record.headers), timestamp: record.timestamp && String(record.timestamp) }));
        const [sent] = await producer.send({ topic, messages, acks: acks === "all" ? -1 : Number(acks), compression });
        return [sent.partition, Number(sent.baseOffset)];
      },
      close: () => producer.disconnect(),
    };
  }

  /** kafkajs reads in a group only. */
  async reader(topic, take, paused = []) {
    const consumer = this.kafka.consumer({ ...quick, groupId: `reader-${process.pid}-${readers++}` });
    await this.start(consumer, topic, take, false);
    if (paused.length > 0) consumer.pause([{ topic, partitions: paused }]);
    return {
      resume: async (partition) => consumer.resume([{ topic, partitions: [partition] }]),
      close: () => consumer.disconnect(),
    };
  }

  async member(groupId, topic, protocol, take) {
    if (protocol !== "classic") throw new Unsupported("knows the classic group protocol only");
    const consumer = this.kafka.consumer({ ...quick, groupId, sessionTimeout: 10_000, heartbeatInterval: 500 });
    const state = { assigned: [], error: null };
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      state.assigned = Object.entries(payload.memberAssignment).flatMap(([name, list]) => list.map((partition) => `${name}-${partition}`));
    });
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      if (!payload.restart) state.error = String(payload.error);
    });
    await this.start(consumer, topic, take, true);
    return { state: () => state, close: () => consumer.disconnect() };
  }

  async start(consumer, topic, take, commit) {
    await consumer.connect();
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    await consumer.run({
      autoCommit: commit,
      eachMessage: async ({ partition, message }) => {
        const headers = Object.entries(message.headers ?? {}).flatMap(([name, values]) => [values].flat().map((value) => [name, text(value)]));
        take({ partition, offset: Number(message.offset), timestamp: Number(message.timestamp), key: text(message.key), value: text(message.value), headers });
      },
    });
  }

  async since(topic, timestamp) {
    const [found] = await this.admin.fetchTopicOffsetsByTimestamp(topic, timestamp);
    const [end] = await this.admin.fetchTopicOffsets(topic);
    // kafkajs tells the end if nothing is that new.
    return found.offset === end.offset ? null : Number(found.offset);
  }
}

/** Headers of one name are a list in kafkajs. */
function headersOf(pairs) {
  const headers = {};
  for (const [name, value] of pairs ?? []) (headers[name] ??= []).push(value);
  return headers;
}
