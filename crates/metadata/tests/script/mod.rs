//! Runs a controller by script: each line is a request, the text below it what it led to.
//!
//! Everything is committed at once unless the script holds commits back. After every line the
//! image that was read back from the bytes of the log must equal the controller's own.

#![allow(clippy::unwrap_used, reason = "a script that cannot be read is a broken test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ottla_metadata::controller::*;
use ottla_metadata::features::supported_features;
use ottla_metadata::*;
use ottla_types::*;

mod parse;
mod render;

/// A table of configs that is small enough to read.
pub(crate) struct FewConfigs;

impl ConfigRules for FewConfigs {
    fn validate(
        &self,
        _: &ConfigResource,
        configs: &BTreeMap<String, String>,
        _: &BTreeMap<String, String>,
    ) -> Outcome {
        match configs.get("retention.ms").map(|text| text.parse::<i64>()) {
            Some(Err(_)) => {
                let text = "Invalid value for configuration retention.ms";
                Err(ApiError::new(ErrorCode::InvalidConfig, text))
            }
            _ => Ok(()),
        }
    }

    fn is_list(&self, _: ConfigKind, name: &str) -> bool {
        name == "cleanup.policy"
    }

    fn default_value(&self, _: ConfigKind, name: &str) -> Option<String> {
        (name == "cleanup.policy").then(|| "delete".to_owned())
    }

    fn topic_config(&self, name: &str, layers: TopicLayers<'_>) -> Option<String> {
        let set = [layers.topic, layers.broker, layers.every_broker];
        let set = set.into_iter().find_map(|layer| layer.get(name).cloned());
        set.or_else(|| (name == "min.insync.replicas").then(|| "1".to_owned()))
    }

    fn topic_configs(&self, layers: TopicLayers<'_>) -> Vec<EffectiveConfig> {
        let configs = layers.topic.iter().map(|(name, value)| EffectiveConfig {
            name: name.clone(),
            value: Some(value.clone()),
            source: ConfigSource::Topic,
            sensitive: false,
        });
        configs.collect()
    }
}

pub(crate) struct World {
    pub(crate) controller: Controller,
    /// What readers of the log see.
    pub(crate) committed: ClusterImage,
    pub(crate) log: Vec<Record>,
    now: MonoTime,
    hold: bool,
    bootstrap: Bootstrap,
    pub(crate) text: String,
}

impl World {
    /// A node 1 of cluster `c`, not yet active.
    pub(crate) fn new(levels: &BTreeMap<String, i16>) -> Self {
        let mut config = ControllerConfig::new(NodeId(1), "c", [1, 2, 3, 4]);
        config.default_partitions = 2;
        config.idle_interval = None;
        config.balance_interval = None;
        Self {
            controller: Controller::new(config, Box::new(FewConfigs)),
            committed: ClusterImage::new(),
            log: Vec::new(),
            now: MonoTime::from_millis(1_000),
            hold: false,
            bootstrap: Bootstrap::new(None, levels, false).unwrap(),
            text: String::new(),
        }
    }

    /// Becomes active in this epoch; the first batch of an epoch takes one offset.
    pub(crate) fn activate(&mut self, epoch: u32, dead: Vec<NodeId>) {
        self.log.push(Record::new(generated::NoOpRecord {}));
        let end = Offset(self.log.len() as u64);
        self.committed.advance(end, LeaderEpoch(epoch));
        let activation = Activation {
            epoch: LeaderEpoch(epoch),
            image: self.committed.clone(),
            next_offset: end,
            bootstrap: self.bootstrap.clone(),
            kraft_version: 0,
            dead,
        };
        self.controller.activate(self.now, activation);
    }

    /// Carries out what the controller wants and writes it down.
    pub(crate) fn drain(&mut self) {
        while let Some(output) = self.controller.poll_output() {
            match output {
                Output::Propose(proposal) => self.append(proposal),
                Output::Respond { response, .. } => {
                    let text = render::response(&response, &self.committed);
                    writeln!(self.text, "  -> {text}").unwrap();
                }
            }
        }
        if !self.hold && self.controller.is_active() {
            assert_eq!(Some(&self.committed), self.controller.image(), "{}", self.text);
        }
    }

    fn append(&mut self, proposal: Proposal) {
        assert_eq!(proposal.base_offset, Offset(self.log.len() as u64));
        let records: Vec<Record> =
            proposal.values.iter().map(|value| Record::decode(value.clone()).unwrap()).collect();
        for (offset, record) in (self.log.len()..).zip(&records) {
            writeln!(self.text, "  {offset} {}", render::record(record, &self.committed)).unwrap();
        }
        self.log.extend(records.iter().cloned());
        self.committed.apply_batch(proposal.base_offset, proposal.epoch, &records).unwrap();
        if !self.hold {
            self.controller.committed(Offset(self.log.len() as u64));
        }
    }

    /// Hands a line to the controller that is a request, or the passage of time.
    pub(crate) fn ask(&mut self, line: &str) {
        if let Some(time) = line.strip_prefix("at ") {
            // Time never goes back, whatever a script says.
            self.now = self.now.max(MonoTime::from_millis(time.parse().unwrap()));
            self.controller.handle_timeout(self.now);
        } else {
            let request = parse::request(line, &self.committed);
            self.controller.handle(self.now, request);
        }
    }

    /// Runs one line.
    pub(crate) fn line(&mut self, line: &str) {
        writeln!(self.text, "{line}").unwrap();
        let mut words = line.split_whitespace();
        match words.next().unwrap_or_default() {
            "activate" => {
                let epoch = words.next().unwrap().parse().unwrap();
                self.activate(epoch, words.map(|id| NodeId(id.parse().unwrap())).collect());
            }
            "resign" => {
                self.controller.resign();
            }
            "hold" => self.hold = true,
            "commit" => {
                self.hold = false;
                self.controller.committed(Offset(self.log.len() as u64));
            }
            _ => self.ask(line),
        }
        self.drain();
    }
}

pub(crate) fn features() -> BTreeMap<String, features::VersionRange> {
    supported_features()
}

/// The directory of a broker in scripts: its id with a digit.
pub(crate) fn dir(number: u64) -> DirectoryId {
    DirectoryId(Uuid::from_parts(0xd1, number))
}
