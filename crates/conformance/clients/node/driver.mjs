// Executes one command a line with a Kafka client for Node.js; see ../README.md.
//
// The libraries lie in the folder that OTTLA_CLIENTS names, as `npm ci` left them.

import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const LIBRARIES = { kafkajs: ["./with_kafkajs.mjs", "kafkajs"], "@platformatic/kafka": ["./with_platformatic.mjs", "@platformatic/kafka"] };
const PATIENCE = 60_000;

/**
 * Sends numbers until it is stopped, and says to which partition: kafkajs chooses anew for each retry, so that what a
 * broker has and what it is sent again are different batches of the same sequence numbers, which every broker refuses.
 */
class Load {
  acknowledged = 0;
  failed = [];
  stopping = false;

  constructor(producer, topic, partitions) {
    Object.assign(this, { producer, topic, partitions });
    this.running = this.run();
  }

  async run() {
    for (let number = 0; !this.stopping; number += 10) {
      const records = Array.from({ length: 10 }, (_, at) => ({ value: String(number + at), partition: (number + at) % this.partitions }));
      // One request after another: neither library promises order or retries beyond that.
      await this.producer.send(this.topic, records).then(
        () => (this.acknowledged += records.length),
        (error) => this.failed.push(String(error)),
      );
      await sleep(10);
    }
    await this.producer.close();
  }

  async stop() {
    this.stopping = true;
    await this.running;
    return { acknowledged: this.acknowledged, failed: this.failed.slice(0, 3) };
  }
}

const members = new Map();
const loads = new Map();
const seen = new Map();

const seenBy = (group) => seen.get(group) ?? seen.set(group, []).get(group);

/** The records of some partitions from the beginning, until there are enough. */
async function consume(client, { topic, partitions, count }) {
  const records = [];
  const reader = await client.reader(topic, (record) => partitions.includes(record.partition) && records.push(record));
  const end = Date.now() + PATIENCE;
  while (records.length < count && Date.now() < end) await sleep(20);
  await reader.close();
  return records.sort((one, other) => one.partition - other.partition || one.offset - other.offset);
}

const commands = {
  create: (client, { topic, partitions, configs }) => client.create(topic, partitions, configs ?? {}),
  describe: (client, { topic }) => client.describe(topic),
  topics: (client) => client.topics(),
  configs: (client, { topic }) => client.configs(topic),
  delete: (client, { topic }) => client.delete(topic),

  async produce(client, { topic, records, acks }) {
    const producer = await client.producer("none", acks ?? "all");
    const places = [];
    // One at a time: the libraries tell one base offset for a whole request.
    for (const record of records) places.push(await producer.send(topic, [record]));
    await producer.close();
    return places;
  },

  async generate(client, { topic, count, size, codec }) {
    const producer = await client.producer(codec, "all");
    const values = Array.from({ length: count }, (_, number) => ({ value: String(number).padEnd(size, ".") }));
    const step = Math.max(1, Math.floor(900_000 / size));
    for (let at = 0; at < count; at += step) await producer.send(topic, values.slice(at, at + step));
    await producer.close();
    return count;
  },

  consume,

  async count(client, command) {
    const values = (await consume(client, command)).map((record) => record.value);
    const bytes = values.reduce((sum, value) => sum + value.length, 0);
    return { count: values.length, bytes, sum: values.reduce((sum, value) => sum + Number.parseInt(value, 10), 0) };
  },

  since: (client, { topic, timestamp }) => client.since(topic, timestamp),

  async pause(client, { topic, count }) {
    const [paused, resumed] = [[], []];
    let into = paused;
    const reader = await client.reader(topic, (record) => into.push(record.partition), [1]);
    const enough = async (list) => {
      const end = Date.now() + PATIENCE;
      while (list.length < count && Date.now() < end) await sleep(20);
      return [...new Set(list)].sort();
    };
    const first = await enough(paused);
    into = resumed;
    await reader.resume(1);
    const second = await enough(resumed);
    await reader.close();
    return [first, second];
  },

  async "load.start"(client, { load, topic }) {
    loads.set(load, new Load(await client.producer("none", "all"), topic, await client.describe(topic)));
    return null;
  },

  async "load.stop"(_client, { load }) {
    return loads.get(load).stop();
  },

  async "member.start"(client, { member, group, topic, protocol }) {
    const values = seenBy(group);
    members.set(member, await client.member(group, topic, protocol, (record) => values.push(record.value)));
    return null;
  },

  "member.state": (_client, { member }) => members.get(member).state(),

  async "member.stop"(_client, { member }) {
    await members.get(member).close();
    members.delete(member);
    return null;
  },

  "group.seen": (_client, { group }) => ({ records: new Set(seenBy(group)).size, deliveries: seenBy(group).length }),
};

async function answer(client, version, command) {
  if (command.do === "version") return { ok: version };
  try {
    return { ok: (await commands[command.do](client, command)) ?? null };
  } catch (error) {
    return { error: error.name, message: String(error.message) };
  }
}

const [name, bootstrap] = process.argv.slice(2);
// Answers alone go to stdout; whatever a library prints goes to stderr.
console.log = console.info = console.warn = console.error;
const [adapter, path] = LIBRARIES[name];
const manifest = await readFile(`${process.env.OTTLA_CLIENTS}/node_modules/${path}/package.json`, "utf8");
const client = await (await import(adapter)).open(bootstrap);
for await (const line of createInterface({ input: process.stdin })) {
  const given = await answer(client, JSON.parse(manifest).version, JSON.parse(line));
  process.stdout.write(`${JSON.stringify(given)}\n`);
}
process.exit(0);
