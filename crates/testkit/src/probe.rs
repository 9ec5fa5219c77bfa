//! Is a broker there? The first request that every Kafka client sends, as raw bytes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// ApiVersions, version 0, correlation id 7, no client id: length, key, version, correlation, null string.
const API_VERSIONS: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];

/// Whether a broker answers ApiVersions at this address, without an error, within `limit`.
pub fn answers_api_versions(address: &str, limit: Duration) -> bool {
    ask(address, limit).unwrap_or(false)
}

fn ask(address: &str, limit: Duration) -> std::io::Result<bool> {
    let Ok(address) = address.parse::<SocketAddr>() else { return Ok(false) };
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    stream.write_all(&API_VERSIONS)?;
    // Length, correlation id, error code.
    let mut head = [0; 10];
    stream.read_exact(&mut head)?;
    Ok(head[4..8] == [0, 0, 0, 7] && head[8..10] == [0, 0])
}
