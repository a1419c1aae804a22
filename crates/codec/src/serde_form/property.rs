//! Properties as JSON: `{"topic_alias": 1}`, `{"user_property": ["name", "value"]}`.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use serde::{Deserialize, Serialize};

use super::bytes::BytesForm;
use crate::{Properties, PropertiesBuilder, Property as P, QoS, Storage};

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PropertyForm {
    PayloadFormatIndicator(bool),
    MessageExpiryInterval(u32),
    ContentType(String),
    ResponseTopic(String),
    CorrelationData(BytesForm),
    SubscriptionIdentifier(u32),
    SessionExpiryInterval(u32),
    AssignedClientIdentifier(String),
    ServerKeepAlive(u16),
    AuthenticationMethod(String),
    AuthenticationData(BytesForm),
    RequestProblemInformation(bool),
    WillDelayInterval(u32),
    RequestResponseInformation(bool),
    ResponseInformation(String),
    ServerReference(String),
    ReasonString(String),
    ReceiveMaximum(u16),
    TopicAliasMaximum(u16),
    TopicAlias(u16),
    #[serde(rename = "maximum_qos")]
    MaximumQoS(u8),
    RetainAvailable(bool),
    UserProperty(String, String),
    MaximumPacketSize(u32),
    WildcardSubscriptionAvailable(bool),
    SubscriptionIdentifierAvailable(bool),
    SharedSubscriptionAvailable(bool),
}

/// The properties of a packet, in their order.
#[derive(Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct PropertiesForm(Vec<PropertyForm>);

impl PropertiesForm {
    pub(super) fn of<S: Storage>(properties: &Properties<S>) -> Self {
        Self(properties.iter().map(PropertyForm::of).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn properties(self) -> Result<Properties, String> {
        let start = Properties::builder();
        let builder = self
            .0
            .into_iter()
            .try_fold(start, |builder, form| form.add_to(builder))?;
        builder.build().map_err(|error| error.to_string())
    }
}

impl PropertyForm {
    fn of(property: P<'_>) -> Self {
        match property {
            P::PayloadFormatIndicator(value) => Self::PayloadFormatIndicator(value),
            P::MessageExpiryInterval(value) => Self::MessageExpiryInterval(value),
            P::ContentType(value) => Self::ContentType(value.into()),
            P::ResponseTopic(value) => Self::ResponseTopic(value.into()),
            P::CorrelationData(value) => Self::CorrelationData(BytesForm::of(value)),
            P::SubscriptionIdentifier(value) => Self::SubscriptionIdentifier(value),
            P::SessionExpiryInterval(value) => Self::SessionExpiryInterval(value),
            P::AssignedClientIdentifier(value) => Self::AssignedClientIdentifier(value.into()),
            P::ServerKeepAlive(value) => Self::ServerKeepAlive(value),
            P::AuthenticationMethod(value) => Self::AuthenticationMethod(value.into()),
            P::AuthenticationData(value) => Self::AuthenticationData(BytesForm::of(value)),
            P::RequestProblemInformation(value) => Self::RequestProblemInformation(value),
            P::WillDelayInterval(value) => Self::WillDelayInterval(value),
            P::RequestResponseInformation(value) => Self::RequestResponseInformation(value),
            P::ResponseInformation(value) => Self::ResponseInformation(value.into()),
            P::ServerReference(value) => Self::ServerReference(value.into()),
            P::ReasonString(value) => Self::ReasonString(value.into()),
            P::ReceiveMaximum(value) => Self::ReceiveMaximum(value),
            P::TopicAliasMaximum(value) => Self::TopicAliasMaximum(value),
            P::TopicAlias(value) => Self::TopicAlias(value),
            P::MaximumQoS(qos) => Self::MaximumQoS(qos.as_u8()),
            P::RetainAvailable(value) => Self::RetainAvailable(value),
            P::UserProperty(name, value) => Self::UserProperty(name.into(), value.into()),
            P::MaximumPacketSize(value) => Self::MaximumPacketSize(value),
            P::WildcardSubscriptionAvailable(value) => Self::WildcardSubscriptionAvailable(value),
            P::SubscriptionIdentifierAvailable(value) => {
                Self::SubscriptionIdentifierAvailable(value)
            }
            P::SharedSubscriptionAvailable(value) => Self::SharedSubscriptionAvailable(value),
        }
    }

    fn add_to(
        self,
        builder: PropertiesBuilder<Vec<u8>>,
    ) -> Result<PropertiesBuilder<Vec<u8>>, &'static str> {
        Ok(match self {
            Self::PayloadFormatIndicator(value) => {
                builder.property(P::PayloadFormatIndicator(value))
            }
            Self::MessageExpiryInterval(value) => builder.property(P::MessageExpiryInterval(value)),
            Self::ContentType(value) => builder.property(P::ContentType(&value)),
            Self::ResponseTopic(value) => builder.property(P::ResponseTopic(&value)),
            Self::CorrelationData(value) => builder.property(P::CorrelationData(&value.bytes()?)),
            Self::SubscriptionIdentifier(value) => {
                builder.property(P::SubscriptionIdentifier(value))
            }
            Self::SessionExpiryInterval(value) => builder.property(P::SessionExpiryInterval(value)),
            Self::AssignedClientIdentifier(value) => {
                builder.property(P::AssignedClientIdentifier(&value))
            }
            Self::ServerKeepAlive(value) => builder.property(P::ServerKeepAlive(value)),
            Self::AuthenticationMethod(value) => builder.property(P::AuthenticationMethod(&value)),
            Self::AuthenticationData(value) => {
                builder.property(P::AuthenticationData(&value.bytes()?))
            }
            Self::RequestProblemInformation(value) => {
                builder.property(P::RequestProblemInformation(value))
            }
            Self::WillDelayInterval(value) => builder.property(P::WillDelayInterval(value)),
            Self::RequestResponseInformation(value) => {
                builder.property(P::RequestResponseInformation(value))
            }
            Self::ResponseInformation(value) => builder.property(P::ResponseInformation(&value)),
            Self::ServerReference(value) => builder.property(P::ServerReference(&value)),
            Self::ReasonString(value) => builder.property(P::ReasonString(&value)),
            Self::ReceiveMaximum(value) => builder.property(P::ReceiveMaximum(value)),
            Self::TopicAliasMaximum(value) => builder.property(P::TopicAliasMaximum(value)),
            Self::TopicAlias(value) => builder.property(P::TopicAlias(value)),
            Self::MaximumQoS(value) => {
                let qos = QoS::from_u8(value).ok_or("a QoS is 0, 1 or 2")?;
                builder.property(P::MaximumQoS(qos))
            }
            Self::RetainAvailable(value) => builder.property(P::RetainAvailable(value)),
            Self::UserProperty(name, value) => builder.property(P::UserProperty(&name, &value)),
            Self::MaximumPacketSize(value) => builder.property(P::MaximumPacketSize(value)),
            Self::WildcardSubscriptionAvailable(value) => {
                builder.property(P::WildcardSubscriptionAvailable(value))
            }
            Self::SubscriptionIdentifierAvailable(value) => {
                builder.property(P::SubscriptionIdentifierAvailable(value))
            }
            Self::SharedSubscriptionAvailable(value) => {
                builder.property(P::SharedSubscriptionAvailable(value))
            }
        })
    }
}
