//! `cargo xtask run` and `cargo xtask sim`: our own binaries, built and started.

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result, bail};

use crate::{process, workspace};

/// What goes to the server.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// For `ottla server`, for example `--override num.partitions=3`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds in release mode and becomes `ottla server` with its data in ./data.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = workspace::load()?;
    process::run(&mut process::cargo(
        &workspace.root,
        &["build", "--release", "--package", "ottla-server"],
    ))?;
    let binary = workspace.target.join("release/ottla");
    let mut command = std::process::Command::new(&binary);
    command.arg("server").args(&arguments.arguments);
    // A file or an override that names its own directories is left alone.
    if !arguments.arguments.iter().any(|a| a.contains("log.dirs=") || a.ends_with(".properties")) {
        command.args(["--override", "log.dirs=./data"]);
    }
    // Becomes the server, so that Ctrl-C and kill reach it and not a parent.
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", binary.display()))
}

/// Runs the simulator with these arguments.
pub(crate) fn sim(arguments: &[String]) -> Result<()> {
    let root = workspace::root();
    let mut command = process::cargo(&root, &["run", "--quiet", "--package", "ottla-sim", "--"]);
    let status = command.args(arguments).status().context("cannot start cargo")?;
    if status.success() { Ok(()) } else { bail!("the simulation ended with {status}") }
}
