//! The written form of a message and of how it is delivered.

use core::num::NonZeroU32;

use mqttstack_codec::{Borrowed, Properties, PropertyScope, QoS, Sender, validate_topic_name};
use mqttstack_limits::Instant;

use super::format::{FormatError, Reader, Writer};
use crate::{DeliveryOptions, Message, SubscriptionIds, message::Expiry};

/// The largest Subscription Identifier that MQTT 5.0 can write.
const SUBSCRIPTION_ID_MAX: u32 = 268_435_455;

/// The QoS of the message, in two bits.
const QOS: u8 = 0b0000_0011;
/// Its RETAIN flag.
const RETAIN: u8 = 0b0000_0100;
/// Whether it has properties.
const PROPERTIES: u8 = 0b0000_1000;
/// How it expires, in two bits: never, at a moment, or so many seconds after it was handed over.
const EXPIRY: u8 = 0b0011_0000;
const EXPIRES_AT: u8 = 0b0001_0000;
const EXPIRES_AFTER: u8 = 0b0010_0000;
const RESERVED: u8 = 0b1100_0000;

/// The RETAIN flag of a delivery, beside its QoS.
const DELIVERY_RETAIN: u8 = 0b0000_0100;
/// How many Subscription Identifiers it has, in two bits: none, one, or several.
const ONE_ID: u8 = 0b0000_1000;
const SEVERAL_IDS: u8 = 0b0001_0000;
/// Whether the delivery has a deadline that does not follow from the message.
const DELIVERY_DEADLINE: u8 = 0b0010_0000;
/// Whether the delivery is for a member of a shared group.
const DELIVERY_GROUP: u8 = 0b0100_0000;
const DELIVERY_RESERVED: u8 = 0b1000_0000;

/// Writes how a message is delivered: options, and deadline where the message does not say it.
pub(super) fn write_delivery(
    out: &mut Writer<'_>,
    message: &Message,
    options: &DeliveryOptions,
    expires_at: Instant,
) {
    let deadline = (follows(message) != Some(expires_at)).then_some(expires_at);
    write_options(out, options, deadline);
}

/// Writes how a message is delivered.
pub(super) fn write_options(
    out: &mut Writer<'_>,
    options: &DeliveryOptions,
    deadline: Option<Instant>,
) {
    let ids = options.subscription_ids.as_slice();
    out.byte(
        options.qos.as_u8()
            | flag(DELIVERY_RETAIN, options.retain)
            | flag(ONE_ID, ids.len() == 1)
            | flag(SEVERAL_IDS, ids.len() > 1)
            | flag(DELIVERY_DEADLINE, deadline.is_some())
            | flag(DELIVERY_GROUP, options.group.is_some()),
    );
    if ids.len() > 1 {
        out.number(u64::try_from(ids.len()).unwrap_or(u64::MAX));
    }
    for id in ids {
        out.number((*id).into());
    }
    if let Some(deadline) = deadline {
        out.instant(deadline);
    }
    if let Some(group) = options.group {
        out.number(group.get().into());
    }
}

/// Reads how a message is delivered; the deadline, if there is one that does not follow from the
/// message.
pub(super) fn read_delivery(
    from: &mut Reader<'_>,
) -> Result<(DeliveryOptions, Option<Instant>), FormatError> {
    let flags = from.byte()?;
    let field = "delivery";
    let qos = QoS::from_u8(flags & QOS).ok_or(FormatError::OutOfRange { field })?;
    let both = ONE_ID | SEVERAL_IDS;
    if flags & DELIVERY_RESERVED != 0 || flags & both == both {
        return Err(FormatError::OutOfRange { field });
    }
    let field = "subscription identifiers";
    let count = match flags & both {
        0 => 0,
        ONE_ID => 1,
        _ => from.number()?,
    };
    if flags & SEVERAL_IDS != 0 && count < 2 {
        return Err(FormatError::OutOfRange { field });
    }
    let subscription_ids = (0..count)
        .map(|_| match from.number_u32(field)? {
            id @ 1..=SUBSCRIPTION_ID_MAX => Ok(id),
            _ => Err(FormatError::OutOfRange { field }),
        })
        .collect::<Result<SubscriptionIds, _>>()?;
    let expires_at = match flags & DELIVERY_DEADLINE {
        0 => None,
        _ => Some(from.instant()?),
    };
    let field = "shared group";
    let group = match flags & DELIVERY_GROUP {
        0 => None,
        _ => {
            let number = NonZeroU32::new(from.number_u32(field)?);
            Some(number.ok_or(FormatError::OutOfRange { field })?)
        }
    };
    let options = DeliveryOptions {
        qos,
        retain: flags & DELIVERY_RETAIN != 0,
        subscription_ids,
        group,
    };
    Ok((options, expires_at))
}

/// Returns the deadline of every delivery of a message, if it does not depend on when it is handed
/// over.
pub(super) fn follows(message: &Message) -> Option<Instant> {
    match message.expiry() {
        Expiry::Never => Some(Instant::NEVER),
        Expiry::At(deadline) => Some(deadline),
        Expiry::Interval(_) => None,
    }
}

/// Writes a message; it has to be the last of its record.
pub(super) fn write_message(out: &mut Writer<'_>, message: &Message) {
    let properties = message.properties();
    let expiry = match message.expiry() {
        Expiry::Never => 0,
        Expiry::At(_) => EXPIRES_AT,
        Expiry::Interval(_) => EXPIRES_AFTER,
    };
    out.byte(
        message.qos().as_u8()
            | flag(RETAIN, message.retain())
            | flag(PROPERTIES, !properties.is_empty())
            | expiry,
    );
    match message.expiry() {
        Expiry::Never => {}
        Expiry::At(deadline) => out.instant(deadline),
        Expiry::Interval(seconds) => out.number(seconds.into()),
    }
    out.bytes(message.topic().as_bytes());
    if !properties.is_empty() {
        out.bytes(properties.as_bytes());
    }
    out.rest(message.payload());
}

/// Reads a message that takes the rest of its record.
pub(super) fn read_message(from: &mut Reader<'_>) -> Result<Message, FormatError> {
    let flags = from.byte()?;
    let field = "message";
    let qos = QoS::from_u8(flags & QOS).ok_or(FormatError::OutOfRange { field })?;
    if flags & RESERVED != 0 {
        return Err(FormatError::OutOfRange { field });
    }
    let expiry = match flags & EXPIRY {
        0 => Expiry::Never,
        EXPIRES_AT => Expiry::At(from.instant()?),
        EXPIRES_AFTER => Expiry::Interval(from.number_u32("expiry interval")?),
        _ => return Err(FormatError::OutOfRange { field }),
    };
    let field = "topic";
    let topic = from.text(field)?;
    validate_topic_name(topic).map_err(|_| FormatError::InvalidText { field })?;
    let properties = match flags & PROPERTIES {
        0 => Properties::<Borrowed<'_>>::empty(),
        _ => Properties::from_encoded(from.bytes()?, PropertyScope::Publish, Sender::Server)?,
    };
    if flags & PROPERTIES != 0 && (properties.is_empty() || Message::has_per_hop(&properties)) {
        return Err(FormatError::OutOfRange {
            field: "properties",
        });
    }
    let retain = flags & RETAIN != 0;
    Ok(Message::from_parts(
        topic,
        &properties,
        from.rest(),
        qos,
        retain,
        expiry,
    ))
}

const fn flag(bit: u8, is_set: bool) -> u8 {
    if is_set { bit } else { 0 }
}
