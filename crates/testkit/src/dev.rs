//! `ottla dev`: a throw-away node, as a test of another project would use it.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::binary::ottla_binary;
use crate::folder::Folder;
use crate::process::Process;
use crate::wait::wait_for;

/// The longest a node may take until it is ready, on a loaded machine.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// A running `ottla dev --format json`.
#[derive(Debug)]
pub struct DevNode {
    /// The process, to look at or to end.
    pub process: Process,
    /// The line of JSON it printed when it was ready.
    pub ready: Value,
    _folder: Folder,
}

impl DevNode {
    /// Starts it with more arguments and waits for its line of JSON.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        let folder = Folder::new("dev")?;
        let mut command = Command::new(ottla_binary()?);
        command.args(["dev", "--format", "json"]).args(arguments);
        let mut process = Process::start(&mut command, &folder.path().join("log"))?;
        let ready = wait_for("the line of JSON", READY_LIMIT, || {
            let output = process.output();
            let whole_lines = output.rsplit_once('\n').map_or("", |(lines, _)| lines);
            let line = whole_lines.lines().find_map(|l| {
                serde_json::from_str::<Value>(l).ok().filter(|v| v["bootstrap"].is_string())
            });
            if line.is_none() && process.ended().is_some() {
                return Some(None);
            }
            line.map(Some)
        });
        let ready = ready
            .with_context(|| process.tail())?
            .with_context(|| format!("it ended: {}", process.tail()))?;
        Ok(Self { process, ready, _folder: folder })
    }

    /// Where clients connect.
    pub fn bootstrap(&self) -> &str {
        self.ready["bootstrap"].as_str().unwrap_or_default()
    }
}
