//! Who is owed which copies, who was sent which, who got which, and in which order.

mod recovery;

use std::collections::{BTreeMap, BTreeSet};

use mqttstack_codec::{Publish, QoS, Shared};
use mqttstack_limits::Instant;

use super::{promises::Reason, settings::index_of};
use crate::{Copy, Delivery, Granted, LinkId, Publication};

/// Topics that only shared subscriptions match begin with this.
pub(super) const SHARED_TOPICS: &str = "$s/";

/// The books of all clients.
#[derive(Debug)]
pub(super) struct Accounts {
    clients: Vec<Books>,
    /// What the members of shared groups are owed together, by payload.
    shared: BTreeMap<String, SharedAccount>,
    /// Payloads that the broker has acknowledged, or is about to.
    seen: BTreeSet<String>,
    /// When messages expire, by payload: as often as they were published.
    deadlines: BTreeMap<String, Vec<Instant>>,
    /// Payloads that were ever retained, where a queue may be too full for what a subscription is
    /// owed at once: then it gets what is stored later.
    retained: Option<BTreeSet<String>>,
    is_ordered: bool,
    /// Whether messages may wait for a store before they leave.
    has_store: bool,
}

#[derive(Clone, Debug, Default)]
struct Books {
    copies: BTreeMap<Copy, Account>,
    /// The highest number delivered, for each publisher, QoS of the publisher, topic and QoS of
    /// the delivery.
    last: BTreeMap<(String, String, String, QoS), u64>,
    /// What topic aliases stand for in messages from the client, and to it.
    aliases_in: Aliases,
    aliases_out: Aliases,
    /// What its present session has published at QoS 2, by payload.
    taken: BTreeSet<String>,
    /// What the client knows of its session.
    knowledge: Knowledge,
}

/// What a client knows of its session at the broker.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Knowledge {
    /// All there is to know.
    #[default]
    Right,
    /// A new one has begun, and the client has not heard of it yet.
    Behind,
    /// It takes the new session for the old one, as the CONNACK that told them apart was lost: it
    /// repeats what the new one does not know, and takes its messages of QoS 2 for old ones.
    Wrong,
}

/// What the topic aliases of a connection stand for.
#[derive(Clone, Debug, Default)]
struct Aliases {
    link: Option<LinkId>,
    topics: BTreeMap<u16, String>,
}

#[derive(Clone, Debug, Default)]
struct Account {
    /// How many copies the broker may send, at most.
    owed: u64,
    /// How many must have arrived in the end.
    required: u64,
    /// What each of those is required for that came since the broker began.
    reasons: Vec<Reason>,
    /// How many it has sent, not counting what it sent again.
    sent: u64,
    received: u64,
    /// What of that was not at QoS 1, which may arrive as often as it takes.
    sent_singly: u64,
    received_singly: u64,
    /// How many may come again because they were refused, and the broker may not have heard of it.
    refused: u64,
    /// Whether a first publication, and not only the repeat of one, is the reason.
    is_first: bool,
}

#[derive(Clone, Debug)]
struct SharedAccount {
    topic: String,
    qos: QoS,
    retain: bool,
    account: Account,
    /// Which client may get it, and how.
    copies: BTreeSet<(usize, Copy)>,
    /// Who was sent how many copies of it at QoS 1: if the session ends, somebody else may be.
    holders: BTreeMap<usize, u64>,
}

impl Default for SharedAccount {
    fn default() -> Self {
        Self {
            topic: String::new(),
            qos: QoS::AtMostOnce,
            retain: false,
            account: Account::default(),
            copies: BTreeSet::new(),
            holders: BTreeMap::new(),
        }
    }
}

impl Aliases {
    /// Returns the topic of a PUBLISH.
    fn resolve(&mut self, link: LinkId, publish: &Publish<Shared>) -> String {
        if self.link != Some(link) {
            self.link = Some(link);
            self.topics.clear();
        }
        let topic: &str = &publish.topic;
        match publish.properties.topic_alias() {
            Some(alias) if topic.is_empty() => self.topics.get(&alias).cloned().unwrap_or_default(),
            Some(alias) => {
                self.topics.insert(alias, topic.into());
                topic.into()
            }
            None => topic.into(),
        }
    }
}

impl Account {
    /// `required_for` is what one has to arrive for, if it has to.
    fn owe(&mut self, is_first: bool, required_for: Option<Reason>) {
        self.owed += 1;
        self.required += u64::from(required_for.is_some());
        self.reasons.extend(required_for);
        self.is_first |= is_first;
    }

    fn on_sent(&mut self, qos: QoS) -> bool {
        self.sent += 1;
        self.sent_singly += u64::from(qos != QoS::AtLeastOnce);
        self.sent <= self.owed
    }

    fn on_received(&mut self, qos: QoS) -> bool {
        self.received += 1;
        self.received_singly += u64::from(qos != QoS::AtLeastOnce);
        self.received_singly <= self.sent_singly + self.refused
    }

    fn forgive(&mut self) {
        self.required = self.required.min(self.received);
        self.reasons.clear();
    }

    const fn missing(&self) -> u64 {
        self.required.saturating_sub(self.received)
    }
}

impl Accounts {
    pub(super) fn new(clients: usize, is_ordered: bool, is_tight: bool) -> Self {
        Self {
            clients: vec![Books::default(); clients],
            shared: BTreeMap::new(),
            seen: BTreeSet::new(),
            deadlines: BTreeMap::new(),
            retained: is_tight.then(BTreeSet::new),
            is_ordered,
            has_store: false,
        }
    }

    /// Messages may wait for a store before they leave.
    pub(super) const fn expect_store(&mut self) {
        self.has_store = true;
    }

    /// A client publishes; returns whether that is a publication, and whether it is the first of
    /// this payload. A repeat at QoS 2 is none, within a session.
    pub(super) fn on_published(&mut self, index: usize, payload: &str, qos: QoS) -> Option<bool> {
        let is_first = self.seen.insert(payload.into());
        let is_publication =
            qos != QoS::ExactlyOnce || self.clients[index].taken.insert(payload.into());
        is_publication.then_some(is_first)
    }

    /// A client has a new session.
    pub(super) fn on_new_session(&mut self, index: usize) {
        let books = &mut self.clients[index];
        books.taken.clear();
        books.knowledge = Knowledge::Behind;
    }

    /// A client learns whether its session is a new one.
    pub(super) fn on_connack(&mut self, index: usize, session_present: bool) {
        let knowledge = &mut self.clients[index].knowledge;
        *knowledge = match (*knowledge, session_present) {
            (_, false) => Knowledge::Right,
            (Knowledge::Right, true) => Knowledge::Right,
            (Knowledge::Behind | Knowledge::Wrong, true) => Knowledge::Wrong,
        };
    }

    /// Returns whether the broker has seen this payload.
    pub(super) fn has_seen(&self, payload: &str) -> bool {
        self.seen.contains(payload)
    }

    /// A message that was published expires then.
    pub(super) fn note_deadline(&mut self, payload: &str, at: Instant) {
        self.deadlines.entry(payload.into()).or_default().push(at);
    }

    /// A message was retained.
    pub(super) fn note_retained(&mut self, payload: &str) {
        if let Some(retained) = &mut self.retained {
            retained.insert(payload.into());
        }
    }

    /// Returns the topic of a PUBLISH from a client.
    pub(super) fn resolve(&mut self, index: usize, link: LinkId, it: &Publish<Shared>) -> String {
        self.clients[index].aliases_in.resolve(link, it)
    }

    /// A client may get a copy, and must if it is `required_for` something.
    pub(super) fn owe(
        &mut self,
        index: usize,
        copy: Copy,
        is_first: bool,
        required_for: Option<Reason>,
    ) {
        let books = &mut self.clients[index];
        let is_taken = copy.qos != QoS::ExactlyOnce || books.knowledge == Knowledge::Right;
        let account = books.copies.entry(copy).or_default();
        account.owe(is_first, required_for.filter(|_| is_taken));
    }

    /// One member of each shared group is to get a copy.
    pub(super) fn owe_groups(
        &mut self,
        publication: &Publication<'_>,
        groups: &[Vec<(String, Copy)>],
        required_for: Option<Reason>,
    ) {
        for group in groups {
            let is_kept = group.iter().all(|(name, copy)| {
                let books = index_of(name).and_then(|index| self.clients.get(index));
                copy.qos != QoS::AtMostOnce
                    && books.is_some_and(|it| it.knowledge == Knowledge::Right)
            });
            let shared = self.shared.entry(publication.payload.into()).or_default();
            shared.topic = publication.topic.into();
            (shared.qos, shared.retain) = (publication.qos, publication.retain);
            shared.account.owe(false, required_for.filter(|_| is_kept));
            let members = group.iter();
            shared
                .copies
                .extend(members.filter_map(|(name, copy)| Some((index_of(name)?, copy.clone()))));
        }
    }

    /// A client may have become a member of shared groups: the messages of one that is gone may go to
    /// it.
    pub(super) fn on_member(&mut self, index: usize, filter: &str, granted: Granted) {
        for (payload, shared) in &mut self.shared {
            let copy = granted.shared_copy(
                filter,
                &Publication {
                    publisher: "",
                    topic: &shared.topic,
                    payload,
                    qos: shared.qos,
                    retain: shared.retain,
                    expires_at: Instant::NEVER,
                },
            );
            shared.copies.extend(copy.map(|copy| (index, copy)));
        }
    }

    /// The session of a client is over, and with it what it was owed. What shared groups have given to
    /// it goes to somebody else, if `has_heirs` says for a topic that each of them has another member.
    /// Not what it had at QoS 2, for of what has begun nobody knows whether it arrived; and not where
    /// somebody may get it at QoS 0, who keeps nothing, or is sent no packet that large.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.8.2-5, v5 U-32.
    pub(super) fn forgive(
        &mut self,
        index: usize,
        has_heirs: impl Fn(&str) -> bool,
        is_sent: impl Fn(usize, &Copy) -> bool,
    ) {
        for account in self.clients[index].copies.values_mut() {
            account.forgive();
            account.owed = account.sent;
        }
        self.may_hand_on(Some(index));
        for shared in self.shared.values_mut() {
            let mut copies = shared.copies.iter();
            let is_kept = copies.all(|(holder, copy)| match copy.qos {
                QoS::AtMostOnce => false,
                QoS::AtLeastOnce => is_sent(*holder, copy),
                QoS::ExactlyOnce => *holder != index && is_sent(*holder, copy),
            });
            if !(is_kept && has_heirs(&shared.topic)) {
                shared.account.forgive();
            }
        }
    }

    /// What a client was sent as a member of a shared group may go to another member, if its session
    /// is over.
    ///
    /// # Specification
    ///
    /// v5 U-32.
    pub(super) fn may_hand_on(&mut self, index: Option<usize>) {
        let Some(index) = index else { return };
        for shared in self.shared.values_mut() {
            shared.account.owed += shared.holders.remove(&index).unwrap_or(0);
        }
    }

    /// A shared group has changed: who has what for its members is not known.
    pub(super) fn forgive_groups(&mut self) {
        for shared in self.shared.values_mut() {
            shared.account.forgive();
        }
    }

    /// A client has refused a message of QoS 2.
    pub(super) fn on_refused(&mut self, index: usize, delivery: Delivery) {
        let copy = copy_of(delivery);
        if let Some(account) = self.account(index, &copy) {
            account.refused += 1;
        }
    }

    fn account(&mut self, index: usize, copy: &Copy) -> Option<&mut Account> {
        if copy.topic.starts_with(SHARED_TOPICS) {
            let shared = self.shared.get_mut(&copy.payload)?;
            let is_member = shared.copies.contains(&(index, copy.clone()));
            return is_member.then_some(&mut shared.account);
        }
        self.clients[index].copies.get_mut(copy)
    }

    /// The broker has sent a message to a client.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.3.2-5, v5 MQTT-3.3.2-6, v5 MQTT-3.3.2-7, v5 MQTT-3.3.4-3, v5 MQTT-3.3.4-4.
    pub(super) fn on_sent(
        &mut self,
        index: usize,
        link: LinkId,
        publish: &Publish<Shared>,
        is_first: bool,
        (now, has_properties): (Instant, bool),
    ) -> Result<(), String> {
        let topic = self.clients[index].aliases_out.resolve(link, publish);
        if !is_first {
            return Ok(());
        }
        let mut subscription_ids: Vec<u32> =
            publish.properties.subscription_identifiers().collect();
        subscription_ids.sort_unstable();
        let copy = Copy {
            topic,
            payload: String::from_utf8_lossy(&publish.payload).into(),
            qos: publish.qos(),
            retain: publish.retain,
            subscription_ids,
        };
        if copy.retain
            && self
                .retained
                .as_ref()
                .is_some_and(|it| it.contains(&copy.payload))
        {
            self.owe(index, copy.clone(), false, None);
        }
        let interval = publish.properties.message_expiry_interval();
        // It was in flight in time, and its connection ended before that was stored.
        if !(publish.delivery.dup() && self.has_store) {
            self.check_expiry(&copy, interval, now, has_properties)?;
        }
        let Some(account) = self.account(index, &copy) else {
            return Err(format!(
                "client {index} is sent what it is not owed: {copy:?}"
            ));
        };
        if account.on_sent(copy.qos) {
            self.note_holder(index, &copy);
            return Ok(());
        }
        let account = account.clone();
        Err(format!(
            "client {index} is sent too often {copy:?}: {account:?}"
        ))
    }

    fn note_holder(&mut self, index: usize, copy: &Copy) {
        if copy.qos == QoS::AtLeastOnce
            && copy.topic.starts_with(SHARED_TOPICS)
            && let Some(shared) = self.shared.get_mut(&copy.payload)
        {
            *shared.holders.entry(index).or_default() += 1;
        }
    }

    /// What is sent has not expired, and says how long it still lasts.
    fn check_expiry(
        &self,
        copy: &Copy,
        interval: Option<u32>,
        now: Instant,
        has_properties: bool,
    ) -> Result<(), String> {
        let deadlines = self.deadlines.get(&copy.payload);
        let seconds_left = |at: &Instant| (*at - now).as_micros().div_ceil(1_000_000);
        let is_fine = match (deadlines, interval) {
            (None, interval) => interval.is_none(),
            (Some(deadlines), Some(interval)) => deadlines
                .iter()
                .any(|at| *at > now && seconds_left(at) == u128::from(interval)),
            (Some(deadlines), None) => !has_properties && deadlines.iter().any(|at| *at > now),
        };
        if is_fine {
            return Ok(());
        }
        Err(format!(
            "{copy:?} is sent with Message Expiry Interval {interval:?}, and expires {deadlines:?}"
        ))
    }

    /// A client has got a copy.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.3.1-1, v5 MQTT-4.3.3-10, v5 MQTT-4.6.0-6, v5 MQTT-3.3.4-2; v3.1.1 MQTT-4.6.0-6.
    pub(super) fn on_delivered(&mut self, index: usize, delivery: Delivery) -> Result<(), String> {
        let copy = copy_of(delivery);
        let Some(account) = self.account(index, &copy) else {
            return Err(format!("client {index} got what it was not owed: {copy:?}"));
        };
        let is_fine = account.on_received(copy.qos);
        let account = account.clone();
        if !is_fine {
            return Err(format!(
                "client {index} got too often {copy:?}: {account:?}"
            ));
        }
        self.check_order(index, &copy, &account)
    }

    fn check_order(&mut self, index: usize, copy: &Copy, account: &Account) -> Result<(), String> {
        // Of what was published twice, as a repeat at QoS 1 is, nobody can say which copy this is.
        let is_repeat = account.owed > 1 || account.received > 1 || !account.is_first;
        if copy.retain || is_repeat {
            return Ok(());
        }
        let mut parts = copy.payload.split(':').map(str::to_owned);
        let (Some(publisher), Some(number), Some(qos)) = (parts.next(), parts.next(), parts.next())
        else {
            return Ok(());
        };
        let number: u64 = number.parse().unwrap_or_default();
        let stream = (publisher, qos, copy.topic.clone(), copy.qos);
        let last = self.clients[index].last.entry(stream).or_default();
        if number < *last && self.is_ordered {
            return Err(format!("client {index} got {copy:?} after number {last}"));
        }
        *last = number;
        Ok(())
    }

    /// Everybody is here, nothing is under way: nobody is owed anything above QoS 0, apart from
    /// what `dropped` says that full queues have cost a client at QoS 1 and 2.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.3.2-1, v5 MQTT-4.3.3-1, v5 MQTT-4.4.0-1, v5 MQTT-4.5.0-1; v3.1.1 MQTT-4.4.0-1,
    /// v3.1.1 MQTT-4.5.0-1.
    pub(super) fn check_complete(
        &self,
        now: Instant,
        dropped: impl Fn(usize) -> u64,
    ) -> Result<(), String> {
        let lasts = |payload: &String| {
            let deadlines = self.deadlines.get(payload);
            deadlines.is_none_or(|deadlines| deadlines.iter().all(|at| *at > now))
        };
        let mut dropped_of_all = 0;
        for (index, books) in self.clients.iter().enumerate() {
            let kept = books.copies.iter();
            let kept = kept.filter(|(copy, _)| copy.qos != QoS::AtMostOnce && lasts(&copy.payload));
            let missing: Vec<_> = kept.filter(|(_, it)| it.missing() > 0).collect();
            let count: u64 = missing.iter().map(|(_, account)| account.missing()).sum();
            let dropped = dropped(index);
            dropped_of_all += dropped;
            if count > dropped {
                return Err(format!("client {index} never got {missing:?}"));
            }
        }
        let missing = self
            .shared
            .iter()
            .filter(|(payload, it)| it.account.missing() > 0 && lasts(payload));
        let missing: Vec<_> = missing.collect();
        let count: u64 = missing.iter().map(|(_, it)| it.account.missing()).sum();
        if count > dropped_of_all {
            return Err(format!("no member of a group ever got {missing:?}"));
        }
        Ok(())
    }
}

fn copy_of(delivery: Delivery) -> Copy {
    Copy {
        topic: delivery.topic,
        payload: delivery.payload,
        qos: delivery.qos,
        retain: delivery.retain,
        subscription_ids: delivery.subscription_ids,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(payload: &str, qos: QoS) -> Copy {
        Copy {
            topic: "t".into(),
            payload: payload.into(),
            qos,
            retain: false,
            subscription_ids: Vec::new(),
        }
    }

    fn deliver(accounts: &mut Accounts, payload: &str, qos: QoS) -> Result<(), String> {
        let delivery = Delivery {
            topic: "t".into(),
            payload: payload.into(),
            qos,
            retain: false,
            subscription_ids: Vec::new(),
        };
        accounts.on_delivered(0, delivery)
    }

    #[test]
    fn what_a_client_gets_has_to_be_what_it_is_owed() {
        use QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
        // What is owed and sent, what is delivered, whether the last delivery is fine, and the end.
        type Case = (
            &'static str,
            QoS,
            &'static [&'static str],
            &'static [&'static str],
            bool,
            bool,
        );
        let cases: [Case; 10] = [
            (
                "all in order",
                ExactlyOnce,
                &["0:1:2", "0:2:2"],
                &["0:1:2", "0:2:2"],
                true,
                true,
            ),
            ("nothing owed", AtMostOnce, &[], &["0:1:0"], false, true),
            (
                "QoS 2 twice",
                ExactlyOnce,
                &["0:1:2"],
                &["0:1:2", "0:1:2"],
                false,
                true,
            ),
            (
                "QoS 1 twice",
                AtLeastOnce,
                &["0:1:1"],
                &["0:1:1", "0:1:1"],
                true,
                true,
            ),
            (
                "QoS 0 twice",
                AtMostOnce,
                &["0:1:0"],
                &["0:1:0", "0:1:0"],
                false,
                true,
            ),
            (
                "QoS 0 lost",
                AtMostOnce,
                &["0:1:0", "0:2:0"],
                &["0:2:0"],
                true,
                true,
            ),
            (
                "QoS 1 lost",
                AtLeastOnce,
                &["0:1:1", "0:2:1"],
                &["0:2:1"],
                true,
                false,
            ),
            (
                "QoS 2 lost",
                ExactlyOnce,
                &["0:1:2", "0:2:2"],
                &["0:1:2"],
                true,
                false,
            ),
            (
                "overtaken",
                AtLeastOnce,
                &["0:1:1", "0:2:1"],
                &["0:2:1", "0:1:1"],
                false,
                true,
            ),
            (
                "other publishers",
                AtLeastOnce,
                &["0:1:1", "1:2:1"],
                &["1:2:1", "0:1:1"],
                true,
                true,
            ),
        ];
        for (name, qos, owed, delivered, is_fine, is_complete) in cases {
            let mut accounts = Accounts::new(1, true, false);
            for payload in owed {
                accounts.owe(0, copy(payload, qos), true, Some(Reason::default()));
                let copy = copy(payload, qos);
                assert!(accounts.account(0, &copy).is_some_and(|it| it.on_sent(qos)));
            }
            let results: Vec<_> = delivered
                .iter()
                .map(|payload| deliver(&mut accounts, payload, qos))
                .collect();
            let last = results.last().expect("something is delivered");
            assert_eq!(last.is_ok(), is_fine, "{name}");
            assert_eq!(
                accounts.check_complete(Instant::EPOCH, |_| 0).is_ok(),
                is_complete,
                "{name}"
            );
        }
    }

    #[test]
    fn a_full_queue_excuses_as_many_as_it_has_dropped() {
        let mut accounts = Accounts::new(1, true, false);
        accounts.owe(
            0,
            copy("0:1:1", QoS::AtLeastOnce),
            true,
            Some(Reason::default()),
        );
        accounts.owe(
            0,
            copy("0:2:1", QoS::AtLeastOnce),
            true,
            Some(Reason::default()),
        );
        assert!(accounts.check_complete(Instant::EPOCH, |_| 1).is_err());
        assert!(accounts.check_complete(Instant::EPOCH, |_| 2).is_ok());
    }

    #[test]
    fn what_has_expired_may_not_be_sent() {
        // v5 MQTT-3.3.2-5, v5 MQTT-3.3.2-6
        let mut accounts = Accounts::new(1, true, false);
        let at = Instant::from_micros;
        accounts.note_deadline("0:1:1", at(2_000_000));
        let copy = copy("0:1:1", QoS::AtLeastOnce);
        for (now, interval, is_fine) in [
            (0, Some(2), true),
            (1, Some(2), true),
            (1_000_000, Some(1), true),
            (1_000_000, Some(2), false),
            (1_000_000, None, false),
            (2_000_000, Some(0), false),
        ] {
            let checked = accounts.check_expiry(&copy, interval, at(now), true);
            assert_eq!(checked.is_ok(), is_fine, "{now} {interval:?}");
        }
        accounts.expect_store();
        for (now, is_fine) in [(0, true), (2_000_000, false)] {
            let checked = accounts.check_expiry(&copy, None, at(now), false);
            assert_eq!(checked.is_ok(), is_fine, "3.x cannot say it, at {now}");
        }
        let checked = accounts.check_expiry(&copy, Some(0), at(2_000_000), true);
        assert!(checked.is_err(), "waiting for a store is no excuse");
    }
}
