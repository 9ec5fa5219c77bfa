//! `ottla server` and `ottla dev`: a node from its start to its last signal.

use std::path::PathBuf;
use std::time::Duration;

use ottla_broker::{Node, StartOptions};
use ottla_cli::{DevArgs, DevFormat, Exit, Failure, ServerArgs, read_settings};
use tokio::signal::unix::{SignalKind, signal};

use crate::logging;
use crate::refusal::{Ports, not_started};

/// How long a shutdown may take before connections are cut.
const PATIENCE: Duration = Duration::from_secs(30);

/// With fewer open files than this a node does not get far.
const FILES_FEW: u64 = 4096;

/// Signals that come together are one wish.
const ECHO: Duration = Duration::from_millis(200);

/// Runs a node until it is told to stop.
pub(crate) async fn server(args: ServerArgs) -> Result<Exit, Failure> {
    let levels = logging::start(args.log_format, "info");
    let mut stop = Stop::new()?;
    let loaded = read_settings(args.file.as_deref(), &args.overrides, args.strict)?;
    for notice in &loaded.notices {
        tracing::warn!("{notice}");
    }
    let mut options = StartOptions::new(loaded);
    // Without a file it is somebody's first node; a configured one is formatted on purpose.
    options.format = args.file.is_none();
    options.log_levels = Some(levels);
    let Some(node) = start(options, Ports::Configured, &mut stop).await? else {
        return Ok(Exit::Interrupted);
    };
    for (name, address) in node.addresses() {
        tracing::info!("listening on {address} ({name})");
    }
    tokio::select! {
        biased;
        () = stop.first() => return Ok(finish(node, stop).await),
        () = node.ready() => tracing::info!(cluster_id = node.cluster_id(), "ready"),
        reason = node.failed() => return Err(given_up(&reason)),
    }
    tokio::select! {
        () = stop.first() => Ok(finish(node, stop).await),
        reason = node.failed() => Err(given_up(&reason)),
    }
}

/// Runs a throw-away node until it is told to stop.
pub(crate) async fn dev(args: DevArgs) -> Result<Exit, Failure> {
    let levels = logging::start(ottla_cli::LogFormat::Text, "warn");
    let mut stop = Stop::new()?;
    let data = Data::new(args.data)?;
    let mut overrides = vec![
        format!("listeners=PLAINTEXT://127.0.0.1:{},CONTROLLER://127.0.0.1:0", args.port),
        format!("log.dirs={}", data.path.display()),
        "group.initial.rebalance.delay.ms=0".to_owned(),
    ];
    overrides.extend(args.overrides);
    let loaded = read_settings(None, &overrides, false)?;
    let mut options = StartOptions::new(loaded);
    options.format = true;
    options.http_optional = true;
    options.log_levels = Some(levels);
    let Some(node) = start(options, Ports::Argument, &mut stop).await? else {
        return Ok(Exit::Interrupted);
    };
    tokio::select! {
        biased;
        () = stop.first() => return Ok(finish(node, stop).await),
        () = node.ready() => announce(&node, &data.path, args.format),
        reason = node.failed() => return Err(given_up(&reason)),
    }
    tokio::select! {
        () = stop.first() => Ok(finish(node, stop).await),
        reason = node.failed() => Err(given_up(&reason)),
    }
}

fn given_up(reason: &str) -> Failure {
    tracing::error!("{reason}; the process ends");
    Failure::new(Exit::Failed, reason).with_hint(
        "What was acknowledged is on disk: repair the disk or take it out of log.dirs, then start \
         again.",
    )
}

/// Starts a node. A signal meanwhile is kept, and the node that stands then stops cleanly; a second
/// one does not wait for that: no node.
async fn start(
    options: StartOptions,
    ports: Ports,
    stop: &mut Stop,
) -> Result<Option<Node>, Failure> {
    match ottla_sys::raise_open_files_max() {
        Ok(Some(max)) if max < FILES_FEW => tracing::warn!(
            max,
            "few files may be open; connections and partitions in use need them: raise the limit (ulimit -n)"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit on open files cannot be raised"),
    }
    // On a thread of its own, because recovery of the logs does not yield.
    let mut starting = tokio::spawn(Node::start(options));
    let started = tokio::select! {
        biased;
        started = &mut starting => started,
        () = stop.first() => {
            tracing::info!("stopping once the start is done; a second signal stops at once");
            let started = tokio::select! {
                biased;
                started = &mut starting => started,
                () = stop.second() => {
                    tracing::warn!("stopped during the start, the next one will recover");
                    return Ok(None);
                }
            };
            stop.again();
            started
        }
    };
    match started {
        Ok(started) => started.map(Some).map_err(|error| not_started(&error, ports)),
        Err(panicked) => Err(Failure::new(Exit::Failed, format!("the start failed: {panicked}"))),
    }
}

fn announce(node: &Node, data: &std::path::Path, format: DevFormat) {
    let bootstrap: Vec<String> =
        node.bootstrap_addresses().iter().map(ToString::to_string).collect();
    let bootstrap = bootstrap.join(",");
    let http = node.http_address().map(|address| address.to_string());
    match format {
        DevFormat::Json => {
            let line = serde_json::json!({
                "bootstrap": bootstrap,
                "cluster_id": node.cluster_id(),
                "http": http,
                "data": data.display().to_string(),
                "pid": std::process::id(),
            });
            println!("{line}");
        }
        DevFormat::Text => {
            println!("Ottla is ready.");
            println!("  bootstrap.servers  {bootstrap}");
            if let Some(http) = http {
                println!("  metrics            http://{http}/metrics");
            }
            println!("  data               {}", data.display());
            println!("Ctrl-C stops it.");
        }
    }
}

async fn finish(node: Node, mut stop: Stop) -> Exit {
    tracing::info!("stopping; a second signal stops at once");
    tokio::select! {
        () = node.shutdown(PATIENCE) => {
            tracing::info!("stopped");
            Exit::Ok
        }
        () = stop.second() => {
            tracing::warn!("stopped at once, the next start will recover");
            Exit::Interrupted
        }
    }
}

/// SIGTERM and SIGINT.
struct Stop {
    /// A signal that came before anybody could act on it.
    kept: bool,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn new() -> Result<Self, Failure> {
        let signal = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(Exit::Failed, format!("signals cannot be handled: {error}"))
            })
        };
        Ok(Self {
            kept: false,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The last signal is to be seen again.
    fn again(&mut self) {
        self.kept = true;
    }

    async fn first(&mut self) {
        if std::mem::take(&mut self.kept) {
            return;
        }
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// The next wish to stop. `timeout`, and a shell above a wrapper, signal a process and then its group:
    /// what comes as quickly as that is the first wish once more.
    async fn second(&mut self) {
        let first = tokio::time::Instant::now();
        loop {
            self.first().await;
            if ECHO < first.elapsed() {
                return;
            }
        }
    }
}

/// The folder of a throw-away node; a temporary one goes when the node does.
struct Data {
    path: PathBuf,
    temporary: bool,
}

impl Data {
    fn new(path: Option<PathBuf>) -> Result<Self, Failure> {
        if let Some(path) = path {
            return Ok(Self { path, temporary: false });
        }
        let name = format!("ottla-dev-{}", ottla_broker::storage::random_uuid());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).map_err(|error| {
            let text = format!("the folder {} cannot be made: {error}", path.display());
            Failure::new(Exit::Failed, text).with_hint("--data DIR names another.")
        })?;
        Ok(Self { path, temporary: true })
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            eprintln!("warning: {} cannot be removed: {error}", self.path.display());
        }
    }
}
