//! The binary `ottla`: arguments, start, signals, exit code.
//!
//! Commands for a cluster are carried out by `ottla_cli`; those that are a node, or write a
//! node's files, begin here.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to its user")]

mod logging;
mod node;
mod refusal;
mod storage;

use std::process::ExitCode;

use ottla_cli::{Cli, Exit, Failure, Local, Tool};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    match arguments.next().as_deref().map_or(Ok(None), Tool::of_name) {
        Ok(Some(tool)) => return as_tool(tool, arguments.collect()),
        Ok(None) => {}
        Err(missing) => {
            eprintln!("{missing}");
            return ExitCode::FAILURE;
        }
    }
    let cli = Cli::from_arguments(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let Ok(runtime) = runtime else {
        eprintln!("error: the system gives no threads");
        return ExitCode::FAILURE;
    };
    let exit = match cli.local() {
        None => runtime.block_on(ottla_cli::run(cli)),
        Some(local) => {
            let terminal = cli.terminal();
            runtime.block_on(run(local, terminal)).unwrap_or_else(|failure| {
                terminal.fail(&failure);
                failure.exit
            })
        }
    };
    // A reader thread may still wait for stdin; nobody waits for it.
    runtime.shutdown_background();
    ExitCode::from(exit.code())
}

/// Called by the name of one of Kafka's tools.
fn as_tool(tool: Tool, arguments: Vec<std::ffi::OsString>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let Ok(runtime) = runtime else {
        eprintln!("error: the system gives no threads");
        return ExitCode::FAILURE;
    };
    let code = runtime.block_on(tool.run(arguments, &storage::Directories));
    runtime.shutdown_background();
    ExitCode::from(code)
}

async fn run(local: Local, terminal: ottla_cli::Terminal) -> Result<Exit, Failure> {
    match local {
        Local::Server(args) => node::server(args).await,
        Local::Dev(args) => node::dev(args).await,
        Local::StorageFormat(args) => storage::format(&args, terminal),
        Local::StorageInfo(args) => storage::info(&args, terminal),
    }
}
