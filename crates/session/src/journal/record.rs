//! A session as a whole, as a store keeps it.

use alloc::{boxed::Box, collections::BTreeMap};

use mqttstack_codec::{Shared, SubscriptionOptions, Will};
use mqttstack_limits::Instant;

use super::{Operation, ReplayError};
use crate::SessionState;

/// One change of a session that outlives its connections, at a server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// It begins; nothing else comes before.
    Begun {
        /// The Client Identifier.
        client_id: Box<str>,
        /// Whom the client's credentials proved.
        identity: Option<Box<str>>,
        /// What its server calls it while it runs.
        key: u64,
    },
    /// A server that took it over from a store calls it this.
    Keyed {
        /// The name.
        key: u64,
    },
    /// Its client is here.
    Connected {
        /// The Session Expiry Interval in force, in seconds; `u32::MAX` is never.
        session_expiry_interval: u32,
        /// The will of this connection.
        will: Option<Box<Will<Shared>>>,
    },
    /// Its client is gone.
    Disconnected {
        /// When the session ends.
        expires_at: Instant,
        /// When the will is due; `None` if there is none any more.
        will_at: Option<Instant>,
    },
    /// Its will has been published.
    WillPublished,
    /// It has a subscription, or has it anew.
    Subscribed {
        /// The filter as the client wrote it.
        filter: Box<str>,
        /// What was granted.
        subscription: RecordedSubscription,
    },
    /// It has a subscription no longer.
    Unsubscribed {
        /// The filter as the client wrote it.
        filter: Box<str>,
    },
    /// Its messages have changed.
    State(Operation),
    /// It is over; nothing comes behind.
    Ended,
}

/// What a subscription was granted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RecordedSubscription {
    /// The options, with the QoS that was granted.
    pub options: SubscriptionOptions,
    /// The Subscription Identifier.
    pub subscription_id: Option<u32>,
}

/// Where the client of a session was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecordedPresence {
    /// Here: its connection ended with the server.
    Connected {
        /// The Session Expiry Interval, in seconds, which begins when the server is back.
        session_expiry_interval: u32,
    },
    /// Away.
    Away {
        /// When the session ends.
        expires_at: Instant,
        /// When the will is due, if there is one.
        will_at: Option<Instant>,
    },
}

/// A session as it was written down.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionRecord {
    /// The Client Identifier.
    pub client_id: Box<str>,
    /// Whom the client's credentials proved.
    pub identity: Option<Box<str>>,
    /// What its last server called it.
    pub key: u64,
    /// Messages that wait or are in flight, and messages received.
    pub state: SessionState,
    /// By filter.
    pub subscriptions: BTreeMap<Box<str>, RecordedSubscription>,
    /// Where its client was.
    pub presence: RecordedPresence,
    /// The will that has not been published.
    pub will: Option<Box<Will<Shared>>>,
}

impl SessionRecord {
    /// Returns a session that has just begun.
    #[must_use]
    pub fn new(client_id: Box<str>, identity: Option<Box<str>>, key: u64) -> Self {
        Self {
            client_id,
            identity,
            key,
            state: SessionState::new(),
            subscriptions: BTreeMap::new(),
            presence: RecordedPresence::Connected {
                session_expiry_interval: u32::MAX,
            },
            will: None,
        }
    }

    /// Makes a change; [`Begun`](Change::Begun) begins anew, and after [`Ended`](Change::Ended) the
    /// record is to be dropped.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] if an operation does not fit; the record is as it was.
    pub fn apply(&mut self, change: Change) -> Result<(), ReplayError> {
        match change {
            Change::Begun {
                client_id,
                identity,
                key,
            } => *self = Self::new(client_id, identity, key),
            Change::Keyed { key } => self.key = key,
            Change::Connected {
                session_expiry_interval,
                will,
            } => {
                self.presence = RecordedPresence::Connected {
                    session_expiry_interval,
                };
                self.will = will;
            }
            Change::Disconnected {
                expires_at,
                will_at,
            } => {
                self.presence = RecordedPresence::Away {
                    expires_at,
                    will_at,
                };
                self.will = self.will.take().filter(|_| will_at.is_some());
            }
            Change::WillPublished => {
                self.will = None;
                if let RecordedPresence::Away { will_at, .. } = &mut self.presence {
                    *will_at = None;
                }
            }
            Change::Subscribed {
                filter,
                subscription,
            } => {
                self.subscriptions.insert(filter, subscription);
            }
            Change::Unsubscribed { filter } => {
                self.subscriptions.remove(&filter);
            }
            Change::State(operation) => self.state.apply(operation)?,
            Change::Ended => {}
        }
        Ok(())
    }
}
