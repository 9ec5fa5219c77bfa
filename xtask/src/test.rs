//! `cargo xtask test`: everything that must hold before a change is taken.
//!
//! The workspace is compiled once, with one profile and one set of features; the test programs are then
//! started one after the other, each within a limit of time, so that a hang is a failure and not a wait.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::peers::{self, Status};
use crate::process;
use crate::summary::{self, Summary};
use crate::workspace::{self, Workspace};
use crate::{codegen, dag, embed, tidy};

/// What to leave out.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave out the foreign clients.
    #[arg(long)]
    no_conformance: bool,
    /// Leave out embedding.
    #[arg(long)]
    no_embed: bool,
}

/// The longest that one test program may take.
const PROGRAM_LIMIT: Duration = Duration::from_secs(900);

/// A compiled test program.
pub(crate) struct Program {
    /// Package and target, for example `ottla-log crash`.
    pub(crate) name: String,
    /// Its package's short name.
    pub(crate) package: String,
    executable: PathBuf,
    folder: PathBuf,
}

/// What one build produced.
pub(crate) struct Built {
    pub(crate) programs: Vec<Program>,
    /// The binary `ottla`.
    pub(crate) server: Option<PathBuf>,
}

/// Runs all checks, prints the table and the closing line.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = workspace::load()?;
    let mut summary = Summary::default();
    static_checks(&workspace, &mut summary);
    let found = peers::prepare_all(&workspace);
    summary.check("peers", || peers::verdict(&found, peers::is_ci()));
    let features = features(&found);
    let clippy = ["clippy", "--workspace", "--all-targets"];
    let denied = ["--", "-D", "warnings"];
    summary.check("clippy", || {
        process::run(process::cargo(&workspace.root, &clippy).args(&features).args(denied))
    });
    let start = Instant::now();
    match build(&workspace, &features, &[]) {
        Ok(built) => {
            summary.note("build", 1, 0, start.elapsed());
            run_programs(&workspace, &built, &mut summary, &[], "", |p| p.package != "conformance");
            doc_tests(&workspace, &features, &mut summary);
            if !arguments.no_conformance {
                let environment = [peers::unreachable(&found)];
                run_programs(&workspace, &built, &mut summary, &environment, "", |p| {
                    p.package == "conformance"
                });
            }
        }
        Err(error) => {
            eprintln!("build failed: {error:#}");
            summary.note("build", 0, 1, start.elapsed());
        }
    }
    if !arguments.no_embed {
        summary.check("embed --all", || embed::run(&embed::Arguments::everything()));
    }
    println!("\n{}\n\n{}", peers::table(&found), summary.render());
    let (_, failed) = summary.totals();
    if failed == 0 { Ok(()) } else { bail!("{failed} checks or tests failed") }
}

fn static_checks(workspace: &Workspace, summary: &mut Summary) {
    summary.check("fmt", || {
        process::run(&mut process::cargo(&workspace.root, &["fmt", "--all", "--check"]))
    });
    summary.check("codegen --check", || codegen::run(true));
    summary.check("dag", dag::run);
    summary.check("tidy", || tidy::run(&tidy::Arguments::default()));
}

/// librdkafka is compiled in wherever it can be.
pub(crate) fn features(found: &[(&peers::Peer, Status)]) -> Vec<String> {
    let ready = found.iter().any(|(p, s)| p.name == "librdkafka" && matches!(s, Status::Ready));
    if ready {
        vec!["--features".into(), "ottla-conformance/librdkafka".into()]
    } else {
        Vec::new()
    }
}

/// Compiles the test programs of these packages, or of all if none is named, and the server.
pub(crate) fn build(
    workspace: &Workspace,
    features: &[String],
    packages: &[&str],
) -> Result<Built> {
    eprintln!("==> build");
    let mut command = process::cargo(
        &workspace.root,
        &["test", "--no-run", "--message-format", "json-render-diagnostics"],
    );
    if packages.is_empty() {
        command.arg("--workspace");
    }
    for package in packages.iter().chain(packages.first().map(|_| &"server")) {
        command.arg("--package").arg(format!("ottla-{package}"));
    }
    let text = process::output(command.args(features))?;
    let mut built = Built { programs: Vec::new(), server: None };
    for line in text.lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        note_artifact(&message, &mut built);
    }
    Ok(built)
}

fn note_artifact(message: &Value, built: &mut Built) {
    let Some(executable) = message["executable"].as_str() else { return };
    let target = message["target"]["name"].as_str().unwrap_or_default();
    if message["profile"]["test"] != true {
        if target == "ottla" {
            built.server = Some(executable.into());
        }
        return;
    }
    let manifest = PathBuf::from(message["manifest_path"].as_str().unwrap_or_default());
    let folder = manifest.parent().map(PathBuf::from).unwrap_or_default();
    let package = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = format!("{package} {target}");
    built.programs.push(Program { name, package, executable: executable.into(), folder });
}

/// Runs the tests with this in their names of the chosen programs, and notes each one's counts.
pub(crate) fn run_programs(
    workspace: &Workspace,
    built: &Built,
    summary: &mut Summary,
    environment: &[(&str, String)],
    tests: &str,
    chosen: impl Fn(&Program) -> bool,
) {
    for program in built.programs.iter().filter(|p| chosen(p)) {
        let start = Instant::now();
        let (passed, failed) = run_program(workspace, built, program, environment, tests)
            .unwrap_or_else(|error| {
                eprintln!("{}: {error:#}", program.name);
                (0, 1)
            });
        // A program without tests is not worth a line.
        if passed + failed > 0 {
            summary.note(&program.name, passed, failed, start.elapsed());
        }
    }
}

/// Runs one program and counts its tests; a crash or a hang counts as one failure.
fn run_program(
    workspace: &Workspace,
    built: &Built,
    program: &Program,
    environment: &[(&str, String)],
    tests: &str,
) -> Result<(usize, usize)> {
    eprintln!("==> {}", program.name);
    let mut command = Command::new(&program.executable);
    if !tests.is_empty() {
        command.arg(tests);
    }
    command.current_dir(&program.folder);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.env("CARGO_MANIFEST_DIR", &program.folder);
    command.env("OTTLA_PEERS", workspace::peers_folder(workspace));
    if let Some(server) = &built.server {
        command.env("OTTLA_BIN", server);
    }
    let mut counted = None;
    let succeeded = process::run_bounded(&mut command, PROGRAM_LIMIT, |line| {
        println!("{line}");
        counted = counted.or_else(|| summary::counts(line));
    })?;
    let (passed, failed) = counted.unwrap_or((0, 0));
    Ok((passed, if succeeded { failed } else { failed.max(1) }))
}

fn doc_tests(workspace: &Workspace, features: &[String], summary: &mut Summary) {
    eprintln!("==> doc tests");
    let start = Instant::now();
    let mut command = process::cargo(&workspace.root, &["test", "--workspace", "--doc"]);
    let (mut passed, mut failed) = (0, 0);
    let ended = process::run_bounded(command.args(features), PROGRAM_LIMIT, |line| {
        println!("{line}");
        if let Some((good, bad)) = summary::counts(line) {
            passed += good;
            failed += bad;
        }
    });
    let succeeded = ended.context("doc tests").unwrap_or(false);
    summary.note(
        "doc tests",
        passed,
        if succeeded { failed } else { failed.max(1) },
        start.elapsed(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_names_programs_and_the_server() {
        let mut built = Built { programs: Vec::new(), server: None };
        for message in [
            r#"{"executable":"/t/crash-1","target":{"name":"crash"},"profile":{"test":true},"manifest_path":"/r/crates/log/Cargo.toml"}"#,
            r#"{"executable":"/t/ottla","target":{"name":"ottla"},"profile":{"test":false},"manifest_path":"/r/crates/server/Cargo.toml"}"#,
            r#"{"executable":null,"target":{"name":"ottla_log"},"profile":{"test":false}}"#,
        ] {
            note_artifact(&serde_json::from_str(message).unwrap(), &mut built);
        }
        assert_eq!(built.server, Some("/t/ottla".into()));
        assert_eq!(built.programs.len(), 1);
        assert_eq!(
            (built.programs[0].name.as_str(), built.programs[0].package.as_str()),
            ("log crash", "log")
        );
    }
}
