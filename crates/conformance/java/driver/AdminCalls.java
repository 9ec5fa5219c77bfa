// Every call of Kafka's admin client that a node of this kind answers, by the method's own name.
//
// Arguments and answers are plain JSON with the names that the Java classes use.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.CreateTopicsResult;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.FeatureMetadata;
import org.apache.kafka.clients.admin.FeatureUpdate;
import org.apache.kafka.clients.admin.ListConfigResourcesOptions;
import org.apache.kafka.clients.admin.LogDirDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.QuorumInfo;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.admin.UpdateFeaturesOptions;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.quota.ClientQuotaFilterComponent;

final class AdminCalls {
    private static final long LIMIT_SECONDS = 40;

    private final String bootstrap;
    private Admin admin;

    AdminCalls(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    void register(Map<String, Driver.Command> commands) {
        commands.put("createTopics", this::createTopics);
        commands.put("deleteTopics", a -> done(admin().deleteTopics(texts(a.path("topics"))).all()));
        commands.put("listTopics", a -> Driver.JSON.valueToTree(get(admin().listTopics().names())));
        commands.put("describeTopics", this::describeTopics);
        commands.put("createPartitions", this::createPartitions);
        commands.put("deleteRecords", this::deleteRecords);
        commands.put("describeCluster", a -> describeCluster());
        commands.put("describeConfigs", this::describeConfigs);
        commands.put("incrementalAlterConfigs", this::incrementalAlterConfigs);
        commands.put("listConfigResources", this::listConfigResources);
        commands.put("alterClientQuotas", this::alterClientQuotas);
        commands.put("describeClientQuotas", a -> describeClientQuotas());
        commands.put("describeLogDirs", a -> describeLogDirs());
        commands.put("alterReplicaLogDirs", this::alterReplicaLogDirs);
        commands.put("describeReplicaLogDirs", this::describeReplicaLogDirs);
        commands.put("describeProducers", this::describeProducers);
        commands.put("describeMetadataQuorum", a -> describeMetadataQuorum());
        commands.put("describeFeatures", a -> describeFeatures());
        commands.put("updateFeatures", this::updateFeatures);
        commands.put("electLeaders", this::electLeaders);
        commands.put("unregisterBroker", a -> done(admin().unregisterBroker(a.path("broker").asInt()).all()));
        new GroupCalls(this::admin).register(commands);
    }

    private Admin admin() {
        if (admin == null) {
            admin = Admin.create(Map.of("bootstrap.servers", bootstrap, "default.api.timeout.ms", "30000"));
        }
        return admin;
    }

    static <T> T get(KafkaFuture<T> future) throws Exception {
        return future.get(LIMIT_SECONDS, TimeUnit.SECONDS);
    }

    static JsonNode done(KafkaFuture<?> future) throws Exception {
        get(future);
        return Driver.JSON.createObjectNode();
    }

    static List<String> texts(JsonNode array) {
        List<String> texts = new ArrayList<>();
        array.forEach(t -> texts.add(t.asText()));
        return texts;
    }

    static TopicPartition partition(JsonNode node) {
        return new TopicPartition(node.path("topic").asText(), node.path("partition").asInt());
    }

    /** "topic", "partitions" and "factor" (the broker's defaults if none) or "assignment", "configs", "validate_only". */
    private JsonNode createTopics(JsonNode a) throws Exception {
        String name = a.path("topic").asText();
        NewTopic topic;
        if (a.has("assignment")) {
            Map<Integer, List<Integer>> replicas = new HashMap<>();
            a.get("assignment").properties().forEach(e -> {
                List<Integer> ids = new ArrayList<>();
                e.getValue().forEach(i -> ids.add(i.asInt()));
                replicas.put(Integer.valueOf(e.getKey()), ids);
            });
            topic = new NewTopic(name, replicas);
        } else {
            Optional<Integer> partitions = a.has("partitions") ? Optional.of(a.get("partitions").asInt()) : Optional.empty();
            Optional<Short> factor = a.has("factor") ? Optional.of((short) a.get("factor").asInt()) : Optional.empty();
            topic = new NewTopic(name, partitions, factor);
        }
        Map<String, String> configs = new HashMap<>();
        a.path("configs").properties().forEach(e -> configs.put(e.getKey(), e.getValue().asText()));
        topic.configs(configs);
        CreateTopicsOptions options = new CreateTopicsOptions().validateOnly(a.path("validate_only").asBoolean());
        CreateTopicsResult result = admin().createTopics(List.of(topic), options);
        get(result.all());
        return Driver.JSON.createObjectNode()
                .put("partitions", get(result.numPartitions(name)))
                .put("factor", get(result.replicationFactor(name)))
                .put("configs", get(result.config(name)).entries().size());
    }

    private JsonNode describeTopics(JsonNode a) throws Exception {
        ObjectNode answer = Driver.JSON.createObjectNode();
        for (TopicDescription topic : get(admin().describeTopics(texts(a.path("topics"))).allTopicNames()).values()) {
            ObjectNode node = answer.putObject(topic.name()).put("internal", topic.isInternal()).put("id", topic.topicId().toString());
            ArrayNode partitions = node.putArray("partitions");
            topic.partitions().forEach(p -> {
                ObjectNode one = partitions.addObject().put("partition", p.partition()).put("leader", p.leader() == null ? -1 : p.leader().id());
                ArrayNode replicas = one.putArray("replicas");
                p.replicas().forEach(r -> replicas.add(r.id()));
                ArrayNode isr = one.putArray("isr");
                p.isr().forEach(r -> isr.add(r.id()));
                one.put("elr", p.elr() == null ? -1 : p.elr().size());
            });
        }
        return answer;
    }

    private JsonNode createPartitions(JsonNode a) throws Exception {
        NewPartitions count = NewPartitions.increaseTo(a.path("count").asInt());
        return done(admin().createPartitions(Map.of(a.path("topic").asText(), count)).all());
    }

    private JsonNode deleteRecords(JsonNode a) throws Exception {
        TopicPartition partition = partition(a);
        RecordsToDelete before = RecordsToDelete.beforeOffset(a.path("before").asLong());
        long low = get(admin().deleteRecords(Map.of(partition, before)).lowWatermarks().get(partition)).lowWatermark();
        return Driver.JSON.createObjectNode().put("low_watermark", low);
    }

    private JsonNode describeCluster() throws Exception {
        DescribeClusterResult cluster = admin().describeCluster();
        ObjectNode answer = Driver.JSON.createObjectNode()
                .put("cluster_id", get(cluster.clusterId()))
                .put("controller", get(cluster.controller()).id());
        ArrayNode nodes = answer.putArray("nodes");
        get(cluster.nodes()).forEach(n -> nodes.addObject().put("id", n.id()).put("address", n.host() + ":" + n.port()).put("fenced", n.isFenced()));
        return answer;
    }

    private static ConfigResource resource(JsonNode a) {
        return new ConfigResource(ConfigResource.Type.valueOf(a.path("type").asText()), a.path("name").asText());
    }

    /** "type" (TOPIC, BROKER, BROKER_LOGGER, GROUP), "name"; the answer holds every key. */
    private JsonNode describeConfigs(JsonNode a) throws Exception {
        ConfigResource resource = resource(a);
        DescribeConfigsOptions options = new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
        Config config = get(admin().describeConfigs(List.of(resource), options).all()).get(resource);
        ObjectNode answer = Driver.JSON.createObjectNode();
        for (ConfigEntry entry : config.entries()) {
            ObjectNode node = answer.putObject(entry.name())
                    .put("value", entry.value())
                    .put("source", entry.source().name())
                    .put("type", entry.type().name())
                    .put("read_only", entry.isReadOnly())
                    .put("sensitive", entry.isSensitive())
                    .put("documented", entry.documentation() != null && !entry.documentation().isEmpty());
            ArrayNode synonyms = node.putArray("synonyms");
            entry.synonyms().forEach(s -> synonyms.add(s.name() + "=" + s.value() + " " + s.source()));
        }
        return answer;
    }

    /** "type", "name", "ops": [[SET | DELETE | APPEND | SUBTRACT, key, value]]. */
    private JsonNode incrementalAlterConfigs(JsonNode a) throws Exception {
        Collection<AlterConfigOp> ops = new ArrayList<>();
        for (JsonNode op : a.path("ops")) {
            ConfigEntry entry = new ConfigEntry(op.get(1).asText(), op.path(2).asText());
            ops.add(new AlterConfigOp(entry, AlterConfigOp.OpType.valueOf(op.get(0).asText())));
        }
        return done(admin().incrementalAlterConfigs(Map.of(resource(a), ops)).all());
    }

    private JsonNode listConfigResources(JsonNode a) throws Exception {
        Set<ConfigResource.Type> types = new HashSet<>();
        texts(a.path("types")).forEach(t -> types.add(ConfigResource.Type.valueOf(t)));
        ArrayNode answer = Driver.JSON.createArrayNode();
        get(admin().listConfigResources(types, new ListConfigResourcesOptions()).all()).stream()
                .map(r -> r.type() + " " + r.name()).sorted().forEach(answer::add);
        return answer;
    }

    private JsonNode alterClientQuotas(JsonNode a) throws Exception {
        Map<String, String> entity = new HashMap<>();
        a.path("entity").properties().forEach(e -> entity.put(e.getKey(), e.getValue().isNull() ? null : e.getValue().asText()));
        List<ClientQuotaAlteration.Op> ops = new ArrayList<>();
        a.path("ops").properties().forEach(e ->
                ops.add(new ClientQuotaAlteration.Op(e.getKey(), e.getValue().isNull() ? null : e.getValue().asDouble())));
        return done(admin().alterClientQuotas(List.of(new ClientQuotaAlteration(new ClientQuotaEntity(entity), ops))).all());
    }

    private JsonNode describeClientQuotas() throws Exception {
        ObjectNode answer = Driver.JSON.createObjectNode();
        ClientQuotaFilter filter = ClientQuotaFilter.contains(List.of(ClientQuotaFilterComponent.ofEntityType(ClientQuotaEntity.CLIENT_ID)));
        get(admin().describeClientQuotas(filter).entities()).forEach((entity, quotas) -> {
            ObjectNode node = answer.putObject(new TreeMap<>(entity.entries()).toString());
            quotas.forEach(node::put);
        });
        return answer;
    }

    private JsonNode describeLogDirs() throws Exception {
        ArrayNode answer = Driver.JSON.createArrayNode();
        for (Map<String, LogDirDescription> dirs : get(admin().describeLogDirs(List.of(1)).allDescriptions()).values()) {
            dirs.forEach((path, description) -> {
                ObjectNode node = answer.addObject().put("path", path)
                        .put("total", description.totalBytes().orElse(-1)).put("usable", description.usableBytes().orElse(-1));
                ObjectNode replicas = node.putObject("replicas");
                description.replicaInfos().forEach((partition, info) -> replicas.put(partition.toString(), info.size()));
            });
        }
        return answer;
    }

    private JsonNode alterReplicaLogDirs(JsonNode a) throws Exception {
        TopicPartitionReplica replica = new TopicPartitionReplica(a.path("topic").asText(), a.path("partition").asInt(), 1);
        return done(admin().alterReplicaLogDirs(Map.of(replica, a.path("path").asText())).all());
    }

    private JsonNode describeReplicaLogDirs(JsonNode a) throws Exception {
        TopicPartitionReplica replica = new TopicPartitionReplica(a.path("topic").asText(), a.path("partition").asInt(), 1);
        var info = get(admin().describeReplicaLogDirs(List.of(replica)).all()).get(replica);
        return Driver.JSON.createObjectNode()
                .put("current", info.getCurrentReplicaLogDir()).put("lag", info.getCurrentReplicaOffsetLag())
                .put("future", info.getFutureReplicaLogDir()).put("futureLag", info.getFutureReplicaOffsetLag());
    }

    private JsonNode describeProducers(JsonNode a) throws Exception {
        TopicPartition partition = partition(a);
        ArrayNode answer = Driver.JSON.createArrayNode();
        get(admin().describeProducers(List.of(partition)).partitionResult(partition)).activeProducers().forEach(p -> answer.addObject()
                .put("producer_id", p.producerId()).put("epoch", p.producerEpoch()).put("last_sequence", p.lastSequence())
                .put("transaction_start", p.currentTransactionStartOffset().orElse(-1)));
        return answer;
    }

    private JsonNode describeMetadataQuorum() throws Exception {
        QuorumInfo quorum = get(admin().describeMetadataQuorum().quorumInfo());
        ObjectNode answer = Driver.JSON.createObjectNode()
                .put("leader", quorum.leaderId()).put("epoch", quorum.leaderEpoch()).put("high_watermark", quorum.highWatermark());
        ArrayNode voters = answer.putArray("voters");
        quorum.voters().forEach(v -> voters.add(v.replicaId()));
        ArrayNode observers = answer.putArray("observers");
        quorum.observers().forEach(v -> observers.add(v.replicaId()));
        return answer;
    }

    private JsonNode describeFeatures() throws Exception {
        FeatureMetadata features = get(admin().describeFeatures().featureMetadata());
        ObjectNode answer = Driver.JSON.createObjectNode();
        ObjectNode finalized = answer.putObject("finalized");
        features.finalizedFeatures().forEach((name, range) -> finalized.put(name, range.maxVersionLevel()));
        ObjectNode supported = answer.putObject("supported");
        features.supportedFeatures().forEach((name, range) -> supported.put(name, range.minVersion() + "-" + range.maxVersion()));
        return answer;
    }

    private JsonNode updateFeatures(JsonNode a) throws Exception {
        FeatureUpdate.UpgradeType type = FeatureUpdate.UpgradeType.valueOf(a.path("type").asText("UPGRADE"));
        FeatureUpdate update = new FeatureUpdate((short) a.path("level").asInt(), type);
        UpdateFeaturesOptions options = new UpdateFeaturesOptions().validateOnly(a.path("validate_only").asBoolean());
        return done(admin().updateFeatures(Map.of(a.path("feature").asText(), update), options).all());
    }

    private JsonNode electLeaders(JsonNode a) throws Exception {
        ElectionType type = ElectionType.valueOf(a.path("type").asText("PREFERRED"));
        ObjectNode answer = Driver.JSON.createObjectNode();
        get(admin().electLeaders(type, Set.of(partition(a))).partitions()).forEach((partition, error) ->
                answer.put(partition.toString(), error.map(e -> e.getClass().getSimpleName()).orElse("")));
        return answer;
    }
}
