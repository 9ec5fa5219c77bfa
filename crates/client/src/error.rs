//! Errors of the client, each with what to do about it.

use ottla_codec::DecodeError;
use ottla_net::{CallError, ConnectError};
use ottla_types::{ErrorCode, NodeId};

use crate::address::HostPort;

/// Why a call of the client failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// None of the bootstrap addresses can be reached.
    #[error("no broker can be reached at {}", list(tried))]
    NoBroker {
        /// What was tried, and what came of it.
        tried: Vec<(HostPort, Box<Self>)>,
    },
    /// A connection could not be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The bootstrap address works, but the address that the broker gives its clients does not:
    /// `advertised.listeners` is wrong, or meant for another network.
    #[error(
        "broker {node} tells its clients to connect to {advertised}, which cannot be reached from \
         here ({source}), while the bootstrap address {bootstrap} can"
    )]
    Advertised {
        /// Id of the broker.
        node: NodeId,
        /// What the broker advertises.
        advertised: HostPort,
        /// Where the client got that from.
        bootstrap: HostPort,
        /// Why the advertised address cannot be used.
        #[source]
        source: Box<Self>,
    },
    /// An exchange on a connection failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The broker does not offer the API in a version that this client speaks.
    #[error(
        "{peer} does not offer {api}{}, which this client speaks in versions {} to {}",
        theirs.map(|(low, high)| format!(" but in versions {low} to {high}")).unwrap_or_default(),
        ours.0,
        ours.1
    )]
    Unsupported {
        /// The broker.
        peer: HostPort,
        /// Name of the API.
        api: &'static str,
        /// Lowest and highest version of this client.
        ours: (i16, i16),
        /// The broker's versions, if it has the API at all.
        theirs: Option<(i16, i16)>,
    },
    /// The broker sent an answer that cannot be read.
    #[error("{peer} sent an unreadable answer to {api}: {source}")]
    Malformed {
        /// The broker.
        peer: HostPort,
        /// Name of the API.
        api: &'static str,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// The broker refused what was asked.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Records that were fetched or sent are not valid.
    #[error("{what}: {reason}")]
    Records {
        /// Which records.
        what: String,
        /// What is wrong with them.
        reason: String,
    },
    /// The arguments do not make sense.
    #[error("{0}")]
    Invalid(String),
    /// It was tried until the time was up.
    #[error("{what} did not succeed in time")]
    TimedOut {
        /// What was tried.
        what: String,
        /// The last failure.
        #[source]
        last: Option<Box<Self>>,
    },
}

/// A broker's error for one thing that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it is about: `topic orders`, `group billing`.
    pub what: String,
    /// Kafka's error.
    pub code: ErrorCode,
    /// The broker's own words, if it sent any.
    pub message: Option<String>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let said = self.message.as_deref().filter(|text| !text.is_empty());
        let meaning = said.unwrap_or_else(|| self.code.message());
        write!(f, "{}: {} ({})", self.what, meaning.trim_end_matches('.'), self.code.name())
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// The refusal that a response's error field tells of, if it does.
    pub(crate) fn check(
        raw: i16,
        message: Option<&str>,
        what: impl FnOnce() -> String,
    ) -> Result<(), Self> {
        if raw == 0 {
            return Ok(());
        }
        let message = message.map(str::to_owned);
        let (code, message) = match ErrorCode::from_code(raw) {
            Some(code) => (code, message),
            None => {
                let unknown = || format!("error {raw}, which this client does not know");
                (ErrorCode::UnknownServerError, message.or_else(|| Some(unknown())))
            }
        };
        Err(Self { what: what(), code, message })
    }
}

impl ClientError {
    /// Kafka's error code, if a broker refused.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            Self::TimedOut { last: Some(last), .. } => last.code(),
            _ => None,
        }
    }

    /// Whether the same call may succeed a moment later.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.code.retriable(),
            Self::Call(error) => {
                !matches!(error, CallError::Encode(_) | CallError::Protocol { .. })
            }
            Self::Connect(_) | Self::Advertised { .. } | Self::NoBroker { .. } => true,
            _ => false,
        }
    }

    /// Whether a broker could not be talked to at all, or did not answer in time.
    pub fn is_connection(&self) -> bool {
        match self {
            Self::NoBroker { .. } | Self::Connect(_) | Self::Advertised { .. } => true,
            Self::Call(error) => !matches!(error, CallError::Encode(_)),
            Self::TimedOut { .. } => true,
            _ => false,
        }
    }

    /// What the reader can do about it, as one or more sentences.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoBroker { .. } | Self::Connect(_) => Some(
                "Is the broker running, and is the address right? `ottla dev` starts a throw-away \
                 broker; -b host:port or OTTLA_BROKERS names another one."
                    .to_owned(),
            ),
            Self::Advertised { advertised, bootstrap, .. } => Some(format!(
                "Clients use a bootstrap address only to ask for the brokers' own addresses. Set \
                 `advertised.listeners` in the broker's configuration to an address that its \
                 clients can reach, for instance advertised.listeners=PLAINTEXT://{bootstrap}, or \
                 make {advertised} reachable from here."
            )),
            Self::Call(CallError::Encode(_)) => None,
            Self::Call(_) => Some(
                "Is this a Kafka listener without TLS? A TLS listener or another service closes \
                 such a connection or keeps silent; `ottla doctor` finds out what listens there."
                    .to_owned(),
            ),
            Self::Unsupported { theirs: None, api: "Metadata", peer, .. } => Some(format!(
                "{peer} is a controller's listener; name one for clients, which is in `listeners` \
                 but not in controller.listener.names."
            )),
            Self::Unsupported { theirs: None, .. } => {
                Some("The broker does not implement it.".to_owned())
            }
            Self::Refused(refusal) => hint(refusal.code).map(str::to_owned),
            Self::TimedOut { last: Some(last), .. }
                if last.code() == Some(ErrorCode::UnknownTopicOrPartition) =>
            {
                Some(
                    "The broker does not make it by itself (auto.create.topics.enable): `ottla \
                     topic create` makes one, `ottla topic list` shows those that exist."
                        .to_owned(),
                )
            }
            Self::TimedOut { last: Some(last), .. } => last.hint(),
            _ => None,
        }
    }
}

/// What to do about an error of Kafka, where there is something to say.
pub fn hint(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => {
            "`ottla topic list` shows the topics that exist, `ottla topic create` makes one."
        }
        ErrorCode::TopicAlreadyExists => {
            "`ottla topic describe` shows what it is like, `ottla topic alter` changes it."
        }
        ErrorCode::InvalidTopicException => {
            "A name has 1 to 249 characters out of letters, digits, '.', '_' and '-', and is \
             neither '.' nor '..'."
        }
        ErrorCode::InvalidReplicationFactor => {
            "There are not that many brokers; `ottla cluster info` shows them."
        }
        ErrorCode::InvalidPartitions => "The number of partitions can only grow.",
        ErrorCode::InvalidConfig => "`ottla config explain KEY` shows what a key takes.",
        ErrorCode::NonEmptyGroup | ErrorCode::GroupSubscribedToTopic => {
            "Stop the members of the group first; `ottla group describe` lists them."
        }
        ErrorCode::GroupIdNotFound => "`ottla group list` shows the groups that exist.",
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => {
            "Send smaller records, or raise the limit: `ottla config alter topic NAME --set \
             max.message.bytes=BYTES`."
        }
        ErrorCode::CoordinatorNotAvailable => {
            "Groups need the topic __consumer_offsets with a leader. If there are fewer brokers \
             than offsets.topic.replication.factor (3 by default), it cannot be made; `ottla \
             doctor` tells."
        }
        ErrorCode::LeaderNotAvailable => {
            "No broker with a replica in sync is running; `ottla topic describe` shows where the \
             replicas are."
        }
        ErrorCode::RequestTimedOut => {
            "The brokers are slow or a replica is down; `ottla doctor` tells, and --timeout waits \
             longer."
        }
        ErrorCode::KafkaStorageError => {
            "A log directory is full or its disk failed; `ottla cluster log-dirs` shows which."
        }
        ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => {
            "Fewer replicas are in sync than min.insync.replicas asks for; `ottla topic describe` \
             shows which."
        }
        ErrorCode::TopicAuthorizationFailed
        | ErrorCode::GroupAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed => "The principal needs an ACL that allows it.",
        ErrorCode::UnsupportedVersion => "The broker does not implement it in this version.",
        ErrorCode::TopicDeletionDisabled => "Set delete.topic.enable=true on the brokers.",
        ErrorCode::OffsetOutOfRange => {
            "`ottla topic describe --offsets` shows the range that exists."
        }
        ErrorCode::NotController => "The controller moved; try again.",
        _ => return None,
    })
}

fn list(tried: &[(HostPort, Box<ClientError>)]) -> String {
    let each: Vec<String> = tried
        .iter()
        .map(|(address, error)| {
            let cause = std::error::Error::source(&**error);
            match cause {
                Some(cause) => format!("{address} ({cause})"),
                None => format!("{address} ({error})"),
            }
        })
        .collect();
    each.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_and_why() {
        let refused = |message| Refusal::check(36, message, || "topic a".to_owned()).unwrap_err();
        assert_eq!(
            refused(Some("Topic 'a' already exists.")).to_string(),
            "topic a: Topic 'a' already exists (TOPIC_ALREADY_EXISTS)"
        );
        assert!(refused(None).to_string().ends_with("(TOPIC_ALREADY_EXISTS)"));
        assert_eq!(
            Refusal::check(12_345, None, || "x".to_owned()).unwrap_err().to_string(),
            "x: error 12345, which this client does not know (UNKNOWN_SERVER_ERROR)"
        );
        assert_eq!(Refusal::check(0, None, || "x".to_owned()), Ok(()));
    }

    #[test]
    fn a_wrong_advertised_listener_is_explained() {
        let bootstrap = HostPort::new("127.0.0.1", 9092);
        let source = ConnectError::TimedOut {
            host: "kafka".to_owned(),
            port: 29092,
            timeout: std::time::Duration::from_secs(1),
        };
        let error = ClientError::Advertised {
            node: NodeId(1),
            advertised: HostPort::new("kafka", 29092),
            bootstrap,
            source: Box::new(source.into()),
        };
        assert_eq!(
            error.to_string(),
            "broker 1 tells its clients to connect to kafka:29092, which cannot be reached from \
             here (kafka:29092 did not answer within 1000 ms), while the bootstrap address \
             127.0.0.1:9092 can"
        );
        let hint = error.hint().unwrap();
        assert!(hint.contains("advertised.listeners=PLAINTEXT://127.0.0.1:9092"), "{hint}");
    }
}
