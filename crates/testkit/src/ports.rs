//! Ports for programs that must be told theirs before they start.
//!
//! A port that the kernel picked and that was let go again is often picked once more, by a node of the
//! next test or as the near end of a connection. So ports come from below the range that Linux picks
//! from, in blocks, and the first port of a block is held for as long as this process lives: that keeps
//! the block from every other process that asks here.

use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};

/// Where the blocks begin, and where Linux's own range does (`ip_local_port_range`).
const LOWEST: u16 = 10_240;
const HIGHEST: u16 = 32_768;

/// Ports of a block, with the one that is held.
const BLOCK: u16 = 64;

/// A port of the loopback interface that nobody listens on and that is given out once.
pub fn free_port() -> Result<u16> {
    static PORTS: Mutex<Ports> = Mutex::new(Ports { held: Vec::new(), next: 0, tried: 0 });
    PORTS.lock().unwrap_or_else(PoisonError::into_inner).free()
}

struct Ports {
    /// One listener for each block taken.
    held: Vec<TcpListener>,
    /// The next port of the block taken last; a multiple of a block when that is used up.
    next: u16,
    /// Blocks looked at so far.
    tried: u32,
}

impl Ports {
    fn free(&mut self) -> Result<u16> {
        loop {
            if self.next.is_multiple_of(BLOCK) {
                self.next = self.take_block()?;
            }
            let port = self.next;
            self.next += 1;
            if listen(port).is_some() {
                return Ok(port);
            }
        }
    }

    /// The first port to give out of a block that nobody else has.
    fn take_block(&mut self) -> Result<u16> {
        let blocks = u32::from((HIGHEST - LOWEST) / BLOCK);
        while self.tried < blocks {
            // Processes that start one after another begin in different places.
            let block = (std::process::id().wrapping_mul(7) + self.tried) % blocks;
            self.tried += 1;
            let first = LOWEST + u16::try_from(block)? * BLOCK;
            if let Some(listener) = listen(first) {
                self.held.push(listener);
                return Ok(first + 1);
            }
        }
        bail!("no free port between {LOWEST} and {HIGHEST}")
    }
}

fn listen(port: u16) -> Option<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_port_is_given_out_once_and_can_be_used() {
        let ports: Vec<u16> = (0..200).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 200);
        assert!(
            ports.iter().all(|port| (LOWEST..HIGHEST).contains(port) && listen(*port).is_some())
        );
    }

    #[test]
    fn two_processes_never_share_a_block() {
        let mut one = Ports { held: Vec::new(), next: 0, tried: 0 };
        let mut other = Ports { held: Vec::new(), next: 0, tried: 0 };
        let (a, b) = (one.free().unwrap(), other.free().unwrap());
        assert_ne!(a / BLOCK, b / BLOCK);
    }
}
