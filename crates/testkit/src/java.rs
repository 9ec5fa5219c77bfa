//! Java programs: Kafka's tools, a real Kafka, and the conformance driver.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::folder::Folder;
use crate::peer::peers_folder;
use crate::wait::wait_for;

/// A Java installation and the jars of Apache Kafka.
#[derive(Clone, Debug)]
pub struct Java {
    libs: PathBuf,
    flags: Vec<String>,
}

/// For short programs: start quickly, take one core and little memory.
const QUICK_START: [&str; 4] =
    ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Xmx512m"];

/// What a program printed and how it ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Java {
    /// Finds Java and the jars; the error says what is missing.
    pub fn find() -> Result<Self> {
        let libs = peers_folder().join("java/libs");
        let jars = std::fs::read_dir(&libs).map_or(0, Iterator::count);
        if jars == 0 {
            bail!("no jars in {}", libs.display());
        }
        for program in ["java", "javac"] {
            let found = Command::new(program)
                .arg("-version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if !found.is_ok_and(|s| s.success()) {
                bail!("{program} is not on the path");
            }
        }
        Ok(Self { libs, flags: QUICK_START.map(String::from).to_vec() })
    }

    /// With other flags of the virtual machine than those for a quick start.
    #[must_use]
    pub fn with_flags(mut self, flags: &[&str]) -> Self {
        self.flags = flags.iter().map(|f| (*f).to_string()).collect();
        self
    }

    /// The class path of Kafka's jars, with folders of our own classes before it.
    pub fn class_path(&self, own: &[&Path]) -> String {
        let mut parts: Vec<String> = own.iter().map(|p| p.display().to_string()).collect();
        parts.push(format!("{}/*", self.libs.display()));
        parts.join(":")
    }

    /// A command that starts a main class.
    pub fn command(&self, own: &[&Path], main: &str) -> Command {
        let mut command = Command::new("java");
        command.args(&self.flags);
        command.args(["-cp", &self.class_path(own), main]);
        command
    }

    /// Runs one of Kafka's tools to its end and collects what it printed.
    pub fn run(&self, main: &str, arguments: &[&str], stdin: &str, limit: Duration) -> Result<Ran> {
        run_bounded(self.command(&[], main).args(arguments), stdin, limit)
    }

    /// Compiles every source of `from` into `to`, unless that has been done with the same sources.
    pub fn compile(&self, from: &Path, to: &Path) -> Result<()> {
        let mut sources: Vec<PathBuf> =
            std::fs::read_dir(from)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
        sources.retain(|p| p.extension().is_some_and(|e| e == "java"));
        sources.sort();
        let mut text = self.libs.display().to_string();
        for source in &sources {
            text.push_str(&std::fs::read_to_string(source)?);
        }
        let stamp = to.join("compiled-from");
        if std::fs::read_to_string(&stamp).is_ok_and(|old| old == text) {
            return Ok(());
        }
        std::fs::create_dir_all(to)?;
        let mut command = Command::new("javac");
        command.args(["-nowarn", "-cp", &self.class_path(&[]), "-d"]).arg(to).args(&sources);
        let ran = run_bounded(&mut command, "", Duration::from_secs(120))?;
        if ran.code != Some(0) {
            bail!("javac failed:\n{}{}", ran.stdout, ran.stderr);
        }
        std::fs::write(stamp, text)?;
        Ok(())
    }
}

/// Runs any program to its end, at most for `limit`.
pub fn run_bounded(command: &mut Command, stdin: &str, limit: Duration) -> Result<Ran> {
    // Files instead of pipes: a full pipe that nobody reads would stop the child.
    let folder = Folder::new("run")?;
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let input = folder.path().join("in");
    File::create(&input)?.write_all(stdin.as_bytes())?;
    let mut child = command
        .stdin(File::open(&input)?)
        .stdout(File::create(&out)?)
        .stderr(File::create(&err)?)
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let ended = wait_for("a program to end", limit, || child.try_wait().transpose());
    let read = |path: &Path| {
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    };
    let (stdout, stderr) = (read(&out), read(&err));
    match ended {
        Ok(status) => Ok(Ran { code: status?.code(), stdout: read(&out), stderr: read(&err) }),
        Err(error) => {
            child.kill().ok();
            child.wait().ok();
            let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
            Err(error).with_context(|| format!("{}\n{stdout}\n{stderr}", arguments.join(" ")))
        }
    }
}
