//! Behaviours that clients rely on and that simple brokers get wrong, one test for each. Which behaviour of
//! docs/compatibility.md has its test where is checked here too.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]

mod admin;
mod connections;
mod groups;
mod records;
mod table;

use std::time::Duration;

use anyhow::{Result, ensure};
use ottla_conformance::script::{self, Side};
use ottla_testkit::{Kind, Node, NodeOptions};
use serde_json::Value as Json;

/// The longest until something has come about.
const SETTLE: Duration = Duration::from_secs(60);

/// A node, and a connection that asks what it is told.
struct World {
    node: Node,
    side: Side,
}

impl World {
    fn start() -> Result<Self> {
        Self::with(NodeOptions::default())
    }

    fn with(options: NodeOptions) -> Result<Self> {
        let node = Node::start(Kind::target(), options)?;
        let side = Side::connect(&node)?;
        let mut world = Self { node, side };
        // A broker listens before the cluster knows of it.
        world.ask("Metadata 12 {\"topics\": []}\n  until controllerId = 1")?;
        Ok(world)
    }

    /// Asks a line of a script, with its `keep` and `until`; the connection must stay open.
    fn ask(&mut self, text: &str) -> Result<Json> {
        ask(&mut self.side, text)
    }

    /// Creates a topic and waits until it can be used.
    fn topic(&mut self, name: &str, partitions: u32, configs: &str) -> Result<()> {
        let topic = format!(
            r#"CreateTopics 7 {{"topics": [{{"name": "{name}", "numPartitions": {partitions}, "replicationFactor": 1, "configs": [{configs}]}}], "timeoutMs": 20000}}"#
        );
        let created = self.ask(&topic)?;
        ensure!(created["topics"][0]["errorCode"] == 0, "{created}");
        for partition in 0..partitions {
            self.ask(&format!(
                "ListOffsets 1 {{\"replicaId\": -1, \"topics\": [{{\"name\": \"{name}\", \"partitions\": [{{\"partitionIndex\": {partition}, \"timestamp\": -1}}]}}]}}\n  until topics[0].partitions[0].errorCode = 0"
            ))?;
        }
        Ok(())
    }

    /// Produces to partition 0; gives back the answer for it.
    fn produce(&mut self, topic: &str, records: &str) -> Result<Json> {
        let answer = self.ask(&format!(
            r#"Produce 9 {{"acks": -1, "timeoutMs": 20000, "topicData": [{{"name": "{topic}", "partitionData": [{{"index": 0, "records": "{records}"}}]}}]}}"#
        ))?;
        Ok(answer["responses"][0]["partitionResponses"][0].clone())
    }

    /// Fetches partition 0; `more` are fields of the request.
    fn fetch(&mut self, topic: &str, offset: i64, more: &str) -> Result<Json> {
        let answer = self.ask(&format!(
            r#"Fetch 11 {{"maxWaitMs": 0, "minBytes": 1, "maxBytes": 10000000, {more} "topics": [{{"topic": "{topic}", "partitions": [{{"partition": 0, "fetchOffset": {offset}, "partitionMaxBytes": 10000000}}]}}]}}"#
        ))?;
        Ok(answer["responses"][0]["partitions"][0].clone())
    }
}

fn ask(side: &mut Side, text: &str) -> Result<Json> {
    let mut last = Json::Null;
    for step in script::parse(text)? {
        last = side.execute(&step, *step.versions.start())?;
        ensure!(!last.is_string(), "{text}: {last}");
    }
    Ok(last)
}

/// The bytes that an answer shows in hexadecimal.
fn bytes(json: &Json) -> Vec<u8> {
    ottla_testkit::codec::from_hex(json.as_str().unwrap_or_default())
}
