//! Power goes at every step that touches the disk, or a call fails, and the disk is found in many states: whatever
//! had been reported as durable is there, and nothing that was never appended.
//!
//! `cargo xtask crash` tries more of them, and prints the seed if one fails.

#![allow(clippy::print_stderr, reason = "a long run says how far it is")]
#![allow(clippy::disallowed_methods, reason = "images are checked on every processor")]

#[path = "../common/mod.rs"]
mod common;
mod model;
mod rot;
mod verify;
mod workload;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_log::storage::{CrashMode, Fault, SimStorage, Site};
use ottla_testkit::{Random, cases, seed};

use verify::Tally;
use workload::{Run, Step};

/// Steps of a random workload.
const STEPS: usize = 40;

/// Disks that are looked at for each crash point.
fn modes(seed: u64) -> Vec<CrashMode> {
    let mut modes =
        vec![CrashMode::Nothing, CrashMode::Everything, CrashMode::Names, CrashMode::Content];
    for size in [512, 4096, 64] {
        modes.push(CrashMode::Blocks { seed, size });
    }
    modes.extend([CrashMode::Prefix(seed), CrashMode::Prefix(!seed), CrashMode::Subset(seed)]);
    modes
}

/// Cuts the power at every step of a workload.
fn crash_everywhere(steps: &[Step], seed: u64) -> Tally {
    let whole = SimStorage::new();
    let context = Context { seed, point: 0, mode: CrashMode::Everything };
    Run::new(whole.clone()).play(steps).expect("runs to its end with power");
    drop(context);
    let mut tally = Tally::default();
    for point in 1..=whole.steps() {
        let disk = SimStorage::new();
        disk.lose_power_at_step(point);
        let mut run = Run::new(disk.clone());
        assert!(run.play(steps).is_none(), "the power goes at step {point}");
        let scattered = seed.wrapping_mul(0x9e37_79b9).wrapping_add(point as u64);
        for mode in modes(scattered) {
            let context = Context { seed, point, mode };
            tally.add(verify::check(&disk.crash(mode), &run.model, mode, scattered));
            drop(context);
        }
    }
    tally
}

/// Says where a check was when it failed, and how to be there again.
struct Context {
    seed: u64,
    point: usize,
    mode: CrashMode,
}

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, point, mode } = self;
            eprintln!("power lost at step {point}, found as {mode:?}");
            eprintln!("again: cargo xtask crash --images 1 --seed {seed}");
        }
    }
}

/// Makes every call of a workload fail once, with a full disk or with an error of the device; then the process ends, and
/// the machine may end with it.
fn fail_everywhere(steps: &[Step], full: bool) -> (Tally, BTreeSet<Site>) {
    let (mut tally, mut failed) = (Tally::default(), BTreeSet::new());
    for call in 1.. {
        let disk = SimStorage::new();
        disk.record_sites();
        let fault = Fault::any().nth(call);
        disk.inject(if full { fault.full() } else { fault });
        let mut run = Run::new(disk.clone());
        run.play(steps);
        let sites = disk.sites();
        let site = sites.iter().find_map(|(site, hit)| hit.then_some(*site));
        let Some(site) = site else { break };
        failed.insert(site);
        disk.clear_faults();
        for mode in [CrashMode::Everything, CrashMode::Nothing, CrashMode::Prefix(call as u64)] {
            let place = Place { site, call, mode };
            tally.add(verify::check(&disk.crash(mode), &run.model, mode, call as u64));
            drop(place);
        }
    }
    (tally, failed)
}

/// Says which call had failed when a check did.
struct Place {
    site: Site,
    call: usize,
    mode: CrashMode,
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { site, call, mode } = self;
            eprintln!("call {call} had failed, {site:?}, found as {mode:?}");
        }
    }
}

#[test]
fn every_call_of_the_script_may_fail() {
    for full in [false, true] {
        let (tally, failed) = fail_everywhere(&workload::script(), full);
        eprintln!("{} places failed, {tally:?}", failed.len());
        assert!(tally.images > 1000 && failed.len() > 40, "{} places, {tally:?}", failed.len());
    }
}

#[test]
fn power_may_go_at_every_step_of_the_script() {
    let tally = crash_everywhere(&workload::script(), 0);
    assert!(tally.images > 5000, "only {tally:?}");
}

#[test]
fn power_may_go_at_every_step_of_random_workloads() {
    let wanted = cases(100_000);
    let first = seed(1);
    let (next, total) = (AtomicU64::new(first), Mutex::new(Tally::default()));
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        let steps = workload::draw(&mut Random::new(seed), STEPS);
        let tally = crash_everywhere(&steps, seed);
        let mut total = total.lock().expect("no check failed");
        let before = total.images;
        total.add(tally);
        if before / REPORTED < total.images / REPORTED {
            eprintln!("{} of {wanted} images, up to seed {seed}", total.images);
        }
        if wanted <= total.images {
            break;
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let total = total.into_inner().expect("no check failed");
    eprintln!("{total:?}");
    assert!(wanted < 100_000 || total.has_everything(), "{total:?}");
}

/// Images between two words of progress.
const REPORTED: u64 = 100_000;
