//! A consumer group without members of its protocol becomes a classic group (KIP-848).

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use ottla_types::Generation;

use super::{ClassicGroup, Member};
use crate::consumer::ConsumerGroup;
use crate::effects::Effects;
use crate::embedded;
use crate::names::{MemberId, Now, ProtocolName, ProtocolType};
use crate::state::State;
use crate::subscription::CONSUMER;
use crate::topics::Topics;

impl ClassicGroup {
    /// The stable classic group that a consumer group's classic members form, without those that
    /// leave. `None` if they have no assignor in common.
    pub(crate) fn from_consumer(
        group: &ConsumerGroup,
        gone: &BTreeSet<MemberId>,
        topics: &dyn Topics,
        now: Now,
    ) -> Option<Self> {
        let mut classic = Self::loaded(group.id.clone(), Some(now.wall));
        classic.generation = Generation::from_wire(group.epoch.0)?;
        for (id, member) in group.members().filter(|(id, _)| !gone.contains(*id)) {
            let said = &member.subscription;
            let part = said.classic.as_ref()?;
            let named = |(name, metadata): &(String, Bytes)| {
                (ProtocolName::from(name.as_str()), metadata.clone())
            };
            let timeout = |millis: i32| Duration::from_millis(u64::try_from(millis).unwrap_or(0));
            let member = Member::loaded(
                id.clone(),
                // A damaged log may have a static id twice.
                said.instance.clone().filter(|instance| !classic.has_instance(instance)),
                (said.client_id.clone(), said.client_host.clone()),
                (timeout(part.session_timeout_ms), timeout(said.rebalance_timeout_ms)),
                part.protocols.iter().map(named).collect(),
                Bytes::new(),
            );
            classic.add(member, &ProtocolType::from(CONSUMER));
        }
        classic.protocol_name = Some(classic.select_protocol()?);
        classic.loaded_stable();
        classic.read_subscription();
        let protocol = classic.protocol_name.clone();
        for member in classic.members.values_mut() {
            let metadata = member.metadata(protocol.as_ref());
            let target = group.classic_target(&member.id, topics);
            member.assignment = embedded::write_assignment(&target, &metadata);
        }
        Some(classic)
    }

    /// It was to become a consumer group, and that did not get into the log: its members, whose
    /// requests were refused meanwhile, join again.
    pub(crate) fn resume(&mut self, fx: &mut Effects, now: Now) {
        self.start_all_sessions(fx, now);
        match self.state {
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(fx, now),
            State::PreparingRebalance(_) => self.wait_for_members(fx, now),
            State::Empty | State::Dead => {}
        }
    }
}
