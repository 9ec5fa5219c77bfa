//! Ports for programs that must be told theirs before they start.

use std::net::TcpListener;

use anyhow::{Context, Result};

/// A port of the loopback interface that was free a moment ago.
///
/// The kernel hands out ephemeral ports in a random order and does not repeat itself quickly, so a
/// program started next will find it free; if not, it says so and the caller tries another.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port on loopback")?;
    Ok(listener.local_addr()?.port())
}
