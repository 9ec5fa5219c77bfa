//! A shell that is typed into, line by line, as a person would; what it started goes with it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::folder::Folder;
use crate::java::Ran;

/// Comes before the exit code; no program prints it.
const MARK: char = '\u{1e}';

/// A running `sh`, in a process group of its own.
#[derive(Debug)]
pub struct Shell {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    folder: Folder,
}

impl Shell {
    /// Starts one; `command` is `sh` with the environment and folder that are wished for.
    pub fn start(mut command: Command) -> Result<Self> {
        let folder = Folder::new("shell")?;
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(File::create(folder.path().join("stderr"))?);
        let mut child = command.spawn().context("no shell")?;
        let input = child.stdin.take().context("stdin")?;
        let lines = read(child.stdout.take().context("stdout")?);
        Ok(Self { child, input, lines, folder })
    }

    /// Types a line and waits until it has been done, at most for `limit`.
    pub fn types(&mut self, line: &str, limit: Duration) -> Result<Ran> {
        let complaints = self.folder.path().join("complaints");
        let mark = format!("printf '{MARK}%s\\n' $?");
        let file = complaints.display();
        writeln!(self.input, "{{ {line}\n}} </dev/null 2>'{file}'; {mark}")?;
        let deadline = Instant::now() + limit;
        let mut stdout = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let text = self.lines.recv_timeout(left);
            let text = text.with_context(|| format!("{line} did not end; so far: {stdout}"))?;
            let Some((output, code)) = text.split_once(MARK) else {
                stdout.push_str(&text);
                continue;
            };
            stdout.push_str(output);
            let stderr = std::fs::read_to_string(&complaints)?;
            return Ok(Ran { code: code.trim().parse().ok(), stdout, stderr });
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            kill_process_group(group, Signal::KILL).ok();
        }
        self.child.wait().ok();
    }
}

fn read(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = Vec::new();
        while stdout.read_until(b'\n', &mut line).is_ok_and(|len| 0 < len) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_keeps_what_it_was_told() {
        let mut shell = Shell::start(Command::new("sh")).unwrap();
        let mut types = |line: &str| {
            let ran = shell.types(line, Duration::from_secs(20)).unwrap();
            (ran.code, ran.stdout, ran.stderr)
        };
        let said = |stdout: &str, stderr: &str| (stdout.to_owned(), stderr.to_owned());
        let ok = |stdout: &str| (Some(0), stdout.to_owned(), String::new());
        assert_eq!(types("word=one"), ok(""));
        assert_eq!(types("printf 'no end of line: %s' $word"), ok("no end of line: one"));
        let (stdout, stderr) = said("", "oh\n");
        assert_eq!(types("echo oh >&2; false"), (Some(1), stdout, stderr));
        assert_eq!(types("tail -f /dev/null &"), ok(""));
        assert_eq!(types("kill -9 $!; wait $!").0, Some(137));
    }
}
