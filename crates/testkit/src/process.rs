//! A child process whose output is kept, which can be killed in every way, and which never outlives its value.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::usage::Usage;
use crate::wait::wait_for;

/// Bytes of a log that an error shows.
const TAIL: usize = 6000;

/// A running program.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program with stdout and stderr appended to the file `log`.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        Self::spawn(command.stdin(Stdio::null()), log)
    }

    /// As [`Self::start`], with a stdin that the caller writes.
    pub fn start_fed(command: &mut Command, log: &Path) -> Result<(Self, ChildStdin)> {
        let mut process = Self::spawn(command.stdin(Stdio::piped()), log)?;
        let input = process.child.stdin.take().context("stdin was asked for")?;
        Ok((process, input))
    }

    fn spawn(command: &mut Command, log: &Path) -> Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child, log: log.to_path_buf() })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Kills it at once (SIGKILL) and collects it.
    pub fn kill9(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Sends any signal, for example STOP and CONT to freeze and thaw it.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).context("process id")?;
        kill_process(pid, signal)?;
        Ok(())
    }

    /// Waits until it has ended.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let waited = wait_for("the process to end", limit, || self.ended());
        waited.with_context(|| self.tail())
    }

    /// Memory and processor time so far.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid())
    }

    /// Everything it has printed.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The end of what it has printed, for an error message.
    pub fn tail(&self) -> String {
        let output = self.output();
        let from = output.len().saturating_sub(TAIL);
        let from =
            (from..output.len()).find(|at| output.is_char_boundary(*at)).unwrap_or(output.len());
        format!("--- {}\n{}", self.log.display(), &output[from..])
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.kill9().ok();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Folder;

    #[test]
    fn a_killed_process_is_gone() {
        let folder = Folder::new("process").unwrap();
        let mut process = Process::start(
            Command::new("tail").args(["-f", "/dev/null"]),
            &folder.path().join("log"),
        )
        .unwrap();
        assert!(process.ended().is_none());
        process.terminate().unwrap();
        let status = process.wait(Duration::from_secs(10)).unwrap();
        assert!(!status.success());
    }

    #[test]
    fn output_is_kept() {
        let folder = Folder::new("process").unwrap();
        let mut process =
            Process::start(Command::new("echo").arg("hello"), &folder.path().join("log")).unwrap();
        process.wait(Duration::from_secs(10)).unwrap();
        assert_eq!(process.output(), "hello\n");
    }
}
