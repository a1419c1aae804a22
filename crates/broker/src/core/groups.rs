//! Shared groups: which member gets a message, and who has it when that one does not take it.

use mqttstack_limits::Instant;
use mqttstack_session::Message;
use mqttstack_topic::{Availability, Choice, GroupId, GroupTag, SharedGroup, TopicName};

use super::{
    Core, directory::Granted, end::CHECKED_BEFORE, keys::SessionKey, message::Target, routing::Hit,
};

/// How often a message is handed on in its group before it is dropped: those who have no room for it
/// must not pass it around among them.
const HANDED_ON_MAX: u8 = 8;

/// How many groups of one tag are looked at for one that matches. There is one, unless somebody has
/// gone to the length of finding such names.
const SAME_TAG_MAX: usize = 64;

/// A message that a member of a shared group does not get after all.
#[derive(Clone, Copy, Debug)]
pub(super) struct HandedOn {
    pub(super) group: GroupTag,
    /// The member that another one is to have it instead of.
    pub(super) by: SessionKey,
    /// How often that is now.
    pub(super) times: u8,
}

impl Core {
    /// Gives a message that a member of a shared group did not get to another member, whose group has
    /// the same tag and matches it.
    pub(super) fn hand_on(&mut self, message: &Message, handed_on: HandedOn, now: Instant) {
        let index = self.directory.subscriptions.read();
        let groups: Vec<GroupId> = index
            .tagged(handed_on.group)
            .take(SAME_TAG_MAX)
            .map(|group| group.id())
            .collect();
        drop(index);
        self.hand_on_to(message, handed_on, groups, now);
    }

    /// Gives a message to another member of those of the groups that match it; returns whether
    /// there are any.
    pub(super) fn hand_on_to(
        &mut self,
        message: &Message,
        handed_on: HandedOn,
        groups: impl IntoIterator<Item = GroupId>,
        now: Instant,
    ) -> bool {
        let Ok(topic) = TopicName::with_limits(message.topic(), CHECKED_BEFORE) else {
            return false;
        };
        let index = self.directory.subscriptions.read();
        let mut is_any = false;
        let mut chosen: Vec<Hit> = groups
            .into_iter()
            .filter_map(|id| index.group(id))
            .filter(|group| group.filter().matches(&topic))
            .inspect(|_| is_any = true)
            .filter_map(|group| choose_member(group, Some(handed_on.by)))
            .collect();
        drop(index);
        self.fan_out(message.clone(), &mut chosen, handed_on.times, now);
        is_any
    }

    /// A member of a shared group that was to inherit a message has no room for it: the next one has,
    /// or the one after that. Nobody's session ends for it, whatever its overflow policy says.
    pub(super) fn pass_on(&mut self, message: &Message, target: &Target, now: Instant) {
        let group = target.group.filter(|_| target.handed_on < HANDED_ON_MAX);
        if let Some(group) = group {
            let handed_on = HandedOn {
                group,
                by: target.session,
                times: target.handed_on.saturating_add(1),
            };
            return self.hand_on(message, handed_on, now);
        }
        self.counts.messages_dropped.add(1);
        if let Some(entry) = self.sessions.get_mut(target.session) {
            entry.drops.miss(1);
            self.tell_drops(target.session, now);
        }
    }
}

/// Chooses who of a shared group gets a message: in turn, and those who are marked as away only if
/// there is nobody else.
pub(super) fn choose_member(
    group: SharedGroup<'_, SessionKey, Granted>,
    but: Option<SessionKey>,
) -> Option<Hit> {
    let (session, granted) = group.choose(Choice::RoundRobin, |key, _| match but {
        Some(other) if other == *key => Availability::Unavailable,
        _ => Availability::Ready { in_flight: 0 },
    })?;
    Some(Hit {
        session,
        granted: *granted,
        group: Some((group.id(), group.tag())),
    })
}
