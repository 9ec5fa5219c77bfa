//! Offsets are read: the committed view, or the newest one for who waits for it to be committed.

use super::GroupShard;
use crate::api::{
    GroupError, OffsetFetch, OffsetFetchTopic, OffsetFetchTopicResult, OffsetValue, Response,
};
use crate::names::{GroupId, Token, Topic};
use crate::offsets::View;
use crate::registry::Group;
use crate::state::State;
use ottla_types::{PartitionIndex, TopicId, Uuid};

impl GroupShard {
    pub(super) fn fetch_offsets(&mut self, request: OffsetFetch, token: Token) {
        let view = if request.require_stable { View::Newest } else { View::Committed };
        if let Some(Group::Consumer(group)) = self.groups.get(&request.group)
            && let Err(error) = group.check_fetch(request.member.as_ref(), request.member_epoch)
        {
            self.fx.reply(token, Response::OffsetFetch(Err(error)));
            return;
        }
        let known = self.has_offsets_of(view, &request.group);
        let topics = match request.topics {
            None if known => self.fetch_all(view, &request.group),
            None => Vec::new(),
            Some(topics) => topics
                .into_iter()
                .map(|topic| self.fetch_some(view, known, &request.group, topic))
                .collect(),
        };
        let response = Response::OffsetFetch(Ok(topics));
        if request.require_stable {
            // What was read may not be committed; the answer may not go out before it is.
            self.reply_after_all(token, response);
        } else {
            self.fx.reply(token, response);
        }
    }

    fn has_offsets_of(&self, view: View, id: &GroupId) -> bool {
        let group = match view {
            View::Newest => self.groups.get(id),
            View::Committed => self.groups.committed(id),
        };
        match group {
            None => false,
            Some(Group::Classic(group)) => !matches!(group.state(), State::Dead),
            Some(Group::Consumer(_) | Group::Foreign(_)) => true,
        }
    }

    fn fetch_all(&self, view: View, group: &GroupId) -> Vec<OffsetFetchTopicResult> {
        let all = self.offsets.of_group(view, group);
        let topic = |(topic, partitions): (Topic, std::collections::BTreeMap<_, _>)| {
            let partition = |(index, value): (PartitionIndex, &OffsetValue)| {
                let value = self.stable(view, group, &topic, index, Some(value));
                (index, value.map(|value| value.cloned()))
            };
            let partitions = partitions.into_iter().map(partition).collect();
            OffsetFetchTopicResult { topic, topic_id: TopicId(Uuid::ZERO), partitions }
        };
        all.into_iter().map(topic).collect()
    }

    fn fetch_some(
        &self,
        view: View,
        known: bool,
        group: &GroupId,
        wanted: OffsetFetchTopic,
    ) -> OffsetFetchTopicResult {
        let OffsetFetchTopic { topic, topic_id, partitions } = wanted;
        let mut results = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let stored = self.offsets.get(view, group, &topic, partition);
            let stored = stored.filter(|value| known && !is_other(value.topic_id, topic_id));
            let value = self.stable(view, group, &topic, partition, stored);
            results.push((partition, value.map(|value| value.cloned())));
        }
        OffsetFetchTopicResult { topic, topic_id, partitions: results }
    }

    fn stable<'a>(
        &self,
        view: View,
        group: &GroupId,
        topic: &Topic,
        partition: PartitionIndex,
        value: Option<&'a OffsetValue>,
    ) -> Result<Option<&'a OffsetValue>, GroupError> {
        if view == View::Newest && self.offsets.is_open(group, topic, partition) {
            return Err(GroupError::UnstableOffsetCommit);
        }
        Ok(value)
    }
}

/// Whether both ids are known and not the same.
fn is_other(stored: TopicId, wanted: TopicId) -> bool {
    !stored.0.is_zero() && !wanted.0.is_zero() && stored != wanted
}
