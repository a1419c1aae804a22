//! What sessions leave when they end: messages that other members of their shared groups are to have,
//! and filters that are still in the index.

use std::collections::VecDeque;

use mqttstack_limits::Instant;
use mqttstack_session::{
    Message, SessionState,
    fault::{self, Fault},
};
use mqttstack_topic::{GroupId, GroupTag};

use super::{Core, filters::Filters, groups::HandedOn, keys::SessionKey};

/// How many filters are removed before other workers may look up, and before it is seen whether
/// that is enough for one call.
const REMOVED_PER_STEP: usize = 32;

/// How many deliveries the hand-over of one message is about as much work as: up to 64 members are
/// asked for it.
const UNITS_PER_HEIRLOOM: usize = 4;

/// What sessions have left that have ended.
#[derive(Debug, Default)]
pub(super) struct Leavings {
    /// What goes to others at the end of the call.
    estates: VecDeque<Estate>,
    /// Filters that are removed from the index when there is time. As long as they are there they count
    /// as memory that is used, which bounds their number.
    filters: VecDeque<LeftFilters>,
    /// When the first of them was left.
    since: Instant,
}

/// The messages that a lost member of shared groups leaves to the others.
#[derive(Debug)]
struct Estate {
    lost: SessionKey,
    /// The groups that it was in to the end.
    groups: Vec<(GroupTag, GroupId)>,
    messages: Vec<(GroupTag, Message)>,
}

/// Filters of a session that is no more. Nobody is found by them: its key is not given out again.
#[derive(Debug)]
struct LeftFilters {
    key: SessionKey,
    steps_each: u64,
    counted_bytes: u64,
}

impl Leavings {
    /// Returns when there is something left to do: at once.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.filters.is_empty()).then_some(self.since)
    }
}

impl Core {
    /// Ends a session: what shared groups have given to it, and another member may have instead,
    /// goes to one, whichever worker it is with. Where nobody is left of a group, its messages are
    /// lost with the session, as its other messages are.
    ///
    /// They go at the end of the call, when all sessions that end in it have left their groups: what
    /// one left to another that was about to end would be handed on again and again.
    ///
    /// A session that ends because its queue is full takes what is in it along: the next member
    /// would be the next whose queue is full, and so on through the group. When the process ends,
    /// so do the heirs, unless they are stored.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.8.2-5, v5 U-32.
    pub(super) fn end_session(&mut self, key: SessionKey, mut state: SessionState, now: Instant) {
        let entry = self.sessions.get(key);
        let is_overflowed = entry.is_some_and(|entry| entry.is_overflowed);
        let has_no_heirs = self.is_shutting_down && !self.journal.is_kept();
        if !is_overflowed && !has_no_heirs {
            self.note_estate(key, &mut state);
        }
        self.remove_session(key, now);
    }

    /// Notes what a session leaves to others while it is still known in which groups it is.
    fn note_estate(&mut self, key: SessionKey, state: &mut SessionState) {
        let messages: Vec<(GroupTag, Message)> = state
            .take_group_messages()
            .map(|(group, message)| (GroupTag::new(group), message))
            .collect();
        if messages.is_empty() || fault::is_on(Fault::ForgetLost) {
            return;
        }
        let index = self.directory.subscriptions.read();
        let groups = index.groups_of(&key).map(|it| (it.tag(), it.id()));
        let groups = groups.collect();
        drop(index);
        self.work
            .count(messages.len().saturating_mul(UNITS_PER_HEIRLOOM));
        self.leavings.estates.push_back(Estate {
            lost: key,
            groups,
            messages,
        });
    }

    /// Hands on what sessions that have ended leave to others. All of it: a store that has the end of
    /// the session has this in the same unit.
    pub(super) fn hand_on_estates(&mut self, now: Instant) {
        while let Some(estate) = self.leavings.estates.pop_front() {
            let Estate {
                lost,
                groups,
                messages,
            } = estate;
            for (group, message) in messages {
                let handed_on = HandedOn {
                    group,
                    by: lost,
                    times: 1,
                };
                let is_own = |(tag, id): &(GroupTag, GroupId)| (*tag == group).then_some(*id);
                let own = groups.iter().filter_map(is_own);
                if !self.hand_on_to(&message, handed_on, own, now) {
                    // It had left the group before.
                    self.hand_on(&message, handed_on, now);
                }
            }
        }
    }

    /// Strikes a session out everywhere. Its shared groups know at once that it is no member any more,
    /// what else it subscribed to may take its time.
    pub(super) fn remove_session(&mut self, key: SessionKey, now: Instant) {
        self.write_end(key);
        let Some(mut entry) = self.sessions.remove(key) else {
            return;
        };
        let filters = std::mem::take(&mut entry.filters);
        let counted_bytes = match filters.count {
            0 => 0,
            _ => filters.counted_bytes(),
        };
        self.memory.recount(&mut entry.counted_bytes, counted_bytes);
        if filters.shared_count > 0 {
            self.directory.subscriptions.write().leave_groups(&key);
        }
        if filters.count > filters.shared_count {
            self.leave_filters(key, &filters, counted_bytes, now);
        } else {
            self.memory.recount(&mut entry.counted_bytes, 0);
        }
        self.release_name(entry);
    }

    fn leave_filters(
        &mut self,
        key: SessionKey,
        filters: &Filters,
        counted_bytes: u64,
        now: Instant,
    ) {
        if self.leavings.filters.is_empty() {
            self.leavings.since = now;
        }
        self.leavings.filters.push_back(LeftFilters {
            key,
            steps_each: filters.mean_steps(),
            counted_bytes,
        });
        self.clear_filters();
    }

    /// Removes filters of sessions that are no more from the index, as far as there is time in this call.
    pub(super) fn clear_filters(&mut self) {
        while !self.work.is_enough()
            && let Some(left) = self.leavings.filters.front_mut()
        {
            let mut index = self.directory.subscriptions.write();
            let count = index.remove_some(&left.key, REMOVED_PER_STEP);
            drop(index);
            self.work.count_removed(count, left.steps_each);
            if count < REMOVED_PER_STEP {
                self.memory.recount(&mut left.counted_bytes, 0);
                self.leavings.filters.pop_front();
            }
        }
    }
}
