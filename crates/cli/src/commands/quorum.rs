//! `ottla quorum`: who keeps the metadata log, and how far each node is.

use clap::Subcommand;
use ottla_client::QuorumReplica;
use serde::Serialize;

use crate::args::ConnectionArgs;
use crate::connect::admin;
use crate::exit::{Exit, Failure};
use crate::output::{Render, Text, maybe};
use crate::table::Table;
use crate::terminal::Terminal;

/// Commands of `ottla quorum`.
#[derive(Debug, Subcommand)]
pub(crate) enum QuorumCommand {
    /// Shows the leader, the voters and the observers
    Describe,
}

#[derive(Serialize)]
struct Quorum {
    leader: Option<u32>,
    leader_epoch: Option<u32>,
    high_watermark: Option<u64>,
    replicas: Vec<Replica>,
    endpoints: Vec<Endpoint>,
}

#[derive(Serialize)]
struct Replica {
    id: u32,
    directory: String,
    role: &'static str,
    log_end_offset: Option<u64>,
    lag: Option<u64>,
    last_fetch_ms: Option<i64>,
    last_caught_up_ms: Option<i64>,
}

#[derive(Serialize)]
struct Endpoint {
    id: u32,
    listener: String,
    address: String,
}

impl Render for Quorum {
    fn text(&self, text: &mut Text) {
        text.field("leader", maybe(self.leader));
        text.field("epoch", maybe(self.leader_epoch));
        text.field("high watermark", maybe(self.high_watermark));
        text.gap();
        let mut table = Table::new(&["node", "role", "log end", "lag", "directory"]);
        for replica in &self.replicas {
            table.row([
                replica.id.to_string(),
                replica.role.to_owned(),
                maybe(replica.log_end_offset),
                maybe(replica.lag),
                replica.directory.clone(),
            ]);
        }
        text.table(&table);
        if !self.endpoints.is_empty() {
            text.gap();
            let mut table = Table::new(&["node", "listener", "address"]);
            for endpoint in &self.endpoints {
                let id = endpoint.id.to_string();
                table.row([id, endpoint.listener.clone(), endpoint.address.clone()]);
            }
            text.table(&table);
        }
    }
}

pub(crate) async fn run(
    command: QuorumCommand,
    connection: &ConnectionArgs,
    terminal: Terminal,
) -> Result<Exit, Failure> {
    let QuorumCommand::Describe = command;
    let described = admin(connection)?.describe_quorum().await?;
    let leader = described.leader;
    let end = described.voters.iter().find(|voter| Some(voter.id) == leader);
    let end = end.and_then(|voter| voter.log_end);
    let replica = |replica: &QuorumReplica, voter: bool| Replica {
        id: replica.id.0,
        directory: replica.directory.to_string(),
        role: match (Some(replica.id) == leader, voter) {
            (true, _) => "leader",
            (_, true) => "follower",
            _ => "observer",
        },
        log_end_offset: replica.log_end.map(|offset| offset.0),
        lag: end.zip(replica.log_end).map(|(end, own)| end.since(own)),
        last_fetch_ms: replica.last_fetch.map(|time| time.0),
        last_caught_up_ms: replica.last_caught_up.map(|time| time.0),
    };
    let voters = described.voters.iter().map(|one| replica(one, true));
    let observers = described.observers.iter().map(|one| replica(one, false));
    let endpoints = described.endpoints.iter().map(|(id, listener, address)| Endpoint {
        id: id.0,
        listener: listener.clone(),
        address: address.to_string(),
    });
    terminal.print(&Quorum {
        leader: leader.map(|id| id.0),
        leader_epoch: described.leader_epoch.map(|epoch| epoch.0),
        high_watermark: described.high_watermark.map(|offset| offset.0),
        replicas: voters.chain(observers).collect(),
        endpoints: endpoints.collect(),
    })?;
    Ok(Exit::Ok)
}
