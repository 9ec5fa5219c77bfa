//! What goes wrong in a run, drawn from its seed.
//!
//! Crashes, torn writes, cut links, slow disks, snapshots, changes of voters, and disks that are
//! lost for good. Never more than what a quorum survives: at most one voter's disk is lost at a
//! time, and only in a dynamic quorum, which can tell a new disk from the old one. Kafka takes a
//! turn on a directory ([`crate::kafka`]) only while its node is the sole voter.

use ottla_quorum::{ReplicaKey, Voter, VoterChange};

use crate::controlled::Controlled;
use crate::machine::Chain;
use crate::network::Weather;
use crate::world::{Action, Plan, Violation, Voters, World};

/// State of the chaos.
#[derive(Debug)]
pub(crate) struct Chaos {
    /// A voter whose disk is gone, until it is removed from the voters.
    lost: Option<ReplicaKey>,
    mend_at: u64,
}

/// The plan that belongs to a seed, with the real controller on one voter or on three.
pub fn controller_plan(seed: u64) -> Plan {
    let mut plan = plan(seed);
    plan.voters = plan.voters.min(3);
    Plan { machine: Controlled::make, arguments: " --controller", ..plan }
}

/// The plan that belongs to a seed, with a sole voter whose directory Kafka takes over at times.
pub fn adoption_plan(seed: u64) -> Plan {
    let kind = if seed.is_multiple_of(2) { Voters::Static } else { Voters::Dynamic { spares: 0 } };
    let machine = if seed % 4 < 2 { Chain::make } else { Controlled::make };
    Plan { voters: 1, kind, machine, arguments: " --adoption", ..plan(seed) }
}

/// The plan that belongs to a seed.
pub fn plan(seed: u64) -> Plan {
    let mut random = ottla_testkit::Random::new(seed ^ 0x5151_5151);
    let (voters, kind) = match random.below(6) {
        0 => (1, Voters::Static),
        1 | 2 => (3, Voters::Static),
        3 | 4 => (3, Voters::Dynamic { spares: 2 }),
        _ => (5, Voters::Static),
    };
    let weather = Weather {
        loss: *random.choose(&[0, 5, 50, 150]),
        duplication: *random.choose(&[0, 20, 100]),
        delay_us: *random.choose(&[500, 5_000, 50_000]),
        stray_one_in: *random.choose(&[u64::MAX, 500, 50]),
    };
    Plan { voters, kind, weather, machine: Chain::make, arguments: "" }
}

/// Runs one seed: chaos, then calm weather in which the cluster must make progress.
///
/// # Errors
/// A violated invariant, or no progress in calm weather.
pub fn run_seed(world: &mut World, chaos_ms: u64, until: Option<u64>) -> Result<(), Violation> {
    world.start()?;
    world.chaos = Some(Chaos { lost: None, mend_at: 0 });
    world.later(0, Action::Chaos);
    world.run(chaos_ms, until)?;
    if until.is_some_and(|until| world.steps() >= until) {
        return Ok(());
    }
    world.calm()?;
    world.run(15_000, until)?;
    let before = world.acknowledgements();
    world.run(5_000, until)?;
    if until.is_some_and(|until| world.steps() >= until) {
        return Ok(());
    }
    if world.acknowledgements() == before {
        return Err(world.violation("no progress in calm weather".to_owned()));
    }
    world.everybody_has_caught_up()
}

impl World {
    /// Ends the chaos: links are mended, every node runs.
    ///
    /// # Errors
    /// A violated invariant.
    pub fn calm(&mut self) -> Result<(), Violation> {
        self.chaos = None;
        self.slow_disk = None;
        self.network.mend();
        self.network.set_weather(Weather::CALM);
        for node in 0..self.nodes.len() {
            self.start_node(node)?;
        }
        Ok(())
    }

    fn everybody_has_caught_up(&self) -> Result<(), Violation> {
        let Some(leader) = self.leader() else {
            return Err(self.violation("no leader in calm weather".to_owned()));
        };
        let end = self.log_end(leader);
        let voters = self.voters_at(leader).unwrap_or_default();
        for node in (0..self.len()).filter(|node| voters.is_voter(self.key(*node))) {
            // What the leader committed within the last moments may still be on its way.
            if self.log_end(node) + 200 < end {
                let (name, have) = (node + 1, self.log_end(node));
                return Err(
                    self.violation(format!("node {name} is at {have}, the leader at {end}"))
                );
            }
        }
        Ok(())
    }

    pub(crate) fn make_chaos(&mut self) -> Result<(), Violation> {
        let Some(mut chaos) = self.chaos.take() else { return Ok(()) };
        if chaos.mend_at <= self.steps() {
            self.network.mend();
            self.slow_disk = None;
        }
        let result = self.one_fault(&mut chaos);
        self.chaos = Some(chaos);
        let pause = 20 + self.random.below(3_000);
        self.later(pause * 1_000_000, Action::Chaos);
        result
    }

    fn one_fault(&mut self, chaos: &mut Chaos) -> Result<(), Violation> {
        let nodes = self.nodes.len();
        let at = self.random.index(nodes);
        let other = self.random.index(nodes);
        match self.random.below(12) {
            0..=2 => self.crash_for_a_while(at),
            3 => {
                for node in 0..nodes {
                    self.crash_for_a_while(node);
                }
            }
            4 => self.network.isolate(at, nodes),
            5 => {
                // The leader hears nobody, or nobody hears it.
                let leader = self.leader().unwrap_or(at);
                self.network.isolate(leader, nodes);
            }
            // What else can happen needs more nodes than one.
            6 | 10 | 11 if nodes == 1 => self.kafka_takes_a_turn(at)?,
            6 if at != other => self.network.cut(at, other),
            7 => self.slow_disk = Some(at),
            8 | 9 => self.snapshot(at)?,
            10 => self.change_somebody(chaos)?,
            11 => self.lose_a_disk(chaos, at),
            _ => {}
        }
        chaos.mend_at = self.steps() + self.random.below(2_000);
        Ok(())
    }

    pub(crate) fn crash_for_a_while(&mut self, at: usize) {
        if self.nodes[at].running.is_some() {
            self.crash(at);
            let down = 1 + self.random.below(4_000);
            self.later(down * 1_000_000, Action::Restart { node: at });
        }
    }

    fn change_somebody(&mut self, chaos: &mut Chaos) -> Result<(), Violation> {
        let Some(leader) = self.leader() else { return Ok(()) };
        let voters = self.voters_at(leader).unwrap_or_default();
        if chaos.lost.is_some_and(|lost| !voters.is_voter(lost)) {
            chaos.lost = None;
        }
        if !self.nodes[leader].static_voters.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = (0..self.nodes.len()).map(|node| self.key(node)).collect();
        let free = |key: &&ReplicaKey| voters.get(key.node).is_none();
        let joiners: Vec<_> = keys.iter().filter(free).copied().collect();
        let change = if let Some(lost) = chaos.lost {
            VoterChange::Remove(lost)
        } else if voters.len() < 3 || (!joiners.is_empty() && self.random.once_in(2)) {
            if joiners.is_empty() {
                return Ok(());
            }
            VoterChange::Add(Voter::new(*self.random.choose(&joiners), Vec::new()))
        } else {
            let all: Vec<_> = voters.keys().collect();
            VoterChange::Remove(*self.random.choose(&all))
        };
        self.change_voters(change).map(|_| ())
    }

    // A disk may be lost if no voter's disk is lost already, and its loss leaves a majority.
    fn lose_a_disk(&mut self, chaos: &mut Chaos, at: usize) {
        let dynamic = self.nodes[at].static_voters.is_empty();
        let sets: Vec<_> = (0..self.len()).filter_map(|node| self.voters_at(node)).collect();
        let everybody_runs = sets.len() == self.len();
        let votes = sets.iter().any(|set| set.is_voter(self.key(at)));
        let enough = sets.iter().all(|set| set.len() >= 3);
        let same = sets.windows(2).all(|pair| pair[0] == pair[1]);
        if !dynamic || !everybody_runs || chaos.lost.is_some() || !enough || !same {
            return;
        }
        if votes {
            chaos.lost = Some(self.key(at));
        }
        self.wipe(at);
        let down = 1 + self.random.below(4_000);
        self.later(down * 1_000_000, Action::Restart { node: at });
    }
}
