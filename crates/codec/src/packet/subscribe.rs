//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK.

use crate::{
    DefaultStorage, PacketId, Properties, QoS, ReasonCodes, Storage, SubscribeFilters,
    UnsubscribeFilters,
};

/// SUBSCRIBE.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subscribe<S: Storage = DefaultStorage> {
    /// The Packet Identifier.
    pub packet_id: PacketId,
    /// The properties.
    pub properties: Properties<S>,
    /// The filters and their options: at least one.
    pub filters: SubscribeFilters<S>,
}

/// SUBACK.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SubAck<S: Storage = DefaultStorage> {
    /// The Packet Identifier of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// The properties.
    pub properties: Properties<S>,
    /// One code for each filter, in its order.
    pub reason_codes: ReasonCodes<S>,
}

/// UNSUBSCRIBE.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unsubscribe<S: Storage = DefaultStorage> {
    /// The Packet Identifier.
    pub packet_id: PacketId,
    /// The properties.
    pub properties: Properties<S>,
    /// The filters: at least one.
    pub filters: UnsubscribeFilters<S>,
}

/// UNSUBACK.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnsubAck<S: Storage = DefaultStorage> {
    /// The Packet Identifier of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// The properties.
    pub properties: Properties<S>,
    /// One code for each filter, in its order; empty in 3.x.
    pub reason_codes: ReasonCodes<S>,
}

/// One entry of a SUBSCRIBE.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Subscription<'a> {
    /// The Topic Filter.
    pub filter: &'a str,
    /// Its Subscription Options.
    pub options: SubscriptionOptions,
}

impl<'a> Subscription<'a> {
    /// Creates an entry with the QoS, and the other options as MQTT 3.x has them.
    #[must_use]
    pub const fn new(filter: &'a str, qos: QoS) -> Self {
        Self {
            filter,
            options: SubscriptionOptions::new(qos),
        }
    }
}

/// The Subscription Options of one filter. In 3.x only the QoS exists; the rest is as `Default` has it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SubscriptionOptions {
    /// The Maximum QoS asked for.
    pub qos: QoS,
    /// No Local: do not send back what this client published.
    pub no_local: bool,
    /// Retain As Published: keep the RETAIN flag on forwarded messages.
    pub retain_as_published: bool,
    /// Retain Handling: when retained messages are sent.
    pub retain_handling: RetainHandling,
}

impl SubscriptionOptions {
    const QOS: u8 = 0b0000_0011;
    const NO_LOCAL: u8 = 0b0000_0100;
    const RETAIN_AS_PUBLISHED: u8 = 0b0000_1000;
    const RETAIN_HANDLING: u8 = 0b0011_0000;
    /// The bits that are not used.
    pub(crate) const RESERVED: u8 = 0b1100_0000;

    /// Creates options with the QoS, and the rest as MQTT 3.x has it.
    #[must_use]
    pub const fn new(qos: QoS) -> Self {
        Self {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        }
    }

    /// Returns the options for their byte, or `None` for QoS 3, Retain Handling 3, or a reserved
    /// bit that is set.
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        let (Some(qos), Some(retain_handling)) = (
            QoS::from_u8(value & Self::QOS),
            RetainHandling::from_u8((value & Self::RETAIN_HANDLING) >> 4),
        ) else {
            return None;
        };
        if value & Self::RESERVED != 0 {
            return None;
        }
        Some(Self {
            qos,
            no_local: value & Self::NO_LOCAL != 0,
            retain_as_published: value & Self::RETAIN_AS_PUBLISHED != 0,
            retain_handling,
        })
    }

    /// Returns the byte of the options.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        let mut value = self.qos.as_u8() | self.retain_handling.as_u8() << 4;
        if self.no_local {
            value |= Self::NO_LOCAL;
        }
        if self.retain_as_published {
            value |= Self::RETAIN_AS_PUBLISHED;
        }
        value
    }
}

/// When retained messages are sent for a subscription.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum RetainHandling {
    /// 0: at every SUBSCRIBE.
    #[default]
    Send = 0,
    /// 1: only if the subscription did not exist.
    SendIfNew = 1,
    /// 2: never at SUBSCRIBE.
    DoNotSend = 2,
}

impl RetainHandling {
    /// Returns the option for its number, or `None` for anything but 0, 1 and 2.
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Send),
            1 => Some(Self::SendIfNew),
            2 => Some(Self::DoNotSend),
            _ => None,
        }
    }

    /// Returns the number of the option: 0, 1 or 2.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self as u8
    }
}
