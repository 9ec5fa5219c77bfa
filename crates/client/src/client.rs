//! A cluster as a client sees it: bootstrap, metadata, one connection to each broker.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ottla_codec::Str;
use ottla_protocol::{FindCoordinatorRequest, MetadataRequest, metadata_request};
use ottla_types::{ErrorCode, NodeId, PartitionIndex};
use tokio::time::Instant;

use crate::address::HostPort;
use crate::api::Request;
use crate::connection::{Connection, ConnectionOptions};
use crate::error::{ClientError, Refusal};
use crate::metadata::{ClusterMetadata, Node, TopicMetadata};

/// How to reach a cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Addresses to begin with; one that works is enough.
    pub bootstrap: Vec<HostPort>,
    /// Whether those addresses are of controllers, and not of brokers (KIP-919). Of the administrative calls those of
    /// configs then ask controllers; the others that controllers answer say so.
    pub controllers: bool,
    /// Options of each connection.
    pub connection: ConnectionOptions,
    /// How long a call is tried again while its errors are transient.
    pub api_timeout: Duration,
}

impl ClientOptions {
    /// Options with Kafka's defaults.
    pub fn new(bootstrap: Vec<HostPort>) -> Self {
        let connection = ConnectionOptions::default();
        let api_timeout = Duration::from_secs(60);
        Self { bootstrap, controllers: false, connection, api_timeout }
    }
}

/// A cluster, as seen from one of its bootstrap addresses. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: ClientOptions,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bootstrap: Option<Connection>,
    nodes: HashMap<NodeId, Connection>,
    addresses: HashMap<NodeId, HostPort>,
    topics: HashMap<String, TopicMetadata>,
}

impl Client {
    /// A client that connects when it is first used.
    pub fn new(options: ClientOptions) -> Self {
        Self { inner: Arc::new(Inner { options, state: Mutex::default() }) }
    }

    /// The options it was made with.
    pub fn options(&self) -> &ClientOptions {
        &self.inner.options
    }

    /// A connection to whichever bootstrap address answers.
    ///
    /// # Errors
    /// [`ClientError::NoBroker`] when none does.
    pub async fn bootstrap(&self) -> Result<Connection, ClientError> {
        if let Some(open) = self.state().bootstrap.clone().filter(|open| !open.is_closed()) {
            return Ok(open);
        }
        let mut tried = Vec::new();
        for address in &self.inner.options.bootstrap {
            match Connection::open(address.clone(), &self.inner.options.connection).await {
                Ok(connection) => {
                    self.state().bootstrap = Some(connection.clone());
                    return Ok(connection);
                }
                Err(error) => tried.push((address.clone(), Box::new(error))),
            }
        }
        // What answers but is no plain Kafka listener is worth more words than "not reached".
        match <[_; 1]>::try_from(tried) {
            Ok([(_, error)]) if !matches!(*error, ClientError::Connect(_)) => Err(*error),
            Ok(one) => Err(ClientError::NoBroker { tried: one.into() }),
            Err(tried) => Err(ClientError::NoBroker { tried }),
        }
    }

    /// A connection to a broker, at the address that it advertises.
    ///
    /// # Errors
    /// [`ClientError::Advertised`] when that address cannot be reached though bootstrap can.
    pub async fn node(&self, id: NodeId) -> Result<Connection, ClientError> {
        if let Some(open) = self.state().nodes.get(&id).filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        let known = self.state().addresses.get(&id).cloned();
        let advertised = match known {
            Some(address) => address,
            None => {
                let metadata = self.metadata(Some(&[]), false).await?;
                let node = metadata.broker(id).map(|node| node.address.clone());
                node.ok_or_else(|| Refusal {
                    what: format!("broker {id}"),
                    code: ErrorCode::BrokerNotAvailable,
                    message: None,
                })?
            }
        };
        let bootstrap = self.bootstrap().await?;
        if bootstrap.address() == &advertised {
            self.state().nodes.insert(id, bootstrap.clone());
            return Ok(bootstrap);
        }
        let opened = Connection::open(advertised.clone(), &self.inner.options.connection).await;
        let connection = opened.map_err(|source| {
            // It may have moved since; the next call asks again.
            self.state().addresses.remove(&id);
            let bootstrap = bootstrap.address().clone();
            ClientError::Advertised { node: id, advertised, bootstrap, source: Box::new(source) }
        })?;
        self.state().nodes.insert(id, connection.clone());
        Ok(connection)
    }

    /// Any broker will do.
    ///
    /// # Errors
    /// As [`Self::bootstrap`].
    pub async fn any<Q: Request>(&self, request: &Q) -> Result<Q::Response, ClientError> {
        self.bootstrap().await?.send(request).await
    }

    /// Asks for brokers and topics; `None` means every topic.
    ///
    /// # Errors
    /// When no broker answers. Errors of single topics are in the answer.
    pub async fn metadata(
        &self,
        topics: Option<&[&str]>,
        create_missing: bool,
    ) -> Result<ClusterMetadata, ClientError> {
        let topic = |name: &&str| metadata_request::MetadataRequestTopic {
            name: Some(Str::from(*name)),
            ..Default::default()
        };
        let request = MetadataRequest {
            topics: topics.map(|names| names.iter().map(topic).collect()),
            allow_auto_topic_creation: create_missing,
            ..MetadataRequest::default()
        };
        let response = self.any(&request).await?;
        Refusal::check(response.error_code, None, || "metadata".to_owned())?;
        let metadata = ClusterMetadata::from_wire(response);
        self.remember(&metadata.brokers);
        let mut state = self.state();
        for topic in &metadata.topics {
            state.topics.insert(topic.name.clone(), topic.clone());
        }
        Ok(metadata)
    }

    /// Keeps where nodes are.
    pub(crate) fn remember(&self, nodes: &[Node]) {
        let mut state = self.state();
        for node in nodes {
            let address = node.address.clone();
            if state.addresses.insert(node.id, address.clone()).is_some_and(|old| old != address) {
                state.nodes.remove(&node.id);
            }
        }
    }

    /// A topic whose partitions are known; asks again while it is being created.
    ///
    /// # Errors
    /// When it does not exist or the broker may not tell.
    pub async fn topic(&self, name: &str, create: bool) -> Result<TopicMetadata, ClientError> {
        let usable = |topic: &TopicMetadata| topic.error.is_none();
        if let Some(topic) = self.state().topics.get(name).filter(|topic| usable(topic)) {
            return Ok(topic.clone());
        }
        self.refreshed_topic(name, create).await
    }

    /// As [`Self::topic`], never from memory.
    ///
    /// # Errors
    /// As [`Self::topic`].
    pub async fn refreshed_topic(
        &self,
        name: &str,
        create: bool,
    ) -> Result<TopicMetadata, ClientError> {
        let ask = || async {
            let metadata = self.metadata(Some(&[name]), create).await?;
            let found = metadata.topics.into_iter().find(|topic| topic.name == name);
            let topic = found.ok_or_else(|| unknown(name))?;
            match topic.error {
                Some(error) => Err(error.into()),
                None => Ok(topic),
            }
        };
        // Only if it is being created is a topic that does not exist worth waiting for.
        self.retry(&format!("waiting for topic {name}"), create, ask).await
    }

    /// A connection to the leader of a partition.
    ///
    /// # Errors
    /// When the partition does not exist or has no leader.
    pub async fn leader(
        &self,
        topic: &str,
        partition: PartitionIndex,
    ) -> Result<Connection, ClientError> {
        let id = self.leader_id(topic, partition).await?;
        self.node(id).await
    }

    /// The leader of a partition.
    ///
    /// # Errors
    /// When the partition does not exist or has no leader.
    pub async fn leader_id(
        &self,
        topic: &str,
        partition: PartitionIndex,
    ) -> Result<NodeId, ClientError> {
        let known = self.topic(topic, false).await?;
        let what = || format!("{topic}-{partition}");
        let found = known.partitions.iter().find(|one| one.index == partition);
        let found = found.ok_or_else(|| Refusal {
            what: what(),
            code: ErrorCode::UnknownTopicOrPartition,
            message: Some(partitions_there_are(topic, known.partitions.len())),
        })?;
        let none = || Refusal { what: what(), code: ErrorCode::LeaderNotAvailable, message: None };
        Ok(found.leader.ok_or_else(none)?)
    }

    /// Forgets what is known of a topic, after a broker said that it is stale.
    pub fn forget_topic(&self, name: &str) {
        self.state().topics.remove(name);
    }

    /// A connection to the coordinator of a group.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn coordinator(&self, group: &str) -> Result<Connection, ClientError> {
        Ok(self.coordinator_node(group).await?.1)
    }

    /// As [`Self::coordinator`], with its id.
    pub(crate) async fn coordinator_node(
        &self,
        group: &str,
    ) -> Result<(NodeId, Connection), ClientError> {
        let find = || async {
            let connection = self.bootstrap().await?;
            let mut request = FindCoordinatorRequest::default();
            // Several keys at once came with version 4 (KIP-699).
            let many = connection.version_of::<FindCoordinatorRequest>(i16::MAX)? >= 4;
            if many {
                request.coordinator_keys = vec![Str::from(group)];
            } else {
                request.key = Str::from(group);
            }
            let response = connection.send(&request).await?;
            let what = || format!("coordinator of group {group}");
            let node = match response.coordinators.first() {
                Some(found) => {
                    Refusal::check(found.error_code, found.error_message.as_deref(), what)?;
                    found.node_id
                }
                None => {
                    let message = response.error_message.as_deref();
                    Refusal::check(response.error_code, message, what)?;
                    response.node_id
                }
            };
            let none = || Refusal {
                what: what(),
                code: ErrorCode::CoordinatorNotAvailable,
                message: None,
            };
            let id = NodeId::from_wire(node).ok_or_else(none)?;
            Ok((id, self.node(id).await?))
        };
        self.retry(&format!("finding the coordinator of group {group}"), true, find).await
    }

    /// Repeats a call while its errors are transient and its time is not up.
    pub(crate) async fn retry<T, F, W>(
        &self,
        what: &str,
        patient: bool,
        call: F,
    ) -> Result<T, ClientError>
    where
        F: Fn() -> W,
        W: Future<Output = Result<T, ClientError>>,
    {
        let deadline = Instant::now() + self.inner.options.api_timeout;
        let mut pause = PAUSE_MIN;
        loop {
            let error = match call().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let transient = error.is_retriable()
                && !matches!(error, ClientError::NoBroker { .. } | ClientError::Advertised { .. })
                && (patient || error.code() != Some(ErrorCode::UnknownTopicOrPartition));
            if !transient {
                return Err(error);
            }
            if deadline < Instant::now() + pause {
                let last = Some(Box::new(error));
                return Err(ClientError::TimedOut { what: what.to_owned(), last });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is replaced entry by entry, so a panic elsewhere leaves it usable.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which numbers a partition of a topic can have.
pub(crate) fn partitions_there_are(topic: &str, partitions: usize) -> String {
    match partitions {
        1 => format!("topic {topic} has one partition, number 0"),
        many => format!("topic {topic} has {many} partitions, numbered from 0"),
    }
}

fn unknown(topic: &str) -> Refusal {
    let code = ErrorCode::UnknownTopicOrPartition;
    Refusal { what: format!("topic {topic}"), code, message: None }
}

/// First pause between two tries; doubles up to [`PAUSE_MAX`] (retry.backoff.ms and its maximum).
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(50);
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(1);
