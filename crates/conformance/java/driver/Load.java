// A producer that never stops by itself, and the check of what it was promised.
//
// Every acknowledged record must be there, once, at the offset that was answered, and in the order in which
// its partition's records were sent.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

final class Load {
    private final String bootstrap;
    private final Map<String, Sender> senders = new ConcurrentHashMap<>();

    Load(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    void register(Map<String, Driver.Command> commands) {
        commands.put("load.start", this::start);
        commands.put("load.state", a -> senders.get(a.path("load").asText()).state());
        commands.put("load.stop", a -> senders.get(a.path("load").asText()).finish());
        commands.put("load.verify", this::verify);
    }

    /** "load" (its name here), "topic", "partitions", "per_second", "size", "config". */
    private JsonNode start(JsonNode arguments) {
        Sender sender = new Sender(arguments, Driver.config(bootstrap, arguments));
        senders.put(arguments.path("load").asText(), sender);
        sender.start();
        return Driver.JSON.createObjectNode();
    }

    private JsonNode verify(JsonNode arguments) {
        Sender sender = senders.get(arguments.path("load").asText());
        try (KafkaConsumer<String, String> consumer =
                new KafkaConsumer<>(Driver.config(bootstrap, arguments), new StringDeserializer(), new StringDeserializer())) {
            return new Check(sender).of(consumer);
        }
    }

    private static final class Sender extends Thread {
        private final KafkaProducer<String, String> producer;
        private final String topic;
        private final int partitions;
        private final int perSecond;
        private final String padding;
        /** Offset by "partition value" of every acknowledged record. */
        private final Map<String, Long> acknowledged = new ConcurrentHashMap<>();
        private final Map<String, Long> failures = new ConcurrentHashMap<>();
        private volatile boolean stopping;
        private volatile long sent;
        private volatile long lastAcknowledgedAt;

        Sender(JsonNode arguments, Map<String, Object> config) {
            producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
            topic = arguments.path("topic").asText();
            partitions = arguments.path("partitions").asInt(1);
            perSecond = arguments.path("per_second").asInt(5000);
            padding = "x".repeat(arguments.path("size").asInt(100));
            setDaemon(true);
        }

        @Override
        public void run() {
            long begun = System.nanoTime();
            while (!stopping) {
                long due = (System.nanoTime() - begun) / 1000 * perSecond / 1_000_000;
                while (sent < due && !stopping) {
                    send(sent++);
                }
                java.util.concurrent.locks.LockSupport.parkNanos(1_000_000);
            }
        }

        private void send(long number) {
            int partition = (int) (number % partitions);
            String value = Long.toString(number);
            producer.send(new ProducerRecord<>(topic, partition, padding, value), (metadata, error) -> {
                if (error == null) {
                    acknowledged.put(partition + " " + value, metadata.offset());
                    lastAcknowledgedAt = System.currentTimeMillis();
                } else {
                    failures.merge(error.getClass().getSimpleName(), 1L, Long::sum);
                }
            });
        }

        JsonNode state() {
            ObjectNode state = Driver.JSON.createObjectNode()
                    .put("sent", sent)
                    .put("acknowledged", acknowledged.size())
                    .put("last_acknowledged_at", lastAcknowledgedAt);
            ObjectNode reasons = state.putObject("failures");
            failures.forEach(reasons::put);
            return state;
        }

        JsonNode finish() throws InterruptedException {
            stopping = true;
            join(60_000);
            producer.close(Duration.ofSeconds(60));
            return state();
        }
    }

    /** Reads every partition to its end and compares. */
    private static final class Check {
        private final Sender sender;
        private final Map<String, Long> found = new HashMap<>();
        private final Map<Integer, Long> newest = new HashMap<>();
        private long duplicated;
        private long reordered;
        private long misplaced;

        Check(Sender sender) {
            this.sender = sender;
        }

        JsonNode of(KafkaConsumer<String, String> consumer) {
            List<TopicPartition> assigned = new ArrayList<>();
            for (int partition = 0; partition < sender.partitions; partition++) {
                assigned.add(new TopicPartition(sender.topic, partition));
            }
            consumer.assign(assigned);
            consumer.seekToBeginning(assigned);
            Map<TopicPartition, Long> ends = consumer.endOffsets(assigned);
            long deadline = System.currentTimeMillis() + 120_000;
            while (assigned.stream().anyMatch(p -> consumer.position(p) < ends.get(p)) && System.currentTimeMillis() < deadline) {
                consumer.poll(Duration.ofMillis(200)).forEach(this::note);
            }
            long lost = sender.acknowledged.keySet().stream().filter(k -> !found.containsKey(k)).count();
            for (Map.Entry<String, Long> entry : sender.acknowledged.entrySet()) {
                Long offset = found.get(entry.getKey());
                // -1: acknowledged as a duplicate that the broker no longer remembers the offset of.
                if (offset != null && entry.getValue() >= 0 && !offset.equals(entry.getValue())) {
                    misplaced++;
                }
            }
            return Driver.JSON.createObjectNode()
                    .put("acknowledged", sender.acknowledged.size())
                    .put("found", found.size())
                    .put("lost", lost)
                    .put("duplicated", duplicated)
                    .put("reordered", reordered)
                    .put("misplaced", misplaced);
        }

        private void note(ConsumerRecord<String, String> record) {
            long number = Long.parseLong(record.value());
            if (found.putIfAbsent(record.partition() + " " + record.value(), record.offset()) != null) {
                duplicated++;
            } else if (newest.getOrDefault(record.partition(), -1L) > number) {
                reordered++;
            }
            newest.merge(record.partition(), number, Math::max);
        }
    }
}
