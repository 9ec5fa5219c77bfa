//! A child process that is asked and answers: a line on its stdin, a line on its stdout, each a JSON value.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// A running program, which ends with this value.
#[derive(Debug)]
pub struct Dialogue {
    child: Child,
    input: ChildStdin,
    answers: Receiver<String>,
}

impl Dialogue {
    /// Starts the program.
    pub fn start(program: &mut Command) -> Result<Self> {
        let mut child = program
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.get_program().display()))?;
        let input = child.stdin.take().context("stdin was asked for")?;
        let output = child.stdout.take().context("stdout was asked for")?;
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, input, answers })
    }

    /// Asks, and waits for the answer at most for `limit`.
    pub fn ask(&mut self, question: &Value, limit: Duration) -> Result<Value> {
        writeln!(self.input, "{question}").context("the program has ended")?;
        self.input.flush()?;
        let line = self.answers.recv_timeout(limit);
        let line = line.with_context(|| format!("no answer to {question}"))?;
        serde_json::from_str(&line).context(line)
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
