//! Groups are described, listed and deleted.

use bytes::Bytes;

use super::GroupShard;
use crate::api::{
    DescribedGroup, DescribedMember, GroupError, GroupKind, ListGroups, ListedGroup, Response,
};
use crate::classic::{ClassicGroup, Member};
use crate::journal::{Done, Op};
use crate::names::{GroupId, ProtocolName, ProtocolType, Token};
use crate::registry::Group;
use crate::state::State;

impl GroupShard {
    /// What [`crate::Request::DescribeGroups`] would be told of a group now, without asking.
    pub fn describe_now(&self, group: &GroupId) -> DescribedGroup {
        self.describe(group.clone())
    }

    pub(super) fn describe(&self, id: GroupId) -> DescribedGroup {
        match self.groups.shown(&id) {
            Some(Group::Classic(group)) => describe_classic(id, group),
            Some(Group::Consumer(_) | Group::Foreign(_)) => {
                let message = format!("Group {id} is not a classic group.");
                not_described(id, message)
            }
            None => {
                let message = format!("Group {id} not found.");
                not_described(id, message)
            }
        }
    }

    pub(super) fn list(&self, filter: &ListGroups) -> Vec<ListedGroup> {
        let wanted = |filter: &[String], name: &str| {
            filter.is_empty() || filter.iter().any(|text| text.trim().eq_ignore_ascii_case(name))
        };
        let mut listed: Vec<ListedGroup> = self
            .groups
            .all_shown()
            .map(|(id, group)| listed(id, group))
            .filter(|group| wanted(&filter.states, group.state))
            .filter(|group| wanted(&filter.kinds, group.kind.name()))
            .collect();
        listed.sort_by(|one, other| one.group.cmp(&other.group));
        listed
    }

    pub(super) fn delete_groups(&mut self, groups: Vec<GroupId>, token: Token) {
        let mut results = Vec::with_capacity(groups.len());
        let (mut records, mut ops) = (Vec::new(), Vec::new());
        for group in groups {
            let result = self.check_delete_group(&group);
            if result.is_ok() {
                self.remove_all_offsets(&group, &mut records, &mut ops);
                self.remove_group(&group, &mut records, &mut ops);
            }
            results.push((group, result));
        }
        let response = Response::DeleteGroups(results);
        if records.is_empty() {
            self.fx.reply(token, response);
        } else {
            self.fx.append(records, ops, vec![Done::Reply { token, response }]);
        }
    }

    fn check_delete_group(&self, id: &GroupId) -> Result<(), GroupError> {
        match self.groups.get(id) {
            None => Err(GroupError::GroupIdNotFound),
            Some(Group::Consumer(group)) if group.is_empty() => Ok(()),
            Some(Group::Foreign(group)) if group.is_empty() => Ok(()),
            Some(Group::Consumer(_) | Group::Foreign(_)) => Err(GroupError::NonEmptyGroup),
            Some(Group::Classic(group)) => match group.state() {
                State::Empty => Ok(()),
                State::Dead => Err(GroupError::GroupIdNotFound),
                _ => Err(GroupError::NonEmptyGroup),
            },
        }
    }

    fn remove_all_offsets(
        &mut self,
        group: &GroupId,
        records: &mut Vec<crate::api::Record>,
        ops: &mut Vec<Op>,
    ) {
        let stored = self.offsets.newest_of(group).into_iter().flatten();
        let mut all: Vec<_> = stored
            .flat_map(|(topic, partitions)| partitions.keys().map(|index| (topic.clone(), *index)))
            .collect();
        all.extend(self.offsets.open_only(group));
        for (topic, partition) in all {
            self.remove_offset(group, &topic, partition, records, ops);
        }
    }
}

fn describe_classic(id: GroupId, group: &ClassicGroup) -> DescribedGroup {
    // Metadata is of interest only with the protocol that was chosen for it.
    let stable = matches!(group.state(), State::Stable);
    let protocol = group.protocol_name.as_ref().filter(|_| stable);
    let member = |member: &Member| DescribedMember {
        member: member.id.clone(),
        instance: member.instance.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        metadata: if stable { member.metadata(protocol) } else { Bytes::new() },
        assignment: member.assignment.clone(),
    };
    DescribedGroup {
        group: id,
        error: None,
        error_message: None,
        state: group.state().name(),
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        protocol_name: protocol.cloned().unwrap_or_default(),
        members: group.members().map(member).collect(),
    }
}

fn not_described(group: GroupId, message: String) -> DescribedGroup {
    DescribedGroup {
        group,
        error: Some(GroupError::GroupIdNotFound),
        error_message: Some(message),
        state: State::Dead.name(),
        protocol_type: ProtocolType::default(),
        protocol_name: ProtocolName::default(),
        members: Vec::new(),
    }
}

fn listed(id: &GroupId, group: &Group) -> ListedGroup {
    match group {
        Group::Classic(group) => ListedGroup {
            group: id.clone(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            state: group.state().name(),
            kind: GroupKind::Classic,
        },
        Group::Consumer(group) => ListedGroup {
            group: id.clone(),
            protocol_type: ProtocolType::from(crate::subscription::CONSUMER),
            state: group.state(),
            kind: GroupKind::Consumer,
        },
        Group::Foreign(group) => ListedGroup {
            group: id.clone(),
            protocol_type: group.protocol_type(),
            state: group.state(),
            kind: group.kind,
        },
    }
}
