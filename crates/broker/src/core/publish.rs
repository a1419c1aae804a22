//! A message on its way: into the retained store, and to everyone who subscribes.

use std::{num::NonZeroU64, ops::ControlFlow, time::Duration};

use mqttstack_codec::{PacketId, ProtocolVersion, QoS, ReasonCode};
use mqttstack_limits::Instant;
use mqttstack_session::{
    Message, PublishError, SubscriptionIds,
    fault::{self, Fault},
};
use mqttstack_topic::{
    Availability, Choice, GroupId, GroupTag, Match, SharedGroup, TopicLimits, TopicName,
};

use super::{
    Core,
    access::{Authorization, PublishRequest},
    directory::Granted,
    end::CHECKED_BEFORE,
    keys::{ConnectionId, SessionKey, WorkerId},
    locations::Location,
    match_cache::Matched,
    memory::MemoryStage,
    message::{Target, WorkerMessage},
    notice::Notice,
    questions::About,
    session_table::Presence,
    timers::Timer,
};

/// Topics that belong to the server: clients may not publish there.
const SERVER_TOPICS: &str = "$SYS";

/// How many lists of subscribers that came with letters are kept for new ones, and how many places
/// each has at most: some three quarters of a megabyte.
const TARGETS_KEPT_MAX: usize = 1_024;
const TARGET_COUNT_KEPT_MAX: usize = 8;

/// How long a client that publishes is left alone when memory is short.
const SLOWED_FOR: Duration = Duration::from_millis(100);

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

/// A subscription that matches a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    session: SessionKey,
    granted: Granted,
    /// The shared group that it was chosen from.
    group: Option<(GroupId, GroupTag)>,
}

impl Core {
    /// A client has published.
    pub(super) fn on_message(
        &mut self,
        id: ConnectionId,
        message: Message,
        packet_id: Option<PacketId>,
        now: Instant,
    ) {
        let Some(key) = self.connection(id).and_then(|connection| connection.key) else {
            return;
        };
        self.counts.publishes_received.add(1);
        if self.memory.stage() == MemoryStage::Full {
            self.counts.messages_refused.add(1);
            return self.refuse_message(id, packet_id);
        }
        let verdict = match self.authorize_publish(key, id, &message) {
            Authorization::Allow => Ok(()),
            Authorization::Deny(reason) => Err(reason),
            Authorization::Deferred => {
                let about = About::Publish { message, packet_id };
                return self.await_answer(id, about, 1, now);
            }
        };
        self.on_publish_decided(id, &message, packet_id, verdict, now);
        self.messages.put(message);
    }

    /// It is known whether a client may publish a message.
    pub(super) fn on_publish_decided(
        &mut self,
        id: ConnectionId,
        message: &Message,
        packet_id: Option<PacketId>,
        verdict: Result<(), ReasonCode>,
        now: Instant,
    ) {
        let Some(key) = self.connection(id).and_then(|connection| connection.key) else {
            return;
        };
        let before = self.journal.recorded();
        let reason = match verdict {
            Ok(()) => {
                let limits = self.topic_limits(id);
                self.note_published(key, message);
                self.publish(Some(key), message, limits, now)
            }
            Err(reason) if reason.is_error() => reason,
            Err(_) => ReasonCode::NotAuthorized,
        };
        if let Some(packet_id) = packet_id {
            self.answer_publisher(id, key, (packet_id, message.qos()), reason, before);
        }
        self.slow_down(id, now);
    }

    /// There is no room for a message. MQTT 3.x cannot say so: the client is to come again with it.
    fn refuse_message(&mut self, id: ConnectionId, packet_id: Option<PacketId>) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        let Some(packet_id) = packet_id else { return };
        if connection.session.version() == Some(ProtocolVersion::V5) {
            connection
                .session
                .acknowledge(packet_id, ReasonCode::QuotaExceeded);
            if let Some(key) = connection.key {
                self.write_down(key);
            }
        } else {
            connection.session.disconnect(ReasonCode::QuotaExceeded);
        }
    }

    /// Memory is short: the client that has published is read from again a little later.
    fn slow_down(&mut self, id: ConnectionId, now: Instant) {
        if self.memory.stage() < MemoryStage::Slowing {
            return;
        }
        if let Some(connection) = self.connection_mut(id)
            && !std::mem::replace(&mut connection.is_slowed, true)
        {
            self.timers.schedule(Timer::Slowed(id), now + SLOWED_FOR);
        }
    }

    pub(super) fn on_slowed_due(&mut self, id: ConnectionId, now: Instant) {
        if let Some(connection) = self.connection_mut(id) {
            connection.is_slowed = false;
            self.go_on(id, now);
            // The driver may read on.
            self.mark_dirty(id);
        }
    }

    fn authorize_publish(
        &mut self,
        key: SessionKey,
        id: ConnectionId,
        message: &Message,
    ) -> Authorization {
        let ticket = self.next_ticket(id);
        let entry = self.sessions.get(key);
        match entry.filter(|_| !is_server_topic(message.topic_bytes())) {
            Some(entry) => self.access.authorize_publish(&PublishRequest {
                client: entry.client(),
                message,
                ticket,
            }),
            None => Authorization::Deny(ReasonCode::NotAuthorized),
        }
    }

    /// Tells the program around the broker what a client publishes.
    pub(super) fn note_published(&mut self, key: SessionKey, message: &Message) {
        if let Some(entry) = self.sessions.get(key) {
            self.access.on_publish(&entry.client(), message);
        }
    }

    /// Returns whether a client may publish to a topic.
    pub(super) fn may_publish(&mut self, key: SessionKey, topic: &str) -> bool {
        if is_server_topic(topic) {
            return false;
        }
        let Some(entry) = self.sessions.get(key) else {
            return false;
        };
        self.access.may_publish(&entry.client(), topic)
    }

    /// Publishes a message of the broker itself, its `$SYS` topics included.
    ///
    /// Returns what a client would be told.
    pub fn publish_own(&mut self, message: &Message, now: Instant) -> ReasonCode {
        let reason = self.publish(None, message, TopicLimits::DEFAULT, now);
        self.conclude(now);
        reason
    }

    /// Stores a retained message, and hands the message to all who subscribe.
    pub(super) fn publish(
        &mut self,
        publisher: Option<SessionKey>,
        message: &Message,
        limits: TopicLimits,
        now: Instant,
    ) -> ReasonCode {
        let stored = if message.retain() {
            self.retain(message, limits, now)
        } else {
            Ok(())
        };
        let mut hits = std::mem::take(&mut self.hits);
        let (found, steps) = match self.find_subscribers(message, limits, publisher, &mut hits) {
            Ok(steps) => (Ok(()), steps),
            Err(reason) => (Err(reason), 0),
        };
        let is_nobody = hits.is_empty();
        self.work.count_lookup(hits.len(), steps);
        let went_elsewhere = self.fan_out(message, &mut hits, 0, now);
        if went_elsewhere && let Some(entry) = publisher.and_then(|key| self.sessions.get_mut(key))
        {
            entry.published_elsewhere = true;
        }
        hits.clear();
        self.hits = hits;
        // What cannot be retained reaches those who are here all the same.
        match found.and(stored) {
            Err(reason) => reason,
            Ok(()) if is_nobody => ReasonCode::NoMatchingSubscribers,
            Ok(()) => ReasonCode::Success,
        }
    }

    fn retain(
        &mut self,
        message: &Message,
        limits: TopicLimits,
        now: Instant,
    ) -> Result<(), ReasonCode> {
        let Ok(topic) = TopicName::with_limits(message.topic(), limits) else {
            return Err(ReasonCode::TopicNameInvalid);
        };
        self.work.count_levels(topic.level_count());
        let mut retained = self.directory.retained.write();
        let mut before = retained.counted_bytes();
        let stored = retained.store(&topic, message, &self.limits, now);
        let (after, next) = (retained.counted_bytes(), retained.next_deadline());
        let version = retained.last_write();
        drop(retained);
        self.memory.recount(&mut before, after);
        self.schedule_retained_expiry(next);
        stored?;
        self.write_retained(message, version, now);
        Ok(())
    }

    /// Collects the subscriptions that match, one member of each shared group; returns the steps
    /// that it took to find them.
    fn find_subscribers(
        &mut self,
        message: &Message,
        limits: TopicLimits,
        publisher: Option<SessionKey>,
        hits: &mut Vec<Hit>,
    ) -> Result<usize, ReasonCode> {
        let topic = message.topic_bytes();
        let mut cache = std::mem::take(&mut self.match_cache);
        // Before the lookup: what is found later may be newer, never older.
        let version = self.directory.subscriptions.version();
        let found = match cache.get(version, topic, limits) {
            Some(matches) => {
                self.collect(matches, publisher, hits);
                Ok(0)
            }
            None => match TopicName::with_limits(message.topic(), limits) {
                Ok(name) => {
                    let mut matches = std::mem::take(&mut self.matches);
                    let steps = self.look_up(&name, &mut matches);
                    self.collect(&matches, publisher, hits);
                    cache.insert(version, topic, limits, &matches);
                    matches.clear();
                    self.matches = matches;
                    Ok(steps)
                }
                Err(_) => Err(ReasonCode::TopicNameInvalid),
            },
        };
        self.match_cache = cache;
        found
    }

    /// Asks the index what a topic matches; returns the steps that it took.
    fn look_up(&self, topic: &TopicName<'_>, matches: &mut Vec<Matched>) -> usize {
        let index = self.directory.subscriptions.read();
        let mut steps = 0;
        let _ = index.lookup_counting(topic, &mut steps, |found| {
            matches.push(match found {
                Match::Subscriber { key, value } => Matched::Subscriber(key, *value),
                Match::Group(group) => Matched::Group(group.id()),
            });
            ControlFlow::Continue(())
        });
        steps
    }

    /// Finds out who gets a message that matches all this.
    fn collect(&self, matches: &[Matched], publisher: Option<SessionKey>, hits: &mut Vec<Hit>) {
        for matched in matches {
            let hit = match *matched {
                Matched::Subscriber(session, granted) => Some(Hit {
                    session,
                    granted,
                    group: None,
                }),
                Matched::Group(group) => {
                    let index = self.directory.subscriptions.read();
                    let chosen = index
                        .group(group)
                        .and_then(|group| choose_member(group, None));
                    if fault::is_on(Fault::ShareTwice) {
                        let but = chosen.map(|hit| hit.session);
                        let group = index.group(group);
                        hits.extend(group.and_then(|group| choose_member(group, but)));
                    }
                    chosen
                }
            };
            // v5 MQTT-3.8.3-3
            let is_echo = |hit: &Hit| {
                let is_local = hit.granted.no_local && publisher == Some(hit.session);
                is_local && !fault::is_on(Fault::IgnoreNoLocal)
            };
            hits.extend(hit.filter(|hit| !is_echo(hit)));
        }
    }

    /// Delivers to each session once, whatever the number of its subscriptions that match. Returns
    /// whether some of them are with other workers.
    fn fan_out(
        &mut self,
        message: &Message,
        hits: &mut [Hit],
        handed_on: u8,
        now: Instant,
    ) -> bool {
        let is_sorted = hits.is_sorted_by(|a, b| a.session < b.session);
        if !is_sorted {
            hits.sort_unstable_by_key(|hit| (hit.session, hit.group, hit.granted.subscription_id));
        }
        let mut others = std::mem::take(&mut self.others);
        let mut went_elsewhere = false;
        // What a session gets as the member of a group is a copy of its own.
        let overlap = |a: &Hit, b: &Hit| a.session == b.session && a.group == b.group;
        for overlapping in hits.chunk_by(overlap) {
            let Some(mut target) = merge(message, overlapping) else {
                continue;
            };
            target.handed_on = handed_on;
            match self.directory.locations.of(target.session) {
                Some(Location { worker, .. }) if worker != self.worker => {
                    let index = usize::from(worker.index());
                    if others.len() <= index {
                        others.resize_with(index.saturating_add(1), Vec::new);
                    }
                    if let Some(targets) = others.get_mut(index) {
                        if targets.capacity() == 0 {
                            *targets = self.spare_targets.pop().unwrap_or_default();
                        }
                        targets.push(target);
                    }
                    went_elsewhere = true;
                }
                _ => self.deliver(message, target, self.worker, now),
            }
        }
        for (index, targets) in (0..).zip(&mut others) {
            if !targets.is_empty() {
                let targets = std::mem::take(targets);
                self.send_batch(WorkerId::new(index), message.clone(), targets);
            }
        }
        self.others = others;
        went_elsewhere
    }

    /// A letter has been read: the next one may be written in its place.
    pub(super) fn keep_targets(&mut self, targets: Vec<Target>) {
        let has_room = self.spare_targets.len() < TARGETS_KEPT_MAX;
        if has_room && targets.capacity() <= TARGET_COUNT_KEPT_MAX {
            self.spare_targets.push(targets);
        }
    }

    fn send_batch(&mut self, worker: WorkerId, message: Message, targets: Vec<Target>) {
        let parcel = self.write_parcel(&message, &targets);
        let letter = WorkerMessage::Deliver {
            from: self.worker,
            message,
            targets,
            parcel,
        };
        self.send_letter(worker, letter);
    }

    /// Hands a message, which comes straight from the worker `from`, to one session of this worker.
    pub(super) fn deliver(
        &mut self,
        message: &Message,
        target: Target,
        from: WorkerId,
        now: Instant,
    ) {
        let key = target.session;
        let Some(entry) = self.sessions.get_mut(key) else {
            return self.deliver_elsewhere(message, target, from, now);
        };
        if entry.is_arriving && self.moves.awaits(key, from) {
            return self.hold(message, target, from);
        }
        let options = target.options();
        let taken = match &mut entry.presence {
            Presence::Connected(id) => {
                let id = *id;
                let stage = self.memory.stage();
                let Some(connection) = self.connection_mut(id) else {
                    return;
                };
                let is_stuck = connection.is_blocked;
                if is_stuck && options.qos == QoS::AtMostOnce && stage >= MemoryStage::Shedding {
                    return self.note_shed(key, now);
                }
                let taken = connection.session.publish(message.clone(), options, now);
                if is_stuck {
                    // It has no turn of its own until it reads.
                    let dropped = connection.session.queue_status().dropped;
                    self.count_connection(id);
                    self.note_drops(key, dropped, now);
                } else {
                    self.mark_dirty(id);
                }
                taken
            }
            Presence::Absent(absent) => {
                let limits = &absent.limits;
                let is_fleeting = options.qos == QoS::AtMostOnce;
                let taken = absent.state.enqueue(message.clone(), options, limits, now);
                let dropped = absent.state.queue_status().dropped;
                if is_fleeting {
                    entry.drops.overlook(dropped);
                } else {
                    self.count_session(key);
                    self.note_drops(key, dropped, now);
                }
                taken
            }
        };
        self.write_down(key);
        if let Err(PublishError::SessionMustEnd) = taken {
            match target.handed_on {
                0 => self.note_overflow(key),
                _ => self.pass_on(message, &target, now),
            }
        }
    }

    /// A QoS 0 message was dropped because memory is short.
    fn note_shed(&mut self, key: SessionKey, now: Instant) {
        self.counts.messages_shed.add(1);
        if let Some(entry) = self.sessions.get_mut(key) {
            entry.drops.miss(1);
            self.tell_drops(key, now);
        }
    }

    /// The queue of a session has counted so many messages that it had no room for, or that were
    /// larger than its client takes.
    pub(super) fn note_drops(&mut self, key: SessionKey, dropped: u64, now: Instant) {
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        let count = entry.drops.count(dropped);
        if count > 0 {
            self.counts.messages_dropped.add(count);
            self.tell_drops(key, now);
        }
    }

    /// Takes what the queue of a session has counted so far as it is: a connection begins or ends.
    pub(super) fn overlook_drops(&mut self, key: SessionKey) {
        let of_connection = self
            .connection_of(key)
            .and_then(|id| self.connection(id))
            .map(|connection| connection.session.queue_status().dropped);
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        let dropped = match &entry.presence {
            Presence::Connected(_) => of_connection,
            Presence::Absent(absent) => Some(absent.state.queue_status().dropped),
        };
        if let Some(dropped) = dropped {
            entry.drops.overlook(dropped);
        }
    }

    /// Tells the log of messages that were dropped, but not of each.
    pub(super) fn tell_drops(&mut self, key: SessionKey, now: Instant) {
        if let Some(entry) = self.sessions.get_mut(key)
            && let Some(count) = entry.drops.tell(now)
        {
            let client_id = entry.client_id.clone();
            self.notices
                .push_back(Notice::MessagesDropped { client_id, count });
        }
    }

    /// The session that was to get a message is not here: the message follows it, waits for it, or
    /// goes to another member of its group.
    fn deliver_elsewhere(
        &mut self,
        message: &Message,
        target: Target,
        from: WorkerId,
        now: Instant,
    ) {
        let session = target.session;
        let location = self.directory.locations.of(session);
        // One that has an entry here has ended, and keeps only its name.
        let is_coming = location.is_some_and(|it| it.worker == self.worker && it.entry.is_none());
        if let (Some(worker), Some(_)) = (self.moves.destination(session), location) {
            return self.send_batch(worker, message.clone(), vec![target]);
        }
        if is_coming {
            return self.hold(message, target, from);
        }
        if let Some(group) = target.group {
            let handed_on = HandedOn {
                group,
                by: session,
                times: target.handed_on.saturating_add(1),
            };
            self.hand_on(message, handed_on, now);
        }
    }

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
        self.fan_out(message, &mut chosen, handed_on.times, now);
        is_any
    }

    /// A member of a shared group that was to inherit a message has no room for it: the next one has,
    /// or the one after that. Nobody's session ends for it, whatever its overflow policy says.
    fn pass_on(&mut self, message: &Message, target: &Target, now: Instant) {
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

    fn hold(&mut self, message: &Message, mut target: Target, from: WorkerId) {
        let parcel = self.write_parcel(message, std::slice::from_ref(&target));
        target.held_as = parcel.and_then(|parcel| NonZeroU64::new(parcel.number));
        // What there is no room for is lost, as in a queue that is full; the log is told when the
        // session is here.
        if !self.moves.hold(from, message.clone(), target) {
            self.counts.messages_dropped.add(1);
            self.write_taken(parcel);
        }
    }
}

/// Chooses who of a shared group gets a message: in turn, and those who are marked as away only if
/// there is nobody else.
fn choose_member(
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

/// One delivery for all subscriptions of a session that match: at the highest QoS granted, with
/// all Subscription Identifiers.
///
/// # Specification
///
/// v5 MQTT-3.3.4-2, v5 MQTT-3.3.4-3, v5 MQTT-3.3.4-4, v5 MQTT-3.3.1-12, v5 MQTT-3.3.1-13;
/// v3.1.1 MQTT-3.3.5-1, v3.1.1 MQTT-3.3.1-9.
fn merge(message: &Message, hits: &[Hit]) -> Option<Target> {
    let first = hits.first()?;
    let granted = hits
        .iter()
        .map(|hit| hit.granted.qos)
        .max()
        .unwrap_or(QoS::AtMostOnce);
    let keeps_retain = hits.iter().any(|hit| hit.granted.retain_as_published);
    Some(Target {
        session: first.session,
        group: first.group.map(|(_, tag)| tag),
        lasts: hits.iter().any(|hit| hit.granted.lasts),
        held_as: None,
        handed_on: 0,
        qos: match fault::is_on(Fault::RaiseQos) {
            true => granted,
            false => granted.min(message.qos()),
        },
        retain: message.retain() && (keeps_retain || fault::is_on(Fault::PassRetainOn)),
        subscription_ids: match hits {
            [only] if only.granted.subscription_id == 0 => SubscriptionIds::None,
            _ => hits
                .iter()
                .filter_map(|hit| hit.granted.subscription_id())
                .collect(),
        },
    })
}

pub(super) fn is_server_topic(topic: impl AsRef<[u8]>) -> bool {
    topic
        .as_ref()
        .strip_prefix(SERVER_TOPICS.as_bytes())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}
