//! What a message is on its way to one subscriber: its number, and how it is delivered.

use alloc::boxed::Box;
use core::num::NonZeroU32;

use mqttstack_codec::QoS;

/// Names one message that was handed over for delivery; counts up within a session.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PublishToken(pub(crate) u64);

impl PublishToken {
    /// Returns the token with this number, as a store gives it back.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number of the token.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// The Subscription Identifiers of the subscriptions that a message matched.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum SubscriptionIds {
    /// None of the subscriptions has one.
    #[default]
    None,
    /// Exactly one.
    One(u32),
    /// Several; the same one may occur more than once.
    Many(Box<[u32]>),
}

impl SubscriptionIds {
    /// Returns the identifiers.
    #[must_use]
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Self::None => &[],
            Self::One(id) => core::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }
}

impl FromIterator<u32> for SubscriptionIds {
    fn from_iter<I: IntoIterator<Item = u32>>(ids: I) -> Self {
        let mut ids = ids.into_iter();
        match (ids.next(), ids.next()) {
            (None, _) => Self::None,
            (Some(one), None) => Self::One(one),
            (Some(first), Some(second)) => {
                Self::Many([first, second].into_iter().chain(ids).collect())
            }
        }
    }
}

/// How one subscriber gets a message: what its subscriptions decide.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeliveryOptions {
    /// The QoS of this delivery: the lower of the message's and the one granted.
    pub qos: QoS,
    /// The RETAIN flag of this delivery.
    pub retain: bool,
    /// The Subscription Identifiers to send along.
    pub subscription_ids: SubscriptionIds,
    /// The shared group that the subscriber was chosen from, under any number that its owner gives
    /// it: if the session ends first,
    /// [`SessionState::take_group_messages`](crate::SessionState::take_group_messages) tells what
    /// another member is to get.
    pub group: Option<NonZeroU32>,
}
