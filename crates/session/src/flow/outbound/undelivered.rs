//! What became of messages that will not be delivered.

use alloc::collections::VecDeque;

use super::{Outbound, PublishToken};

/// What became of messages that will not be delivered.
#[derive(Clone, Debug, Default)]
pub(super) struct Reports {
    pub(super) dropped: u64,
    pub(super) expired: u64,
    /// Of those that were dropped, those of QoS 1 and 2 for which there was no room.
    pub(super) lost: u64,
    /// Whether somebody asks for each of them.
    is_tracked: bool,
    /// Those that nobody has been told of; drained by every poll for events.
    untold: VecDeque<(PublishToken, Undelivered)>,
}

/// Why a message was never delivered.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Undelivered {
    /// The queue was full and this message had to make room.
    Dropped,
    /// Its Message Expiry Interval passed before it could be sent.
    Expired,
    /// Its packet would exceed the Maximum Packet Size of the peer.
    TooLarge,
    /// Its QoS is above the Maximum QoS that the server announced after it was queued.
    QosNotSupported,
    /// It is to be retained, and the server announced after it was queued that it does not.
    RetainNotSupported,
    /// The session ended before it was delivered.
    SessionLost,
}

impl Outbound {
    /// From now on, [`poll_undelivered`](Self::poll_undelivered) tells what became of messages.
    pub(crate) fn track(&mut self) {
        self.reports().is_tracked = true;
    }

    /// Nobody asks any longer what became of messages.
    pub(crate) fn untrack(&mut self) {
        if let Some(reports) = &mut self.undelivered {
            reports.is_tracked = false;
            reports.untold = VecDeque::new();
        }
    }

    pub(crate) fn is_tracked(&self) -> bool {
        (self.undelivered.as_ref()).is_some_and(|reports| reports.is_tracked)
    }

    pub(crate) fn poll_undelivered(&mut self) -> Option<(PublishToken, Undelivered)> {
        self.undelivered.as_mut()?.untold.pop_front()
    }

    /// Notes that a message will not be delivered.
    pub(crate) fn give_up(&mut self, token: PublishToken, why: Undelivered) {
        let reports = self.reports();
        match why {
            Undelivered::Dropped
            | Undelivered::TooLarge
            | Undelivered::QosNotSupported
            | Undelivered::RetainNotSupported => {
                reports.dropped = reports.dropped.saturating_add(1);
            }
            Undelivered::Expired => reports.expired = reports.expired.saturating_add(1),
            Undelivered::SessionLost => {}
        }
        if reports.is_tracked {
            reports.untold.push_back((token, why));
        }
    }

    /// Counts a message of QoS 1 or 2 for which there was no room.
    pub(super) fn count_lost(&mut self) {
        let reports = self.reports();
        reports.lost = reports.lost.saturating_add(1);
    }

    pub(super) fn reports(&mut self) -> &mut Reports {
        self.undelivered.get_or_insert_default()
    }
}
