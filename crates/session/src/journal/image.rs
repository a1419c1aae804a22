//! What a server asks its store to write, and the store by its simplest: all of it, in memory.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

use mqttstack_codec::QoS;
use mqttstack_limits::{Instant, Limits};

use super::{Change, ReplayError, SessionRecord};
use crate::{DeliveryOptions, Message};

/// Names a session that outlives its connections. Numbers are never used again, and a later session
/// has a higher one.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionNumber(pub u64);

/// Names a message on its way from one worker of a server to another.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ParcelNumber {
    /// The worker that sends it.
    pub worker: u8,
    /// Counts up with each worker, for as long as the server runs.
    pub number: u64,
}

/// One thing that a worker of a server asks its store to write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StoreOperation {
    /// A session has changed.
    Session {
        /// Which.
        session: SessionNumber,
        /// How.
        change: Change,
    },
    /// A message is retained, instead of any other with its topic.
    Retained {
        /// The message.
        message: Message,
        /// When it is to be forgotten.
        expires_at: Instant,
        /// Counts the changes of retained messages: workers write on their own, and the higher
        /// number holds.
        version: u64,
    },
    /// Nothing is retained under a topic any longer.
    RetainedRemoved {
        /// The topic.
        topic: Box<str>,
        /// As for [`Retained`](Self::Retained).
        version: u64,
    },
    /// A message is on its way to sessions with another worker. It is sent once this is stored.
    Parcel {
        /// Names it.
        parcel: ParcelNumber,
        /// The first that the message was in: another one if its session has gone elsewhere, and it
        /// follows. What comes from one worker goes by this in its order.
        origin: ParcelNumber,
        /// The message.
        message: Message,
        /// The sessions, by the keys that the server calls them, and how they get it.
        targets: Vec<(u64, DeliveryOptions)>,
    },
    /// A message is no longer on its way: what became of it is written with this, in one unit.
    ParcelTaken {
        /// Which.
        parcel: ParcelNumber,
    },
}

/// Everything that a store holds, in memory: what recovery works on, and the model that any other
/// store has to agree with.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StoreImage {
    sessions: BTreeMap<SessionNumber, SessionRecord>,
    retained: BTreeMap<Box<str>, Kept>,
    parcels: BTreeMap<ParcelNumber, Parcel>,
}

/// A message on its way.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Parcel {
    origin: ParcelNumber,
    message: Message,
    targets: Vec<(u64, DeliveryOptions)>,
}

/// What is retained under a topic, or that nothing is.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Kept {
    version: u64,
    message: Option<(Message, Instant)>,
}

/// What a server begins with.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Recovered {
    /// The sessions.
    pub sessions: Vec<(SessionNumber, SessionRecord)>,
    /// The retained messages, and when they are to be forgotten.
    pub retained: Vec<(Message, Instant)>,
}

impl StoreImage {
    /// Returns a store that holds nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes an operation. Those of one worker come in their order; a change of a session that is
    /// not known is one of a session that has ended.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] if a session cannot have changed like that.
    pub fn apply(&mut self, operation: StoreOperation) -> Result<(), ReplayError> {
        match operation {
            StoreOperation::Session { session, change } => self.change(session, change)?,
            StoreOperation::Retained {
                message,
                expires_at,
                version,
            } => {
                let topic = message.topic().into();
                self.retain(topic, version, Some((message, expires_at)));
            }
            StoreOperation::RetainedRemoved { topic, version } => self.retain(topic, version, None),
            StoreOperation::Parcel {
                parcel,
                origin,
                message,
                targets,
            } => {
                let sent = Parcel {
                    origin,
                    message,
                    targets,
                };
                self.parcels.insert(parcel, sent);
            }
            StoreOperation::ParcelTaken { parcel } => {
                self.parcels.remove(&parcel);
            }
        }
        Ok(())
    }

    fn change(&mut self, session: SessionNumber, change: Change) -> Result<(), ReplayError> {
        if let Change::Begun {
            client_id,
            identity,
            key,
        } = change
        {
            let record = SessionRecord::new(client_id, identity, key);
            self.sessions.insert(session, record);
        } else if change == Change::Ended {
            self.sessions.remove(&session);
        } else if let Some(record) = self.sessions.get_mut(&session) {
            record.apply(change)?;
        }
        Ok(())
    }

    fn retain(&mut self, topic: Box<str>, version: u64, message: Option<(Message, Instant)>) {
        let known = self.retained.get(&topic);
        if known.is_none_or(|known| known.version < version) {
            self.retained.insert(topic, Kept { version, message });
        }
    }

    /// Makes of what is stored what a server begins with, at `now`, and of the image what its store
    /// holds from then on.
    ///
    /// Of two sessions of one client the later holds: the end of the other one got lost. What was on
    /// its way between workers arrives, behind what is there and what came from one worker in its order, as
    /// far as `limits` allow a queue to grow. Keys and versions of
    /// the server that is gone mean nothing any more.
    pub fn recover(&mut self, limits: &Limits, now: Instant) -> Recovered {
        let mut newest: BTreeMap<Box<str>, SessionNumber> = BTreeMap::new();
        for (number, record) in &self.sessions {
            newest.insert(record.client_id.clone(), *number);
        }
        self.sessions
            .retain(|number, record| newest.get(&record.client_id) == Some(number));
        let keys: BTreeMap<u64, SessionNumber> = self
            .sessions
            .iter()
            .map(|(number, record)| (record.key, *number))
            .collect();
        let parcels = core::mem::take(&mut self.parcels).into_values();
        let mut parcels: Vec<Parcel> = parcels.collect();
        parcels.sort_by_key(|parcel| parcel.origin);
        for Parcel {
            message, targets, ..
        } in parcels
        {
            for (key, options) in targets {
                let number = keys.get(&key);
                let record = number.and_then(|number| self.sessions.get_mut(number));
                if let Some(record) = record.filter(|_| options.qos != QoS::AtMostOnce) {
                    // What does not fit is lost as in any queue that is full.
                    let _ = record.state.enqueue(message.clone(), options, limits, now);
                }
            }
        }
        self.retained.retain(|_, kept| match &mut kept.message {
            Some((_, expires_at)) if *expires_at > now => {
                kept.version = 0;
                true
            }
            Some(_) | None => false,
        });
        for record in self.sessions.values_mut() {
            record.key = u64::MAX;
        }
        Recovered {
            sessions: self
                .sessions
                .iter()
                .map(|(number, record)| (*number, record.clone()))
                .collect(),
            retained: self
                .retained
                .values()
                .filter_map(|kept| kept.message.clone())
                .collect(),
        }
    }
}
