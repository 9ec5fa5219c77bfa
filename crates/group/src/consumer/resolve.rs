//! Regular expressions become topics: some time after a member brought a new one, when topics
//! were created, and now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::heartbeat::Edit;
use super::{Change, ConsumerGroup, Resolved, regex};
use crate::effects::Effects;
use crate::names::{Now, Topic};
use crate::timers::Timer;
use crate::topics::KnownTopics;

/// All topics are gone through at most this often for one group.
const REFRESH_MILLIS_MIN: i64 = 10_000;

impl Edit<'_> {
    /// Sets the resolving on its way if there is need for it; its result comes as a change of its
    /// own, so the answer to the beat does not wait for it.
    pub(super) fn schedule_resolve(
        &mut self,
        fx: &mut Effects,
        topics: &KnownTopics,
        now: Now,
        new_to_group: bool,
    ) {
        let group = &mut *self.group;
        if group.regexes.is_empty() || !group.resolving.is_empty() {
            return;
        }
        let wall = now.wall.as_millis();
        let first = group.resolved.values().next();
        let since = first.map(|resolved| wall.saturating_sub(resolved.at));
        if since.is_some_and(|since| since <= REFRESH_MILLIS_MIN) {
            return;
        }
        let interval = fx.config.consumer_regex_refresh_interval.as_millis();
        let interval = i64::try_from(interval).unwrap_or(i64::MAX);
        let seen = first.map_or(0, |resolved| resolved.version);
        let created = topics.created_at.and_then(|version| i64::try_from(version).ok());
        let needed = new_to_group
            || group.regexes.len() != group.resolved.len()
            || created.is_some_and(|created| seen < created)
            || since.is_none_or(|since| interval < since);
        if needed {
            group.resolving = group.regexes.keys().cloned().collect();
            fx.timers.schedule(now.mono, Timer::Resolve(group.id.clone()));
        }
    }

    /// Resolves what was asked for.
    pub(crate) fn resolve(&mut self, fx: &mut Effects, topics: &mut KnownTopics, now: Now) {
        let asked = std::mem::take(&mut self.group.resolving);
        let found = matching(&asked, topics);
        let mut bump = false;
        for (regex, names) in found {
            // Its last member may have gone meanwhile.
            if !self.group.regexes.contains_key(&regex) {
                continue;
            }
            let before = self.group.resolved.get(&regex);
            bump |= before.map_or(!names.is_empty(), |before| before.topics != names);
            let resolved = Resolved {
                topics: names,
                version: i64::try_from(topics.now.version()).unwrap_or(i64::MAX),
                at: now.wall.as_millis(),
            };
            self.apply(Change::Regex(regex, Some(resolved)));
        }
        let hash = topics.group_hash(self.group.wanted.keys());
        if bump || hash != self.group.hash {
            self.bump(fx, hash);
            self.group.note_look(now);
        }
    }
}

fn matching(
    asked: &BTreeSet<Arc<str>>,
    topics: &KnownTopics,
) -> BTreeMap<Arc<str>, BTreeSet<Topic>> {
    let names = topics.now.names();
    let of = |pattern: &Arc<str>| {
        // Those of the log were accepted once; one that is not any more stands for nothing.
        let Ok(regex) = regex::compile(pattern) else { return BTreeSet::new() };
        names.iter().filter(|name| regex.is_match(name)).cloned().collect()
    };
    asked.iter().map(|pattern| (pattern.clone(), of(pattern))).collect()
}

impl ConsumerGroup {
    /// After an undone change the resolving must be asked for again.
    pub(crate) fn forget_resolving(&mut self) {
        self.resolving.clear();
    }
}
