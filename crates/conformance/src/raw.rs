//! A connection that sends exactly the bytes it is given: for hostile input, and for asking two brokers
//! the same question.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use ottla_codec::{Message, decode_exact, encode_to_bytes};
use ottla_protocol::{ApiKey, RequestHeader, ResponseHeader};

/// The longest a broker may take for one answer.
const LIMIT: Duration = Duration::from_secs(40);

/// One connection.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    correlation_id: i32,
}

impl RawClient {
    /// Connects.
    pub fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| address.to_string())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(Self { stream, correlation_id: 0 })
    }

    /// Sends a request and decodes its answer.
    pub fn call<Q: Message, A: Message>(
        &mut self,
        api: ApiKey,
        version: i16,
        request: &Q,
    ) -> Result<A> {
        let body = encode_to_bytes(request, version)?;
        let answer = self.exchange(api, version, &body)?;
        decode_exact(answer, version).with_context(|| format!("{} version {version}", A::NAME))
    }

    /// Sends the body of a request and gives back the body of its answer.
    pub fn exchange(&mut self, api: ApiKey, version: i16, body: &[u8]) -> Result<Bytes> {
        self.correlation_id += 1;
        self.stream.write_all(&frame(api, version, self.correlation_id, body)?)?;
        let mut length = [0; 4];
        self.stream
            .read_exact(&mut length)
            .with_context(|| format!("no answer to {api} version {version}"))?;
        let length = usize::try_from(i32::from_be_bytes(length))?;
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        let header_version = api.response_header_version(version);
        let header_length = if header_version == 0 { 4 } else { 5 };
        let answer = Bytes::from(answer);
        ensure!(answer.len() >= header_length, "an answer of {length} bytes");
        let header: ResponseHeader = decode_exact(answer.slice(..header_length), header_version)?;
        ensure!(header.correlation_id == self.correlation_id, "the answer to another request");
        Ok(answer.slice(header_length..))
    }

    /// Sends anything, says that no more comes, and reads whatever is answered within `limit`; a closed
    /// connection is as good as an answer. Gives back the number of whole answers.
    pub fn blurt(mut self, bytes: &[u8], limit: Duration) -> u32 {
        self.stream.set_read_timeout(Some(limit)).ok();
        if self.stream.write_all(bytes).is_err() || self.stream.shutdown(Shutdown::Write).is_err() {
            return 0;
        }
        let mut answers = 0;
        let mut length = [0; 4];
        while self.stream.read_exact(&mut length).is_ok() {
            let body = u64::from(u32::from_be_bytes(length));
            match std::io::copy(&mut (&self.stream).take(body), &mut std::io::sink()) {
                Ok(read) if read == body => answers += 1,
                _ => break,
            }
        }
        answers
    }
}

/// A whole request with its length before it.
pub fn frame(api: ApiKey, version: i16, correlation_id: i32, body: &[u8]) -> Result<Vec<u8>> {
    let header = RequestHeader {
        request_api_key: api.key(),
        request_api_version: version,
        correlation_id,
        client_id: Some("raw".into()),
    };
    let header = encode_to_bytes(&header, api.request_header_version(version))?;
    let length = i32::try_from(header.len() + body.len())?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend_from_slice(&header);
    frame.extend_from_slice(body);
    Ok(frame)
}
