//! Kafka's error codes, as one table: code, name, whether a client may retry, meaning.
//!
//! The texts are ours; codes, names and retry flags are Kafka's (`Errors` in its client library).

macro_rules! error_codes {
    ($($code:literal $variant:ident $name:literal $retriable:literal $message:literal;)*) => {
        /// Error code of a Kafka response.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        #[repr(i16)]
        pub enum ErrorCode {
            $(#[doc = $message] $variant = $code,)*
        }

        impl ErrorCode {
            /// Every code, in ascending order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The error with this code, or `None` for a number that Kafka has not assigned.
            pub const fn from_code(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Kafka's name of the error, such as `NOT_LEADER_OR_FOLLOWER`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What the error means, as a short sentence without a full stop.
            pub const fn message(self) -> &'static str {
                match self {
                    $(Self::$variant => $message,)*
                }
            }

            /// Whether a client may send the same request again.
            pub const fn retriable(self) -> bool {
                match self {
                    $(Self::$variant => $retriable,)*
                }
            }
        }
    };
}

error_codes! {
    -1 UnknownServerError "UNKNOWN_SERVER_ERROR" false "the server met an unexpected error";
    0 None "NONE" false "no error";
    1 OffsetOutOfRange "OFFSET_OUT_OF_RANGE" false "the offset is outside the range of offsets that the partition holds";
    2 CorruptMessage "CORRUPT_MESSAGE" true "the message failed its checksum, is too large, has a null key on a compacted topic, or is otherwise corrupt";
    3 UnknownTopicOrPartition "UNKNOWN_TOPIC_OR_PARTITION" true "this server does not host this topic-partition";
    4 InvalidFetchSize "INVALID_FETCH_SIZE" false "the requested fetch size is invalid";
    5 LeaderNotAvailable "LEADER_NOT_AVAILABLE" true "there is no leader for this topic-partition for the moment";
    6 NotLeaderOrFollower "NOT_LEADER_OR_FOLLOWER" true "this server is neither leader nor follower of this topic-partition, or not the one that the request needs";
    7 RequestTimedOut "REQUEST_TIMED_OUT" true "the request timed out";
    8 BrokerNotAvailable "BROKER_NOT_AVAILABLE" false "the broker is not available";
    9 ReplicaNotAvailable "REPLICA_NOT_AVAILABLE" true "the replica is not available for the requested topic-partition";
    10 MessageTooLarge "MESSAGE_TOO_LARGE" false "the message is larger than the largest size the server accepts";
    11 StaleControllerEpoch "STALE_CONTROLLER_EPOCH" false "the controller moved to another broker";
    12 OffsetMetadataTooLarge "OFFSET_METADATA_TOO_LARGE" false "the metadata field of the offset request is too large";
    13 NetworkException "NETWORK_EXCEPTION" true "the server disconnected before it answered";
    14 CoordinatorLoadInProgress "COORDINATOR_LOAD_IN_PROGRESS" true "the coordinator is loading and cannot answer yet";
    15 CoordinatorNotAvailable "COORDINATOR_NOT_AVAILABLE" true "the coordinator is not available";
    16 NotCoordinator "NOT_COORDINATOR" true "this is not the correct coordinator";
    17 InvalidTopicException "INVALID_TOPIC_EXCEPTION" false "the topic name is invalid or the topic may not be used this way";
    18 RecordListTooLarge "RECORD_LIST_TOO_LARGE" false "the message batch is larger than the largest segment size of the server";
    19 NotEnoughReplicas "NOT_ENOUGH_REPLICAS" true "fewer in-sync replicas than required";
    20 NotEnoughReplicasAfterAppend "NOT_ENOUGH_REPLICAS_AFTER_APPEND" true "the messages were written, but to fewer in-sync replicas than required";
    21 InvalidRequiredAcks "INVALID_REQUIRED_ACKS" false "the value of acks is invalid";
    22 IllegalGeneration "ILLEGAL_GENERATION" false "the group generation is not valid";
    23 InconsistentGroupProtocol "INCONSISTENT_GROUP_PROTOCOL" false "the member's protocols do not match those of the group";
    24 InvalidGroupId "INVALID_GROUP_ID" false "the group id is invalid";
    25 UnknownMemberId "UNKNOWN_MEMBER_ID" false "the coordinator does not know this member";
    26 InvalidSessionTimeout "INVALID_SESSION_TIMEOUT" false "the session timeout is outside the range that the broker allows";
    27 RebalanceInProgress "REBALANCE_IN_PROGRESS" false "the group is rebalancing, so a rejoin is needed";
    28 InvalidCommitOffsetSize "INVALID_COMMIT_OFFSET_SIZE" false "the offset commit is too large to be stored";
    29 TopicAuthorizationFailed "TOPIC_AUTHORIZATION_FAILED" false "topic authorization failed";
    30 GroupAuthorizationFailed "GROUP_AUTHORIZATION_FAILED" false "group authorization failed";
    31 ClusterAuthorizationFailed "CLUSTER_AUTHORIZATION_FAILED" false "cluster authorization failed";
    32 InvalidTimestamp "INVALID_TIMESTAMP" false "the timestamp of the message is outside the acceptable range";
    33 UnsupportedSaslMechanism "UNSUPPORTED_SASL_MECHANISM" false "the broker does not support the requested SASL mechanism";
    34 IllegalSaslState "ILLEGAL_SASL_STATE" false "the request is not valid in the current SASL state";
    35 UnsupportedVersion "UNSUPPORTED_VERSION" false "the version of the API is not supported";
    36 TopicAlreadyExists "TOPIC_ALREADY_EXISTS" false "a topic with this name already exists";
    37 InvalidPartitions "INVALID_PARTITIONS" false "the number of partitions is invalid";
    38 InvalidReplicationFactor "INVALID_REPLICATION_FACTOR" false "the replication factor is below 1 or above the number of available brokers";
    39 InvalidReplicaAssignment "INVALID_REPLICA_ASSIGNMENT" false "the replica assignment is invalid";
    40 InvalidConfig "INVALID_CONFIG" false "the configuration is invalid";
    41 NotController "NOT_CONTROLLER" true "this is not the controller of the cluster";
    42 InvalidRequest "INVALID_REQUEST" false "the request is malformed or inconsistent; see the server's log for details";
    43 UnsupportedForMessageFormat "UNSUPPORTED_FOR_MESSAGE_FORMAT" false "the message format of the broker does not support the request";
    44 PolicyViolation "POLICY_VIOLATION" false "the request parameters do not satisfy the configured policy";
    45 OutOfOrderSequenceNumber "OUT_OF_ORDER_SEQUENCE_NUMBER" false "the broker received a sequence number out of order";
    46 DuplicateSequenceNumber "DUPLICATE_SEQUENCE_NUMBER" false "the broker received a duplicate sequence number";
    47 InvalidProducerEpoch "INVALID_PRODUCER_EPOCH" false "the producer used an old epoch";
    48 InvalidTxnState "INVALID_TXN_STATE" false "the producer tried a transactional operation in an invalid state";
    49 InvalidProducerIdMapping "INVALID_PRODUCER_ID_MAPPING" false "the producer does not use the producer id that its transactional id is mapped to";
    50 InvalidTransactionTimeout "INVALID_TRANSACTION_TIMEOUT" false "the transaction timeout is larger than the largest value that the broker allows";
    51 ConcurrentTransactions "CONCURRENT_TRANSACTIONS" true "another operation on the same transaction is going on";
    52 TransactionCoordinatorFenced "TRANSACTION_COORDINATOR_FENCED" false "the transaction coordinator that sent the marker is no longer the current one";
    53 TransactionalIdAuthorizationFailed "TRANSACTIONAL_ID_AUTHORIZATION_FAILED" false "transactional id authorization failed";
    54 SecurityDisabled "SECURITY_DISABLED" false "security features are disabled";
    55 OperationNotAttempted "OPERATION_NOT_ATTEMPTED" false "the broker did not attempt this operation";
    56 KafkaStorageError "KAFKA_STORAGE_ERROR" true "disk error while the log was accessed; see the server's log";
    57 LogDirNotFound "LOG_DIR_NOT_FOUND" false "the given log directory is not in the broker configuration";
    58 SaslAuthenticationFailed "SASL_AUTHENTICATION_FAILED" false "SASL authentication failed";
    59 UnknownProducerId "UNKNOWN_PRODUCER_ID" false "the broker has no record of this producer id for the partition";
    60 ReassignmentInProgress "REASSIGNMENT_IN_PROGRESS" false "a reassignment of the partition is going on";
    61 DelegationTokenAuthDisabled "DELEGATION_TOKEN_AUTH_DISABLED" false "delegation tokens are not enabled";
    62 DelegationTokenNotFound "DELEGATION_TOKEN_NOT_FOUND" false "the delegation token is not found on the server";
    63 DelegationTokenOwnerMismatch "DELEGATION_TOKEN_OWNER_MISMATCH" false "the principal is not the owner of the delegation token, nor a renewer";
    64 DelegationTokenRequestNotAllowed "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED" false "delegation token requests are not allowed on unauthenticated or token-authenticated channels";
    65 DelegationTokenAuthorizationFailed "DELEGATION_TOKEN_AUTHORIZATION_FAILED" false "delegation token authorization failed";
    66 DelegationTokenExpired "DELEGATION_TOKEN_EXPIRED" false "the delegation token is expired";
    67 InvalidPrincipalType "INVALID_PRINCIPAL_TYPE" false "the principal type is not supported";
    68 NonEmptyGroup "NON_EMPTY_GROUP" false "the group is not empty";
    69 GroupIdNotFound "GROUP_ID_NOT_FOUND" false "the group id does not exist";
    70 FetchSessionIdNotFound "FETCH_SESSION_ID_NOT_FOUND" true "the fetch session id is not found";
    71 InvalidFetchSessionEpoch "INVALID_FETCH_SESSION_EPOCH" true "the fetch session epoch is invalid";
    72 ListenerNotFound "LISTENER_NOT_FOUND" true "the leader broker has no listener that matches the one the request came by";
    73 TopicDeletionDisabled "TOPIC_DELETION_DISABLED" false "topic deletion is disabled";
    74 FencedLeaderEpoch "FENCED_LEADER_EPOCH" true "the leader epoch in the request is older than the epoch on the broker";
    75 UnknownLeaderEpoch "UNKNOWN_LEADER_EPOCH" true "the leader epoch in the request is newer than the epoch on the broker";
    76 UnsupportedCompressionType "UNSUPPORTED_COMPRESSION_TYPE" false "the requesting client does not support the compression type of the partition";
    77 StaleBrokerEpoch "STALE_BROKER_EPOCH" false "the broker epoch has changed";
    78 OffsetNotAvailable "OFFSET_NOT_AVAILABLE" true "the leader's high watermark has not caught up after its recent election, so the offset is not available";
    79 MemberIdRequired "MEMBER_ID_REQUIRED" false "the group member needs a valid member id before it enters the group";
    80 PreferredLeaderNotAvailable "PREFERRED_LEADER_NOT_AVAILABLE" true "the preferred leader is not available";
    81 GroupMaxSizeReached "GROUP_MAX_SIZE_REACHED" false "the group has reached its largest size";
    82 FencedInstanceId "FENCED_INSTANCE_ID" false "another member with the same instance id took the place of this one";
    83 EligibleLeadersNotAvailable "ELIGIBLE_LEADERS_NOT_AVAILABLE" true "no eligible leaders are available";
    84 ElectionNotNeeded "ELECTION_NOT_NEEDED" true "no leader election is needed";
    85 NoReassignmentInProgress "NO_REASSIGNMENT_IN_PROGRESS" false "no reassignment is going on";
    86 GroupSubscribedToTopic "GROUP_SUBSCRIBED_TO_TOPIC" false "the offset cannot be deleted while the group is subscribed to the topic";
    87 InvalidRecord "INVALID_RECORD" false "the record failed validation on the broker";
    88 UnstableOffsetCommit "UNSTABLE_OFFSET_COMMIT" true "there are offset commits of open transactions; retry later";
    89 ThrottlingQuotaExceeded "THROTTLING_QUOTA_EXCEEDED" true "the throttling quota is exceeded";
    90 ProducerFenced "PRODUCER_FENCED" false "a newer producer with the same transactional id fences this one";
    91 ResourceNotFound "RESOURCE_NOT_FOUND" false "the request names a resource that does not exist";
    92 DuplicateResource "DUPLICATE_RESOURCE" false "the request names the same resource more than once";
    93 UnacceptableCredential "UNACCEPTABLE_CREDENTIAL" false "the credential is not acceptable";
    94 InconsistentVoterSet "INCONSISTENT_VOTER_SET" false "the voter set of one side differs from the other's";
    95 InvalidUpdateVersion "INVALID_UPDATE_VERSION" false "the given update version is invalid";
    96 FeatureUpdateFailed "FEATURE_UPDATE_FAILED" false "features could not be updated because of an unexpected error";
    97 PrincipalDeserializationFailure "PRINCIPAL_DESERIALIZATION_FAILURE" false "the forwarded principal could not be decoded";
    98 SnapshotNotFound "SNAPSHOT_NOT_FOUND" false "the requested snapshot is not found";
    99 PositionOutOfRange "POSITION_OUT_OF_RANGE" false "the requested position is outside the snapshot";
    100 UnknownTopicId "UNKNOWN_TOPIC_ID" true "this server does not host this topic id";
    101 DuplicateBrokerRegistration "DUPLICATE_BROKER_REGISTRATION" false "this broker id is already in use";
    102 BrokerIdNotRegistered "BROKER_ID_NOT_REGISTERED" false "the given broker id is not registered";
    103 InconsistentTopicId "INCONSISTENT_TOPIC_ID" true "the topic id in the log differs from the one in the request";
    104 InconsistentClusterId "INCONSISTENT_CLUSTER_ID" false "the cluster id in the request differs from the cluster's";
    105 TransactionalIdNotFound "TRANSACTIONAL_ID_NOT_FOUND" false "the transactional id is not found";
    106 FetchSessionTopicIdError "FETCH_SESSION_TOPIC_ID_ERROR" true "the fetch session met inconsistent topic ids";
    107 IneligibleReplica "INELIGIBLE_REPLICA" false "the new ISR contains at least one ineligible replica";
    108 NewLeaderElected "NEW_LEADER_ELECTED" false "the AlterPartition request updated the partition state, but its leader has changed";
    109 OffsetMovedToTieredStorage "OFFSET_MOVED_TO_TIERED_STORAGE" false "the requested offset moved to tiered storage";
    110 FencedMemberEpoch "FENCED_MEMBER_EPOCH" false "the coordinator fenced the member epoch";
    111 UnreleasedInstanceId "UNRELEASED_INSTANCE_ID" false "another member in the group still uses this instance id";
    112 UnsupportedAssignor "UNSUPPORTED_ASSIGNOR" false "no assignor, or its version range, is supported by the group";
    113 StaleMemberEpoch "STALE_MEMBER_EPOCH" false "the member epoch is stale; retry after the next group heartbeat";
    114 MismatchedEndpointType "MISMATCHED_ENDPOINT_TYPE" false "the request was sent to an endpoint of the wrong type";
    115 UnsupportedEndpointType "UNSUPPORTED_ENDPOINT_TYPE" false "this endpoint type is not supported yet";
    116 UnknownControllerId "UNKNOWN_CONTROLLER_ID" false "the controller id is not known";
    117 UnknownSubscriptionId "UNKNOWN_SUBSCRIPTION_ID" false "the client sent a push telemetry request with an invalid or outdated subscription id";
    118 TelemetryTooLarge "TELEMETRY_TOO_LARGE" false "the telemetry payload is larger than the broker accepts";
    119 InvalidRegistration "INVALID_REGISTRATION" false "the controller considers the broker registration invalid";
    120 TransactionAbortable "TRANSACTION_ABORTABLE" false "the server met an error with the transaction; the client can abort it and go on";
    121 InvalidRecordState "INVALID_RECORD_STATE" false "the record state is invalid: the acknowledgement of delivery cannot be completed";
    122 ShareSessionNotFound "SHARE_SESSION_NOT_FOUND" true "the share session is not found";
    123 InvalidShareSessionEpoch "INVALID_SHARE_SESSION_EPOCH" true "the share session epoch is invalid";
    124 FencedStateEpoch "FENCED_STATE_EPOCH" false "the share coordinator rejected the request because the share-group state epoch did not match";
    125 InvalidVoterKey "INVALID_VOTER_KEY" false "the voter key does not match the receiving replica's key";
    126 DuplicateVoter "DUPLICATE_VOTER" false "the voter is already part of the set of voters";
    127 VoterNotFound "VOTER_NOT_FOUND" false "the voter is not part of the set of voters";
    128 InvalidRegularExpression "INVALID_REGULAR_EXPRESSION" false "the regular expression is not valid";
    129 RebootstrapRequired "REBOOTSTRAP_REQUIRED" false "client metadata is stale; the client should rebootstrap to obtain new metadata";
    130 StreamsInvalidTopology "STREAMS_INVALID_TOPOLOGY" false "the supplied topology is invalid";
    131 StreamsInvalidTopologyEpoch "STREAMS_INVALID_TOPOLOGY_EPOCH" false "the supplied topology epoch is invalid";
    132 StreamsTopologyFenced "STREAMS_TOPOLOGY_FENCED" false "the supplied topology epoch is outdated";
    133 ShareSessionLimitReached "SHARE_SESSION_LIMIT_REACHED" true "the limit of share sessions has been reached";
    134 GroupDeletionFailed "GROUP_DELETION_FAILED" false "the deletion of the group failed";
    135 StreamsTopologyDescriptionUpdateFailed "STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED" false "the update of the topology description failed";
    136 ControllerIdNotRegistered "CONTROLLER_ID_NOT_REGISTERED" false "the given controller id is not registered";
}

impl ErrorCode {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Whether this is [`ErrorCode::None`].
    pub const fn is_none(self) -> bool {
        matches!(self, Self::None)
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorCode;

    #[test]
    fn codes_are_dense_and_map_both_ways() {
        for (at, &error) in ErrorCode::ALL.iter().enumerate() {
            assert_eq!(usize::try_from(error.code() + 1), Ok(at), "{error}");
            assert_eq!(ErrorCode::from_code(error.code()), Some(error));
        }
        assert_eq!(ErrorCode::from_code(9999), None);
    }
}
