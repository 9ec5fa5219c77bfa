//! The form an error takes in each answer, as Kafka gives it.

use crate::api::{
    DescribedGroup, GroupError, JoinGroupResponse, LeaveGroupResponse, OffsetCommitTopicResult,
    Request, Response, SyncGroupResponse,
};
use crate::names::{GroupId, ProtocolName, ProtocolType};

impl Request {
    /// The answer to a request that is refused as a whole, for a caller that has no shard to ask.
    pub fn refuse(self, error: GroupError) -> Response {
        refuse(self, error)
    }
}

/// The answer to a request that is refused as a whole.
pub(crate) fn refuse(request: Request, error: GroupError) -> Response {
    match request {
        Request::JoinGroup(_) => Response::JoinGroup(join(error)),
        Request::SyncGroup(_) => Response::SyncGroup(sync(error)),
        // While groups are loaded a heartbeat cannot be judged, and its sender need not care.
        Request::Heartbeat(_) if error == GroupError::CoordinatorLoadInProgress => {
            Response::Heartbeat(Ok(()))
        }
        Request::Heartbeat(_) => Response::Heartbeat(Err(error)),
        Request::LeaveGroup(_) => Response::LeaveGroup(leave(error)),
        Request::OffsetCommit(request) => {
            let topic = |topic: crate::api::OffsetCommitTopic| OffsetCommitTopicResult {
                topic: topic.topic,
                topic_id: topic.topic_id,
                partitions: topic.partitions.iter().map(|p| (p.partition, Err(error))).collect(),
            };
            Response::OffsetCommit(request.topics.into_iter().map(topic).collect())
        }
        Request::OffsetFetch(_) => Response::OffsetFetch(Err(error)),
        Request::OffsetDelete(_) => Response::OffsetDelete(Err(error)),
        Request::DescribeGroups(groups) => Response::DescribeGroups(
            groups.into_iter().map(|group| describe(group, error)).collect(),
        ),
        Request::ListGroups(_) => Response::ListGroups(Err(error)),
        Request::ConsumerGroupHeartbeat(_) => Response::ConsumerGroupHeartbeat(Err(error.into())),
        Request::ConsumerGroupDescribe(groups) => Response::ConsumerGroupDescribe(
            groups.into_iter().map(|group| (group, Err(error.into()))).collect(),
        ),
        Request::DeleteGroups(groups) => {
            Response::DeleteGroups(groups.into_iter().map(|group| (group, Err(error))).collect())
        }
    }
}

/// The answer to a request whose records were not committed.
pub(crate) fn fail(response: Response, error: GroupError) -> Response {
    match response {
        Response::JoinGroup(_) => Response::JoinGroup(join(error)),
        Response::SyncGroup(_) => Response::SyncGroup(sync(error)),
        Response::Heartbeat(_) => Response::Heartbeat(Err(error)),
        Response::LeaveGroup(_) => Response::LeaveGroup(leave(error)),
        Response::OffsetCommit(mut topics) => {
            for (_, result) in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                *result = Err(error);
            }
            Response::OffsetCommit(topics)
        }
        Response::OffsetFetch(_) => {
            // Consumers before 3.9 do not know COORDINATOR_NOT_AVAILABLE here, and must look for
            // the coordinator again anyway.
            let unavailable = error == GroupError::CoordinatorNotAvailable;
            let error = if unavailable { GroupError::NotCoordinator } else { error };
            Response::OffsetFetch(Err(error))
        }
        Response::OffsetDelete(_) => Response::OffsetDelete(Err(error)),
        Response::DescribeGroups(groups) => {
            let groups = groups.into_iter().map(|group| describe(group.group, error));
            Response::DescribeGroups(groups.collect())
        }
        Response::ListGroups(_) => Response::ListGroups(Err(error)),
        Response::ConsumerGroupHeartbeat(_) => Response::ConsumerGroupHeartbeat(Err(error.into())),
        Response::ConsumerGroupDescribe(groups) => Response::ConsumerGroupDescribe(
            groups.into_iter().map(|(group, _)| (group, Err(error.into()))).collect(),
        ),
        Response::DeleteGroups(groups) => Response::DeleteGroups(
            groups.into_iter().map(|(group, _)| (group, Err(error))).collect(),
        ),
    }
}

fn join(error: GroupError) -> JoinGroupResponse {
    JoinGroupResponse { error: Some(error), ..JoinGroupResponse::default() }
}

fn sync(error: GroupError) -> SyncGroupResponse {
    SyncGroupResponse { error: Some(error), ..SyncGroupResponse::default() }
}

fn leave(error: GroupError) -> LeaveGroupResponse {
    LeaveGroupResponse { error: Some(error), ..LeaveGroupResponse::default() }
}

fn describe(group: GroupId, error: GroupError) -> DescribedGroup {
    DescribedGroup {
        group,
        error: Some(error),
        error_message: None,
        state: "",
        protocol_type: ProtocolType::default(),
        protocol_name: ProtocolName::default(),
        members: Vec::new(),
    }
}
