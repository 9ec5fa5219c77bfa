//! The table of handlers: which function answers which API.

use std::sync::Arc;

use ottla_codec::{Message, Reader};
use ottla_net::{Answer, Handled};
use ottla_protocol::*;

use crate::api;
use crate::api::controller::{cluster, configs, fetch, partitions, quorum, registration, topics};
use crate::dispatch::{ListenerKind, Reply, RequestContext, serve};
use crate::shared::Shared;

/// Calls the handler of the request's API. ApiVersions is handled before, by the dispatcher.
pub(crate) fn route(shared: &Arc<Shared>, ctx: RequestContext, body: Reader) -> Handled {
    match ctx.kind {
        ListenerKind::Broker => broker(shared, ctx, body),
        ListenerKind::Controller => controller(shared, ctx, body),
    }
}

fn broker(shared: &Arc<Shared>, ctx: RequestContext, body: Reader) -> Handled {
    match ctx.api {
        ApiKey::Produce => serve(shared, ctx, body, api::produce::handle),
        ApiKey::Fetch => serve(shared, ctx, body, api::fetch::handle),
        ApiKey::ListOffsets => serve(shared, ctx, body, api::list_offsets::handle),
        ApiKey::Metadata => serve(shared, ctx, body, api::metadata::handle),
        ApiKey::OffsetForLeaderEpoch => {
            serve(shared, ctx, body, api::offset_for_leader_epoch::handle)
        }
        ApiKey::DeleteRecords => serve(shared, ctx, body, api::delete_records::handle),
        ApiKey::DescribeProducers => serve(shared, ctx, body, api::describe_producers::handle),
        ApiKey::DescribeLogDirs => serve(shared, ctx, body, api::log_dirs::describe),
        ApiKey::AlterReplicaLogDirs => serve(shared, ctx, body, api::log_dirs::alter),
        ApiKey::DescribeCluster => serve(shared, ctx, body, api::describe_cluster::handle),
        ApiKey::DescribeTopicPartitions => {
            serve(shared, ctx, body, api::describe_topic_partitions::handle)
        }
        ApiKey::OffsetCommit => serve(shared, ctx, body, api::offset_commit::handle),
        ApiKey::OffsetFetch => serve(shared, ctx, body, api::offset_fetch::handle),
        ApiKey::FindCoordinator => serve(shared, ctx, body, api::find_coordinator::handle),
        ApiKey::JoinGroup => serve(shared, ctx, body, api::join_group::handle),
        ApiKey::Heartbeat => serve(shared, ctx, body, api::heartbeat::handle),
        ApiKey::LeaveGroup => serve(shared, ctx, body, api::leave_group::handle),
        ApiKey::SyncGroup => serve(shared, ctx, body, api::sync_group::handle),
        ApiKey::DescribeGroups => serve(shared, ctx, body, api::describe_groups::handle),
        ApiKey::ListGroups => serve(shared, ctx, body, api::list_groups::handle),
        ApiKey::ConsumerGroupHeartbeat => {
            serve(shared, ctx, body, api::consumer_group_heartbeat::handle)
        }
        ApiKey::ConsumerGroupDescribe => {
            serve(shared, ctx, body, api::consumer_group_describe::handle)
        }
        ApiKey::InitProducerId => serve(shared, ctx, body, api::init_producer_id::handle),
        ApiKey::DeleteGroups => serve(shared, ctx, body, api::delete_groups::handle),
        ApiKey::OffsetDelete => serve(shared, ctx, body, api::offset_delete::handle),
        ApiKey::IncrementalAlterConfigs => {
            serve(shared, ctx, body, api::alter_configs::incremental)
        }
        ApiKey::AlterConfigs => serve(shared, ctx, body, api::alter_configs::replace),
        ApiKey::DescribeConfigs => serve(shared, ctx, body, api::describe_configs::handle),
        ApiKey::DescribeUserScramCredentials => {
            serve(shared, ctx, body, api::describe_user_scram_credentials::handle)
        }
        ApiKey::DescribeAcls => serve(shared, ctx, body, api::acls::describe),
        ApiKey::CreateAcls => serve(shared, ctx, body, api::acls::create),
        ApiKey::DeleteAcls => serve(shared, ctx, body, api::acls::delete),
        ApiKey::DescribeClientQuotas => serve(shared, ctx, body, api::client_quotas::handle),
        ApiKey::ListConfigResources => serve(shared, ctx, body, api::list_config_resources::handle),
        _ => forwarded(shared, ctx, body),
    }
}

/// What a broker passes on to the active controller as it came.
fn forwarded(shared: &Arc<Shared>, ctx: RequestContext, body: Reader) -> Handled {
    match ctx.api {
        ApiKey::CreateTopics => {
            forward::<CreateTopicsRequest, CreateTopicsResponse>(shared, ctx, body)
        }
        ApiKey::DeleteTopics => {
            forward::<DeleteTopicsRequest, DeleteTopicsResponse>(shared, ctx, body)
        }
        ApiKey::CreatePartitions => {
            forward::<CreatePartitionsRequest, CreatePartitionsResponse>(shared, ctx, body)
        }
        ApiKey::ElectLeaders => {
            forward::<ElectLeadersRequest, ElectLeadersResponse>(shared, ctx, body)
        }
        ApiKey::AlterClientQuotas => {
            forward::<AlterClientQuotasRequest, AlterClientQuotasResponse>(shared, ctx, body)
        }
        ApiKey::UpdateFeatures => {
            forward::<UpdateFeaturesRequest, UpdateFeaturesResponse>(shared, ctx, body)
        }
        ApiKey::UnregisterBroker => {
            forward::<UnregisterBrokerRequest, UnregisterBrokerResponse>(shared, ctx, body)
        }
        ApiKey::DescribeQuorum => {
            forward::<DescribeQuorumRequest, DescribeQuorumResponse>(shared, ctx, body)
        }
        other => unserved(other),
    }
}

/// Passes a request on to the active controller.
fn forward<Q: Message, R: Message + Send + 'static>(
    shared: &Arc<Shared>,
    ctx: RequestContext,
    body: Reader,
) -> Handled {
    serve(shared, ctx, body, |shared, ctx, request: Q| -> Reply<R> {
        match shared.forwarder.get() {
            Some(forwarder) => forwarder.forward(ctx, &request),
            None => Reply::Close("this node cannot reach a controller".into()),
        }
    })
}

fn controller(shared: &Arc<Shared>, ctx: RequestContext, body: Reader) -> Handled {
    match ctx.api {
        ApiKey::DescribeCluster => serve(shared, ctx, body, api::describe_cluster::handle),
        ApiKey::Envelope => serve(shared, ctx, body, api::envelope::handle),
        ApiKey::Fetch => serve(shared, ctx, body, fetch::fetch),
        ApiKey::FetchSnapshot => serve(shared, ctx, body, fetch::fetch_snapshot),
        ApiKey::BrokerRegistration => serve(shared, ctx, body, registration::register_broker),
        ApiKey::BrokerHeartbeat => serve(shared, ctx, body, registration::heartbeat),
        ApiKey::ControllerRegistration => {
            serve(shared, ctx, body, registration::register_controller)
        }
        ApiKey::UnregisterBroker => serve(shared, ctx, body, registration::unregister_broker),
        ApiKey::AllocateProducerIds => {
            serve(shared, ctx, body, registration::allocate_producer_ids)
        }
        ApiKey::AssignReplicasToDirs => serve(shared, ctx, body, registration::assign_replicas),
        ApiKey::CreateTopics => serve(shared, ctx, body, topics::create),
        ApiKey::DeleteTopics => serve(shared, ctx, body, topics::delete),
        ApiKey::CreatePartitions => serve(shared, ctx, body, topics::create_partitions),
        ApiKey::AlterPartition => serve(shared, ctx, body, partitions::alter),
        ApiKey::ElectLeaders => serve(shared, ctx, body, partitions::elect),
        ApiKey::IncrementalAlterConfigs => serve(shared, ctx, body, configs::incremental),
        ApiKey::AlterConfigs => serve(shared, ctx, body, configs::replace),
        ApiKey::AlterClientQuotas => serve(shared, ctx, body, configs::quotas),
        ApiKey::UpdateFeatures => serve(shared, ctx, body, cluster::update_features),
        ApiKey::DescribeQuorum => serve(shared, ctx, body, quorum::describe),
        ApiKey::DescribeAcls => serve(shared, ctx, body, api::acls::describe),
        ApiKey::CreateAcls => serve(shared, ctx, body, api::acls::create),
        ApiKey::DeleteAcls => serve(shared, ctx, body, api::acls::delete),
        ApiKey::DescribeConfigs => serve(shared, ctx, body, api::describe_configs::handle),
        other => unserved(other),
    }
}

fn unserved(api: ApiKey) -> Handled {
    // Every API that a listener offers has a row above; a test compares the two.
    Handled::Now(Answer::Close(format!("{api} has no handler here").into()))
}
