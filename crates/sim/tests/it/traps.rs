//! Where raft and Kafka differ, one scenario each; the invariants watch all of them.

use ottla_quorum::{Voter, VoterChange};
use ottla_sim::{Chain, Detail, Plan, Violation, Voters, Weather, World};

type Result = std::result::Result<(), Violation>;

fn cluster(voters: usize, kind: Voters) -> World {
    let plan = Plan { voters, kind, weather: Weather::CALM, machine: Chain::make, arguments: "" };
    let mut world = World::new(11, plan);
    world.trace.detail = Detail::Lines;
    world.start().unwrap();
    world
}

fn dynamic() -> World {
    cluster(3, Voters::Dynamic { spares: 2 })
}

// Runs until somebody serves, and names the node.
fn led(world: &mut World) -> usize {
    for _ in 0..100 {
        world.run(100, None).unwrap();
        if let Some(leader) = world.leader() {
            return leader;
        }
    }
    panic!("no leader within ten seconds\n{}", world.trace.text());
}

fn progress(world: &mut World, millis: u64) -> u64 {
    let before = world.acknowledgements();
    world.run(millis, None).unwrap();
    world.acknowledgements() - before
}

fn others(world: &World, leader: usize) -> Vec<usize> {
    (0..world.len()).filter(|node| *node != leader).collect()
}

fn names(world: &World, at: usize) -> Vec<u32> {
    world.voters_at(at).unwrap().keys().map(|key| key.node.0).collect()
}

#[test]
fn a_sole_voter_serves_within_two_writes() -> Result {
    let mut world = cluster(1, Voters::Static);
    world.run(20, None)?;
    assert_eq!(world.leader(), Some(0));
    Ok(())
}

#[test]
fn a_leader_that_hears_nobody_steps_down_and_its_offsets_are_used_again() -> Result {
    let mut world = cluster(3, Voters::Static);
    let old = led(&mut world);
    let nodes = world.len();
    world.network().isolate(old, nodes);
    // It goes on proposing for a while; nothing of that is acknowledged.
    world.run(6_000, None)?;
    let new = led(&mut world);
    assert_ne!(old, new);
    assert!(progress(&mut world, 2_000) > 0);
    world.network().mend();
    world.run(3_000, None)?;
    assert!(world.log_end(old) + 50 > world.log_end(new), "the old leader follows");
    Ok(())
}

#[test]
fn a_majority_that_restarts_keeps_everything() -> Result {
    let mut world = cluster(3, Voters::Static);
    led(&mut world);
    world.run(2_000, None)?;
    let acknowledged = world.acknowledged();
    assert!(acknowledged > 0);
    for node in 0..3 {
        world.crash(node);
    }
    for node in 0..3 {
        world.start_node(node)?;
    }
    let leader = led(&mut world);
    assert!(world.log_end(leader) >= acknowledged);
    Ok(())
}

#[test]
fn a_node_that_is_far_behind_reads_a_snapshot() -> Result {
    let mut world = cluster(3, Voters::Static);
    let leader = led(&mut world);
    let away = others(&world, leader)[0];
    world.crash(away);
    // Far more than what is kept for peers that lag.
    world.run(20_000, None)?;
    world.start_node(away)?;
    world.run(10_000, None)?;
    let installed = format!("node {} installs", away + 1);
    assert!(world.trace.text().contains(&installed));
    let leader = led(&mut world);
    assert!(world.log_end(away) + 50 > world.log_end(leader));
    Ok(())
}

#[test]
fn voters_of_the_bootstrap_checkpoint_come_into_the_log() -> Result {
    let mut world = dynamic();
    let leader = led(&mut world);
    assert_eq!(names(&world, leader), [1, 2, 3]);
    // The spares were told nothing but what is in the log, and they are told it as learners only.
    assert!(names(&world, 3).is_empty());
    Ok(())
}

#[test]
fn a_joiner_catches_up_first_and_never_counts_itself_alone() -> Result {
    let mut world = dynamic();
    let leader = led(&mut world);
    world.run(2_000, None)?;
    let joiner = world.key(3);
    assert!(world.change_voters(VoterChange::Add(Voter::new(joiner, Vec::new())))?);
    world.run(3_000, None)?;
    for node in 0..4 {
        assert_eq!(names(&world, node), [1, 2, 3, 4], "node {}", node + 1);
    }
    // Four voters need three: the joiner counts.
    world.crash(leader);
    assert!(progress(&mut world, 10_000) > 0);
    // Alone, it is nobody.
    for node in (0..3).filter(|node| *node != leader) {
        world.crash(node);
    }
    assert_eq!(progress(&mut world, 10_000), 0);
    assert_eq!(world.leader(), None);
    Ok(())
}

#[test]
fn a_joiner_that_is_cut_off_does_not_change_the_quorum() -> Result {
    let mut world = dynamic();
    led(&mut world);
    let joiner = world.key(3);
    world.crash(3);
    assert!(world.change_voters(VoterChange::Add(Voter::new(joiner, Vec::new())))?);
    // One change at a time.
    let second = world.key(4);
    assert!(!world.change_voters(VoterChange::Add(Voter::new(second, Vec::new())))?);
    world.run(65_000, None)?;
    let leader = led(&mut world);
    assert_eq!(names(&world, leader), [1, 2, 3]);
    assert!(world.change_voters(VoterChange::Add(Voter::new(second, Vec::new())))?);
    world.run(5_000, None)?;
    assert_eq!(names(&world, leader), [1, 2, 3, 5]);
    Ok(())
}

#[test]
fn a_leader_that_is_removed_steps_down_once_that_is_committed() -> Result {
    let mut world = dynamic();
    let old = led(&mut world);
    let key = world.key(old);
    assert!(world.change_voters(VoterChange::Remove(key))?);
    world.run(500, None)?;
    assert_ne!(world.leader(), Some(old));
    let new = led(&mut world);
    assert_ne!(new, old);
    assert!(!names(&world, new).contains(&key.node.0));
    // The removed node does not disturb the others.
    assert!(progress(&mut world, 10_000) > 0);
    assert_eq!(world.leader(), Some(new));
    Ok(())
}

#[test]
fn an_empty_disk_never_outvotes_data() -> Result {
    let mut world = dynamic();
    let leader = led(&mut world);
    world.run(2_000, None)?;
    let others = others(&world, leader);
    let (behind, wiped) = (others[0], others[1]);
    // One voter misses what the other two acknowledge, and then the disks of those two are: one
    // lost, one down. What is left has a majority of node ids, but not of disks.
    world.crash(behind);
    world.run(2_000, None)?;
    let lost = world.key(wiped);
    world.wipe(wiped);
    world.start_node(wiped)?;
    world.crash(leader);
    world.start_node(behind)?;
    assert_eq!(progress(&mut world, 15_000), 0);
    assert_eq!(world.leader(), None);
    // With the data back there is a majority, and the lost disk is replaced: remove, then add.
    world.start_node(leader)?;
    led(&mut world);
    assert!(world.change_voters(VoterChange::Remove(lost))?);
    world.run(3_000, None)?;
    let fresh = world.key(wiped);
    led(&mut world);
    assert!(world.change_voters(VoterChange::Add(Voter::new(fresh, Vec::new())))?);
    world.run(5_000, None)?;
    let leader = led(&mut world);
    assert!(world.voters_at(leader).unwrap().is_voter(fresh));
    assert!(progress(&mut world, 2_000) > 0);
    Ok(())
}

#[test]
fn a_change_of_endpoints_is_no_change_of_voters() -> Result {
    let mut world = dynamic();
    let leader = led(&mut world);
    let key = world.key(leader);
    let endpoint = ottla_quorum::Endpoint {
        name: "CONTROLLER".to_owned(),
        host: "elsewhere".to_owned(),
        port: 9093,
    };
    assert!(world.change_voters(VoterChange::Update(Voter::new(key, vec![endpoint.clone()])))?);
    world.run(1_000, None)?;
    for node in 0..3 {
        let voters = world.voters_at(node).unwrap();
        assert_eq!(voters.get(key.node).unwrap().endpoints, std::slice::from_ref(&endpoint));
    }
    assert_eq!(world.leader(), Some(leader));
    Ok(())
}

#[test]
fn static_voters_become_dynamic_without_an_election() -> Result {
    let mut world = cluster(3, Voters::Static);
    let leader = led(&mut world);
    let voters = (0..3).map(|node| Voter::new(world.key(node), Vec::new()));
    let voters = ottla_quorum::VoterSet::new(voters);
    assert!(world.change_voters(VoterChange::Upgrade(voters.clone()))?);
    world.run(1_000, None)?;
    assert_eq!(world.leader(), Some(leader));
    for node in 0..3 {
        assert_eq!(world.voters_at(node).unwrap(), voters);
    }
    world.crash(leader);
    world.run(500, None)?;
    world.start_node(leader)?;
    assert!(progress(&mut world, 10_000) > 0);
    Ok(())
}
