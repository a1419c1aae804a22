//! The mail between workers: bounded, so that a worker that falls behind slows down those who write
//! to it instead of growing.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
};

use mqttstack_transport::Waker;

use crate::core::{WorkerId, WorkerMessage};

/// How many letters wait for one worker. Further ones wait with their sender, which reads nothing
/// more from its clients until they are gone.
const INBOX_LETTERS_MAX: usize = 1_024;
/// How many deliveries are read in a turn, about, so that clients have their turn, however much other
/// workers write: the last letter of a turn is read to its end.
const TURN_DELIVERIES_MAX: usize = 4_096;
/// How many bytes they may have before further ones wait in the same way. Each colleague may put one
/// more there, of any size.
const INBOX_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How to reach a worker.
#[derive(Clone)]
pub(super) struct Colleague {
    inbox: SyncSender<WorkerMessage>,
    /// What is in it.
    bytes: Arc<AtomicUsize>,
    waker: Waker,
}

/// Where the letters for a worker arrive.
pub(super) struct Inbox {
    letters: Receiver<WorkerMessage>,
    bytes: Arc<AtomicUsize>,
}

/// A worker's inbox, and its way to the others.
pub(super) struct Mail {
    inbox: Inbox,
    outgoing: Vec<Outgoing>,
    /// How many deliveries of the inbox may still be taken in this turn.
    budget: usize,
}

/// What goes to one worker.
struct Outgoing {
    peer: Colleague,
    /// What its inbox had no room for.
    backlog: VecDeque<WorkerMessage>,
    /// Whether something was put into its inbox since it was last woken.
    has_mail: bool,
}

/// Opens an inbox: the way to reach it, and what arrives.
pub(super) fn inbox(waker: Waker) -> (Colleague, Inbox) {
    let (sender, letters) = sync_channel(INBOX_LETTERS_MAX);
    let bytes = Arc::new(AtomicUsize::new(0));
    let peer = Colleague {
        inbox: sender,
        bytes: Arc::clone(&bytes),
        waker,
    };
    (peer, Inbox { letters, bytes })
}

impl Mail {
    /// Connects an inbox with all workers, by number.
    pub(super) fn new(inbox: Inbox, peers: &[Colleague]) -> Self {
        let outgoing = |peer: &Colleague| Outgoing {
            peer: peer.clone(),
            backlog: VecDeque::new(),
            has_mail: false,
        };
        Self {
            inbox,
            outgoing: peers.iter().map(outgoing).collect(),
            budget: 0,
        }
    }

    /// Begins a turn.
    pub(super) fn begin_turn(&mut self) {
        self.budget = TURN_DELIVERIES_MAX;
    }

    /// Takes the next message of this turn.
    pub(super) fn receive(&mut self) -> Option<WorkerMessage> {
        if self.budget == 0 {
            return None;
        }
        let message = self.inbox.letters.try_recv().ok()?;
        self.budget = self.budget.saturating_sub(message.deliveries().max(1));
        let size = message.size();
        self.inbox.bytes.fetch_sub(size, Ordering::Relaxed);
        Some(message)
    }

    /// Returns whether the last turn has left messages behind.
    pub(super) const fn has_more(&self) -> bool {
        self.budget == 0
    }

    /// Sends a message, behind those that still wait for the same worker.
    pub(super) fn send(&mut self, worker: WorkerId, message: WorkerMessage) {
        if let Some(outgoing) = self.outgoing.get_mut(usize::from(worker.index())) {
            outgoing.backlog.push_back(message);
        }
    }

    /// Delivers what there is room for, and wakes each worker that got something once.
    pub(super) fn deliver(&mut self) {
        for outgoing in &mut self.outgoing {
            outgoing.fill_inbox();
            if std::mem::take(&mut outgoing.has_mail) {
                // A worker that cannot be woken is gone because the broker stops.
                let _ = outgoing.peer.waker.wake();
            }
        }
    }

    /// Returns whether some worker has no room: then nothing is read that could lead to more.
    pub(super) fn is_congested(&self) -> bool {
        self.outgoing
            .iter()
            .any(|outgoing| !outgoing.backlog.is_empty())
    }
}

impl Colleague {
    fn try_send(&self, message: WorkerMessage) -> Result<(), TrySendError<WorkerMessage>> {
        if self.bytes.load(Ordering::Relaxed) >= INBOX_BYTES_MAX {
            return Err(TrySendError::Full(message));
        }
        // Before it is there: it must not be taken off before it was added.
        let size = message.size();
        self.bytes.fetch_add(size, Ordering::Relaxed);
        let sent = self.inbox.try_send(message);
        if sent.is_err() {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
        }
        sent
    }
}

impl Outgoing {
    fn fill_inbox(&mut self) {
        while let Some(message) = self.backlog.pop_front() {
            match self.peer.try_send(message) {
                Ok(()) => self.has_mail = true,
                Err(TrySendError::Full(message)) => {
                    self.backlog.push_front(message);
                    // It may sleep over a full inbox whose wake-up was spent on an earlier turn.
                    self.has_mail = true;
                    return;
                }
                Err(TrySendError::Disconnected(_)) => {
                    self.backlog.clear();
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mqttstack_session::Message;
    use mqttstack_transport::Poller;

    use super::*;
    use crate::core::Letter;

    fn message(payload: impl Into<bytes::Bytes>) -> WorkerMessage {
        letter(payload, 1)
    }

    fn letter(payload: impl Into<bytes::Bytes>, deliveries: usize) -> WorkerMessage {
        let message = Message::builder("a", payload).build().expect("valid");
        WorkerMessage::Deliver(Letter::for_nobody(message, deliveries))
    }

    #[test]
    fn what_an_inbox_has_no_room_for_waits_with_its_sender() {
        let poller = Poller::new().expect("a poller");
        let (peer, receiver) = inbox(poller.waker());
        let mut mail = Mail::new(receiver, &[peer]);
        let to = WorkerId::new(0);
        for _ in 0..=INBOX_LETTERS_MAX {
            mail.send(to, message("x"));
        }
        mail.deliver();
        assert!(mail.is_congested());
        mail.begin_turn();
        let mut received = 0;
        while mail.receive().is_some() {
            received += 1;
        }
        assert_eq!(received, INBOX_LETTERS_MAX);
        mail.deliver();
        assert!(!mail.is_congested());
        mail.begin_turn();
        assert!(mail.receive().is_some());
        assert!(mail.receive().is_none());
        assert!(!mail.has_more());
    }

    #[test]
    fn a_turn_ends_after_so_many_deliveries_and_not_within_a_letter() {
        let poller = Poller::new().expect("a poller");
        let (peer, receiver) = inbox(poller.waker());
        let mut mail = Mail::new(receiver, &[peer]);
        for deliveries in [TURN_DELIVERIES_MAX - 1, TURN_DELIVERIES_MAX, 1, 0] {
            mail.send(WorkerId::new(0), letter("x", deliveries));
        }
        mail.deliver();
        mail.begin_turn();
        assert!((0..2).all(|_| mail.receive().is_some()));
        assert!(mail.receive().is_none());
        assert!(mail.has_more());
        mail.begin_turn();
        assert!((0..2).all(|_| mail.receive().is_some()));
        assert!(mail.receive().is_none());
        assert!(!mail.has_more());
    }

    #[test]
    fn few_large_letters_fill_an_inbox_as_well() {
        let poller = Poller::new().expect("a poller");
        let (peer, receiver) = inbox(poller.waker());
        let mut mail = Mail::new(receiver, &[peer]);
        for _ in 0..5 {
            mail.send(WorkerId::new(0), message(vec![0; INBOX_BYTES_MAX / 4]));
        }
        mail.deliver();
        assert!(mail.is_congested());
        mail.begin_turn();
        assert!((0..4).all(|_| mail.receive().is_some()));
        assert!(mail.receive().is_none());
        mail.deliver();
        assert!(!mail.is_congested());
        assert!(mail.receive().is_some());
        assert_eq!(mail.inbox.bytes.load(Ordering::Relaxed), 0);
    }
}
