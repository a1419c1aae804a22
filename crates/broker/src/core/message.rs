//! What workers tell one another.

use std::{num::NonZeroU64, sync::Arc};

use mqttstack_codec::{QoS, ReasonCode, Shared, Will};
use mqttstack_limits::{Instant, Limits};
use mqttstack_session::{DeliveryOptions, SessionState, SubscriptionIds, journal::SessionNumber};
use mqttstack_topic::GroupTag;

use super::{
    filters::Filters,
    keys::{ConnectionId, SessionKey, WorkerId},
    letters::Letter,
    memory::will_bytes,
    session_table::{Drops, Owed},
};

/// Something that one worker tells another. Messages between two workers arrive in their order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WorkerMessage {
    /// Deliver messages to sessions of yours.
    Deliver(Box<Letter>),
    /// A client of yours has connected here: end its connection with you, and hand over its
    /// session.
    TakeOver(Box<TakeOver>),
    /// The answer to [`TakeOver`](Self::TakeOver).
    HandOver(Box<HandOver>),
    /// A session of mine has gone to another worker: answer with [`Passed`](Self::Passed), behind
    /// everything that you have sent me for it.
    Moved {
        /// The session.
        session: SessionKey,
        /// Where it was.
        from: WorkerId,
    },
    /// Answer with [`Reached`](Self::Reached) when you have handled everything that I have sent you.
    Fence {
        /// Who asks.
        from: WorkerId,
    },
    /// The answer to [`Fence`](Self::Fence).
    Reached,
    /// A worker has sent everything that it sends to the old place of a session. The old place
    /// passes this on to the new one.
    Passed {
        /// The session.
        session: SessionKey,
        /// The worker.
        worker: WorkerId,
    },
}

impl WorkerMessage {
    /// Returns about how many bytes it keeps from being freed, messages that it shares with others
    /// included: what a driver bounds its inboxes by.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Deliver(letter) => letter.size(),
            Self::HandOver(answer) => match &answer.outcome {
                HandOverOutcome::Moved(Some(moved)) => moved.size(),
                HandOverOutcome::Moved(None)
                | HandOverOutcome::NotHere
                | HandOverOutcome::Refused(_) => 0,
            },
            Self::TakeOver(_)
            | Self::Moved { .. }
            | Self::Fence { .. }
            | Self::Reached
            | Self::Passed { .. } => 0,
        }
    }

    /// Returns how many deliveries it asks for, or one if it asks for something else: what a driver
    /// bounds by how much of its mail it reads in a turn.
    #[must_use]
    pub fn deliveries(&self) -> usize {
        match self {
            Self::Deliver(letter) => letter.deliveries(),
            Self::TakeOver(_)
            | Self::HandOver(_)
            | Self::Moved { .. }
            | Self::Fence { .. }
            | Self::Reached
            | Self::Passed { .. } => 1,
        }
    }
}

/// One subscriber of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// The session.
    pub(super) session: SessionKey,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) subscription_ids: SubscriptionIds,
    /// The shared group that it was chosen from.
    pub(super) group: Option<GroupTag>,
    /// Whether the session is kept in a store.
    pub(super) lasts: bool,
    /// The parcel of this worker that the message is in the store while it is held for the session.
    pub(super) held_as: Option<NonZeroU64>,
    /// How often it has been handed on in its group, from one that was lost or had no room.
    pub(super) handed_on: u8,
}

impl Target {
    #[cfg(test)]
    pub(super) fn for_nobody() -> Self {
        Self {
            session: SessionKey::new(u32::MAX, 0),
            qos: QoS::AtMostOnce,
            retain: false,
            subscription_ids: SubscriptionIds::None,
            group: None,
            lasts: false,
            held_as: None,
            handed_on: 0,
        }
    }

    pub(super) fn options(&self) -> DeliveryOptions {
        DeliveryOptions {
            qos: self.qos,
            retain: self.retain,
            subscription_ids: self.subscription_ids.clone(),
            group: self.group.map(GroupTag::get),
        }
    }

    /// Returns how the session gets the message, whose delivery begins: the identifiers are gone after
    /// that.
    pub(super) fn take_options(&mut self) -> DeliveryOptions {
        DeliveryOptions {
            qos: self.qos,
            retain: self.retain,
            subscription_ids: std::mem::take(&mut self.subscription_ids),
            group: self.group.map(GroupTag::get),
        }
    }

    /// Returns how many bytes it takes, its Subscription Identifiers included.
    pub(super) fn size(&self) -> usize {
        let ids = size_of_val(self.subscription_ids.as_slice());
        size_of::<Self>().saturating_add(ids)
    }
}

/// A request for the session of a client.
#[derive(Clone, Debug)]
pub struct TakeOver {
    /// Who asks.
    pub(super) from: WorkerId,
    /// The connection there that waits for the session.
    pub(super) connection: ConnectionId,
    pub(super) session: SessionKey,
    pub(super) client_id: Box<str>,
    pub(super) identity: Option<Box<str>>,
    pub(super) clean_start: bool,
}

/// The answer to a [`TakeOver`].
#[derive(Clone, Debug)]
pub struct HandOver {
    /// Who answers.
    pub(super) from: WorkerId,
    pub(super) connection: ConnectionId,
    pub(super) session: SessionKey,
    pub(super) client_id: Box<str>,
    pub(super) outcome: HandOverOutcome,
}

/// What became of a [`TakeOver`].
#[derive(Clone, Debug)]
pub(super) enum HandOverOutcome {
    /// The session, unless it ended when its connection did, or the client wants none of it.
    Moved(Option<Box<MovedSession>>),
    /// The session is not with this worker any more: it ended, or is on its way elsewhere.
    NotHere,
    /// The request is refused.
    Refused(ReasonCode),
}

/// A session on its way from one worker to another.
#[derive(Clone, Debug)]
pub(super) struct MovedSession {
    pub(super) state: SessionState,
    /// What its store calls it.
    pub(super) number: Option<SessionNumber>,
    pub(super) identity: Option<Box<str>>,
    pub(super) filters: Filters,
    pub(super) drops: Drops,
    pub(super) owed: Owed,
    /// When the session ends if nobody takes it up.
    pub(super) expires_at: Instant,
    /// A will that waits for its delay, and when it is due.
    pub(super) will: Option<(Will<Shared>, Instant)>,
    /// The limits of its last connection.
    pub(super) limits: Arc<Limits>,
}

impl MovedSession {
    /// Returns how many bytes its messages and its will hold.
    fn size(&self) -> usize {
        let status = self.state.queue_status();
        let messages = status.queued_bytes.saturating_add(status.inflight_bytes);
        let will = self.will.as_ref().map_or(0, |(will, _)| will_bytes(will));
        usize::try_from(messages)
            .unwrap_or(usize::MAX)
            .saturating_add(will)
    }
}
