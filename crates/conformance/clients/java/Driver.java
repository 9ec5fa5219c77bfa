// Executes one command a line with Kafka's own client library; see ../README.md.
//
// Uses what kafka-clients 2.1 has, so that one source is run with every version; what came later or has gone is
// asked for by name.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.DescribeTopicsResult;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.AppInfoParser;

public final class Driver {
    static final ObjectMapper JSON = new ObjectMapper();
    static final long PATIENCE_MS = 60_000;

    /** The library cannot do this. */
    static final class Unsupported extends Exception {
        private static final long serialVersionUID = 1;

        Unsupported(String why) {
            super(why);
        }
    }

    private interface Command {
        Object run(JsonNode arguments) throws Exception;
    }

    private final String bootstrap;
    private final AdminClient admin;
    private final Map<String, Command> commands = new HashMap<>();
    private final Map<String, Member> members = new HashMap<>();
    private final Map<String, Load> loads = new HashMap<>();
    private final Map<String, List<String>> seen = new HashMap<>();

    private Driver(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = AdminClient.create(properties());
        commands.put("version", a -> AppInfoParser.getVersion());
        commands.put("create", this::create);
        commands.put("describe", this::describe);
        commands.put("topics", a -> new TreeSet<>(admin.listTopics().names().get()));
        commands.put("configs", this::configs);
        commands.put("delete", a -> admin.deleteTopics(Collections.singleton(topic(a))).all().get());
        commands.put("produce", this::produce);
        commands.put("generate", this::generate);
        commands.put("consume", this::consume);
        commands.put("count", this::count);
        commands.put("since", this::since);
        commands.put("pause", this::pause);
        commands.put("load.start", a -> loads.put(text(a, "load"), new Load(producer("none", "all"), topic(a))) == null ? null : "again");
        commands.put("load.stop", a -> loads.remove(text(a, "load")).finish());
        commands.put("member.start", this::join);
        commands.put("member.state", a -> members.get(text(a, "member")).state());
        commands.put("member.stop", a -> members.remove(text(a, "member")).finish());
        commands.put("group.seen", this::seen);
    }

    public static void main(String[] arguments) throws Exception {
        // Answers alone go to stdout; whatever a library prints goes to stderr.
        PrintStream answers = new PrintStream(System.out, true, "UTF-8");
        System.setOut(System.err);
        Driver driver = new Driver(arguments[1]);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            answers.println(JSON.writeValueAsString(driver.answer(JSON.readTree(line))));
        }
        System.exit(0);
    }

    private ObjectNode answer(JsonNode line) {
        ObjectNode answer = JSON.createObjectNode();
        try {
            answer.set("ok", JSON.valueToTree(commands.get(text(line, "do")).run(line)));
        } catch (Throwable thrown) {
            Throwable cause = thrown instanceof ExecutionException ? thrown.getCause() : thrown;
            answer.put("error", cause.getClass().getSimpleName()).put("message", String.valueOf(cause.getMessage()));
        }
        return answer;
    }

    private Object create(JsonNode arguments) throws Exception {
        Map<String, String> configs = new HashMap<>();
        JsonNode given = arguments.path("configs");
        given.fieldNames().forEachRemaining(name -> configs.put(name, given.get(name).asText()));
        NewTopic topic = new NewTopic(topic(arguments), arguments.path("partitions").asInt(), (short) 1).configs(configs);
        return admin.createTopics(Collections.singleton(topic)).all().get();
    }

    private Object describe(JsonNode arguments) throws Exception {
        DescribeTopicsResult result = admin.describeTopics(Collections.singleton(topic(arguments)));
        Method all;
        try {
            all = result.getClass().getMethod("allTopicNames");
        } catch (NoSuchMethodException before31) {
            all = result.getClass().getMethod("all");
        }
        @SuppressWarnings("unchecked")
        Map<String, TopicDescription> topics = ((KafkaFuture<Map<String, TopicDescription>>) all.invoke(result)).get();
        return topics.get(topic(arguments)).partitions().size();
    }

    private Object configs(JsonNode arguments) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic(arguments));
        Config config = admin.describeConfigs(Collections.singleton(resource)).all().get().get(resource);
        Map<String, String> values = new HashMap<>();
        config.entries().forEach(entry -> values.put(entry.name(), entry.value()));
        return values;
    }

    private Object produce(JsonNode arguments) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<String, String> producer = producer("none", arguments.path("acks").asText("all"))) {
            for (JsonNode given : arguments.path("records")) {
                Integer partition = given.has("partition") ? given.get("partition").asInt() : null;
                Long timestamp = given.has("timestamp") ? given.get("timestamp").asLong() : null;
                ProducerRecord<String, String> record =
                        new ProducerRecord<>(topic(arguments), partition, timestamp, text(given, "key"), text(given, "value"));
                for (JsonNode header : given.path("headers")) {
                    byte[] value = header.get(1).isNull() ? null : header.get(1).asText().getBytes(StandardCharsets.UTF_8);
                    record.headers().add(header.get(0).asText(), value);
                }
                sent.add(producer.send(record));
            }
            // Version 2.1 forgets what it has when it is closed before the broker has given it a producer id.
            producer.flush();
        }
        ArrayNode places = JSON.createArrayNode();
        for (Future<RecordMetadata> future : sent) {
            places.addArray().add(future.get().partition()).add(future.get().offset());
        }
        return places;
    }

    private Object generate(JsonNode arguments) throws Exception {
        String codec = text(arguments, "codec");
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<String, String> producer = producer(codec, "all")) {
            for (int number = 0; number < arguments.path("count").asInt(); number++) {
                StringBuilder value = new StringBuilder().append(number);
                while (value.length() < arguments.path("size").asInt()) {
                    value.append('.');
                }
                sent.add(producer.send(new ProducerRecord<>(topic(arguments), value.toString())));
            }
            producer.flush();
        }
        for (Future<RecordMetadata> future : sent) {
            future.get();
        }
        return sent.size();
    }

    private Object consume(JsonNode arguments) {
        ArrayNode records = JSON.createArrayNode();
        read(arguments, record -> {
            ObjectNode answer = records.addObject().put("partition", record.partition()).put("offset", record.offset());
            answer.put("timestamp", record.timestamp()).put("key", record.key()).put("value", record.value());
            ArrayNode headers = answer.putArray("headers");
            for (Header header : record.headers()) {
                String value = header.value() == null ? null : new String(header.value(), StandardCharsets.UTF_8);
                headers.addArray().add(header.key()).add(value);
            }
        });
        return records;
    }

    private Object count(JsonNode arguments) {
        long[] totals = new long[3];
        read(arguments, record -> {
            totals[0]++;
            totals[1] += record.value().length();
            totals[2] += Long.parseLong(record.value().replace(".", ""));
        });
        return JSON.createObjectNode().put("count", totals[0]).put("bytes", totals[1]).put("sum", totals[2]);
    }

    private void read(JsonNode arguments, Consumer<ConsumerRecord<String, String>> take) {
        List<TopicPartition> partitions = new ArrayList<>();
        arguments.path("partitions").forEach(p -> partitions.add(new TopicPartition(topic(arguments), p.asInt())));
        try (KafkaConsumer<String, String> consumer = consumer(properties())) {
            consumer.assign(partitions);
            long left = arguments.path("count").asLong();
            long end = System.currentTimeMillis() + PATIENCE_MS;
            while (left > 0 && System.currentTimeMillis() < end) {
                ConsumerRecords<String, String> polled = consumer.poll(Duration.ofMillis(500));
                polled.forEach(take);
                left -= polled.count();
            }
        }
    }

    private Object since(JsonNode arguments) {
        TopicPartition partition = new TopicPartition(topic(arguments), 0);
        try (KafkaConsumer<String, String> consumer = consumer(properties())) {
            Map<TopicPartition, Long> times = Collections.singletonMap(partition, arguments.path("timestamp").asLong());
            OffsetAndTimestamp found = consumer.offsetsForTimes(times).get(partition);
            return found == null ? null : found.offset();
        }
    }

    private Object pause(JsonNode arguments) {
        List<TopicPartition> both = new ArrayList<>();
        both.add(new TopicPartition(topic(arguments), 0));
        both.add(new TopicPartition(topic(arguments), 1));
        List<Object> answer = new ArrayList<>();
        try (KafkaConsumer<String, String> consumer = consumer(properties())) {
            consumer.assign(both);
            consumer.pause(both.subList(1, 2));
            answer.add(partitionsOf(consumer, arguments.path("count").asInt()));
            consumer.resume(both.subList(1, 2));
            answer.add(partitionsOf(consumer, arguments.path("count").asInt()));
        }
        return answer;
    }

    private static TreeSet<Integer> partitionsOf(KafkaConsumer<String, String> consumer, int count) {
        TreeSet<Integer> partitions = new TreeSet<>();
        int number = 0;
        long end = System.currentTimeMillis() + PATIENCE_MS;
        while (number < count && System.currentTimeMillis() < end) {
            for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(500))) {
                partitions.add(record.partition());
                number++;
            }
        }
        return partitions;
    }

    private Object join(JsonNode arguments) throws Unsupported {
        Properties properties = properties();
        properties.put("group.id", text(arguments, "group"));
        if (text(arguments, "protocol").equals("classic")) {
            properties.put("session.timeout.ms", "10000");
            properties.put("heartbeat.interval.ms", "500");
        } else if (ConsumerConfig.configNames().contains("group.protocol")) {
            properties.put("group.protocol", text(arguments, "protocol"));
        } else {
            throw new Unsupported("knows the classic group protocol only");
        }
        List<String> values = seen.computeIfAbsent(text(arguments, "group"), g -> Collections.synchronizedList(new ArrayList<>()));
        members.put(text(arguments, "member"), new Member(consumer(properties), topic(arguments), values));
        return null;
    }

    private Object seen(JsonNode arguments) {
        List<String> values = seen.get(text(arguments, "group"));
        synchronized (values) {
            return JSON.createObjectNode().put("records", new HashSet<>(values).size()).put("deliveries", values.size());
        }
    }

    /** A member of a group that polls and commits on a thread of its own. */
    private static final class Member extends Thread {
        private final KafkaConsumer<String, String> consumer;
        private final String topic;
        private final List<String> seen;
        private volatile List<String> assigned = Collections.emptyList();
        private volatile boolean stopping;
        private volatile String error;

        Member(KafkaConsumer<String, String> consumer, String topic, List<String> seen) {
            this.consumer = consumer;
            this.topic = topic;
            this.seen = seen;
            setDaemon(true);
            start();
        }

        @Override
        public void run() {
            try {
                consumer.subscribe(Collections.singleton(topic));
                while (!stopping) {
                    ConsumerRecords<String, String> polled = consumer.poll(Duration.ofMillis(200));
                    polled.forEach(record -> seen.add(record.value()));
                    if (!polled.isEmpty()) {
                        commit();
                    }
                    List<String> own = new ArrayList<>();
                    consumer.assignment().forEach(partition -> own.add(partition.toString()));
                    assigned = own;
                }
                consumer.close();
            } catch (Throwable thrown) {
                error = thrown.toString();
            }
        }

        private void commit() {
            try {
                consumer.commitSync();
            } catch (CommitFailedException | RebalanceInProgressException | RetriableException expected) {
                // These records come twice, which is what at least once means.
            }
        }

        Object state() {
            Map<String, Object> state = new LinkedHashMap<>();
            state.put("assigned", assigned);
            state.put("error", error);
            return state;
        }

        Object finish() throws InterruptedException {
            stopping = true;
            join(PATIENCE_MS);
            return null;
        }
    }

    /** Sends numbers until it is stopped. */
    private static final class Load extends Thread {
        private final KafkaProducer<String, String> producer;
        private final String topic;
        private final AtomicLong acknowledged = new AtomicLong();
        private final Map<String, Boolean> failed = new ConcurrentHashMap<>();
        private volatile boolean stopping;

        Load(KafkaProducer<String, String> producer, String topic) {
            this.producer = producer;
            this.topic = topic;
            setDaemon(true);
            start();
        }

        @Override
        public void run() {
            for (long number = 0; !stopping; number++) {
                producer.send(new ProducerRecord<>(topic, Long.toString(number)), (metadata, error) -> {
                    if (error == null) {
                        acknowledged.incrementAndGet();
                    } else {
                        failed.put(error.toString(), true);
                    }
                });
                LockSupport.parkNanos(1_000_000);
            }
            producer.close();
        }

        Object finish() throws InterruptedException {
            stopping = true;
            join(PATIENCE_MS);
            Map<String, Object> totals = new LinkedHashMap<>();
            totals.put("acknowledged", acknowledged.get());
            totals.put("failed", failed.keySet());
            return totals;
        }
    }

    private Properties properties() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        return properties;
    }

    private KafkaProducer<String, String> producer(String codec, String acks) {
        Properties properties = properties();
        properties.put("acks", acks);
        properties.put("enable.idempotence", String.valueOf(acks.equals("all")));
        properties.put("compression.type", codec);
        return new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer());
    }

    private static KafkaConsumer<String, String> consumer(Properties properties) {
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        return new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
    }

    private static String topic(JsonNode arguments) {
        return text(arguments, "topic");
    }

    private static String text(JsonNode node, String field) {
        JsonNode value = node.get(field);
        return value == null || value.isNull() ? null : value.asText();
    }
}
