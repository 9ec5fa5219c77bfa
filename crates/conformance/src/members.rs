//! Members of groups that the driver runs: what they have, and the wait until they share everything.

use std::time::Duration;

use anyhow::Result;
use ottla_testkit::wait_until;
use serde_json::{Value, json};

use crate::Setup;

/// The longest until a group has settled.
const SETTLE: Duration = Duration::from_secs(60);

impl Setup {
    /// The partitions of a member, which must be well.
    pub fn assigned(&mut self, member: &str) -> Vec<String> {
        let state =
            self.driver.call(&json!({"do": "member.state", "member": member})).unwrap_or_default();
        assert_eq!(state["error"], Value::Null, "{member}");
        let list = state["assigned"].as_array().cloned().unwrap_or_default();
        list.iter().map(|p| p.as_str().unwrap_or_default().to_string()).collect()
    }

    /// Waits until these members share so many partitions, each with at least one.
    pub fn wait_for_balance(&mut self, members: &[&str], partitions: usize) -> Result<()> {
        let mut last = Vec::new();
        let balanced = wait_until("a balanced group", SETTLE, || {
            last = members.iter().map(|member| self.assigned(member)).collect();
            let mut all: Vec<&String> = last.iter().flatten().collect();
            all.sort();
            let total = all.len();
            all.dedup();
            last.iter().all(|own| !own.is_empty()) && all.len() == partitions && total == partitions
        });
        balanced.map_err(|e| e.context(format!("{last:?}\n{}", self.node.tail())))
    }

    /// Waits until a member was told an error that begins so.
    pub fn wait_for_refusal(&mut self, member: &str, error: &str) -> Result<()> {
        let mut last = Value::Null;
        let refused = wait_until("a refusal", SETTLE, || {
            let state = self.driver.call(&json!({"do": "member.state", "member": member}));
            last = state.unwrap_or_default();
            last["error"].as_str().is_some_and(|e| e.starts_with(error))
        });
        refused.map_err(|e| e.context(format!("{error}: {last}\n{}", self.node.tail())))
    }
}
