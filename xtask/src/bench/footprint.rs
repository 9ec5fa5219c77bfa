//! `cargo xtask bench footprint`: what an empty node costs.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ottla_testkit::{Kind, Node, NodeOptions};

use super::compare;
use crate::workspace::Workspace;

/// Starts counted; the median is reported.
const STARTS: usize = 11;

/// How long idle CPU is watched.
const IDLE: Duration = Duration::from_secs(20);

const READY_MAX: Duration = Duration::from_millis(50);
const RESIDENT_MAX: u64 = 20 << 20;
const IDLE_SHARE_MAX: f64 = 0.005;

/// Measures and prints; a figure over its limit is an error.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    compare::use_release_binary(workspace)?;
    let mut ready = Vec::new();
    for _ in 0..STARTS {
        let mut node = Node::prepare(NodeOptions::default())?;
        node.format(Kind::Ottla)?;
        ready.push(node.start_as(Kind::Ottla)?);
        node.kill9()?;
    }
    ready.sort_unstable();
    let median = ready[STARTS / 2];
    let mut node = Node::start(Kind::Ottla, NodeOptions::default())?;
    let before = node.usage()?;
    let begun = Instant::now();
    std::thread::sleep(IDLE);
    let after = node.usage()?;
    let share = (after.cpu - before.cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
    let stopped = node.stop()?;
    println!(
        "ready after    {median:?} (median of {STARTS}, slowest {:?}; limit {READY_MAX:?})",
        ready[STARTS - 1]
    );
    println!("resident idle  {:.1} MiB (limit {} MiB)", mib(after.resident), RESIDENT_MAX >> 20);
    println!(
        "idle CPU       {:.3} % of a core (limit {} %)",
        share * 100.0,
        IDLE_SHARE_MAX * 100.0
    );
    println!("clean stop     {stopped:?}");
    ensure!(median <= READY_MAX, "it starts too slowly");
    ensure!(after.resident <= RESIDENT_MAX, "it holds too much memory");
    ensure!(share <= IDLE_SHARE_MAX, "it is not idle");
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "a figure for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
