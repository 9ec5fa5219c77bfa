//! Which response belongs to which request, for the calls of this crate.

use ottla_codec::Message;
use ottla_protocol::*;

/// A request with its API key and the type of its response.
pub trait Request: Message {
    /// What the broker answers.
    type Response: Message;
    /// Key of the API.
    const API: ApiKey;
}

macro_rules! requests {
    ($($api:ident: $request:ident => $response:ident;)*) => {
        $(impl Request for $request {
            type Response = $response;
            const API: ApiKey = ApiKey::$api;
        })*
    };
}

requests! {
    Produce: ProduceRequest => ProduceResponse;
    Fetch: FetchRequest => FetchResponse;
    ListOffsets: ListOffsetsRequest => ListOffsetsResponse;
    Metadata: MetadataRequest => MetadataResponse;
    OffsetCommit: OffsetCommitRequest => OffsetCommitResponse;
    OffsetFetch: OffsetFetchRequest => OffsetFetchResponse;
    FindCoordinator: FindCoordinatorRequest => FindCoordinatorResponse;
    JoinGroup: JoinGroupRequest => JoinGroupResponse;
    Heartbeat: HeartbeatRequest => HeartbeatResponse;
    LeaveGroup: LeaveGroupRequest => LeaveGroupResponse;
    SyncGroup: SyncGroupRequest => SyncGroupResponse;
    DescribeGroups: DescribeGroupsRequest => DescribeGroupsResponse;
    ListGroups: ListGroupsRequest => ListGroupsResponse;
    ApiVersions: ApiVersionsRequest => ApiVersionsResponse;
    CreateTopics: CreateTopicsRequest => CreateTopicsResponse;
    DeleteTopics: DeleteTopicsRequest => DeleteTopicsResponse;
    DeleteRecords: DeleteRecordsRequest => DeleteRecordsResponse;
    InitProducerId: InitProducerIdRequest => InitProducerIdResponse;
    OffsetForLeaderEpoch: OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse;
    DescribeConfigs: DescribeConfigsRequest => DescribeConfigsResponse;
    AlterReplicaLogDirs: AlterReplicaLogDirsRequest => AlterReplicaLogDirsResponse;
    DescribeLogDirs: DescribeLogDirsRequest => DescribeLogDirsResponse;
    CreatePartitions: CreatePartitionsRequest => CreatePartitionsResponse;
    DeleteGroups: DeleteGroupsRequest => DeleteGroupsResponse;
    ElectLeaders: ElectLeadersRequest => ElectLeadersResponse;
    IncrementalAlterConfigs: IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse;
    OffsetDelete: OffsetDeleteRequest => OffsetDeleteResponse;
    DescribeClientQuotas: DescribeClientQuotasRequest => DescribeClientQuotasResponse;
    AlterClientQuotas: AlterClientQuotasRequest => AlterClientQuotasResponse;
    DescribeUserScramCredentials: DescribeUserScramCredentialsRequest => DescribeUserScramCredentialsResponse;
    AlterUserScramCredentials: AlterUserScramCredentialsRequest => AlterUserScramCredentialsResponse;
    DescribeQuorum: DescribeQuorumRequest => DescribeQuorumResponse;
    AlterPartition: AlterPartitionRequest => AlterPartitionResponse;
    UpdateFeatures: UpdateFeaturesRequest => UpdateFeaturesResponse;
    Envelope: EnvelopeRequest => EnvelopeResponse;
    FetchSnapshot: FetchSnapshotRequest => FetchSnapshotResponse;
    DescribeCluster: DescribeClusterRequest => DescribeClusterResponse;
    DescribeProducers: DescribeProducersRequest => DescribeProducersResponse;
    BrokerRegistration: BrokerRegistrationRequest => BrokerRegistrationResponse;
    BrokerHeartbeat: BrokerHeartbeatRequest => BrokerHeartbeatResponse;
    UnregisterBroker: UnregisterBrokerRequest => UnregisterBrokerResponse;
    AllocateProducerIds: AllocateProducerIdsRequest => AllocateProducerIdsResponse;
    ControllerRegistration: ControllerRegistrationRequest => ControllerRegistrationResponse;
    AssignReplicasToDirs: AssignReplicasToDirsRequest => AssignReplicasToDirsResponse;
    ConsumerGroupDescribe: ConsumerGroupDescribeRequest => ConsumerGroupDescribeResponse;
    ListConfigResources: ListConfigResourcesRequest => ListConfigResourcesResponse;
    DescribeTopicPartitions: DescribeTopicPartitionsRequest => DescribeTopicPartitionsResponse;
}
