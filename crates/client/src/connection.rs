//! A connection that knows which versions its broker speaks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_codec::{DecodeError, EncodeError, Message, Parts, Reader, Sink, Str, Writer};
use ottla_net::{Outbound, OutboundOptions};
use ottla_protocol::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, RequestHeader, ResponseHeader,
};
use ottla_types::ErrorCode;

use crate::address::HostPort;
use crate::api::Request;
use crate::error::{ClientError, Refusal};

/// How to connect.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionOptions {
    /// Name of this client in the broker's logs and quotas.
    pub client_id: String,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// Socket and frame limits.
    pub outbound: OutboundOptions,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            client_id: "ottla".to_owned(),
            request_timeout: Duration::from_secs(30),
            outbound: OutboundOptions::default(),
        }
    }
}

/// A connection to one broker or controller. Cheap to clone; requests may overlap.
#[derive(Clone, Debug)]
pub struct Connection {
    outbound: Outbound,
    address: HostPort,
    client_id: Str,
    request_timeout: Duration,
    offered: Arc<ApiVersionsResponse>,
    ranges: Arc<HashMap<i16, (i16, i16)>>,
}

impl Connection {
    /// Connects and asks for the versions that the other side offers.
    ///
    /// # Errors
    /// When there is no connection, or what answers is no broker.
    pub async fn open(address: HostPort, options: &ConnectionOptions) -> Result<Self, ClientError> {
        let outbound = Outbound::connect(&address.host, address.port, &options.outbound).await?;
        let mut connection = Self {
            outbound,
            address,
            client_id: Str::from(options.client_id.as_str()),
            request_timeout: options.request_timeout,
            offered: Arc::default(),
            ranges: Arc::default(),
        };
        let offered = connection.negotiate().await?;
        let ranges =
            offered.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version)));
        connection.ranges = Arc::new(ranges.collect());
        connection.offered = Arc::new(offered);
        Ok(connection)
    }

    /// Where this connection leads.
    pub fn address(&self) -> &HostPort {
        &self.address
    }

    /// The other side's answer to ApiVersions: APIs, versions, features.
    pub fn offered(&self) -> &ApiVersionsResponse {
        &self.offered
    }

    /// Whether the connection is known to be unusable.
    pub fn is_closed(&self) -> bool {
        self.outbound.is_closed()
    }

    /// Lowest and highest version of an API that the other side offers.
    pub fn range(&self, api: ApiKey) -> Option<(i16, i16)> {
        self.ranges.get(&api.key()).copied()
    }

    /// Sends a request in the highest version that both sides speak.
    ///
    /// # Errors
    /// When the API is not offered, the exchange fails, or the answer cannot be read. Error codes
    /// within the response are the caller's to look at.
    pub async fn send<Q: Request>(&self, request: &Q) -> Result<Q::Response, ClientError> {
        self.send_capped(request, i16::MAX, self.request_timeout).await
    }

    /// As [`Self::send`], in a version no higher than `version_max`, with a time limit of its own.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_capped<Q: Request>(
        &self,
        request: &Q,
        version_max: i16,
        timeout: Duration,
    ) -> Result<Q::Response, ClientError> {
        let version = self.pick(Q::API, Q::VERSIONS, version_max)?;
        self.exchange(request, version, timeout).await
    }

    /// Sends a request that has no response: Produce with acks=0.
    ///
    /// # Errors
    /// When the API is not offered or the connection is closed.
    pub async fn send_only<Q: Request>(
        &self,
        request: &Q,
        version_max: i16,
    ) -> Result<(), ClientError> {
        let version = self.pick(Q::API, Q::VERSIONS, version_max)?;
        let encode = |id| encode_request(Q::API, version, id, &self.client_id, request);
        Ok(self.outbound.send_only(encode).await?)
    }

    /// The version in which a request would be sent.
    ///
    /// # Errors
    /// When there is no version that both sides speak.
    pub fn version_of<Q: Request>(&self, version_max: i16) -> Result<i16, ClientError> {
        self.pick(Q::API, Q::VERSIONS, version_max)
    }

    fn pick(&self, api: ApiKey, ours: (i16, i16), version_max: i16) -> Result<i16, ClientError> {
        let ours = (ours.0, ours.1.min(version_max));
        let theirs = self.range(api);
        let common = theirs.map(|(low, high)| (low.max(ours.0), high.min(ours.1)));
        match common {
            Some((low, high)) if low <= high => Ok(high),
            _ => Err(ClientError::Unsupported {
                peer: self.address.clone(),
                api: api.name(),
                ours,
                theirs,
            }),
        }
    }

    async fn exchange<Q: Request>(
        &self,
        request: &Q,
        version: i16,
        timeout: Duration,
    ) -> Result<Q::Response, ClientError> {
        let encode = |id| encode_request(Q::API, version, id, &self.client_id, request);
        let frame = self.outbound.call(timeout, encode).await?;
        self.read(Q::API, decode_response(Q::API, version, frame))
    }

    fn read<T>(&self, api: ApiKey, read: Result<T, DecodeError>) -> Result<T, ClientError> {
        read.map_err(|source| ClientError::Malformed {
            peer: self.address.clone(),
            api: api.name(),
            source,
        })
    }

    /// Asks in our version; a broker that does not have it answers in version 0 with the versions
    /// that it has (KIP-511), and is asked again.
    async fn negotiate(&self) -> Result<ApiVersionsResponse, ClientError> {
        let request = ApiVersionsRequest {
            client_software_name: Str::from_static("ottla"),
            client_software_version: Str::from_static(env!("CARGO_PKG_VERSION")),
            ..ApiVersionsRequest::default()
        };
        let mut version = FIRST_TRY;
        loop {
            let encode =
                |id| encode_request(ApiKey::ApiVersions, version, id, &self.client_id, &request);
            let frame = self.outbound.call(self.request_timeout, encode).await?;
            let read =
                decode_response::<ApiVersionsResponse>(ApiKey::ApiVersions, version, frame.clone());
            let unsupported = ErrorCode::UnsupportedVersion.code();
            let response = match read {
                Ok(response) if response.error_code != unsupported => response,
                _ if version == 0 => self.read(ApiKey::ApiVersions, read)?,
                _ => {
                    let fallback =
                        decode_response::<ApiVersionsResponse>(ApiKey::ApiVersions, 0, frame);
                    let fallback = self.read(ApiKey::ApiVersions, fallback)?;
                    let own = ApiKey::ApiVersions.key();
                    let has = fallback.api_keys.iter().find(|api| api.api_key == own);
                    version = has.map_or(0, |api| api.max_version.clamp(0, version - 1));
                    continue;
                }
            };
            let what = || format!("ApiVersions of {}", self.address);
            Refusal::check(response.error_code, None, what)?;
            return Ok(response);
        }
    }
}

/// Version 4 is what every broker of Kafka 3.9 and later has; older ones fall back.
const FIRST_TRY: i16 = 4;

fn encode_request<M: Message>(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: &Str,
    body: &M,
) -> Result<Parts, EncodeError> {
    let header = RequestHeader {
        request_api_key: api.key(),
        request_api_version: version,
        correlation_id,
        client_id: Some(client_id.clone()),
    };
    let header_version = api.request_header_version(version);
    let len = header.encoded_len(header_version)? + body.encoded_len(version)?;
    let mut writer = Writer::with_capacity(len.min(INLINE_MAX));
    header.encode(header_version, &mut writer)?;
    body.encode(version, &mut writer)?;
    debug_assert_eq!(writer.len(), len, "encoded_len of {}", M::NAME);
    Ok(writer.into_parts())
}

/// Records are shared and need no room in the buffer.
const INLINE_MAX: usize = 64 << 10;

fn decode_response<M: Message>(api: ApiKey, version: i16, frame: Bytes) -> Result<M, DecodeError> {
    let mut reader = Reader::new(frame);
    ResponseHeader::decode(&mut reader, api.response_header_version(version))?;
    M::decode(&mut reader, version)
}
