//! A message without its topic, for those who keep many under their topics.

use alloc::{boxed::Box, vec::Vec};

use bytes::Bytes;
use mqttstack_codec::{Borrowed, Properties, QoS};
use mqttstack_limits::Instant;

use super::{Expiry, Inner, Message, MessagePool};

/// All of a message but its topic, in the memory that it needs and no more.
///
/// A [`Message`] is made to travel: a small one has room for more than it is, so that its memory
/// fits the next one, and the topic is in it. What is kept under its topic for long, as retained
/// messages are, takes this form: some ten bytes more than the payload in one allocation. One with
/// properties, or with a payload that is large enough to be shared, is kept as it is.
#[derive(Debug)]
pub struct MessageBody(Form);

#[derive(Debug)]
enum Form {
    /// Flags, then the time of expiry if there is one, then the payload.
    Plain(Box<[u8]>),
    Whole(Message),
}

/// The QoS, in two bits.
const QOS: u8 = 0b0000_0011;
const RETAIN: u8 = 0b0000_0100;
/// Behind the flags there are eight bytes: a moment in microseconds, or so many seconds.
const EXPIRES_AT: u8 = 0b0000_1000;
const EXPIRES_AFTER: u8 = 0b0001_0000;

/// A plain body, taken apart.
struct Plain<'a> {
    qos: QoS,
    retain: bool,
    expiry: Expiry,
    payload: &'a [u8],
}

impl MessageBody {
    /// Returns what is to be kept of a message beside its topic.
    #[must_use]
    pub fn of(message: &Message) -> Self {
        if message.shared_payload().is_some() || !message.properties().is_empty() {
            return Self(Form::Whole(message.clone()));
        }
        let (kind, time) = match message.expiry() {
            Expiry::Never => (0, None),
            Expiry::At(deadline) => (EXPIRES_AT, Some(deadline.as_micros())),
            Expiry::Interval(seconds) => (EXPIRES_AFTER, Some(seconds.into())),
        };
        let retain = if message.retain() { RETAIN } else { 0 };
        let time = time.map(u64::to_le_bytes);
        let time = time.as_ref().map_or(&[][..], |time| time);
        let payload = message.payload();
        let len = payload.len().saturating_add(time.len());
        let mut bytes = Vec::with_capacity(len.saturating_add(1));
        bytes.push(message.qos().as_u8() | retain | kind);
        bytes.extend_from_slice(time);
        bytes.extend_from_slice(payload);
        Self(Form::Plain(bytes.into()))
    }

    /// Returns the message again. The topic is the one that it had.
    #[must_use]
    pub fn to_message(&self, topic: &str) -> Message {
        self.to_message_in(&mut MessagePool::default(), topic)
    }

    /// Returns the message again, in memory of the pool. The topic is the one that it had.
    #[must_use]
    pub fn to_message_in(&self, pool: &mut MessagePool, topic: &str) -> Message {
        match &self.0 {
            Form::Whole(message) => message.clone(),
            Form::Plain(bytes) => {
                let plain = Plain::of(bytes);
                pool.make(Inner::assemble::<Borrowed<'_>>(
                    topic.as_bytes(),
                    &Properties::empty(),
                    &plain.payload,
                    plain.qos,
                    plain.retain,
                    plain.expiry,
                ))
            }
        }
    }

    /// Returns when the message expires if it is handed over for delivery at `now`, as
    /// [`Message::expires_at`] does.
    #[must_use]
    pub fn expires_at(&self, now: Instant) -> Instant {
        match &self.0 {
            Form::Whole(message) => message.expires_at(now),
            Form::Plain(bytes) => Plain::of(bytes).expiry.counted_from(now),
        }
    }

    /// Returns how many bytes the message [counts](Message::size), those of its topic left out.
    #[must_use]
    pub fn size(&self) -> usize {
        match &self.0 {
            Form::Whole(message) => {
                let shared = message.shared_payload().map_or(0, Bytes::len);
                let inline = message.0.body.inline().len();
                inline
                    .saturating_sub(message.topic_len())
                    .saturating_add(shared)
            }
            Form::Plain(bytes) => Plain::of(bytes).payload.len(),
        }
    }
}

impl<'a> Plain<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        // Only `MessageBody::of` writes them: no fallback is ever taken.
        let (flags, rest) = bytes.split_first().unwrap_or((&0, &[]));
        let (expiry, payload) = match (
            flags & (EXPIRES_AT | EXPIRES_AFTER),
            rest.split_first_chunk(),
        ) {
            (0, _) | (_, None) => (Expiry::Never, rest),
            (kind, Some((time, payload))) => {
                let time = u64::from_le_bytes(*time);
                let expiry = match kind {
                    EXPIRES_AT => Expiry::At(Instant::from_micros(time)),
                    _ => Expiry::Interval(u32::try_from(time).unwrap_or(u32::MAX)),
                };
                (expiry, payload)
            }
        };
        Self {
            qos: QoS::from_u8(flags & QOS).unwrap_or(QoS::AtMostOnce),
            retain: flags & RETAIN != 0,
            expiry,
            payload,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String, vec};

    use super::*;

    #[test]
    fn messages_of_every_size_and_expiry_come_back() {
        for len in [0, 1, 64, 112, 113, 8_191, 8_192] {
            for expiry in [
                Expiry::Never,
                Expiry::Interval(u32::MAX),
                Expiry::At(Instant::from_micros(7)),
            ] {
                let mut builder = Message::builder("a/b", vec![b'x'; len]).retain(true);
                builder.expiry = expiry;
                let message = builder.qos(QoS::ExactlyOnce).build().unwrap();
                let body = MessageBody::of(&message);
                assert_eq!(body.to_message("a/b"), message, "{len} {expiry:?}");
                assert_eq!(body.size(), len);
                let now = Instant::from_micros(1_000_000);
                assert_eq!(body.expires_at(now), message.expires_at(now));
            }
        }
    }

    #[test]
    fn a_body_with_properties_is_kept() {
        let message = Message::builder("a/b", "x")
            .user_property("name", "value")
            .build()
            .unwrap();
        let body = MessageBody::of(&message);
        assert_eq!(body.to_message("a/b"), message);
        assert_eq!(body.size(), message.size() - 3);
    }

    #[test]
    fn a_body_is_two_words_and_its_memory_exact() {
        assert_eq!(size_of::<MessageBody>(), 2 * size_of::<usize>());
        let topic = String::from("some/topic/of/a/device");
        let message = Message::builder(&topic, vec![b'x'; 64]).build().unwrap();
        match MessageBody::of(&message).0 {
            Form::Plain(bytes) => assert_eq!(bytes.len(), 65),
            Form::Whole(message) => panic!("{}", format!("{message:?} is small")),
        }
    }
}
