//! The real controller as the state machine above the simulated quorum.
//!
//! Clients are simulated here too: whoever leads is asked at random, under names that repeat, by
//! brokers that may be out of date. The shell around the core is the broker's: what is proposed
//! and refused makes the controller begin anew, once everything in the log is committed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use ottla_metadata::controller::{
    Activation, Controller, ControllerConfig, Output, Proposal, Response, Token,
};
use ottla_metadata::{Bootstrap, ClusterImage, ConfigResource, ImageDelta, Record};
use ottla_quorum::{Committed, Now, Snapshot, SnapshotId};
use ottla_record::{Batch, BatchBuilder, Compression, DecompressLimits};
use ottla_testkit::Random;
use ottla_types::{LeaderEpoch, NodeId, Offset, Timestamp};

use crate::clients::{self, Rules, VALUE};
use crate::event::{Answer, Said, View};
use crate::machine::Machine;

/// The cluster that brokers name.
pub(crate) const CLUSTER: &str = "sim";

/// A controller, and the image of what is committed on its node.
pub struct Controlled {
    controller: Controller,
    image: ClusterImage,
    /// The epoch in which this node serves.
    leads: Option<LeaderEpoch>,
    proposals: VecDeque<Proposal>,
    /// What a request's answer means, if it is a good one.
    pending: BTreeMap<Token, clients::Pending>,
    said: Vec<Said>,
}

impl Controlled {
    /// For [`crate::MakeMachine`].
    pub fn make(node: NodeId, seed: u64) -> Box<dyn Machine> {
        let seeds = [seed, seed ^ 0x0f0f, u64::from(node.0), 0x6f74_746c];
        let mut config = ControllerConfig::new(node, CLUSTER, seeds);
        // Soon enough to happen within a short run.
        config.unclean_interval = std::time::Duration::from_secs(5);
        config.balance_interval = Some(std::time::Duration::from_secs(7));
        Box::new(Self {
            controller: Controller::new(config, Box::new(Rules)),
            image: ClusterImage::new(),
            leads: None,
            proposals: VecDeque::new(),
            pending: BTreeMap::new(),
            said: Vec::new(),
        })
    }

    /// Begins, as soon as all that is in the log is committed.
    fn activate(&mut self, now: Now, next: Offset) {
        let Some(epoch) = self.leads.filter(|_| self.image.end() == next) else { return };
        let bootstrap = Bootstrap::new(None, &BTreeMap::new(), false).expect("Kafka's levels");
        let activation = Activation {
            epoch,
            image: self.image.clone(),
            next_offset: next,
            bootstrap,
            kraft_version: 0,
            dead: Vec::new(),
        };
        self.controller.activate(now.mono, activation);
    }

    fn drain(&mut self) {
        while let Some(output) = self.controller.poll_output() {
            match output {
                Output::Propose(proposal) => self.proposals.push_back(proposal),
                Output::Respond { token, response } => self.responded(token, &response),
            }
        }
    }

    fn responded(&mut self, token: Token, response: &Response) {
        let Some(pending) = self.pending.remove(&token) else { return };
        self.said.extend(pending.answers(response).into_iter().map(Said::Answered));
    }

    fn stop(&mut self) {
        self.controller.resign();
        self.proposals.clear();
        self.drain();
        self.pending.clear();
    }

    fn view(&self) -> View {
        let value = |name: &str| {
            let configs = self.image.config(&ConfigResource::topic(name))?;
            configs.get(VALUE)?.parse().ok()
        };
        let image = &self.image;
        View {
            topics: image.topics().values().map(|t| (t.id.0, value(t.name.as_str()))).collect(),
            brokers: image.brokers().values().map(|b| (b.id.0, b.epoch.0)).collect(),
            next_producer_id: image.next_producer_id().map_or(0, |id| id.0),
        }
    }
}

impl Machine for Controlled {
    fn propose(&mut self, now: Now, random: &mut Random, next: Offset) -> Option<Bytes> {
        if !self.controller.is_active() {
            self.activate(now, next);
        }
        if self.controller.poll_timeout().is_some_and(|due| due <= now.mono) {
            self.controller.handle_timeout(now.mono);
        }
        for _ in 0..random.below(4) {
            let Some(image) = self.controller.image() else { break };
            let Some(client) = clients::ask(random, now, image) else { continue };
            self.said.extend(client.asks.into_iter().map(Said::Asked));
            let token = self.controller.handle(now.mono, client.request);
            self.pending.insert(token, client.pending);
        }
        self.drain();
        let proposal = self.proposals.pop_front()?;
        let mut batch = BatchBuilder::new(Compression::None)
            .base_offset(proposal.base_offset)
            .leader_epoch(proposal.epoch);
        for value in &proposal.values {
            batch.push_pair(Timestamp(now.wall.as_millis()), None, Some(value));
        }
        Some(batch.build().expect("the controller's batches fit"))
    }

    fn refused(&mut self) {
        self.stop();
    }

    fn apply(&mut self, committed: &Committed) {
        let before = self.image.clone();
        let batch = Batch::parse(committed.batch.clone()).expect("committed batches are whole");
        if batch.header().attributes.is_control() {
            self.image.advance(committed.end, committed.epoch);
        } else {
            let applied = self.image.apply_batch(committed.base, committed.epoch, &records(&batch));
            applied.expect("what a controller decided fits its image");
        }
        for changed in ImageDelta::between(&before, &self.image).partitions {
            let Some(state) = changed.state.new else { continue };
            self.said.push(Said::Partition {
                topic: changed.topic.id.0,
                partition: changed.partition.0,
                epochs: [state.leader_epoch.0, state.partition_epoch.0],
            });
        }
        if let Some(next) = self.controller.next_offset() {
            // The quorum's own batches count too, and may lie beyond what was decided.
            self.controller.committed(committed.end.min(next));
            self.drain();
        }
    }

    fn leads(&mut self, epoch: Option<LeaderEpoch>) {
        self.stop();
        self.leads = epoch;
        if epoch.is_some() {
            self.said.push(Said::Leads(Arc::new(self.view())));
        }
    }

    fn said(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }

    fn snapshot(&self) -> Vec<Vec<u8>> {
        assert!(!self.image.in_transaction(), "batches hold whole transactions");
        let bytes = |record: &Record| record.encode().expect("it was decoded").to_vec();
        self.image.snapshot().iter().map(bytes).collect()
    }

    fn install(&mut self, id: SnapshotId, snapshot: &Snapshot) {
        let records: Vec<Record> = snapshot.batches.iter().flat_map(records).collect();
        let image = ClusterImage::from_snapshot(&records, id.end, id.epoch);
        self.image = image.expect("a snapshot of ours can be read");
    }

    fn digest(&self) -> u64 {
        self.image.hash().0
    }
}

fn records(batch: &Batch) -> Vec<Record> {
    let records = batch.records(&DecompressLimits::default()).expect("not compressed");
    let record = |record: Result<ottla_record::Record, _>| {
        let value = record.expect("whole batches hold whole records").value;
        Record::decode(value.unwrap_or_default()).expect("a metadata record")
    };
    records.map(record).collect()
}

/// What an answer tells its client.
impl clients::Pending {
    fn answers(self, response: &Response) -> Vec<Answer> {
        match (self, response) {
            (Self::Register(node), Response::BrokerRegistered(epoch)) => {
                vec![Answer::Registered { node: node.0, epoch: epoch.0 }]
            }
            (Self::Topics, Response::TopicsCreated(topics)) => {
                let made = topics.iter().filter_map(|topic| topic.result.as_ref().ok());
                made.map(|topic| Answer::TopicCreated(topic.id.0)).collect()
            }
            (Self::Topics, Response::TopicsDeleted(topics)) => {
                let gone = topics.iter().filter(|topic| topic.result.is_ok());
                gone.map(|topic| Answer::TopicDeleted(topic.id.0)).collect()
            }
            (Self::Config { topic, value }, Response::ConfigsAltered(altered)) => {
                let done = altered.iter().all(|(_, outcome)| outcome.is_ok());
                done.then_some(Answer::Configured { topic: topic.0, value }).into_iter().collect()
            }
            (Self::ProducerIds, Response::ProducerIds { first, len }) => {
                vec![Answer::ProducerIds { first: first.0, end: first.0 + u64::from(*len) }]
            }
            _ => Vec::new(),
        }
    }
}
