//! kill -9 in the middle of a produce: every acknowledged record is there, once, in order.
//!
//! `cargo xtask conformance --only crash --kills 200` is the long run.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ottla_conformance::{Setup, ensure_java, repeat};
use ottla_testkit::{Kind, Random, Replay, seed, wait_until};
use serde_json::{Value, json};

/// A node that has been killed accepts records again within this time of its start, in the median.
const WRITABLE_MAX: Duration = Duration::from_secs(1);

#[test]
fn acknowledged_records_survive_kills() -> Result<()> {
    ensure_java!();
    // A JVM needs seconds for each start and then waits for the session of its former self.
    let own = if Kind::target() == Kind::Kafka { 2 } else { 10 };
    let kills = repeat("OTTLA_KILLS", own);
    let seed = seed(0x6b69_6c6c);
    let _replay = Replay::with(format!(
        "OTTLA_SEED={seed} cargo xtask conformance --only crash --kills {kills}"
    ));
    let mut random = Random::new(seed);
    let mut setup = Setup::start()?;
    setup.topic("crash", 3)?;
    start_load(&mut setup)?;
    let mut pauses = Vec::new();
    for kill in 0..kills {
        let quota = 200 + random.below(2000);
        wait_for_more(&mut setup, quota).with_context(|| format!("before kill {kill}"))?;
        setup.node.kill9()?;
        let begun = Instant::now();
        setup.node.restart()?;
        wait_for_more(&mut setup, 1).with_context(|| format!("after kill {kill}"))?;
        pauses.push(begun.elapsed());
    }
    let load = setup.call(json!({"do": "load.stop", "load": "l"}))?;
    let verdict = setup.call(json!({"do": "load.verify", "load": "l"}))?;
    pauses.sort_unstable();
    let median = pauses[pauses.len() / 2];
    println!(
        "{kills} kills, {verdict}, {}, writable after {median:?} (slowest {:?})",
        load["failures"],
        pauses[pauses.len() - 1]
    );
    for sin in ["lost", "duplicated", "reordered", "misplaced"] {
        assert_eq!(verdict[sin], json!(0), "{sin} of {verdict}");
    }
    assert_eq!(verdict["found"], verdict["acknowledged"], "{verdict}");
    if setup.node.kind() == Kind::Ottla {
        ensure!(median <= WRITABLE_MAX, "writable after {median:?}");
    }
    Ok(())
}

#[test]
fn a_clean_stop_is_quick_and_keeps_everything() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.topic("crash", 3)?;
    start_load(&mut setup)?;
    wait_for_more(&mut setup, 2000)?;
    let took = setup.node.stop()?;
    ensure!(
        setup.node.kind() == Kind::Kafka || took < Duration::from_secs(5),
        "it took {took:?} to stop"
    );
    for folder in ["crash-0", "crash-1", "crash-2"] {
        ensure!(setup.node.data().join(folder).is_dir(), "{folder}");
    }
    ensure!(setup.node.data().join(".kafka_cleanshutdown").is_file(), "no clean marker");
    setup.node.restart()?;
    wait_for_more(&mut setup, 500)?;
    setup.call(json!({"do": "load.stop", "load": "l"}))?;
    let verdict = setup.call(json!({"do": "load.verify", "load": "l"}))?;
    for sin in ["lost", "duplicated", "reordered", "misplaced"] {
        assert_eq!(verdict[sin], json!(0), "{sin} of {verdict}");
    }
    Ok(())
}

/// An idempotent producer with acks=all that comes back to a restarted node without long pauses.
fn start_load(setup: &mut Setup) -> Result<()> {
    let config = json!({
        "acks": "all",
        "linger.ms": "2",
        "reconnect.backoff.ms": "10",
        "reconnect.backoff.max.ms": "50",
        "retry.backoff.ms": "10",
        "retry.backoff.max.ms": "50",
    });
    setup.call(json!({"do": "load.start", "load": "l", "topic": "crash", "partitions": 3, "per_second": 4000, "config": config}))?;
    Ok(())
}

fn acknowledged(setup: &mut Setup) -> u64 {
    let state = setup.driver.call(&json!({"do": "load.state", "load": "l"}));
    state.unwrap_or(Value::Null)["acknowledged"].as_u64().unwrap_or(0)
}

fn wait_for_more(setup: &mut Setup, more: u64) -> Result<()> {
    let goal = acknowledged(setup) + more;
    let waited =
        wait_until("acknowledged records", Duration::from_secs(90), || acknowledged(setup) >= goal);
    waited.with_context(|| {
        let state = setup.driver.call(&json!({"do": "load.state", "load": "l"}));
        format!("{state:?}\n{}", setup.node.tail())
    })
}
