//! What the books are worth once the broker has begun anew: what is in its store, and no less than
//! it has promised.

use std::collections::BTreeMap;

use mqttstack_codec::QoS;
use mqttstack_limits::Instant;

use super::{Account, Accounts, SHARED_TOPICS};
use crate::{Contents, Copy, world::promises::Reason};

/// How many copies of one kind a session holds.
#[derive(Clone, Copy, Debug, Default)]
struct Left {
    /// Those that have no identifier yet.
    waiting: u64,
    /// Those that wait for an answer.
    in_flight: u64,
    /// Of those in flight, which were never sent.
    unsent: u64,
}

impl Account {
    /// Goes on with what is left. Returns what is wrong if a promise was broken.
    fn on_crash(
        &mut self,
        qos: QoS,
        left: Left,
        is_kept: impl Fn(Reason) -> bool,
    ) -> Option<&'static str> {
        let here = self.received + left.waiting + left.in_flight;
        let reasons = self.reasons.drain(..);
        let doubtful = reasons.filter(|it| !is_kept(*it)).count();
        let doubtful = u64::try_from(doubtful).unwrap_or(u64::MAX);
        let certain = self.required.saturating_sub(doubtful);
        let to_send = left.waiting + left.unsent;
        // A message of QoS 1 may go out once more, under whatever identifier.
        let is_doubled = qos == QoS::ExactlyOnce
            && self.sent > 0
            && self.sent + to_send > self.owed + self.refused;
        self.owed = self.sent + to_send;
        if self.required > 0 {
            self.required = certain.min(here).max(self.received + to_send);
        }
        // What comes now is the repeat of what was lost.
        self.is_first &= here > 0;
        if certain > here {
            return Some("is lost");
        }
        is_doubled.then_some("is to be sent twice")
    }
}

impl Accounts {
    /// The broker begins anew with this in the session of a client. `is_strict` is whether it has to
    /// be what was promised.
    ///
    /// # Errors
    ///
    /// It is not.
    pub(in crate::world) fn on_session_recovered(
        &mut self,
        index: usize,
        contents: &Contents,
        now: Instant,
        is_strict: bool,
        is_kept: impl Fn(Reason) -> bool,
    ) -> Result<(), String> {
        let mut left = copies_in(contents);
        left.retain(|copy, _| !copy.topic.starts_with(SHARED_TOPICS));
        let deadlines = &self.deadlines;
        let lasts = |payload: &String| {
            let deadlines = deadlines.get(payload);
            deadlines.is_none_or(|deadlines| deadlines.iter().all(|at| *at > now))
        };
        let books = &mut self.clients[index];
        for copy in left.keys() {
            if !books.copies.contains_key(copy) {
                if is_strict {
                    return Err(format!("a crash leaves client {index} with {copy:?}"));
                }
                books.copies.insert(copy.clone(), Account::default());
            }
        }
        for (copy, account) in &mut books.copies {
            let left = left.remove(copy).unwrap_or_default();
            let before = account.clone();
            let broken = account.on_crash(copy.qos, left, &is_kept);
            let counts = is_strict && copy.qos != QoS::AtMostOnce && lasts(&copy.payload);
            if let Some(what) = broken.filter(|_| counts) {
                return Err(format!(
                    "a crash: what client {index} is owed {what}: {copy:?}, {before:?}, {left:?}"
                ));
            }
        }
        Ok(())
    }

    /// The broker begins anew with these sessions, by number of the client. `is_kept` is asked of each
    /// member of a group whether it was promised while that member was certain to be one.
    ///
    /// # Errors
    ///
    /// What was promised to a group whose members are all there is not.
    pub(in crate::world) fn on_groups_recovered(
        &mut self,
        sessions: &BTreeMap<usize, &Contents>,
        now: Instant,
        is_strict: bool,
        is_kept: impl Fn(usize, Reason) -> bool,
    ) -> Result<(), String> {
        let mut left: BTreeMap<String, Left> = BTreeMap::new();
        // What a member has in flight goes to another one if its session ends.
        for shared in self.shared.values_mut() {
            shared.holders.clear();
        }
        for (index, contents) in sessions {
            for (copy, of_one) in copies_in(contents) {
                if copy.topic.starts_with(SHARED_TOPICS) {
                    if let Some(shared) = self.shared.get_mut(&copy.payload) {
                        let sent = of_one.in_flight - of_one.unsent;
                        *shared.holders.entry(*index).or_default() += sent;
                    }
                    let of_all = left.entry(copy.payload).or_default();
                    of_all.waiting += of_one.waiting;
                    of_all.in_flight += of_one.in_flight;
                    of_all.unsent += of_one.unsent;
                }
            }
        }
        for (payload, shared) in &mut self.shared {
            let left = left.remove(payload).unwrap_or_default();
            let before = shared.account.clone();
            let copies = &shared.copies;
            let is_kept = |reason| copies.iter().all(|(index, _)| is_kept(*index, reason));
            let broken = (shared.account).on_crash(QoS::AtLeastOnce, left, is_kept);
            let mut members = shared.copies.iter();
            let counts = members
                .all(|(index, copy)| copy.qos != QoS::AtMostOnce && sessions.contains_key(index));
            let deadlines = self.deadlines.get(payload);
            let lasts = deadlines.is_none_or(|deadlines| deadlines.iter().all(|at| *at > now));
            if let Some(what) = broken.filter(|_| is_strict && counts && lasts) {
                return Err(format!(
                    "a crash: what a group is owed {what}: {payload:?}, {before:?}, {left:?}"
                ));
            }
        }
        Ok(())
    }

    /// Returns whether the present session of a client has published this at QoS 2.
    pub(in crate::world) fn has_taken(&self, index: usize, payload: &str) -> bool {
        self.clients[index].taken.contains(payload)
    }

    /// The broker begins anew: of these messages of QoS 2 a client does not know whether they have
    /// arrived, and they are accepted or not.
    pub(in crate::world) fn on_taken_recovered(
        &mut self,
        index: usize,
        unanswered: &BTreeMap<String, bool>,
    ) {
        let taken = &mut self.clients[index].taken;
        for (payload, is_accepted) in unanswered {
            if *is_accepted {
                taken.insert(payload.clone());
            } else {
                taken.remove(payload);
            }
        }
    }
}

/// Counts the copies in a session.
fn copies_in(contents: &Contents) -> BTreeMap<Copy, Left> {
    let mut left: BTreeMap<Copy, Left> = BTreeMap::new();
    for copy in &contents.waiting {
        left.entry(copy.clone()).or_default().waiting += 1;
    }
    for (packet_id, copy) in &contents.in_flight {
        let left = left.entry(copy.clone()).or_default();
        left.in_flight += 1;
        left.unsent += u64::from(contents.unsent.contains(packet_id));
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_promised_has_to_be_left_and_nothing_may_come_twice() {
        use QoS::{AtLeastOnce, ExactlyOnce};
        // QoS, sent, received, waiting, in flight, whether it was acknowledged, what is wrong.
        for (qos, sent, received, waiting, in_flight, is_kept, expected) in [
            (AtLeastOnce, 0, 0, 1, 0, true, None),
            (AtLeastOnce, 0, 0, 0, 0, false, None),
            (AtLeastOnce, 0, 0, 0, 0, true, Some("is lost")),
            (AtLeastOnce, 1, 1, 0, 0, true, None),
            (AtLeastOnce, 1, 1, 1, 0, true, None),
            (ExactlyOnce, 1, 0, 0, 1, true, None),
            (ExactlyOnce, 1, 1, 1, 0, true, Some("is to be sent twice")),
            (ExactlyOnce, 1, 0, 0, 0, true, Some("is lost")),
        ] {
            let mut account = Account::default();
            account.owe(true, Some(Reason::default()));
            for _ in 0..sent {
                assert!(account.on_sent(qos));
            }
            for _ in 0..received {
                assert!(account.on_received(qos));
            }
            let left = Left {
                waiting,
                in_flight,
                unsent: 0,
            };
            assert_eq!(account.on_crash(qos, left, |_| is_kept), expected);
            assert!(account.missing() <= waiting + in_flight);
        }
    }
}
