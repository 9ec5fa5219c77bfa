//! Sessions of brokers: who was heard of when, and how far each has read the metadata log.
//!
//! Kept only by the active controller and never written down. Source: Kafka's
//! `BrokerHeartbeatManager` and `BrokerHeartbeatTracker`.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_types::{BrokerEpoch, MonoTime, NodeId, Offset};

use super::request::Heartbeat;

/// How a broker stands, and what a heartbeat leads to.
///
/// | state | heartbeat | next |
/// |---|---|---|
/// | Fenced | wants to shut down | ShutdownNow |
/// | Fenced | does not want to be fenced and has applied its registration | Unfenced |
/// | Unfenced | wants to be fenced | Fenced, or ShutdownNow if it wants to shut down too |
/// | Unfenced | wants to shut down, leads partitions | ControlledShutdown |
/// | Unfenced | wants to shut down, leads none | ShutdownNow |
/// | ControlledShutdown | leads none, and every active broker has read up to where it was put into this state | ShutdownNow |
/// | any | anything else | the same |
///
/// A broker of which nothing is heard for the session timeout is fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BrokerState {
    Fenced,
    Unfenced,
    ControlledShutdown,
    ShutdownNow,
}

impl BrokerState {
    pub(super) fn is_fenced(self) -> bool {
        matches!(self, Self::Fenced | Self::ShutdownNow)
    }
}

#[derive(Clone, Debug)]
struct Tracked {
    fenced: bool,
    /// Last offset that it said it has applied.
    metadata_offset: Option<Offset>,
    /// Set while it is in controlled shutdown.
    shutdown_offset: Option<Offset>,
}

#[derive(Clone, Copy, Debug)]
struct Contact {
    last: MonoTime,
    /// False for the former self of a broker that is known to be dead.
    live: bool,
}

/// The sessions.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    timeout: Duration,
    brokers: BTreeMap<NodeId, Tracked>,
    contacts: BTreeMap<(NodeId, BrokerEpoch), Contact>,
}

impl Sessions {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, brokers: BTreeMap::new(), contacts: BTreeMap::new() }
    }

    /// Takes up a broker that was unfenced when this controller became active.
    pub(super) fn assume(&mut self, id: NodeId, epoch: BrokerEpoch, now: MonoTime, live: bool) {
        self.contacts.insert((id, epoch), Contact { last: now, live });
    }

    /// Notes a sign of life.
    pub(super) fn heard_of(&mut self, id: NodeId, epoch: BrokerEpoch, now: MonoTime) {
        self.contacts.insert((id, epoch), Contact { last: now, live: true });
    }

    /// Whether this incarnation is known to be alive.
    pub(super) fn is_valid(&self, id: NodeId, epoch: BrokerEpoch, now: MonoTime) -> bool {
        let contact = self.contacts.get(&(id, epoch));
        contact.is_some_and(|contact| contact.live && !self.is_expired(*contact, now))
    }

    fn is_expired(&self, contact: Contact, now: MonoTime) -> bool {
        contact.last.after(self.timeout) < now
    }

    /// When the next session can expire.
    pub(super) fn next_expiry(&self) -> Option<MonoTime> {
        let earliest = self.contacts.values().map(|contact| contact.last).min()?;
        Some(earliest.after(self.timeout).after(Duration::from_nanos(1)))
    }

    /// Takes out one session that has expired.
    pub(super) fn take_expired(&mut self, now: MonoTime) -> Option<(NodeId, BrokerEpoch)> {
        let mut contacts = self.contacts.iter();
        let key = *contacts.find(|(_, contact)| self.is_expired(**contact, now))?.0;
        self.contacts.remove(&key);
        Some(key)
    }

    /// Notes a registration or a change of it.
    pub(super) fn register(&mut self, id: NodeId, fenced: bool) {
        let broker = self.brokers.entry(id).or_insert(Tracked {
            fenced,
            metadata_offset: None,
            shutdown_offset: None,
        });
        broker.fenced = fenced;
        if fenced {
            broker.shutdown_offset = None;
        }
    }

    /// Forgets what a former incarnation said.
    pub(super) fn restart(&mut self, id: NodeId, fenced: bool) {
        self.remove(id);
        self.register(id, fenced);
    }

    /// Forgets a broker.
    pub(super) fn remove(&mut self, id: NodeId) {
        self.brokers.remove(&id);
        self.contacts.retain(|(node, _), _| *node != id);
    }

    /// Notes what a heartbeat said.
    pub(super) fn touch(&mut self, id: NodeId, fenced: bool, offset: Option<Offset>) {
        self.register(id, fenced);
        if let Some(broker) = self.brokers.get_mut(&id) {
            broker.metadata_offset = offset;
        }
    }

    /// Notes the offset that all active brokers must have read before this one may stop.
    pub(super) fn enter_controlled_shutdown(&mut self, id: NodeId, offset: Offset) {
        if let Some(broker) = self.brokers.get_mut(&id) {
            assert!(!broker.fenced, "a fenced broker cannot enter controlled shutdown");
            broker.shutdown_offset.get_or_insert(offset);
        }
    }

    /// Whether the broker is leaving, so that it gets no new replicas.
    pub(super) fn is_shutting_down(&self, id: NodeId) -> bool {
        self.brokers.get(&id).is_some_and(|broker| broker.shutdown_offset.is_some())
    }

    /// How the broker stands now.
    pub(super) fn state(&self, id: NodeId) -> BrokerState {
        match self.brokers.get(&id) {
            Some(broker) if broker.shutdown_offset.is_some() => BrokerState::ControlledShutdown,
            Some(broker) if !broker.fenced => BrokerState::Unfenced,
            _ => BrokerState::Fenced,
        }
    }

    /// How the broker stands after a heartbeat. `registered_at` is the offset of its registration.
    pub(super) fn next_state(
        &self,
        heartbeat: &Heartbeat,
        registered_at: Offset,
        leads: bool,
    ) -> BrokerState {
        let state = self.state(heartbeat.node);
        match state {
            BrokerState::Fenced if heartbeat.want_shut_down => BrokerState::ShutdownNow,
            BrokerState::Fenced if !heartbeat.want_fence => {
                let caught_up = heartbeat.metadata_offset >= Some(registered_at);
                if caught_up { BrokerState::Unfenced } else { BrokerState::Fenced }
            }
            BrokerState::Unfenced if heartbeat.want_fence && heartbeat.want_shut_down => {
                BrokerState::ShutdownNow
            }
            BrokerState::Unfenced if heartbeat.want_fence => BrokerState::Fenced,
            BrokerState::Unfenced if heartbeat.want_shut_down && leads => {
                BrokerState::ControlledShutdown
            }
            BrokerState::Unfenced if heartbeat.want_shut_down => BrokerState::ShutdownNow,
            BrokerState::ControlledShutdown if !leads && self.others_have_read(heartbeat.node) => {
                BrokerState::ShutdownNow
            }
            BrokerState::ShutdownNow
            | BrokerState::Fenced
            | BrokerState::Unfenced
            | BrokerState::ControlledShutdown => state,
        }
    }

    /// Whether every active broker has read up to where the broker entered controlled shutdown.
    fn others_have_read(&self, id: NodeId) -> bool {
        let wanted = self.brokers.get(&id).and_then(|broker| broker.shutdown_offset);
        let mut active = self.brokers.values().filter(|b| !b.fenced && b.shutdown_offset.is_none());
        active.all(|broker| broker.metadata_offset >= wanted)
    }
}
