//! What the broker has promised by an acknowledgement, and has to keep over a crash.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use mqttstack_codec::{Packet, PacketId};
use mqttstack_limits::Instant;

use crate::{Granted, LinkId};

/// Names what one PUBLISH, SUBSCRIBE or UNSUBSCRIBE asked for.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Reason(u64);

/// What was asked for, and whether it was acknowledged.
#[derive(Debug, Default)]
pub(super) struct Promises {
    reasons: u64,
    /// What an acknowledgement on a link under an identifier would be for.
    asked: BTreeMap<(LinkId, PacketId), Reason>,
    /// What a payload was first published for, which a repeat of it asks for again.
    published: BTreeMap<String, Reason>,
    /// In which order they were acknowledged.
    kept: BTreeMap<Reason, usize>,
    /// By Client Identifier: how much was acknowledged before a clean CONNECT was under way to the
    /// worker that holds its session.
    cleaned: BTreeMap<String, usize>,
    /// By topic: payload and deadline.
    retained: BTreeMap<String, History<Option<(String, Instant)>>>,
    /// By Client Identifier and filter.
    filters: BTreeMap<(String, String), History<Option<Granted>>>,
    /// By Client Identifier: whether CONNACK has let it in on a session that lasts. Missing where
    /// nobody can know.
    told: BTreeMap<String, bool>,
    /// Whose CONNECT has no answer yet: until then, what the client was told may be about to change.
    open: BTreeMap<LinkId, String>,
    /// By Client Identifier: the identifiers that PUBCOMP has said are free, until they name
    /// something new.
    completed: BTreeSet<(String, PacketId)>,
}

/// What something was, from the last acknowledged value on.
#[derive(Clone, Debug)]
struct History<T>(Vec<(T, Reason)>);

impl<T> Default for History<T>
where
    T: Default,
{
    fn default() -> Self {
        Self(vec![(T::default(), Reason::default())])
    }
}

impl<T> History<T> {
    fn push(&mut self, value: T, reason: Reason) {
        self.0.push((value, reason));
    }

    /// What was asked for is there to stay, and with it whatever came behind.
    fn keep(&mut self, reason: Reason) {
        if let Some(at) = self.0.iter().rposition(|(_, it)| *it == reason) {
            self.0.drain(..at);
        }
    }

    fn allows(&self, is_it: impl Fn(&T) -> bool) -> bool {
        self.0.iter().any(|(value, _)| is_it(value))
    }
}

impl Promises {
    fn next_reason(&mut self) -> Reason {
        self.reasons += 1;
        Reason(self.reasons)
    }

    /// Something happens that nobody acknowledges.
    pub(super) fn unasked(&mut self) -> Reason {
        self.next_reason()
    }

    /// A client asks for something that is acknowledged under this identifier, if it has one.
    pub(super) fn on_asked(&mut self, link: LinkId, packet_id: Option<PacketId>) -> Reason {
        let reason = self.next_reason();
        self.asked
            .extend(packet_id.map(|packet_id| ((link, packet_id), reason)));
        reason
    }

    /// A client publishes; returns what for, which for a repeat within a session is the same.
    pub(super) fn on_published(
        &mut self,
        link: LinkId,
        packet_id: Option<PacketId>,
        payload: &str,
        is_publication: bool,
    ) -> Reason {
        let known = self.published.get(payload).filter(|_| !is_publication);
        let reason = match known.copied() {
            Some(reason) => reason,
            None => self.next_reason(),
        };
        self.asked
            .extend(packet_id.map(|packet_id| ((link, packet_id), reason)));
        self.published.insert(payload.into(), reason);
        reason
    }

    /// Something is retained from now on, or nothing any more.
    pub(super) fn on_retained(&mut self, topic: &str, it: Option<(String, Instant)>, why: Reason) {
        self.retained.entry(topic.into()).or_default().push(it, why);
    }

    /// A client has subscribed or unsubscribed.
    pub(super) fn on_filter(
        &mut self,
        client_id: &str,
        filter: &str,
        granted: Option<Granted>,
        reason: Reason,
    ) {
        let filters = &mut self.filters;
        let history = filters.entry((client_id.into(), filter.into()));
        history.or_default().push(granted, reason);
    }

    /// The broker has sent a packet: what it acknowledges is a promise.
    pub(super) fn on_sent(&mut self, link: LinkId, packet: &Packet) {
        let is_promise = match packet {
            Packet::PubAck(ack) | Packet::PubRec(ack) => !ack.reason_code.is_error(),
            Packet::SubAck(_) | Packet::UnsubAck(_) => true,
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::Publish(_)
            | Packet::PubRel(_)
            | Packet::PubComp(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq
            | Packet::PingResp
            | Packet::Disconnect(_)
            | Packet::Auth(_) => false,
        };
        let asked = packet.packet_id().filter(|_| is_promise);
        let Some(reason) = asked.and_then(|id| self.asked.remove(&(link, id))) else {
            return;
        };
        let order = self.kept.len();
        self.kept.entry(reason).or_insert(order);
        for history in self.retained.values_mut() {
            history.keep(reason);
        }
        for history in self.filters.values_mut() {
            history.keep(reason);
        }
    }

    /// A client is about to be let in, or not: until it is told, nothing is certain.
    pub(super) fn on_connect(&mut self, link: LinkId, client_id: &str) {
        self.told.remove(client_id);
        self.open.insert(link, client_id.into());
    }

    /// A client has been told that it is let in, on a session that lasts or does not.
    pub(super) fn on_connack(&mut self, link: LinkId, client_id: &str, lasts: bool) {
        self.open.remove(&link);
        self.told.insert(client_id.into(), lasts);
    }

    /// A connection is over: if it was never answered, nobody knows what its CONNECT has done.
    pub(super) fn on_ended(&mut self, link: LinkId) {
        if let Some(client_id) = self.open.remove(&link) {
            self.told.remove(&client_id);
        }
    }

    /// The broker has told a client that an identifier is free.
    pub(super) fn on_pubcomp(&mut self, client_id: &str, packet_id: PacketId) {
        self.completed.insert((client_id.into(), packet_id));
    }

    /// A client has given a new message of QoS 2 this identifier.
    pub(super) fn on_identifier_taken(&mut self, client_id: &str, packet_id: PacketId) {
        self.completed.remove(&(client_id.into(), packet_id));
    }

    /// Returns whether PUBCOMP has said that an identifier is free, and nothing has it since.
    pub(super) fn was_completed(&self, client_id: &str, packet_id: PacketId) -> bool {
        self.completed.contains(&(client_id.into(), packet_id))
    }

    /// A session is over, and with it what was promised about it.
    pub(super) fn on_session_over(&mut self, client_id: &str) {
        if self.told.get(client_id) == Some(&true) {
            self.told.remove(client_id);
        }
        self.filters.retain(|(owner, _), _| owner != client_id);
    }

    pub(super) fn is_kept(&self, reason: Reason) -> bool {
        self.kept.contains_key(&reason)
    }

    /// A clean CONNECT is under way to the worker that holds the session of a client: the session may
    /// be over before the next message reaches it, and what nobody takes is acknowledged at once.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.1.2-4; v3.1.1 MQTT-3.1.2-6.
    pub(super) fn on_cleaning(&mut self, client_id: &str) {
        let order = self.kept.len();
        self.cleaned.entry(client_id.into()).or_insert(order);
    }

    /// No clean CONNECT is under way to the session of a client any more.
    pub(super) fn on_cleaned(&mut self, client_id: &str) {
        self.cleaned.remove(client_id);
    }

    /// Returns whether something was acknowledged while it was certain that a client had its session.
    pub(super) fn is_kept_in(&self, client_id: &str, reason: Reason) -> bool {
        let before = self.cleaned.get(client_id);
        (self.kept.get(&reason)).is_some_and(|order| before.is_none_or(|before| order < before))
    }

    /// Returns whether a message of QoS 2 was acknowledged.
    pub(super) fn is_accepted(&self, payload: &str) -> bool {
        (self.published.get(payload)).is_some_and(|reason| self.is_kept(*reason))
    }

    /// Returns whether a client was told that it has a session that lasts, or that it has none.
    pub(super) fn was_told(&self, client_id: &str) -> Option<bool> {
        let is_open = self.open.values().any(|it| it == client_id);
        self.told.get(client_id).copied().filter(|_| !is_open)
    }

    /// The broker begins anew: what it has is what is retained, and what it has not is not.
    ///
    /// # Errors
    ///
    /// It cannot be what was acknowledged.
    pub(super) fn on_retained_recovered(
        &mut self,
        found: &BTreeMap<String, (String, Instant)>,
        now: Instant,
    ) -> Result<(), String> {
        let topics = self.retained.keys().chain(found.keys());
        let topics: BTreeSet<String> = topics.cloned().collect();
        for topic in topics {
            let history = self.retained.entry(topic.clone()).or_default();
            let found = found.get(&topic);
            let is_allowed = history.allows(|it| match (it, found) {
                (None, None) => true,
                (Some((_, expires_at)), None) => *expires_at <= now,
                (None, Some(_)) => false,
                (Some((payload, _)), Some((found, _))) => payload == found,
            });
            if !is_allowed {
                return Err(format!(
                    "a crash leaves {found:?} retained under {topic}, of {history:?}"
                ));
            }
            *history = History(vec![(found.cloned(), Reason::default())]);
        }
        Ok(())
    }

    /// The broker begins anew with these subscriptions of a client.
    ///
    /// # Errors
    ///
    /// They cannot be what was acknowledged.
    pub(super) fn on_filters_recovered(
        &mut self,
        client_id: &str,
        found: &BTreeMap<String, Granted>,
    ) -> Result<(), String> {
        let is_told = self.told.insert(client_id.into(), true) == Some(true);
        let known = self.filters.keys();
        let known = known.filter(|(owner, _)| owner == client_id);
        let known = known.map(|(_, filter)| filter.clone());
        let filters: BTreeSet<String> = known.chain(found.keys().cloned()).collect();
        for filter in filters {
            let key = (client_id.to_owned(), filter);
            let found = found.get(&key.1).copied();
            let history = self.filters.entry(key.clone()).or_default();
            if is_told && !history.allows(|it| *it == found) {
                return Err(format!(
                    "a crash leaves {key:?} at {found:?}, of {history:?}"
                ));
            }
            *history = History(vec![(found, Reason::default())]);
        }
        Ok(())
    }

    /// The broker has begun anew with the sessions that its store had.
    pub(super) fn on_recovered(&mut self) {
        self.cleaned.clear();
    }

    /// Nothing is under way any more. What was, has come to something or not.
    pub(super) fn on_crash(&mut self) {
        self.asked.clear();
        for client_id in std::mem::take(&mut self.open).into_values() {
            self.told.remove(&client_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use mqttstack_codec::Ack;

    use super::*;

    #[test]
    fn what_was_acknowledged_has_to_be_there_and_what_was_not_may_be() {
        let link = LinkId::of_peer("1").expect("a number");
        let [first, second] = [1, 2].map(|id| PacketId::new(id).expect("not 0"));
        // Which of two publications is acknowledged, what is found, whether that is fine.
        for (acknowledged, found, is_fine) in [
            (None, None, true),
            (None, Some("x"), true),
            (None, Some("z"), false),
            (Some(first), None, false),
            (Some(first), Some("x"), true),
            (Some(first), Some("y"), true),
            (Some(second), Some("x"), false),
            (Some(second), Some("y"), true),
        ] {
            let mut promises = Promises::default();
            for (packet_id, payload) in [(first, "x"), (second, "y")] {
                let reason = promises.on_published(link, Some(packet_id), payload, true);
                let it = Some((payload.to_owned(), Instant::NEVER));
                promises.on_retained("t", it, reason);
            }
            if let Some(packet_id) = acknowledged {
                promises.on_sent(link, &Packet::PubAck(Ack::new(packet_id)));
            }
            let found = found.map(|it| ("t".to_owned(), (it.to_owned(), Instant::NEVER)));
            let found = found.into_iter().collect();
            let checked = promises.on_retained_recovered(&found, Instant::EPOCH);
            assert_eq!(checked.is_ok(), is_fine, "{acknowledged:?} {found:?}");
        }
    }

    #[test]
    fn what_is_acknowledged_while_a_session_may_be_over_need_not_come_back_with_it() {
        let link = LinkId::of_peer("1").expect("a number");
        let [first, second] = [1, 2].map(|id| PacketId::new(id).expect("not 0"));
        let mut promises = Promises::default();
        let [early, late] = [(first, "x"), (second, "y")]
            .map(|(id, payload)| promises.on_published(link, Some(id), payload, true));
        promises.on_sent(link, &Packet::PubAck(Ack::new(first)));
        promises.on_cleaning("c0");
        promises.on_sent(link, &Packet::PubAck(Ack::new(second)));
        // A second one changes nothing.
        promises.on_cleaning("c0");
        for (client_id, reason, expected) in [
            ("c0", early, true),
            ("c0", late, false),
            ("c1", early, true),
            ("c1", late, true),
        ] {
            assert_eq!(promises.is_kept_in(client_id, reason), expected);
        }
        promises.on_cleaned("c0");
        assert!(promises.is_kept_in("c0", late));
    }

    #[test]
    fn what_a_client_was_told_is_certain_while_no_connect_is_open() {
        let [client, thief] = ["1", "2"].map(|peer| LinkId::of_peer(peer).expect("a number"));
        // What becomes of the CONNECT of the thief after the client was told, and what is certain.
        type End = fn(&mut Promises, LinkId);
        let ends: [(End, Option<bool>); 4] = [
            (|_, _| {}, None),
            (|it, thief| it.on_connack(thief, "c0", false), Some(false)),
            (Promises::on_ended, None),
            (|it, _| it.on_crash(), None),
        ];
        for (end, expected) in ends {
            let mut promises = Promises::default();
            promises.on_connect(thief, "c0");
            promises.on_connect(client, "c0");
            promises.on_connack(client, "c0", true);
            assert_eq!(promises.was_told("c0"), None);
            end(&mut promises, thief);
            assert_eq!(promises.was_told("c0"), expected);
        }
        let mut promises = Promises::default();
        promises.on_connect(thief, "c1");
        promises.on_connect(client, "c0");
        promises.on_connack(client, "c0", true);
        promises.on_ended(client);
        assert_eq!(promises.was_told("c0"), Some(true));
    }
}
