//! Sessions that move between workers: what is under way meanwhile arrives, and in its order.
//!
//! Letters between two workers keep their order, letters of different workers do not. Before the
//! move of a session from worker O to worker N, another worker P sent its messages to O; afterwards
//! it sends them to N. O passes on what still comes, but that may arrive later than what P sends to
//! N by now. So the old owner asks every worker for a [`Passed`](super::WorkerMessage::Passed): it
//! comes to O behind the last message that P sent there, O sends it on to N behind the messages
//! themselves, and until it arrives N holds what comes from P directly.
//!
//! The same round says that all that O sent before has been handled by everybody. Until then nothing
//! is read from the client at N, so that no message which it publishes there overtakes one that it
//! published at O.

use std::collections::{BTreeMap, VecDeque};

use mqttstack_session::Message;

use super::{
    keys::{ConnectionId, SessionKey, WorkerId},
    message::{TakeOver, Target},
};

/// How many messages are held for a session until it has arrived; further ones are lost. The
/// time is that of a few letters.
const HELD_MESSAGES_MAX: usize = 100_000;
/// How many bytes they may have: topics, properties, payloads, and how each is delivered.
const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The moves that a worker takes part in, and that are not over.
#[derive(Debug, Default)]
pub(super) struct Moves {
    departures: BTreeMap<SessionKey, Departure>,
    arrivals: BTreeMap<SessionKey, Arrival>,
    /// Which connection of this worker waits for a session of another one.
    wanted: BTreeMap<SessionKey, ConnectionId>,
}

/// A session that went to another worker a moment ago.
#[derive(Clone, Copy, Debug)]
struct Departure {
    to: WorkerId,
    /// How many workers have not said that they know.
    missing: usize,
}

/// A session that comes from another worker.
#[derive(Debug, Default)]
struct Arrival {
    /// Who has something under way by way of the old place; `None` is everybody, as long as the
    /// session itself is not here.
    awaited: Option<Vec<WorkerId>>,
    held: VecDeque<(WorkerId, Message, Target)>,
    held_bytes: usize,
    /// How many messages there was no room for.
    lost: u64,
    /// Who wants the session next.
    next: Vec<TakeOver>,
    /// The connection for which it came.
    connection: Option<ConnectionId>,
}

/// What is to be done once everything from a worker has arrived.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    /// What was held, in its order.
    pub(super) held: Vec<(Message, Target)>,
    /// The rest, if that was the last worker.
    pub(super) complete: Option<Complete>,
}

/// What was waiting for the end of a move.
#[derive(Debug)]
pub(super) struct Complete {
    pub(super) connection: Option<ConnectionId>,
    pub(super) next: Vec<TakeOver>,
    /// How many messages there was no room for meanwhile.
    pub(super) lost: u64,
}

impl Moves {
    /// A session, or at least its client, goes to another worker.
    pub(super) fn depart(&mut self, key: SessionKey, to: WorkerId, others: usize) {
        if others > 0 {
            let departure = Departure {
                to,
                missing: others,
            };
            self.departures.insert(key, departure);
        }
    }

    /// Returns where a session went, if letters for it may still come.
    pub(super) fn destination(&self, key: SessionKey) -> Option<WorkerId> {
        self.departures.get(&key).map(|departure| departure.to)
    }

    /// A worker has nothing more under way to the old place; returns where to pass that on, if this
    /// is the old place.
    pub(super) fn pass(&mut self, key: SessionKey) -> Option<WorkerId> {
        let departure = self.departures.get_mut(&key)?;
        let to = departure.to;
        departure.missing = departure.missing.saturating_sub(1);
        if departure.missing == 0 {
            self.departures.remove(&key);
        }
        Some(to)
    }

    /// A session has come: `awaited` have something under way to its old place.
    pub(super) fn arrive(
        &mut self,
        key: SessionKey,
        connection: ConnectionId,
        awaited: Vec<WorkerId>,
    ) {
        let arrival = self.arrivals.entry(key).or_default();
        arrival.awaited = Some(awaited);
        arrival.connection = Some(connection);
    }

    /// Returns whether a message for a session, straight from `from`, has to wait.
    pub(super) fn awaits(&self, key: SessionKey, from: WorkerId) -> bool {
        match self.arrivals.get(&key).map(|arrival| &arrival.awaited) {
            Some(Some(awaited)) => awaited.contains(&from),
            Some(None) => true,
            None => false,
        }
    }

    /// Returns whether something is still under way to a session.
    pub(super) fn is_arriving(&self, key: SessionKey) -> bool {
        self.arrivals.contains_key(&key)
    }

    /// Holds a message for a session that is not here, or not all of it; returns whether there
    /// was room.
    pub(super) fn hold(&mut self, from: WorkerId, message: Message, target: Target) -> bool {
        let arrival = self.arrivals.entry(target.session).or_default();
        let bytes = arrival
            .held_bytes
            .saturating_add(held_bytes(&message, &target));
        if arrival.held.len() >= HELD_MESSAGES_MAX || bytes > HELD_BYTES_MAX {
            arrival.lost = arrival.lost.saturating_add(1);
            return false;
        }
        arrival.held_bytes = bytes;
        arrival.held.push_back((from, message, target));
        true
    }

    /// Everything that a worker sent to the old place of a session has arrived.
    pub(super) fn note_arrived(&mut self, key: SessionKey, from: WorkerId) -> Arrived {
        let Some(arrival) = self.arrivals.get_mut(&key) else {
            return Arrived::default();
        };
        let Some(awaited) = &mut arrival.awaited else {
            return Arrived::default();
        };
        awaited.retain(|worker| *worker != from);
        let is_complete = awaited.is_empty();
        let held = arrival.take_held(|worker| is_complete || worker == from);
        let complete = is_complete.then(|| self.arrivals.remove(&key)).flatten();
        Arrived {
            held,
            complete: complete.map(|arrival| Complete {
                connection: arrival.connection,
                next: arrival.next,
                lost: arrival.lost,
            }),
        }
    }

    /// Somebody wants a session that has not wholly arrived: it has to wait. Whoever waits at the same
    /// worker has given up.
    pub(super) fn queue(&mut self, request: TakeOver) {
        let arrival = self.arrivals.entry(request.session).or_default();
        arrival.next.retain(|other| other.from != request.from);
        arrival.next.push(request);
    }

    /// Takes the request of a worker's own connection for a session that has come.
    pub(super) fn take_own_request(&mut self, key: SessionKey, own: WorkerId) -> Option<TakeOver> {
        let next = &mut self.arrivals.get_mut(&key)?.next;
        let at = next.iter().position(|request| request.from == own)?;
        Some(next.remove(at))
    }

    /// A connection waits for the session of another worker; returns the one that waited before.
    pub(super) fn want(&mut self, key: SessionKey, id: ConnectionId) -> Option<ConnectionId> {
        self.wanted.insert(key, id)
    }

    /// A request of a connection has been answered.
    pub(super) fn note_answered(&mut self, key: SessionKey, id: ConnectionId) {
        if self.wanted.get(&key) == Some(&id) {
            self.wanted.remove(&key);
        }
    }
}

impl Arrival {
    fn take_held(&mut self, is_meant: impl Fn(WorkerId) -> bool) -> Vec<(Message, Target)> {
        let mut taken = Vec::new();
        for (from, message, target) in std::mem::take(&mut self.held) {
            if is_meant(from) {
                let bytes = held_bytes(&message, &target);
                self.held_bytes = self.held_bytes.saturating_sub(bytes);
                taken.push((message, target));
            } else {
                self.held.push_back((from, message, target));
            }
        }
        taken
    }
}

fn held_bytes(message: &Message, target: &Target) -> usize {
    message.size().saturating_add(target.size())
}

#[cfg(test)]
mod tests {
    use mqttstack_codec::QoS;
    use mqttstack_session::SubscriptionIds;

    use super::*;

    const KEY: SessionKey = SessionKey::new(7, 1);

    fn worker(index: u8) -> WorkerId {
        WorkerId::new(index)
    }

    fn connection() -> ConnectionId {
        ConnectionId {
            slot: 0,
            generation: 1,
        }
    }

    fn hold(moves: &mut Moves, from: u8, payload: &str) -> bool {
        let target = Target {
            session: KEY,
            qos: QoS::AtMostOnce,
            retain: false,
            subscription_ids: SubscriptionIds::None,
            group: None,
            lasts: false,
            held_as: None,
            handed_on: 0,
        };
        let message = Message::builder("t", payload.to_owned()).build();
        moves.hold(worker(from), message.expect("valid"), target)
    }

    fn payloads(arrived: &Arrived) -> Vec<&[u8]> {
        let held = arrived.held.iter();
        held.map(|(message, _)| message.payload()).collect()
    }

    #[test]
    fn messages_wait_for_what_their_worker_sent_before_and_for_nobody_else() {
        let mut moves = Moves::default();
        for (from, payload) in [(1, "a"), (2, "b"), (1, "c")] {
            assert!(hold(&mut moves, from, payload));
        }
        moves.arrive(KEY, connection(), vec![worker(1), worker(2)]);
        assert!(moves.awaits(KEY, worker(1)) && !moves.awaits(KEY, worker(0)));
        let arrived = moves.note_arrived(KEY, worker(1));
        assert_eq!(payloads(&arrived), [b"a", b"c"]);
        assert!(arrived.complete.is_none() && !moves.awaits(KEY, worker(1)));
        let arrived = moves.note_arrived(KEY, worker(2));
        assert_eq!(payloads(&arrived), [b"b"]);
        let complete = arrived.complete.expect("that was all");
        assert_eq!(complete.connection, Some(connection()));
        assert!(!moves.is_arriving(KEY));
    }

    #[test]
    fn the_old_place_is_forgotten_when_everybody_has_answered() {
        let mut moves = Moves::default();
        moves.depart(KEY, worker(2), 2);
        assert_eq!(moves.destination(KEY), Some(worker(2)));
        assert_eq!(moves.pass(KEY), Some(worker(2)));
        assert_eq!(moves.pass(KEY), Some(worker(2)));
        assert_eq!(moves.destination(KEY), None);
        assert_eq!(moves.pass(KEY), None);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut moves = Moves::default();
        let payload = "x".repeat(HELD_BYTES_MAX / 4);
        for _ in 0..3 {
            assert!(hold(&mut moves, 1, &payload));
        }
        assert!(!hold(&mut moves, 1, &payload));
        assert!(hold(&mut moves, 1, "small"));
        moves.arrive(KEY, connection(), vec![worker(1)]);
        let complete = moves.note_arrived(KEY, worker(1)).complete;
        assert_eq!(complete.map(|it| it.lost), Some(1));
        let mut moves = Moves::default();
        assert!((0..HELD_MESSAGES_MAX).all(|_| hold(&mut moves, 1, "")));
        assert!(!hold(&mut moves, 1, ""));
    }
}
