// The admin client's calls about groups and offsets.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Supplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.ListOffsetsResult;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;

final class GroupCalls {
    private final Supplier<Admin> admin;

    GroupCalls(Supplier<Admin> admin) {
        this.admin = admin;
    }

    void register(Map<String, Driver.Command> commands) {
        commands.put("listOffsets", this::listOffsets);
        commands.put("listGroups", a -> listGroups());
        commands.put("describeConsumerGroups", this::describeConsumerGroups);
        commands.put("listConsumerGroupOffsets", this::listConsumerGroupOffsets);
        commands.put("alterConsumerGroupOffsets", this::alterConsumerGroupOffsets);
        commands.put("deleteConsumerGroupOffsets", this::deleteConsumerGroupOffsets);
        commands.put("deleteConsumerGroups", a -> AdminCalls.done(admin.get().deleteConsumerGroups(AdminCalls.texts(a.path("groups"))).all()));
        commands.put("removeMembersFromConsumerGroup", this::removeMembers);
    }

    /** "topic", "partition", "spec": earliest, latest, max_timestamp, earliest_local, latest_tiered or a timestamp. */
    private JsonNode listOffsets(JsonNode a) throws Exception {
        JsonNode wanted = a.path("spec");
        OffsetSpec spec = wanted.isNumber() ? OffsetSpec.forTimestamp(wanted.asLong()) : switch (wanted.asText()) {
            case "earliest" -> OffsetSpec.earliest();
            case "latest" -> OffsetSpec.latest();
            case "max_timestamp" -> OffsetSpec.maxTimestamp();
            case "earliest_local" -> OffsetSpec.earliestLocal();
            case "latest_tiered" -> OffsetSpec.latestTiered();
            default -> throw new IllegalArgumentException(wanted.asText());
        };
        TopicPartition partition = AdminCalls.partition(a);
        boolean committed = a.path("isolation").asText().equals("read_committed");
        ListOffsetsOptions options =
                new ListOffsetsOptions(committed ? IsolationLevel.READ_COMMITTED : IsolationLevel.READ_UNCOMMITTED);
        ListOffsetsResult.ListOffsetsResultInfo info =
                AdminCalls.get(admin.get().listOffsets(Map.of(partition, spec), options).partitionResult(partition));
        return Driver.JSON.createObjectNode().put("offset", info.offset()).put("timestamp", info.timestamp())
                .put("leader_epoch", info.leaderEpoch().orElse(-1));
    }

    private JsonNode listGroups() throws Exception {
        ObjectNode answer = Driver.JSON.createObjectNode();
        AdminCalls.get(admin.get().listGroups().all()).forEach(g -> answer.putObject(g.groupId())
                .put("type", g.type().map(Object::toString).orElse(null))
                .put("protocol", g.protocol())
                .put("state", g.groupState().map(Object::toString).orElse(null)));
        return answer;
    }

    private JsonNode describeConsumerGroups(JsonNode a) throws Exception {
        ObjectNode answer = Driver.JSON.createObjectNode();
        Map<String, ConsumerGroupDescription> groups =
                AdminCalls.get(admin.get().describeConsumerGroups(AdminCalls.texts(a.path("groups"))).all());
        groups.forEach((name, group) -> {
            ObjectNode node = answer.putObject(name).put("state", group.groupState().toString())
                    .put("assignor", group.partitionAssignor()).put("coordinator", group.coordinator().id())
                    .put("type", group.type().toString())
                    .put("epoch", group.groupEpoch().orElse(null)).put("target_epoch", group.targetAssignmentEpoch().orElse(null));
            ArrayNode members = node.putArray("members");
            group.members().forEach(m -> {
                ObjectNode member = members.addObject().put("client_id", m.clientId()).put("host", m.host())
                        .put("instance", m.groupInstanceId().orElse(null))
                        .put("epoch", m.memberEpoch().orElse(null)).put("upgraded", m.upgraded().orElse(null));
                Set<String> assigned = new TreeSet<>();
                m.assignment().topicPartitions().forEach(p -> assigned.add(p.toString()));
                ArrayNode partitions = member.putArray("assigned");
                assigned.forEach(partitions::add);
            });
        });
        return answer;
    }

    private JsonNode listConsumerGroupOffsets(JsonNode a) throws Exception {
        String group = a.path("group").asText();
        Map<String, OffsetAndMetadata> sorted = new TreeMap<>();
        AdminCalls.get(admin.get().listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata())
                .forEach((partition, offset) -> sorted.put(partition.toString(), offset));
        ObjectNode answer = Driver.JSON.createObjectNode();
        sorted.forEach((partition, offset) -> {
            if (offset != null) {
                answer.putObject(partition).put("offset", offset.offset()).put("metadata", offset.metadata())
                        .put("leader_epoch", offset.leaderEpoch().orElse(-1));
            }
        });
        return answer;
    }

    /** "group", "offsets": [{"topic", "partition", "offset", "metadata"}]. */
    private JsonNode alterConsumerGroupOffsets(JsonNode a) throws Exception {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (JsonNode offset : a.path("offsets")) {
            offsets.put(AdminCalls.partition(offset), new OffsetAndMetadata(offset.path("offset").asLong(), offset.path("metadata").asText("")));
        }
        return AdminCalls.done(admin.get().alterConsumerGroupOffsets(a.path("group").asText(), offsets).all());
    }

    private JsonNode deleteConsumerGroupOffsets(JsonNode a) throws Exception {
        Set<TopicPartition> partitions = new HashSet<>();
        a.path("partitions").forEach(p -> partitions.add(AdminCalls.partition(p)));
        return AdminCalls.done(admin.get().deleteConsumerGroupOffsets(a.path("group").asText(), partitions).all());
    }

    /** "group", "instances": static members by name; all members if none is named. */
    private JsonNode removeMembers(JsonNode a) throws Exception {
        List<MemberToRemove> members = AdminCalls.texts(a.path("instances")).stream().map(MemberToRemove::new).toList();
        RemoveMembersFromConsumerGroupOptions options =
                members.isEmpty() ? new RemoveMembersFromConsumerGroupOptions() : new RemoveMembersFromConsumerGroupOptions(members);
        return AdminCalls.done(admin.get().removeMembersFromConsumerGroup(a.path("group").asText(), options).all());
    }
}
