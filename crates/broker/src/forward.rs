//! Requests to the active controller: this broker's own, and those of clients in an Envelope.
//!
//! One connection, opened when it is needed and again after an error. A combined node reaches its
//! own controller the same way, over its controller listener.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_client::{ClientError, Connection, ConnectionOptions, HostPort, Request};
use ottla_codec::{Message, Part, Sink, Str, Writer, decode_exact, encode_to_bytes};
use ottla_protocol::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_protocol::{
    AllocateProducerIdsRequest, CreateTopicsRequest, DefaultPrincipalData, EnvelopeRequest,
    RequestHeader, ResponseHeader,
};
use ottla_types::{ErrorCode, NodeId, TopicName};
use parking_lot::Mutex;

use crate::dispatch::{Pending, Reply, RequestContext};
use crate::driver::group::OFFSETS_TOPIC;
use crate::shared::Shared;

/// How long one request to the controller is tried.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one try waits for a leader.
const LEADER_PATIENCE: Duration = Duration::from_secs(1);
/// How long an answer waits for its effect on this broker.
const EFFECTIVE_PATIENCE: Duration = Duration::from_secs(1);
/// Pause between two tries.
const BACKOFF: Duration = Duration::from_millis(50);

/// Why a request did not reach the controller.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    /// Nobody leads the quorum, or nobody knows where the leader listens.
    #[error("the active controller is not known")]
    NoController,
    /// The exchange failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The controller refused the envelope.
    #[error("the controller refused the request: {0}")]
    Refused(ErrorCode),
    /// A message could not be written or read.
    #[error("a message could not be passed on: {0}")]
    Codec(String),
}

struct Inner {
    shared: std::sync::Weak<Shared>,
    /// Where this node's own controller listens, if it has that role.
    own: Option<HostPort>,
    connection: tokio::sync::Mutex<Option<(NodeId, Connection)>>,
    /// Topics that are being created because a client asked for them.
    creating: Mutex<HashSet<TopicName>>,
}

/// Sends requests to the active controller. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Forwarder(Arc<Inner>);

impl Forwarder {
    /// A forwarder; `own` is where this node's own controller listens.
    pub(crate) fn new(shared: &Arc<Shared>, own: Option<HostPort>) -> Self {
        Self(Arc::new(Inner {
            shared: Arc::downgrade(shared),
            own,
            connection: tokio::sync::Mutex::new(None),
            creating: Mutex::default(),
        }))
    }

    /// Sends one of this broker's own requests, once.
    ///
    /// # Errors
    /// There is no controller, or the exchange failed; the caller decides when to try again.
    pub(crate) async fn send<Q: Request>(&self, request: &Q) -> Result<Q::Response, ForwardError> {
        let connection = self.connection().await?;
        match connection.send(request).await {
            Ok(response) => Ok(response),
            Err(error) => {
                self.forget().await;
                Err(error.into())
            }
        }
    }

    /// Drops the connection; the next request opens another.
    pub(crate) async fn forget(&self) {
        *self.0.connection.lock().await = None;
    }

    async fn connection(&self) -> Result<Connection, ForwardError> {
        let shared = self.0.shared.upgrade().ok_or(ForwardError::NoController)?;
        let quorum = shared.quorum.get().ok_or(ForwardError::NoController)?;
        let leader = tokio::time::timeout(LEADER_PATIENCE, quorum.wait_for_leader());
        let leader = leader.await.ok().flatten().ok_or(ForwardError::NoController)?;
        let mut slot = self.0.connection.lock().await;
        if let Some((node, connection)) = &*slot
            && *node == leader
            && !connection.is_closed()
        {
            return Ok(connection.clone());
        }
        let address = self.address(&shared, leader).ok_or(ForwardError::NoController)?;
        let mut options = ConnectionOptions::default();
        options.client_id = format!("broker-{}-to-controller", shared.node_id());
        let config = shared.config.load();
        options.request_timeout = config.network.controller_timeout;
        options.outbound.connect_timeout = config.network.setup_timeout;
        drop(config);
        let connection = Connection::open(address, &options).await?;
        *slot = Some((leader, connection.clone()));
        Ok(connection)
    }

    fn address(&self, shared: &Shared, leader: NodeId) -> Option<HostPort> {
        if leader == shared.node_id() {
            return self.0.own.clone();
        }
        let config = shared.config.load();
        let listener = config.listeners.controller_names.first()?;
        let image = shared.image.load();
        let registered = image.controllers().get(&leader).and_then(|controller| {
            let endpoint = controller.listeners.iter().find(|e| e.name == *listener)?;
            Some(HostPort::new(endpoint.host.clone(), endpoint.port))
        });
        registered.or_else(|| {
            let voter = config.quorum.voters.iter().find(|voter| voter.id == leader)?;
            Some(HostPort::new(voter.address.host.clone(), voter.address.port))
        })
    }

    /// Passes a client's request on in an Envelope and its answer back.
    ///
    /// A controller that has moved is looked for until time is up; then the connection is closed,
    /// which every client takes for a reason to try again.
    pub(crate) fn forward<Q, R>(&self, ctx: &RequestContext, request: &Q) -> Reply<R>
    where
        Q: Message,
        R: Message + Send + 'static,
    {
        let (forwarder, ctx) = (self.clone(), ctx.clone());
        let envelope = match envelope(&ctx, request) {
            Ok(envelope) => envelope,
            Err(error) => return Reply::Close(error.to_string().into()),
        };
        let wait: Pending<R> = Box::pin(async move {
            match forwarder.exchange(&envelope).await {
                Ok(data) => match unwrap::<R>(&ctx, data) {
                    Ok(response) => {
                        forwarder.until_effective().await;
                        Reply::Now(response)
                    }
                    Err(error) => Reply::Close(error.to_string().into()),
                },
                Err(error) => {
                    let api = ctx.api.name();
                    Reply::Close(format!("{api} could not be passed on: {error}").into())
                }
            }
        });
        Reply::Later(wait)
    }

    /// Waits a moment until this broker has made effective what is committed, so that a client
    /// which asks it next sees what it has just changed.
    async fn until_effective(&self) {
        let Some(shared) = self.0.shared.upgrade() else { return };
        let (Some(quorum), Some(published)) = (shared.quorum.get(), shared.published.get()) else {
            return;
        };
        let committed = *quorum.high_watermark().borrow();
        let mut published = published.clone();
        // A broker that is slow to follow answers all the same.
        let effective = published.wait_for(|end| *end >= committed);
        let _ = tokio::time::timeout(EFFECTIVE_PATIENCE, effective).await;
    }

    async fn exchange(&self, envelope: &EnvelopeRequest) -> Result<Bytes, ForwardError> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let outcome = match self.send(envelope).await {
                Ok(response) => match ErrorCode::from_code(response.error_code) {
                    Some(ErrorCode::None) => return Ok(response.response_data.unwrap_or_default()),
                    Some(ErrorCode::NotController) => {
                        Err(ForwardError::Refused(ErrorCode::NotController))
                    }
                    other => {
                        let code = other.unwrap_or(ErrorCode::UnknownServerError);
                        return Err(ForwardError::Refused(code));
                    }
                },
                Err(error) => Err(error),
            };
            if tokio::time::Instant::now() + BACKOFF >= deadline {
                return outcome;
            }
            tokio::time::sleep(BACKOFF).await;
        }
    }

    /// Asks the controller to create topics that clients asked for; returns at once.
    pub(crate) fn create_missing(&self, topics: Vec<TopicName>) {
        let mut fresh = Vec::new();
        {
            let mut creating = self.0.creating.lock();
            for topic in topics {
                if creating.insert(topic.clone()) {
                    fresh.push(topic);
                }
            }
        }
        if fresh.is_empty() {
            return;
        }
        let forwarder = self.clone();
        tokio::spawn(async move {
            if let Some(request) = forwarder.creation(&fresh) {
                forwarder.create(&request).await;
            }
            let mut creating = forwarder.0.creating.lock();
            fresh.iter().for_each(|topic| {
                creating.remove(topic);
            });
        });
    }

    async fn create(&self, request: &CreateTopicsRequest) {
        match self.send(request).await {
            Ok(response) => {
                for topic in response.topics {
                    let code = ErrorCode::from_code(topic.error_code);
                    let done = [Some(ErrorCode::None), Some(ErrorCode::TopicAlreadyExists)];
                    if !done.contains(&code) {
                        let (name, why) = (&topic.name, topic.error_message.as_deref());
                        let code = code.unwrap_or(ErrorCode::UnknownServerError);
                        let key = match topic.name.as_str() {
                            OFFSETS_TOPIC => "offsets.topic.replication.factor",
                            _ => "default.replication.factor",
                        };
                        let advice = (code == ErrorCode::InvalidReplicationFactor)
                            .then(|| format!("lower {key} to the number of brokers"));
                        tracing::warn!(%name, %code, why, advice, "a topic was not created by itself");
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "topics were not created by themselves"),
        }
    }

    fn creation(&self, topics: &[TopicName]) -> Option<CreateTopicsRequest> {
        let shared = self.0.shared.upgrade()?;
        let config = shared.config.load();
        let topics = topics.iter().map(|name| {
            if &**name == OFFSETS_TOPIC {
                let offsets = &config.groups.offsets_topic;
                let segment = offsets.segment_bytes.to_string();
                return creatable(
                    name,
                    offsets.partitions,
                    offsets.replication_factor,
                    &[
                        ("cleanup.policy", "compact"),
                        ("compression.type", "producer"),
                        ("segment.bytes", &segment),
                    ],
                );
            }
            creatable(name, config.topics.partitions, config.topics.replication_factor, &[])
        });
        Some(CreateTopicsRequest {
            topics: topics.collect(),
            timeout_ms: i32::try_from(config.network.request_timeout.as_millis())
                .unwrap_or(i32::MAX),
            ..Default::default()
        })
    }

    /// A block of producer ids: the first and how many.
    ///
    /// # Errors
    /// As [`Forwarder::send`], or what the controller said.
    pub(crate) async fn allocate_producer_ids(
        &self,
        broker: NodeId,
        epoch: i64,
    ) -> Result<(i64, i32), ForwardError> {
        let request =
            AllocateProducerIdsRequest { broker_id: broker.to_wire(), broker_epoch: epoch };
        let response = self.send(&request).await?;
        match ErrorCode::from_code(response.error_code) {
            Some(ErrorCode::None) => Ok((response.producer_id_start, response.producer_id_len)),
            other => Err(ForwardError::Refused(other.unwrap_or(ErrorCode::UnknownServerError))),
        }
    }
}

fn creatable(
    name: &TopicName,
    partitions: u32,
    replicas: u32,
    configs: &[(&'static str, &str)],
) -> CreatableTopic {
    CreatableTopic {
        name: Str::from(name.as_str()),
        num_partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
        replication_factor: i16::try_from(replicas).unwrap_or(i16::MAX),
        configs: configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig {
                name: Str::from_static(name),
                value: Some(Str::from(*value)),
            })
            .collect(),
        ..Default::default()
    }
}

fn envelope<Q: Message>(
    ctx: &RequestContext,
    request: &Q,
) -> Result<EnvelopeRequest, ForwardError> {
    let codec = |error: ottla_codec::EncodeError| ForwardError::Codec(error.to_string());
    let header = RequestHeader {
        request_api_key: ctx.api.key(),
        request_api_version: ctx.version,
        correlation_id: ctx.correlation_id,
        client_id: ctx.client_id.clone(),
    };
    let mut writer = Writer::default();
    header.encode(ctx.api.request_header_version(ctx.version), &mut writer).map_err(codec)?;
    request.encode(ctx.version, &mut writer).map_err(codec)?;
    let address = match ctx.peer {
        SocketAddr::V4(v4) => Bytes::copy_from_slice(&v4.ip().octets()),
        SocketAddr::V6(v6) => Bytes::copy_from_slice(&v6.ip().octets()),
    };
    Ok(EnvelopeRequest {
        request_data: writer.into_bytes(),
        request_principal: Some(anonymous_principal().map_err(codec)?),
        client_host_address: address,
    })
}

/// The principal of a client that has not said who it is, as Kafka's default builder writes it.
fn anonymous_principal() -> Result<Bytes, ottla_codec::EncodeError> {
    let principal = DefaultPrincipalData {
        type_: Str::from_static("User"),
        name: Str::from_static("ANONYMOUS"),
        ..Default::default()
    };
    let mut writer = Writer::default();
    writer.put_i16(0);
    writer.put(&encode_to_bytes(&principal, 0)?);
    Ok(writer.into_bytes())
}

fn unwrap<R: Message>(ctx: &RequestContext, data: Bytes) -> Result<R, ForwardError> {
    let codec = |error: ottla_codec::DecodeError| ForwardError::Codec(error.to_string());
    let mut reader = ottla_codec::Reader::new(data);
    ResponseHeader::decode(&mut reader, ctx.api.response_header_version(ctx.version))
        .map_err(codec)?;
    decode_exact(reader.rest(), ctx.version).map_err(codec)
}

/// Joins parts that are all in memory.
pub(crate) fn join(parts: &[Part]) -> Option<Bytes> {
    let mut writer = Writer::default();
    for part in parts {
        match part {
            Part::Bytes(bytes) => writer.put(bytes),
            Part::File(_) => return None,
        }
    }
    Some(writer.into_bytes())
}
