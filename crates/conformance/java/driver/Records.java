// Produces and consumes records that are given, or generated from a size and a count.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.function.BooleanSupplier;
import java.util.zip.CRC32;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

final class Records {
    private final String bootstrap;

    Records(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    void register(Map<String, Driver.Command> commands) {
        commands.put("produce", this::produce);
        commands.put("consume", this::consume);
        commands.put("initTransactions", this::initTransactions);
        commands.put("transact", this::transact);
    }

    /** "topic", "config", and "records" or "generate": {"count", "size", "partitions"}. */
    private JsonNode produce(JsonNode arguments) throws Exception {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        String topic = arguments.path("topic").asText();
        for (JsonNode record : arguments.path("records")) {
            records.add(record(topic, record));
        }
        if (arguments.has("generate")) {
            generate(topic, arguments.path("generate"), records);
        }
        ArrayNode answers = Driver.JSON.createArrayNode();
        try (KafkaProducer<byte[], byte[]> producer =
                new KafkaProducer<>(Driver.config(bootstrap, arguments), new ByteArraySerializer(), new ByteArraySerializer())) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (ProducerRecord<byte[], byte[]> record : records) {
                sent.add(producer.send(record));
            }
            producer.flush();
            for (Future<RecordMetadata> future : sent) {
                RecordMetadata metadata = future.get();
                answers.addObject()
                        .put("partition", metadata.partition())
                        .put("offset", metadata.hasOffset() ? metadata.offset() : -1)
                        .put("timestamp", metadata.hasTimestamp() ? metadata.timestamp() : -1);
            }
        }
        return answers;
    }

    private JsonNode initTransactions(JsonNode arguments) {
        try (KafkaProducer<byte[], byte[]> producer =
                new KafkaProducer<>(Driver.config(bootstrap, arguments), new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.initTransactions();
        }
        return Driver.JSON.createObjectNode();
    }

    /** "topic", "config", "transactions": [["commit" or "abort" or "leave open", record or value, ...], ...], values in partition 0. */
    private JsonNode transact(JsonNode arguments) throws Exception {
        KafkaProducer<byte[], byte[]> producer =
                new KafkaProducer<>(Driver.config(bootstrap, arguments), new ByteArraySerializer(), new ByteArraySerializer());
        producer.initTransactions();
        Duration patience = Duration.ofSeconds(30);
        String topic = arguments.path("topic").asText();
        for (JsonNode transaction : arguments.path("transactions")) {
            producer.beginTransaction();
            for (int at = 1; at < transaction.size(); at++) {
                JsonNode one = transaction.get(at);
                producer.send(one.isObject() ? record(topic, one) : new ProducerRecord<>(topic, 0, null, bytes(one))).get();
            }
            switch (transaction.get(0).asText()) {
                case "commit" -> producer.commitTransaction();
                case "abort" -> producer.abortTransaction();
                // An orderly close would abort it.
                default -> patience = Duration.ZERO;
            }
        }
        producer.close(patience);
        return Driver.JSON.createObjectNode();
    }

    private static ProducerRecord<byte[], byte[]> record(String topic, JsonNode node) {
        Integer partition = node.has("partition") ? node.get("partition").asInt() : null;
        Long timestamp = node.has("timestamp") ? node.get("timestamp").asLong() : null;
        ProducerRecord<byte[], byte[]> record =
                new ProducerRecord<>(topic, partition, timestamp, bytes(node.path("key")), bytes(node.path("value")));
        for (JsonNode header : node.path("headers")) {
            record.headers().add(header.get(0).asText(), bytes(header.get(1)));
        }
        return record;
    }

    /** Values that say their number, padded with something that compresses. */
    private static void generate(String topic, JsonNode how, List<ProducerRecord<byte[], byte[]>> records) {
        int partitions = how.path("partitions").asInt(1);
        for (int number = 0; number < how.path("count").asInt(); number++) {
            StringBuilder value = new StringBuilder("record " + number + " ");
            while (value.length() < how.path("size").asInt()) {
                value.append((char) ('a' + (value.length() * 7 + number) % 26));
            }
            byte[] key = ("key " + number).getBytes(StandardCharsets.UTF_8);
            records.add(new ProducerRecord<>(topic, number % partitions, key, value.toString().getBytes(StandardCharsets.UTF_8)));
        }
    }

    /** "topic", "partitions" (all if none), "from" (earliest if none), "count" or "until" (an offset), "timeout_ms", "brief". */
    private JsonNode consume(JsonNode arguments) {
        String topic = arguments.path("topic").asText();
        long count = arguments.path("count").asLong();
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(Driver.config(bootstrap, arguments), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> assigned = new ArrayList<>();
            if (arguments.has("partitions")) {
                arguments.get("partitions").forEach(p -> assigned.add(new TopicPartition(topic, p.asInt())));
            } else {
                consumer.partitionsFor(topic).forEach(p -> assigned.add(new TopicPartition(topic, p.partition())));
            }
            consumer.assign(assigned);
            if (arguments.has("from")) {
                assigned.forEach(p -> consumer.seek(p, arguments.get("from").asLong()));
            } else {
                consumer.seekToBeginning(assigned);
            }
            long deadline = System.currentTimeMillis() + arguments.path("timeout_ms").asLong(30_000);
            List<ConsumerRecord<byte[], byte[]>> seen = new ArrayList<>();
            BooleanSupplier more = () -> seen.size() < count;
            if (arguments.has("until")) {
                long until = arguments.get("until").asLong();
                more = () -> assigned.stream().anyMatch(p -> consumer.position(p) < until);
            }
            while (more.getAsBoolean() && System.currentTimeMillis() < deadline) {
                consumer.poll(Duration.ofMillis(200)).forEach(seen::add);
            }
            return arguments.path("brief").asBoolean() ? brief(seen) : whole(seen);
        }
    }

    private static JsonNode whole(List<ConsumerRecord<byte[], byte[]>> seen) {
        ArrayNode records = Driver.JSON.createArrayNode();
        for (ConsumerRecord<byte[], byte[]> record : seen) {
            ObjectNode node = records.addObject()
                    .put("partition", record.partition())
                    .put("offset", record.offset())
                    .put("timestamp", record.timestamp())
                    .put("timestamp_type", record.timestampType().name)
                    .put("leader_epoch", record.leaderEpoch().orElse(-1))
                    .put("key", text(record.key()))
                    .put("value", text(record.value()));
            ArrayNode headers = node.putArray("headers");
            for (Header header : record.headers()) {
                headers.addArray().add(header.key()).add(text(header.value()));
            }
        }
        return records;
    }

    /** How many, and a checksum over keys and values in the order of arrival; for many or large records. */
    private static JsonNode brief(List<ConsumerRecord<byte[], byte[]>> seen) {
        CRC32 crc = new CRC32();
        long bytes = 0;
        for (ConsumerRecord<byte[], byte[]> record : seen) {
            crc.update(record.key() == null ? new byte[] {0} : record.key());
            crc.update(record.value() == null ? new byte[] {0} : record.value());
            bytes += record.value() == null ? 0 : record.value().length;
        }
        return Driver.JSON.createObjectNode().put("count", seen.size()).put("bytes", bytes).put("crc", crc.getValue());
    }

    private static byte[] bytes(JsonNode node) {
        return node.isNull() || node.isMissingNode() ? null : node.asText().getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
    }
}
