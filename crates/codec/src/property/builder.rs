//! Makes a block of properties out of values.

use crate::encode::{VARIABLE_MAX, Writer};
use crate::{Borrowed, DecodeError, EncodeError, Properties, PropertyError, PropertyId, QoS};
use crate::{Sink, SliceSink};

use super::block::SUBSCRIPTION_IDENTIFIERS;
use super::value::{Property, Raw};

/// Makes [`Properties`] out of values: from [`Properties::builder`] into memory of its own, from
/// [`Properties::builder_in`] into a slice of the caller's.
///
/// Properties are written in the order of the calls. The first value that no packet may carry
/// makes [`build`](Self::build) fail. Whether a property belongs to the packet is checked when the
/// packet is encoded.
///
/// # Examples
///
/// ```
/// use mqttstack_codec::Properties;
///
/// let properties = Properties::builder()
///     .content_type("application/json")
///     .user_property("site", "lab")
///     .build()?;
/// assert_eq!(properties.content_type(), Some("application/json"));
///
/// assert!(Properties::builder().receive_maximum(0).build().is_err());
/// # Ok::<(), mqttstack_codec::PropertyError>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct PropertiesBuilder<K> {
    out: K,
    /// Which identifiers occur, as in [`Properties`].
    present: u64,
    /// How many bytes have been written.
    length: usize,
    /// The first error.
    error: Option<PropertyError>,
}

#[cfg(feature = "alloc")]
impl Properties<crate::Shared> {
    /// Starts a block of properties.
    pub const fn builder() -> PropertiesBuilder<alloc::vec::Vec<u8>> {
        PropertiesBuilder::new(alloc::vec::Vec::new())
    }
}

impl<'b> Properties<Borrowed<'b>> {
    /// Starts a block of properties in a buffer; needs no allocator.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqttstack_codec::Properties;
    ///
    /// let mut buffer = [0; 16];
    /// let properties = Properties::builder_in(&mut buffer).topic_alias(7).build()?;
    /// assert_eq!(properties.as_bytes(), [0x23, 0x00, 0x07]);
    /// # Ok::<(), mqttstack_codec::PropertyError>(())
    /// ```
    pub const fn builder_in(buffer: &'b mut [u8]) -> PropertiesBuilder<SliceSink<'b>> {
        PropertiesBuilder::new(SliceSink::new(buffer))
    }
}

#[cfg(feature = "alloc")]
impl PropertiesBuilder<alloc::vec::Vec<u8>> {
    /// Returns the properties.
    ///
    /// # Errors
    ///
    /// [`PropertyError`]: the first value that cannot be a property's, or occurs twice.
    pub fn build(self) -> Result<Properties<crate::Shared>, PropertyError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(Properties::from_parts(self.out.into(), self.present)),
        }
    }
}

impl<'b> PropertiesBuilder<SliceSink<'b>> {
    /// Returns the properties.
    ///
    /// # Errors
    ///
    /// [`PropertyError`]: the first value that cannot be a property's, occurs twice, or does not
    /// fit into the buffer.
    pub fn build(self) -> Result<Properties<Borrowed<'b>>, PropertyError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(Properties::from_parts(
                self.out.into_written(),
                self.present,
            )),
        }
    }
}

impl<K: Sink> PropertiesBuilder<K> {
    const fn new(out: K) -> Self {
        Self {
            out,
            present: 0,
            length: 0,
            error: None,
        }
    }

    /// Adds a property.
    pub fn property(mut self, property: Property<'_>) -> Self {
        if self.error.is_none() {
            self.error = self.add(property.id(), property.raw()).err();
        }
        self
    }

    /// Adds properties.
    pub fn properties<'p>(self, properties: impl IntoIterator<Item = Property<'p>>) -> Self {
        properties.into_iter().fold(self, Self::property)
    }

    fn add(&mut self, property: PropertyId, value: Raw<'_>) -> Result<(), PropertyError> {
        check_length(property, value)?;
        value.check(property)?;
        let is_repeated = self.present & property.bit() != 0;
        let may_repeat = matches!(
            property,
            PropertyId::UserProperty | PropertyId::SubscriptionIdentifier
        );
        if is_repeated && !may_repeat {
            return Err(DecodeError::DuplicateProperty { property }.into());
        }
        let needed = value.encoded_len(property).saturating_add(1);
        let length = self.length.saturating_add(needed);
        if u32::try_from(length).is_ok_and(|length| length > VARIABLE_MAX) {
            return Err(PropertyError::BlockTooLong { length });
        }
        match self.out.reserve(needed) {
            Ok(()) => {}
            Err(EncodeError::BufferTooSmall { needed, available }) => {
                return Err(PropertyError::BufferTooSmall { needed, available });
            }
            Err(_) => {
                return Err(PropertyError::BufferTooSmall {
                    needed,
                    available: 0,
                });
            }
        }
        let mut writer = Writer::new(self.out.claim(needed));
        writer.byte(property.as_u8());
        value.write(property, &mut writer);
        writer.finish();
        self.length = length;
        self.present |= property.bit();
        if is_repeated && property == PropertyId::SubscriptionIdentifier {
            self.present |= SUBSCRIPTION_IDENTIFIERS;
        }
        Ok(())
    }
}

/// Checks that strings and binary data fit their length fields.
fn check_length(property: PropertyId, value: Raw<'_>) -> Result<(), PropertyError> {
    let length = match value {
        Raw::Number(_) => 0,
        Raw::Data(data) => data.len(),
        Raw::Pair(name, value) => name.len().max(value.len()),
    };
    if length > usize::from(u16::MAX) {
        return Err(PropertyError::ValueTooLong { property, length });
    }
    Ok(())
}

/// One method for each property.
impl<K: Sink> PropertiesBuilder<K> {
    /// Says whether the payload is UTF-8 text.
    pub fn payload_format_indicator(self, value: bool) -> Self {
        self.property(Property::PayloadFormatIndicator(value))
    }

    /// Says for how many seconds the message is of use.
    pub fn message_expiry_interval(self, value: u32) -> Self {
        self.property(Property::MessageExpiryInterval(value))
    }

    /// Says what the payload is.
    pub fn content_type(self, value: &str) -> Self {
        self.property(Property::ContentType(value))
    }

    /// Names the topic that a response goes to.
    pub fn response_topic(self, value: &str) -> Self {
        self.property(Property::ResponseTopic(value))
    }

    /// Tells the requester which request a response is for.
    pub fn correlation_data(self, value: &[u8]) -> Self {
        self.property(Property::CorrelationData(value))
    }

    /// Numbers the subscription: 1 to 268,435,455.
    pub fn subscription_identifier(self, value: u32) -> Self {
        self.property(Property::SubscriptionIdentifier(value))
    }

    /// Says for how many seconds the session outlives the connection; `u32::MAX` is for ever.
    pub fn session_expiry_interval(self, value: u32) -> Self {
        self.property(Property::SessionExpiryInterval(value))
    }

    /// Tells the Client Identifier that the server chose.
    pub fn assigned_client_identifier(self, value: &str) -> Self {
        self.property(Property::AssignedClientIdentifier(value))
    }

    /// Replaces the Keep Alive of the CONNECT, in seconds.
    pub fn server_keep_alive(self, value: u16) -> Self {
        self.property(Property::ServerKeepAlive(value))
    }

    /// Names the authentication method.
    pub fn authentication_method(self, value: &str) -> Self {
        self.property(Property::AuthenticationMethod(value))
    }

    /// Carries what the authentication method exchanges.
    pub fn authentication_data(self, value: &[u8]) -> Self {
        self.property(Property::AuthenticationData(value))
    }

    /// Says whether the server may explain its reason codes.
    pub fn request_problem_information(self, value: bool) -> Self {
        self.property(Property::RequestProblemInformation(value))
    }

    /// Delays the will by as many seconds.
    pub fn will_delay_interval(self, value: u32) -> Self {
        self.property(Property::WillDelayInterval(value))
    }

    /// Asks for Response Information.
    pub fn request_response_information(self, value: bool) -> Self {
        self.property(Property::RequestResponseInformation(value))
    }

    /// Tells what response topics are made from.
    pub fn response_information(self, value: &str) -> Self {
        self.property(Property::ResponseInformation(value))
    }

    /// Names another server to use.
    pub fn server_reference(self, value: &str) -> Self {
        self.property(Property::ServerReference(value))
    }

    /// Explains the reason code to a person.
    pub fn reason_string(self, value: &str) -> Self {
        self.property(Property::ReasonString(value))
    }

    /// Limits the unacknowledged QoS 1 and 2 messages; 0 is refused.
    pub fn receive_maximum(self, value: u16) -> Self {
        self.property(Property::ReceiveMaximum(value))
    }

    /// Allows Topic Aliases up to this number.
    pub fn topic_alias_maximum(self, value: u16) -> Self {
        self.property(Property::TopicAliasMaximum(value))
    }

    /// Numbers the topic; 0 is refused.
    pub fn topic_alias(self, value: u16) -> Self {
        self.property(Property::TopicAlias(value))
    }

    /// Limits the QoS; QoS 2, which needs no limit, is refused.
    pub fn maximum_qos(self, value: QoS) -> Self {
        self.property(Property::MaximumQoS(value))
    }

    /// Says whether retained messages are available.
    pub fn retain_available(self, value: bool) -> Self {
        self.property(Property::RetainAvailable(value))
    }

    /// Adds a name and a value; names may repeat.
    pub fn user_property(self, name: &str, value: &str) -> Self {
        self.property(Property::UserProperty(name, value))
    }

    /// Limits the size of a packet in bytes; 0 is refused.
    pub fn maximum_packet_size(self, value: u32) -> Self {
        self.property(Property::MaximumPacketSize(value))
    }

    /// Says whether wildcards are available.
    pub fn wildcard_subscription_available(self, value: bool) -> Self {
        self.property(Property::WildcardSubscriptionAvailable(value))
    }

    /// Says whether subscription identifiers are available.
    pub fn subscription_identifier_available(self, value: bool) -> Self {
        self.property(Property::SubscriptionIdentifierAvailable(value))
    }

    /// Says whether shared subscriptions are available.
    pub fn shared_subscription_available(self, value: bool) -> Self {
        self.property(Property::SharedSubscriptionAvailable(value))
    }
}
