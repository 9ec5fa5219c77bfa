//! What every handler and driver of a node shares: identity, configuration, image, partitions.
//!
//! Lookups of this module answer with Kafka's errors; changes come from the drivers only.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use ottla_codec::Str;
use ottla_config::{BrokerConfig, Layers};
use ottla_log::ReadBuffers;
use ottla_metadata::{ClusterImage, PartitionState};
use ottla_types::{
    ErrorCode, IncarnationId, LeaderEpoch, NodeId, Offset, PartitionIndex, TopicId, TopicName,
};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::dispatch::{ListenerKind, RequestContext};
use crate::driver::alter_partition::Recovering;
use crate::driver::cleaner::Cleaner;
use crate::driver::lifecycle::Phase;
use crate::driver::producer_ids::ProducerIds;
use crate::driver::scrub::Scrub;
use crate::driver::{ControllerHandle, GroupHandle, QuorumHandle};
use crate::fetch_session::FetchSessionCache;
use crate::forward::Forwarder;
use crate::log_levels::LogLevels;
use crate::partition::Partition;
use crate::partitions::{HostedTopic, Partitions};
use crate::refusal::Refusal;
use crate::replicas::{OpenedDirectory, Replicas};
use crate::telemetry::Telemetry;

/// Who this node is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// Id of the cluster.
    pub(crate) cluster_id: String,
    /// `node.id`.
    pub(crate) node_id: NodeId,
    /// This run of the process.
    pub(crate) incarnation: IncarnationId,
}

/// State shared by everything in a node.
pub(crate) struct Shared {
    /// Reads time.
    pub(crate) clock: Clock,
    pub(crate) identity: Identity,
    /// Static settings with the dynamic ones on top.
    pub(crate) layers: ArcSwap<Layers>,
    /// The same, typed.
    pub(crate) config: ArcSwap<BrokerConfig>,
    /// Newest published metadata.
    pub(crate) image: ArcSwap<ClusterImage>,
    /// Partitions that live here.
    pub(crate) partitions: Partitions,
    /// Why the process cannot go on, once that is so.
    pub(crate) fatal: watch::Sender<Option<String>>,
    /// Log directories and what happens in them.
    pub(crate) replicas: Replicas,
    /// Compacts logs.
    pub(crate) cleaner: Cleaner,
    pub(crate) scrub: Scrub,
    /// Memory for short reads of fetches.
    pub(crate) read_buffers: Arc<ReadBuffers>,
    /// Fetch sessions.
    pub(crate) sessions: Mutex<FetchSessionCache>,
    /// Metrics.
    pub(crate) telemetry: Telemetry,
    /// Levels of this process's loggers, if whoever started the node lets them be changed.
    pub(crate) log_levels: OnceLock<Arc<dyn LogLevels>>,
    /// The metadata quorum's driver; always set before a listener opens.
    pub(crate) quorum: OnceLock<QuorumHandle>,
    /// The controller's driver, on nodes with that role.
    pub(crate) controller: OnceLock<ControllerHandle>,
    /// The group coordinator's driver, on nodes with the broker role.
    pub(crate) groups: OnceLock<GroupHandle>,
    /// Sends requests to the active controller.
    pub(crate) forwarder: OnceLock<Forwarder>,
    /// Partitions that recover from an unclean election under this broker's lead.
    pub(crate) recovering: Recovering,
    /// Ids for idempotent producers.
    pub(crate) producer_ids: ProducerIds,
    /// Offset up to which metadata is effective here.
    pub(crate) published: OnceLock<watch::Receiver<Offset>>,
    /// Where the broker stands, and its epoch (-1 before it is registered).
    pub(crate) lifecycle: OnceLock<(watch::Receiver<Phase>, Arc<AtomicI64>)>,
    /// Changes the limits on connections, once the listeners are open.
    pub(crate) connections: OnceLock<ottla_net::LimitsHandle>,
    /// Set when the node stops: whoever waits for data is answered with what there is.
    pub(crate) stopping: AtomicBool,
    /// Tells those who wait for it.
    pub(crate) stop: tokio::sync::Notify,
    /// Keeps the lock of a metadata directory that holds no partitions.
    #[expect(dead_code, reason = "held, never read")]
    pub(crate) metadata_directory: Option<OpenedDirectory>,
}

/// A node as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) id: i32,
    pub(crate) host: Str,
    pub(crate) port: i32,
    pub(crate) rack: Option<Str>,
}

/// A feature that this node supports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SupportedFeature {
    pub(crate) name: String,
    pub(crate) min: i16,
    pub(crate) max: i16,
}

/// Features as ApiVersions shows them.
#[derive(Clone, Debug)]
pub(crate) struct Features {
    pub(crate) supported: Vec<SupportedFeature>,
    /// Offset of the metadata that the levels come from.
    pub(crate) epoch: i64,
    pub(crate) finalized: Vec<(String, i16)>,
}

impl Shared {
    /// Id of the cluster.
    pub(crate) fn cluster_id(&self) -> &str {
        &self.identity.cluster_id
    }

    /// Number of this node.
    pub(crate) fn node_id(&self) -> NodeId {
        self.identity.node_id
    }

    /// The broker's epoch, or -1 before it is registered.
    pub(crate) fn broker_epoch(&self) -> i64 {
        self.lifecycle.get().map_or(-1, |(_, epoch)| epoch.load(Ordering::Acquire))
    }

    /// Where the broker stands; none on nodes without that role.
    pub(crate) fn phase(&self) -> Option<Phase> {
        self.lifecycle.get().map(|(phase, _)| *phase.borrow())
    }

    /// The node stops: nobody waits for new data any more.
    pub(crate) fn stop_waiting(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.stop.notify_waiters();
        self.partitions.all().iter().for_each(|partition| partition.wake_readers());
    }

    /// Completes when the node stops.
    pub(crate) async fn stopped(&self) {
        let mut stop = std::pin::pin!(self.stop.notified());
        stop.as_mut().enable();
        if !self.stopping.load(Ordering::SeqCst) {
            stop.await;
        }
    }

    /// What a listener of this name is for.
    pub(crate) fn listener_kind(&self, name: &str) -> ListenerKind {
        if self.config.load().listeners.is_controller(name) {
            ListenerKind::Controller
        } else {
            ListenerKind::Broker
        }
    }

    /// Most bytes of records in one Fetch answer.
    pub(crate) fn fetch_max_bytes(&self) -> usize {
        usize::try_from(self.config.load().fetch.bytes_max).unwrap_or(usize::MAX)
    }

    /// A random session id; the caller draws again until it is positive and free.
    pub(crate) fn random_session_id(&self) -> i32 {
        i32::from_be_bytes(ottla_sys::random_bytes()) & i32::MAX
    }

    /// The partition, if this broker leads it or at least has it; else why not.
    ///
    /// `hosted` is what [`Partitions::find`] found for the same id and name.
    pub(crate) fn leader(
        &self,
        hosted: Option<&Arc<HostedTopic>>,
        id: Option<TopicId>,
        name: &str,
        partition: i32,
    ) -> Result<Arc<Partition>, Refusal> {
        let index = PartitionIndex::from_wire(partition);
        if let Some(found) = hosted.zip(index).and_then(|(topic, index)| topic.partition(index)) {
            return Ok(found);
        }
        let image = self.image.load();
        let topic = match id {
            Some(id) => image.topic_by_id(id),
            None => image.topic(name),
        };
        let code = match (topic, index) {
            (None, _) if id.is_some() => ErrorCode::UnknownTopicId,
            (Some(topic), Some(index)) if topic.partitions.contains_key(&index) => {
                match self.replicas.is_offline(topic.id, index) {
                    true => ErrorCode::KafkaStorageError,
                    false => ErrorCode::NotLeaderOrFollower,
                }
            }
            _ => ErrorCode::UnknownTopicOrPartition,
        };
        Err(code.into())
    }

    /// Leader and epoch of a partition, for hints to clients.
    pub(crate) fn current_leader(
        &self,
        id: Option<TopicId>,
        name: &str,
        partition: i32,
    ) -> Option<(i32, i32)> {
        let image = self.image.load();
        let topic = match id {
            Some(id) => image.topic_by_id(id)?,
            None => image.topic(name)?,
        };
        let state: &Arc<PartitionState> =
            topic.partitions.get(&PartitionIndex::from_wire(partition)?)?;
        Some((NodeId::option_to_wire(state.leader), LeaderEpoch::to_wire(state.leader_epoch)))
    }

    /// Where nodes listen under the name of the listener a request came by.
    pub(crate) fn endpoints_of(&self, nodes: &[i32], listener: &str) -> Vec<Node> {
        let image = self.image.load();
        let mut nodes: Vec<i32> = nodes.to_vec();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
            .into_iter()
            .filter_map(|id| {
                let node = NodeId::from_wire(id)?;
                let endpoint = image.endpoint(node, listener)?;
                let rack = image.broker(node)?.rack.as_deref().map(Str::from);
                Some(Node {
                    id,
                    host: Str::from(endpoint.host.as_str()),
                    port: endpoint.port.into(),
                    rack,
                })
            })
            .collect()
    }

    /// Whether a client may write to the topic: internal topics are for coordinators only.
    pub(crate) fn check_produce_target(
        &self,
        ctx: &RequestContext,
        partition: &Partition,
    ) -> Result<(), Refusal> {
        if is_internal(partition.topic()) && ctx.client() != ADMIN_CLIENT {
            return Err(ErrorCode::InvalidTopicException.into());
        }
        Ok(())
    }

    /// Features of this node and levels of the cluster.
    pub(crate) fn features(&self) -> Features {
        let image = self.image.load();
        let supported = ottla_metadata::features::supported_features()
            .into_iter()
            .map(|(name, range)| SupportedFeature { name, min: range.min, max: range.max })
            .collect();
        let mut finalized: Vec<(String, i16)> =
            image.features().iter().map(|(name, level)| (name.clone(), *level)).collect();
        if let Some(quorum) = self.quorum.get()
            && let level @ 1.. = quorum.kraft_version()
        {
            finalized.push(("kraft.version".to_owned(), level));
        }
        let epoch = image.end().to_wire() - 1;
        Features { supported, epoch, finalized }
    }
}

/// Client id that Kafka's own tools use to write to internal topics.
const ADMIN_CLIENT: &str = "__admin_client";

/// Topics that coordinators keep their state in.
pub(crate) const INTERNAL_TOPICS: &[&str] =
    &["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// Whether a topic belongs to a coordinator.
pub(crate) fn is_internal(topic: &TopicName) -> bool {
    INTERNAL_TOPICS.contains(&topic.as_str())
}
