//! The log of a run: lines, and a digest of everything, so that two runs can be compared.

use std::collections::VecDeque;
use std::fmt::Write as _;

use bytes::Bytes;
use ottla_quorum::PeerMessage;

// Lines that are kept for a failure message.
const KEPT: usize = 60;

/// What to do with lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Keep the last few.
    #[default]
    Last,
    /// Keep all lines, without messages.
    Lines,
    /// Keep all lines and messages.
    Messages,
}

/// The log of a run.
#[derive(Debug, Default)]
pub struct Trace {
    /// What is kept.
    pub detail: Detail,
    lines: VecDeque<String>,
    digest: u64,
}

impl Trace {
    pub(crate) fn line(&mut self, step: u64, micros: u64, what: &str) {
        let mut line = String::new();
        let _ = write!(line, "{step:6} {:5}.{:06} {what}", micros / 1_000_000, micros % 1_000_000);
        self.hash(line.as_bytes());
        self.keep(line);
    }

    pub(crate) fn message(&mut self, step: u64, from: usize, to: usize, message: &Bytes) {
        self.hash(message);
        if self.detail == Detail::Messages
            && let Ok(parsed) = PeerMessage::parse(message.clone())
        {
            let PeerMessage { kind, term, index, log_term, commit, reject, .. } = parsed;
            let (from, to, entries) = (from + 1, to + 1, parsed.entries.len());
            let mut line = format!("{step:6}   {from} -> {to} type {kind} term {term}");
            let _ = write!(line, " at {index}@{log_term} +{entries} commit {commit}");
            line.push_str(if reject { " no" } else { "" });
            self.keep(line);
        }
    }

    fn keep(&mut self, line: String) {
        self.lines.push_back(line);
        if self.detail == Detail::Last && self.lines.len() > KEPT {
            self.lines.pop_front();
        }
    }

    // FNV-1a.
    fn hash(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.digest = (self.digest ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// A digest of every line and message so far.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The lines that were kept.
    pub fn text(&self) -> String {
        self.lines.iter().fold(String::new(), |mut text, line| {
            text.push_str(line);
            text.push('\n');
            text
        })
    }
}
