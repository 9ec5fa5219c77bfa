//! A driver of foreign clients as a child process: commands out, answers in.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Result, bail};
use ottla_testkit::{Java, peers_folder};
use serde_json::Value;

use crate::dialogue::Dialogue;

/// The longest one command may take; a check of many records is the longest.
const ANSWER_LIMIT: Duration = Duration::from_secs(180);

/// A running driver, which ends with its value.
#[derive(Debug)]
pub struct Driver(Dialogue);

/// What a client was told instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Name of the exception or error, as its language has it.
    pub error: String,
    /// Its message.
    pub message: String,
}

impl Driver {
    /// Starts a driver of kafka-clients that connect to `bootstrap`.
    pub fn start(bootstrap: &str) -> Result<Self> {
        let java = Java::find()?;
        let classes = compiled(&java)?;
        // Short programs, but many records: no more than one core's worth of compiler, enough memory.
        let java = java.with_flags(&["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx1g"]);
        Self::spawn(java.command(&[&classes], "Driver").arg(bootstrap))
    }

    /// Starts a driver of another language.
    pub fn spawn(program: &mut Command) -> Result<Self> {
        Dialogue::start(program).map(Self)
    }

    /// Executes a command; a refusal by the broker is an error.
    pub fn call(&mut self, command: &Value) -> Result<Value> {
        match self.attempt(command)? {
            Ok(answer) => Ok(answer),
            Err(refused) => bail!("{command} was refused: {}: {}", refused.error, refused.message),
        }
    }

    /// Executes a command that must be refused.
    pub fn refused(&mut self, command: &Value) -> Result<Refused> {
        match self.attempt(command)? {
            Ok(answer) => bail!("{command} was accepted: {answer}"),
            Err(refused) => Ok(refused),
        }
    }

    /// Executes a command and gives back either outcome.
    pub fn attempt(&mut self, command: &Value) -> Result<std::result::Result<Value, Refused>> {
        let mut answer = self.0.ask(command, ANSWER_LIMIT)?;
        if let Some(error) = answer["error"].as_str() {
            let message = answer["message"].as_str().unwrap_or_default().to_string();
            return Ok(Err(Refused { error: error.to_string(), message }));
        }
        Ok(Ok(answer["ok"].take()))
    }
}

/// Folder of the compiled driver, compiled once a process and only if a source has changed.
fn compiled(java: &Java) -> Result<PathBuf> {
    static COMPILED: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    let compiled = COMPILED.get_or_init(|| {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("java/driver");
        let classes = peers_folder().join("java/driver");
        java.compile(&sources, &classes).map(|()| classes).map_err(|e| format!("{e:#}"))
    });
    compiled.clone().map_err(anyhow::Error::msg)
}
