//! A getter for each property.

use core::num::{NonZeroU16, NonZeroU32};

use crate::{Properties, PropertyId, QoS, Storage};

use super::value;

/// Single values. A property that is absent takes no time; one that is there is looked for.
impl<S: Storage> Properties<S> {
    /// Returns whether the payload is UTF-8 text.
    #[must_use]
    pub fn payload_format_indicator(&self) -> Option<bool> {
        self.find(PropertyId::PayloadFormatIndicator)
            .map(value::flag)
    }

    /// Returns the Message Expiry Interval in seconds.
    #[must_use]
    pub fn message_expiry_interval(&self) -> Option<u32> {
        self.find(PropertyId::MessageExpiryInterval)
            .map(value::number)
    }

    /// Returns the Content Type.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.find(PropertyId::ContentType).map(value::text)
    }

    /// Returns the Response Topic.
    #[must_use]
    pub fn response_topic(&self) -> Option<&str> {
        self.find(PropertyId::ResponseTopic).map(value::text)
    }

    /// Returns the Correlation Data.
    #[must_use]
    pub fn correlation_data(&self) -> Option<&[u8]> {
        self.find(PropertyId::CorrelationData).map(value::data)
    }

    /// Returns the Session Expiry Interval in seconds; `u32::MAX` is for ever.
    #[must_use]
    pub fn session_expiry_interval(&self) -> Option<u32> {
        self.find(PropertyId::SessionExpiryInterval)
            .map(value::number)
    }

    /// Returns the Assigned Client Identifier.
    #[must_use]
    pub fn assigned_client_identifier(&self) -> Option<&str> {
        self.find(PropertyId::AssignedClientIdentifier)
            .map(value::text)
    }

    /// Returns the Server Keep Alive in seconds; 0 is off.
    #[must_use]
    pub fn server_keep_alive(&self) -> Option<u16> {
        self.find(PropertyId::ServerKeepAlive).map(value::short)
    }

    /// Returns the Authentication Method.
    #[must_use]
    pub fn authentication_method(&self) -> Option<&str> {
        self.find(PropertyId::AuthenticationMethod).map(value::text)
    }

    /// Returns the Authentication Data.
    #[must_use]
    pub fn authentication_data(&self) -> Option<&[u8]> {
        self.find(PropertyId::AuthenticationData).map(value::data)
    }

    /// Returns whether the server may send Reason Strings and User Properties on all packets.
    #[must_use]
    pub fn request_problem_information(&self) -> Option<bool> {
        self.find(PropertyId::RequestProblemInformation)
            .map(value::flag)
    }

    /// Returns the Will Delay Interval in seconds.
    #[must_use]
    pub fn will_delay_interval(&self) -> Option<u32> {
        self.find(PropertyId::WillDelayInterval).map(value::number)
    }

    /// Returns whether the server may send Response Information.
    #[must_use]
    pub fn request_response_information(&self) -> Option<bool> {
        self.find(PropertyId::RequestResponseInformation)
            .map(value::flag)
    }

    /// Returns the Response Information.
    #[must_use]
    pub fn response_information(&self) -> Option<&str> {
        self.find(PropertyId::ResponseInformation).map(value::text)
    }

    /// Returns the Server Reference.
    #[must_use]
    pub fn server_reference(&self) -> Option<&str> {
        self.find(PropertyId::ServerReference).map(value::text)
    }

    /// Returns the Reason String.
    #[must_use]
    pub fn reason_string(&self) -> Option<&str> {
        self.find(PropertyId::ReasonString).map(value::text)
    }

    /// Returns the Receive Maximum.
    #[must_use]
    pub fn receive_maximum(&self) -> Option<NonZeroU16> {
        self.find(PropertyId::ReceiveMaximum)
            .map(value::short)
            .and_then(NonZeroU16::new)
    }

    /// Returns the Topic Alias Maximum.
    #[must_use]
    pub fn topic_alias_maximum(&self) -> Option<u16> {
        self.find(PropertyId::TopicAliasMaximum).map(value::short)
    }

    /// Returns the Topic Alias; never 0.
    #[must_use]
    pub fn topic_alias(&self) -> Option<u16> {
        self.find(PropertyId::TopicAlias).map(value::short)
    }

    /// Returns the Maximum QoS: 0 or 1.
    #[must_use]
    pub fn maximum_qos(&self) -> Option<QoS> {
        self.find(PropertyId::MaximumQoS).map(value::qos)
    }

    /// Returns whether retained messages are available.
    #[must_use]
    pub fn retain_available(&self) -> Option<bool> {
        self.find(PropertyId::RetainAvailable).map(value::flag)
    }

    /// Returns the Maximum Packet Size in bytes.
    #[must_use]
    pub fn maximum_packet_size(&self) -> Option<NonZeroU32> {
        self.find(PropertyId::MaximumPacketSize)
            .map(value::number)
            .and_then(NonZeroU32::new)
    }

    /// Returns whether wildcards are available.
    #[must_use]
    pub fn wildcard_subscription_available(&self) -> Option<bool> {
        self.find(PropertyId::WildcardSubscriptionAvailable)
            .map(value::flag)
    }

    /// Returns whether subscription identifiers are available.
    #[must_use]
    pub fn subscription_identifier_available(&self) -> Option<bool> {
        self.find(PropertyId::SubscriptionIdentifierAvailable)
            .map(value::flag)
    }

    /// Returns whether shared subscriptions are available.
    #[must_use]
    pub fn shared_subscription_available(&self) -> Option<bool> {
        self.find(PropertyId::SharedSubscriptionAvailable)
            .map(value::flag)
    }
}

/// Properties that may repeat.
impl<S: Storage> Properties<S> {
    /// Returns the Subscription Identifiers in their order: one at most but in a PUBLISH from a
    /// server.
    pub fn subscription_identifiers(&self) -> impl Iterator<Item = u32> {
        self.find_all(PropertyId::SubscriptionIdentifier)
            .map(value::number)
    }

    /// Returns the names and values of the User Properties in their order.
    pub fn user_properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.find_all(PropertyId::UserProperty).map(value::pair)
    }
}
