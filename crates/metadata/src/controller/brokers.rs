//! Brokers and controllers: registration, heartbeats, fencing, leaving.
//!
//! Source: Kafka's `ClusterControlManager` and the broker part of `ReplicationControlManager`.

use std::collections::BTreeSet;

use ottla_types::{BrokerEpoch, DirectoryId, ErrorCode, NodeId, Offset, PartitionIndex, TopicId};

use super::change::{Acceptable, Change, Election};
use super::op::Op;
use super::request::{
    ApiError, Heartbeat, HeartbeatReply, RegisterBroker, RegisterController, Response,
};
use super::session::BrokerState;
use crate::features::{Feature, METADATA_VERSION, VersionRange};
use crate::generated::{BrokerRegistrationChangeRecord, UnregisterBrokerRecord};
use crate::image::{BrokerRegistration, ControllerRegistration};
use crate::record::Record;

/// Why partitions change.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    /// The broker leaves every ISR: it is fenced, stops, or lost a directory.
    Leaves(NodeId),
    /// The broker stopped uncleanly and may lack what it had not flushed (KIP-966).
    StoppedUncleanly(NodeId),
    /// The broker may lead again.
    Returns(NodeId),
}

impl Op<'_> {
    /// BrokerRegistration.
    pub(super) fn register_broker(
        &mut self,
        request: RegisterBroker,
    ) -> Result<Response, ApiError> {
        let node = request.node;
        if request.cluster_id != self.config.cluster_id {
            let text = format!(
                "Expected cluster ID {}, but got cluster ID {}",
                self.config.cluster_id, request.cluster_id
            );
            return Err(ApiError::new(ErrorCode::InconsistentClusterId, text));
        }
        let existing = self.image.broker(node).cloned();
        let same = existing.as_ref().is_some_and(|old| old.incarnation == request.incarnation);
        if let Some(old) = &existing
            && !same
            && self.sessions.is_valid(node, old.epoch, self.now)
        {
            let text = "Another broker is registered with that broker id. If the broker was \
                            recently restarted this should self-resolve once the heartbeat \
                            manager expires the broker's session.";
            return Err(ApiError::new(ErrorCode::DuplicateBrokerRegistration, text));
        }
        if request.migrating_zk {
            let text = "Controller does not support registering ZK brokers.";
            return Err(ApiError::new(ErrorCode::BrokerIdNotRegistered, text));
        }
        if self.version.directories() {
            self.check_directories(node, &request.log_dirs)?;
        }
        self.check_registered_features(&request)?;
        if !same {
            let previous = existing.as_ref().map(|old| old.epoch);
            let clean = request.knows_clean_shutdown
                && previous.is_some()
                && previous == request.previous_epoch;
            self.clean_up_after(node, clean);
        }
        let epoch = match &existing {
            Some(old) if same => old.epoch,
            _ => BrokerEpoch(self.base.0),
        };
        let mut directories = request.log_dirs;
        if !self.version.directories() {
            directories.clear();
        }
        let registration = BrokerRegistration {
            id: node,
            epoch,
            incarnation: request.incarnation,
            listeners: request.listeners,
            features: request.features,
            rack: request.rack,
            fenced: existing.as_ref().filter(|_| same).is_none_or(|old| old.fenced),
            in_controlled_shutdown: existing
                .filter(|_| same)
                .is_some_and(|old| old.in_controlled_shutdown),
            migrating_zk: false,
            directories,
            cordoned: None,
        };
        if !same {
            self.sessions.restart(node, registration.fenced);
        }
        self.push(registration.to_record(self.version));
        Ok(Response::BrokerRegistered(epoch))
    }

    fn check_directories(&self, node: NodeId, dirs: &[DirectoryId]) -> Result<(), ApiError> {
        let invalid = |text: String| ApiError::new(ErrorCode::InvalidRegistration, text);
        if dirs.is_empty() {
            return Err(invalid("No directories specified in request".to_owned()));
        }
        if dirs.iter().any(|dir| dir.0.is_reserved()) {
            return Err(invalid("Reserved directory ID in request".to_owned()));
        }
        if dirs.iter().collect::<BTreeSet<_>>().len() != dirs.len() {
            return Err(invalid("Duplicate directory ID in request".to_owned()));
        }
        for dir in dirs {
            let owner =
                self.image.brokers().values().find(|broker| {
                    broker.id != node && broker.directories.binary_search(dir).is_ok()
                });
            if let Some(owner) = owner {
                let owner = owner.id;
                let text = format!("Broker {owner} is already registered with directory {dir}");
                return Err(invalid(text));
            }
        }
        Ok(())
    }

    /// Every finalized feature must lie in the broker's range.
    fn check_registered_features(&self, request: &RegisterBroker) -> Result<(), ApiError> {
        let kraft = (Feature::Kraft.name().to_owned(), self.kraft_version);
        let finalized: Vec<(String, i16)> =
            self.image.features().iter().map(|(n, l)| (n.clone(), *l)).chain([kraft]).collect();
        let check = |name: &str, range: VersionRange| {
            let level = finalized.iter().find(|(known, _)| known == name).map_or(0, |(_, l)| *l);
            if range.contains(level) {
                return Ok(());
            }
            let text = format!(
                "Unable to register because the broker does not support finalized version \
                 {level} of {name}. The broker wants a version between {} and {}, inclusive.",
                range.min, range.max
            );
            Err(ApiError::new(ErrorCode::UnsupportedVersion, text))
        };
        for (name, range) in &request.features {
            check(name, *range)?;
        }
        if !request.features.contains_key(METADATA_VERSION) {
            let text = format!("Request features do not contain '{METADATA_VERSION}'");
            return Err(ApiError::new(ErrorCode::InvalidRegistration, text));
        }
        for (name, level) in &finalized {
            if *level != 0 && !request.features.contains_key(name) {
                check(name, VersionRange::DISABLED)?;
            }
        }
        Ok(())
    }

    /// A new process took the broker's id: its former self no longer leads or is in sync.
    fn clean_up_after(&mut self, node: NodeId, clean: bool) {
        let in_isr = self.image.indexes().in_isr(node);
        if clean || !self.image.elr_enabled() {
            self.update_leaders_and_isrs(Cause::Leaves(node), in_isr);
            return;
        }
        let in_elr = self.image.indexes().in_elr(node);
        self.update_leaders_and_isrs(Cause::StoppedUncleanly(node), in_isr);
        self.update_leaders_and_isrs(Cause::StoppedUncleanly(node), in_elr);
    }

    /// ControllerRegistration.
    pub(super) fn register_controller(
        &mut self,
        request: RegisterController,
    ) -> Result<Response, ApiError> {
        if !self.version.controller_registration() {
            let text =
                "The current MetadataVersion is too old to support controller registrations.";
            return Err(ApiError::new(ErrorCode::UnsupportedVersion, text));
        }
        let registration = ControllerRegistration {
            id: request.node,
            incarnation: request.incarnation,
            zk_migration_ready: false,
            listeners: request.listeners,
            features: request.features,
        };
        self.push(registration.to_record());
        Ok(Response::Done)
    }

    /// BrokerHeartbeat.
    pub(super) fn heartbeat(&mut self, request: &Heartbeat) -> Result<Response, ApiError> {
        let node = request.node;
        let Some(registered_at) = self.image.registered_at(node) else {
            let text = format!("Receive a heartbeat from broker {node} before registration");
            return Err(ApiError::new(ErrorCode::StaleBrokerEpoch, text));
        };
        self.check_broker_epoch(node, request.epoch)?;
        let leads = self.image.indexes().leads(node);
        let state = self.sessions.state(node);
        let next = self.sessions.next_state(request, registered_at, leads);
        if next != state {
            match next {
                BrokerState::Fenced | BrokerState::ShutdownNow => self.fence(node),
                BrokerState::Unfenced => self.unfence(node, request.epoch),
                BrokerState::ControlledShutdown => self.begin_shutdown(node, request.epoch),
            }
        }
        self.sessions.touch(node, next.is_fenced(), request.metadata_offset);
        if self.version.directories() {
            self.directories_failed(node, request.epoch, &request.offline_dirs);
        }
        if self.version.cordoned_directories()
            && let Some(cordoned) = &request.cordoned_dirs
        {
            self.directories_cordoned(node, request.epoch, cordoned);
        }
        let in_controlled_shutdown = next == BrokerState::ControlledShutdown;
        if in_controlled_shutdown {
            let end = self.base.plus(self.records.len() as u64);
            self.sessions.enter_controlled_shutdown(node, Offset(end.0.saturating_sub(1)));
        }
        Ok(Response::Heartbeat(HeartbeatReply {
            caught_up: request.metadata_offset >= Some(registered_at),
            fenced: next.is_fenced(),
            in_controlled_shutdown,
            should_shut_down: next == BrokerState::ShutdownNow,
        }))
    }

    /// UnregisterBroker.
    pub(super) fn unregister_broker(&mut self, node: NodeId) -> Result<Response, ApiError> {
        let Some(broker) = self.image.broker(node).cloned() else {
            let text = format!("Broker ID {node} is not currently registered");
            return Err(ApiError::new(ErrorCode::BrokerIdNotRegistered, text));
        };
        let in_isr = self.image.indexes().in_isr(node);
        self.update_leaders_and_isrs(Cause::Leaves(node), in_isr);
        let in_elr = self.image.indexes().in_elr(node);
        self.update_leaders_and_isrs(Cause::Leaves(node), in_elr);
        self.add(UnregisterBrokerRecord {
            broker_id: node.to_wire(),
            broker_epoch: broker.epoch.to_wire(),
        });
        Ok(Response::Done)
    }

    /// Takes a broker out of everything that it leads or is in sync with.
    pub(super) fn fence(&mut self, node: NodeId) {
        let Some(epoch) = self.image.broker(node).map(|broker| broker.epoch) else { return };
        let in_isr = self.image.indexes().in_isr(node);
        self.update_leaders_and_isrs(Cause::Leaves(node), in_isr);
        self.change_registration(node, epoch, 0, |record| record.fenced = 1);
        assert!(!self.image.indexes().leads(node), "a fenced broker leads nothing");
    }

    fn unfence(&mut self, node: NodeId, epoch: BrokerEpoch) {
        self.change_registration(node, epoch, 0, |record| record.fenced = -1);
        let leaderless = self.image.indexes().leaderless().iter().copied().collect();
        self.update_leaders_and_isrs(Cause::Returns(node), leaderless);
    }

    fn begin_shutdown(&mut self, node: NodeId, epoch: BrokerEpoch) {
        if !self.image.broker(node).is_some_and(|broker| broker.in_controlled_shutdown) {
            self.change_registration(node, epoch, 1, |record| record.in_controlled_shutdown = 1);
        }
        let in_isr = self.image.indexes().in_isr(node);
        self.update_leaders_and_isrs(Cause::Leaves(node), in_isr);
    }

    fn directories_failed(&mut self, node: NodeId, epoch: BrokerEpoch, offline: &[DirectoryId]) {
        let Some(broker) = self.image.broker(node).cloned() else { return };
        let failed: Vec<DirectoryId> =
            broker.directories.iter().filter(|dir| offline.contains(dir)).copied().collect();
        if failed.is_empty() {
            return;
        }
        let mut touched = self.image.indexes().in_isr(node);
        touched.extend(self.image.indexes().in_elr(node));
        touched.retain(|(topic, partition)| {
            let topic = self.image.topic_by_id(*topic);
            let state = topic.and_then(|topic| topic.partitions.get(partition));
            let dir = state.and_then(|state| state.directory(node));
            dir.is_some_and(|dir| failed.contains(&dir))
        });
        self.update_leaders_and_isrs(Cause::Leaves(node), touched);
        self.change_registration(node, epoch, 2, |record| {
            let online = broker.directories.iter().filter(|dir| !failed.contains(dir));
            record.log_dirs = online.map(|dir| dir.0).collect();
        });
    }

    fn directories_cordoned(&mut self, node: NodeId, epoch: BrokerEpoch, dirs: &[DirectoryId]) {
        let Some(broker) = self.image.broker(node) else { return };
        let same_as = |known: &Vec<DirectoryId>| {
            let sorted = |list: &[DirectoryId]| list.iter().copied().collect::<BTreeSet<_>>();
            sorted(known) == sorted(dirs)
        };
        if !broker.cordoned.as_ref().is_some_and(same_as) {
            self.change_registration(node, epoch, 3, |record| {
                record.cordoned_log_dirs = Some(dirs.iter().map(|dir| dir.0).collect());
            });
        }
    }

    fn change_registration(
        &mut self,
        node: NodeId,
        epoch: BrokerEpoch,
        version: i16,
        set: impl FnOnce(&mut BrokerRegistrationChangeRecord),
    ) {
        let mut record = BrokerRegistrationChangeRecord {
            broker_id: node.to_wire(),
            broker_epoch: epoch.to_wire(),
            ..Default::default()
        };
        set(&mut record);
        self.push(Record::versioned(record, version));
    }

    /// Gives each of the partitions the leader and ISR that it has after `cause`.
    pub(super) fn update_leaders_and_isrs(
        &mut self,
        cause: Cause,
        partitions: Vec<(TopicId, PartitionIndex)>,
    ) {
        for (topic, partition) in partitions {
            let Some(image) = self.image.topic_by_id(topic).cloned() else { continue };
            let Some(state) = image.partitions.get(&partition).cloned() else { continue };
            let mut change = Change::new(&state, topic, partition);
            let mut acceptable = Acceptable::default();
            match cause {
                Cause::Leaves(node) => {
                    change.isr.retain(|member| *member != node);
                    acceptable.not = Some(node);
                }
                Cause::StoppedUncleanly(node) => {
                    change.isr.retain(|member| *member != node);
                    change.unclean = Some(node);
                    acceptable.nor = Some(node);
                }
                Cause::Returns(node) => acceptable.also = Some(node),
            }
            if self.unclean_election_enabled(&image.name) {
                change.election = Election::Unclean;
            }
            if let Some(record) = change.build(self, acceptable) {
                self.push(record);
            }
        }
    }
}
