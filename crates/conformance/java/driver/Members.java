// Group members that poll in threads of their own, so that several of them rebalance in one test.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;

final class Members {
    private final String bootstrap;
    private final Map<String, Member> members = new ConcurrentHashMap<>();
    /** For each group, how often each record was delivered. */
    private final Map<String, Map<String, AtomicLong>> seen = new ConcurrentHashMap<>();

    Members(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    void register(Map<String, Driver.Command> commands) {
        commands.put("member.start", this::start);
        commands.put("member.state", a -> members.get(a.path("member").asText()).state());
        commands.put("member.stop", a -> members.remove(a.path("member").asText()).finish());
        commands.put("group.seen", this::seen);
    }

    /** "member" (its name here), "group", "topics" or "pattern" (which the broker resolves), "config". */
    private JsonNode start(JsonNode arguments) {
        Map<String, Object> config = Driver.config(bootstrap, arguments);
        String group = arguments.path("group").asText();
        config.put("group.id", group);
        config.putIfAbsent("auto.offset.reset", "earliest");
        List<String> topics = new ArrayList<>();
        arguments.path("topics").forEach(t -> topics.add(t.asText()));
        String pattern = arguments.path("pattern").asText("");
        Member member = new Member(config, topics, pattern, seen.computeIfAbsent(group, g -> new ConcurrentHashMap<>()));
        members.put(arguments.path("member").asText(), member);
        member.start();
        return Driver.JSON.createObjectNode();
    }

    private JsonNode seen(JsonNode arguments) {
        Map<String, AtomicLong> records = seen.getOrDefault(arguments.path("group").asText(), Map.of());
        long deliveries = records.values().stream().mapToLong(AtomicLong::get).sum();
        return Driver.JSON.createObjectNode().put("records", records.size()).put("deliveries", deliveries);
    }

    private static final class Member extends Thread implements ConsumerRebalanceListener {
        private final KafkaConsumer<String, String> consumer;
        private final List<String> topics;
        private final String pattern;
        private final Map<String, AtomicLong> seen;
        private final TreeSet<String> assigned = new TreeSet<>();
        private volatile boolean stopping;
        private volatile long records;
        private volatile long assignments;
        private volatile long revocations;
        private volatile String memberId = "";
        private volatile String error;

        Member(Map<String, Object> config, List<String> topics, String pattern, Map<String, AtomicLong> seen) {
            this.consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
            this.topics = topics;
            this.pattern = pattern;
            this.seen = seen;
            setDaemon(true);
        }

        @Override
        public void run() {
            try (consumer) {
                if (pattern.isEmpty()) {
                    consumer.subscribe(topics, this);
                } else {
                    consumer.subscribe(new SubscriptionPattern(pattern), this);
                }
                while (!stopping) {
                    ConsumerRecords<String, String> polled = consumer.poll(Duration.ofMillis(100));
                    for (ConsumerRecord<String, String> record : polled) {
                        String place = record.topic() + "-" + record.partition() + "@" + record.offset();
                        seen.computeIfAbsent(place, p -> new AtomicLong()).incrementAndGet();
                        records++;
                    }
                    if (!polled.isEmpty()) {
                        commit();
                    }
                    memberId = consumer.groupMetadata().memberId();
                }
            } catch (WakeupException expected) {
                // Asked to stop.
            } catch (Throwable thrown) {
                error = thrown.getClass().getSimpleName() + ": " + thrown.getMessage();
            }
        }

        private void commit() {
            try {
                consumer.commitSync();
            } catch (CommitFailedException | RebalanceInProgressException expected) {
                // The next poll joins again; these records come twice, which is what at least once means.
            }
        }

        JsonNode state() {
            ObjectNode state = Driver.JSON.createObjectNode()
                    .put("records", records)
                    .put("assignments", assignments)
                    .put("revocations", revocations)
                    .put("member_id", memberId)
                    .put("error", error);
            ArrayNode partitions = state.putArray("assigned");
            synchronized (assigned) {
                assigned.forEach(partitions::add);
            }
            return state;
        }

        JsonNode finish() throws InterruptedException {
            stopping = true;
            join(30_000);
            return state();
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            assignments++;
            synchronized (assigned) {
                partitions.forEach(p -> assigned.add(p.toString()));
            }
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            revocations++;
            synchronized (assigned) {
                partitions.forEach(p -> assigned.remove(p.toString()));
            }
        }
    }
}
