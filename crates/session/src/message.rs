//! The application message: built once, then shared by every queue that holds it.

mod body;
mod pool;
#[cfg(test)]
mod tests;

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{fmt, time::Duration};

use bytes::Bytes;
use mqttstack_codec::{
    Borrowed, EncodeError, Presence, Properties, PropertiesBuilder, PropertyError, PropertyId,
    Publish, QoS, Shared, Storage, Utf8Slice, Will,
};
use mqttstack_limits::Instant;

pub use self::{body::MessageBody, pool::MessagePool};

/// Payloads of this many bytes and more are shared by reference; smaller ones are copied together
/// with the topic, which is cheaper than counting references and lets go of the receive buffer.
const SHARED_PAYLOAD_MIN: usize = 8 * 1024;

/// Topic, properties and payload of up to so many bytes lie in the message itself, which saves an
/// allocation; larger ones have one of their own.
const INLINE_BYTES_MAX: usize = 112;

/// The properties that belong to one hop and are made anew for the next.
const PER_HOP: [PropertyId; 3] = [
    PropertyId::MessageExpiryInterval,
    PropertyId::SubscriptionIdentifier,
    PropertyId::TopicAlias,
];

/// An application message: topic, payload, QoS, RETAIN and the properties that travel end to end.
///
/// Immutable and reference-counted: a clone costs one counter, so a thousand queues share one
/// message. What belongs to a single hop (packet identifier, DUP, topic alias, subscription
/// identifiers) is not part of it; the Message Expiry Interval is kept as a deadline.
///
/// ```
/// use mqttstack_session::Message;
/// use mqttstack_session::codec::QoS;
///
/// let message = Message::builder("sensors/1/temperature", "21.5")
///     .qos(QoS::AtLeastOnce)
///     .content_type("text/plain")
///     .build()?;
/// assert_eq!(message.topic(), "sensors/1/temperature");
/// assert_eq!(message.properties().content_type(), Some("text/plain"));
/// # Ok::<(), mqttstack_session::MessageError>(())
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct Message(Arc<Inner>);

#[derive(Eq, PartialEq)]
struct Inner {
    body: Body,
    topic_len: u16,
    qos: QoS,
    retain: bool,
    properties_len: u32,
    presence: Presence,
    expiry: Expiry,
}

/// The topic, then the properties, then the payload.
enum Body {
    /// All of it is small. Behind the length there is what earlier messages left.
    Inline {
        len: u8,
        bytes: [u8; INLINE_BYTES_MAX],
    },
    Boxed(Box<[u8]>),
    /// The payload is large.
    Shared {
        head: Box<[u8]>,
        payload: Bytes,
    },
}

/// When a message expires.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expiry {
    Never,
    /// So many seconds after it is handed over for delivery.
    Interval(u32),
    /// At a moment that was settled when it arrived.
    At(Instant),
}

impl Message {
    /// Starts a message to `topic`.
    #[must_use]
    pub fn builder(
        topic: impl Into<alloc::string::String>,
        payload: impl Into<Bytes>,
    ) -> MessageBuilder {
        MessageBuilder {
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            expiry: Expiry::Never,
            properties: Properties::builder(),
        }
    }

    /// Takes the message out of a received PUBLISH.
    ///
    /// `topic` is the topic after alias resolution. Expiry counts from `now`.
    #[must_use]
    pub fn from_publish<S: Storage>(publish: &Publish<S>, topic: &str, now: Instant) -> Self {
        Self::from_publish_in(&mut MessagePool::default(), publish, topic.into(), now)
    }

    /// Takes the message out of a received PUBLISH, into memory of the pool.
    pub(crate) fn from_publish_in<S: Storage>(
        pool: &mut MessagePool,
        publish: &Publish<S>,
        topic: Utf8Slice<'_>,
        now: Instant,
    ) -> Self {
        let (topic, payload) = (topic.as_bytes(), publish.payload.as_ref());
        let qos = publish.delivery.qos();
        if publish.properties.is_empty()
            && let Some(message) = pool.remake(topic, payload, qos, publish.retain)
        {
            return message;
        }
        pool.make(Inner::assemble::<S>(
            topic,
            &publish.properties,
            &publish.payload,
            qos,
            publish.retain,
            Expiry::settle(&publish.properties, now),
        ))
    }

    /// Turns a Will into the message that is published when it is due, at `now`.
    #[must_use]
    pub fn from_will<S: Storage>(will: &Will<S>, now: Instant) -> Self {
        let expiry = Expiry::settle(&will.properties, now);
        if will.properties.contains(PropertyId::WillDelayInterval) {
            let properties = will.properties.without(&[PropertyId::WillDelayInterval]);
            let payload = S::share_bytes(&will.payload);
            return Self::assemble::<Shared>(
                will.topic.as_ref(),
                &properties,
                &payload,
                will.qos,
                will.retain,
                expiry,
            );
        }
        Self::assemble::<S>(
            will.topic.as_ref(),
            &will.properties,
            &will.payload,
            will.qos,
            will.retain,
            expiry,
        )
    }

    /// Puts a message together again from parts that have been checked.
    pub(crate) fn from_parts<'a>(
        topic: &str,
        properties: &Properties<Borrowed<'a>>,
        payload: &'a [u8],
        qos: QoS,
        retain: bool,
        expiry: Expiry,
    ) -> Self {
        Self::assemble::<Borrowed<'a>>(topic, properties, &payload, qos, retain, expiry)
    }

    /// Returns whether one of the properties belongs to one hop.
    pub(crate) fn has_per_hop<S: Storage>(properties: &Properties<S>) -> bool {
        PER_HOP.iter().any(|id| properties.contains(*id))
    }

    /// Returns whether the message never expires.
    pub(crate) fn is_lasting(&self) -> bool {
        self.0.expiry == Expiry::Never
    }

    /// Returns when the message expires.
    pub(crate) fn expiry(&self) -> Expiry {
        self.0.expiry
    }

    fn assemble<S: Storage>(
        topic: &str,
        properties: &Properties<S>,
        payload: &S::Bytes,
        qos: QoS,
        retain: bool,
        expiry: Expiry,
    ) -> Self {
        let topic = topic.as_bytes();
        let inner = Inner::assemble::<S>(topic, properties, payload, qos, retain, expiry);
        Self(Arc::new(inner))
    }

    /// Returns the topic name.
    #[must_use]
    pub fn topic(&self) -> &str {
        // It was text when the message was built: the fallback is never taken.
        core::str::from_utf8(self.topic_bytes()).unwrap_or_default()
    }

    /// Returns the bytes of the topic name, for those who compare it rather than read it: text is
    /// checked each time it is asked for.
    #[must_use]
    pub fn topic_bytes(&self) -> &[u8] {
        let bytes = self.0.body.inline();
        bytes.get(..self.topic_len()).unwrap_or_default()
    }

    /// Returns the topic name without checking again that it is text.
    pub(crate) fn topic_slice(&self) -> Utf8Slice<'_> {
        Utf8Slice::from_validated(self.topic_bytes())
    }

    /// Returns the payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        match &self.0.body {
            Body::Shared { payload, .. } => payload,
            body @ (Body::Inline { .. } | Body::Boxed(_)) => body
                .inline()
                .get(self.payload_start()..)
                .unwrap_or_default(),
        }
    }

    /// Returns the payload as a shared buffer; copies it if it is small.
    #[must_use]
    pub fn payload_bytes(&self) -> Bytes {
        match self.shared_payload() {
            Some(payload) => payload.clone(),
            None => Bytes::copy_from_slice(self.payload()),
        }
    }

    /// Returns the payload if it is large enough to be shared instead of copied.
    #[must_use]
    pub fn shared_payload(&self) -> Option<&Bytes> {
        self.0.body.shared()
    }

    /// Returns the properties that travel end to end.
    #[must_use]
    pub fn properties(&self) -> Properties<Borrowed<'_>> {
        let block = self
            .0
            .body
            .inline()
            .get(self.topic_len()..self.payload_start())
            .unwrap_or_default();
        Properties::from_validated(block, self.0.presence)
    }

    /// Returns the QoS at which the message was published.
    #[must_use]
    pub fn qos(&self) -> QoS {
        self.0.qos
    }

    /// Returns the RETAIN flag with which the message was published.
    #[must_use]
    pub fn retain(&self) -> bool {
        self.0.retain
    }

    /// Returns when the message expires if it is handed over for delivery at `now`;
    /// [`Instant::NEVER`] if it does not.
    ///
    /// A received message has its deadline from its arrival; one that was built here counts from
    /// the hand-over.
    #[must_use]
    pub fn expires_at(&self, now: Instant) -> Instant {
        self.0.expiry.counted_from(now)
    }

    /// Returns how many bytes the message counts against a queue.
    #[must_use]
    pub fn size(&self) -> usize {
        let shared = self.shared_payload().map_or(0, Bytes::len);
        self.0.body.inline().len().saturating_add(shared)
    }

    fn topic_len(&self) -> usize {
        self.0.topic_len.into()
    }

    fn payload_start(&self) -> usize {
        self.topic_len()
            .saturating_add(usize::try_from(self.0.properties_len).unwrap_or(usize::MAX))
    }
}

impl Inner {
    fn assemble<S: Storage>(
        topic: &[u8],
        properties: &Properties<S>,
        payload: &S::Bytes,
        qos: QoS,
        retain: bool,
        expiry: Expiry,
    ) -> Self {
        let stripped;
        let properties: Properties<Borrowed<'_>> = if Message::has_per_hop(properties) {
            stripped = properties.without(&PER_HOP);
            stripped.as_ref()
        } else {
            properties.as_ref()
        };
        let small = payload.as_ref().len() < SHARED_PAYLOAD_MIN;
        let inline: &[u8] = if small { payload.as_ref() } else { &[] };
        let block = properties.as_bytes();
        let parts = [topic, block, inline];
        let body = if small {
            Body::of_small(parts)
        } else {
            Body::Shared {
                head: parts.concat().into(),
                payload: S::share_bytes(payload),
            }
        };
        Self {
            body,
            // Topics and property blocks come out of packets or the builder, which bound them.
            topic_len: u16::try_from(topic.len()).unwrap_or(u16::MAX),
            qos,
            retain,
            properties_len: u32::try_from(block.len()).unwrap_or(u32::MAX),
            presence: properties.presence(),
            expiry,
        }
    }
}

impl Body {
    fn of_small(parts: [&[u8]; 3]) -> Self {
        let mut bytes = [0; INLINE_BYTES_MAX];
        match fill(&mut bytes, parts) {
            Some(len) => Self::Inline { len, bytes },
            None => Self::Boxed(parts.concat().into()),
        }
    }

    /// Returns all but a payload that is shared.
    fn inline(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Boxed(bytes) | Self::Shared { head: bytes, .. } => bytes,
        }
    }

    /// Returns a payload that is shared.
    fn shared(&self) -> Option<&Bytes> {
        match self {
            Self::Shared { payload, .. } => Some(payload),
            Self::Inline { .. } | Self::Boxed(_) => None,
        }
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.inline() == other.inline() && self.shared() == other.shared()
    }
}

impl Eq for Body {}

/// Puts all parts one behind the other; returns their length, or `None` if there is no room.
fn fill<const PARTS: usize>(
    place: &mut [u8; INLINE_BYTES_MAX],
    parts: [&[u8]; PARTS],
) -> Option<u8> {
    let mut rest = &mut place[..];
    for part in parts {
        let (room, after) = rest.split_at_mut_checked(part.len())?;
        room.copy_from_slice(part);
        rest = after;
    }
    u8::try_from(INLINE_BYTES_MAX.saturating_sub(rest.len())).ok()
}

impl Expiry {
    fn settle<S: Storage>(properties: &Properties<S>, now: Instant) -> Self {
        properties
            .message_expiry_interval()
            .map_or(Self::Never, |seconds| {
                Self::At(now + Duration::from_secs(seconds.into()))
            })
    }

    /// Returns the moment, if the message is handed over at `now`.
    fn counted_from(self, now: Instant) -> Instant {
        match self {
            Self::Never => Instant::NEVER,
            Self::Interval(seconds) => now + Duration::from_secs(seconds.into()),
            Self::At(deadline) => deadline,
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic())
            .field("payload_len", &self.payload().len())
            .field("qos", &self.qos())
            .field("retain", &self.retain())
            .finish_non_exhaustive()
    }
}

/// Why a message cannot be built.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MessageError {
    /// The topic is not a topic name.
    #[error(transparent)]
    Topic(EncodeError),
    /// A property is not valid.
    #[error(transparent)]
    Property(#[from] PropertyError),
}

/// Builds a [`Message`].
#[derive(Debug)]
pub struct MessageBuilder {
    topic: alloc::string::String,
    payload: Bytes,
    qos: QoS,
    retain: bool,
    expiry: Expiry,
    properties: PropertiesBuilder<Vec<u8>>,
}

impl MessageBuilder {
    /// Sets the QoS; 0 if not set.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Sets the RETAIN flag.
    #[must_use]
    pub fn retain(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }

    /// Sets the Message Expiry Interval in seconds, counted from the moment of publishing.
    #[must_use]
    pub fn expiry_interval(mut self, seconds: u32) -> Self {
        self.expiry = Expiry::Interval(seconds);
        self
    }

    /// Says that the payload is UTF-8 text.
    #[must_use]
    pub fn payload_is_utf8(mut self, is_utf8: bool) -> Self {
        self.properties = self.properties.payload_format_indicator(is_utf8);
        self
    }

    /// Sets the Content Type.
    #[must_use]
    pub fn content_type(mut self, content_type: &str) -> Self {
        self.properties = self.properties.content_type(content_type);
        self
    }

    /// Sets the Response Topic: makes the message a request.
    #[must_use]
    pub fn response_topic(mut self, topic: &str) -> Self {
        self.properties = self.properties.response_topic(topic);
        self
    }

    /// Sets the Correlation Data.
    #[must_use]
    pub fn correlation_data(mut self, data: &[u8]) -> Self {
        self.properties = self.properties.correlation_data(data);
        self
    }

    /// Adds a User Property; names may repeat and order is kept.
    #[must_use]
    pub fn user_property(mut self, name: &str, value: &str) -> Self {
        self.properties = self.properties.user_property(name, value);
        self
    }

    /// Builds the message.
    ///
    /// # Errors
    ///
    /// [`MessageError`] if the topic is empty, too long or has wildcards, or a property is not
    /// valid.
    pub fn build(self) -> Result<Message, MessageError> {
        mqttstack_codec::validate_topic_name(&self.topic).map_err(MessageError::Topic)?;
        let properties = self.properties.build()?;
        Ok(Message::assemble::<Shared>(
            &self.topic,
            &properties,
            &self.payload,
            self.qos,
            self.retain,
            self.expiry,
        ))
    }
}
