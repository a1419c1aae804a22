//! A received message as JSON.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Zoned;
use mqttstack_client::{
    Received,
    codec::{PacketId, Properties, QoS, Storage},
};
use serde::Serialize;
use serde_json::value::RawValue;

/// What is known of a received message.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) time: &'a Zoned,
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) packet_id: Option<PacketId>,
    /// In seconds, rounded up.
    pub(crate) expiry: Option<u64>,
    pub(crate) subscription_ids: &'a [u32],
    pub(crate) details: Details<'a>,
}

/// The properties that travel with a message.
#[derive(Debug, Default)]
pub(crate) struct Details<'a> {
    pub(crate) content_type: Option<&'a str>,
    pub(crate) response_topic: Option<&'a str>,
    pub(crate) correlation_data: Option<&'a [u8]>,
    pub(crate) payload_format: Option<bool>,
    pub(crate) user_properties: Vec<(&'a str, &'a str)>,
}

impl<'a> Details<'a> {
    pub(crate) fn of<S: Storage>(properties: &'a Properties<S>) -> Self {
        Self {
            content_type: properties.content_type(),
            response_topic: properties.response_topic(),
            correlation_data: properties.correlation_data(),
            payload_format: properties.payload_format_indicator(),
            user_properties: properties.user_properties().collect(),
        }
    }
}

impl<'a> Record<'a> {
    pub(crate) fn of(received: &'a Received, details: Details<'a>, time: &'a Zoned) -> Self {
        let message = received.message();
        let expires_in = received.expires_in();
        Self {
            time,
            topic: message.topic(),
            payload: message.payload(),
            qos: message.qos(),
            retain: message.retain(),
            packet_id: received.packet_id(),
            expiry: expires_in.map(|left| left.as_secs() + u64::from(left.subsec_nanos() > 0)),
            subscription_ids: received.subscription_ids(),
            details,
        }
    }

    /// Returns the message as one line of JSON. `embeds` puts a payload that is JSON itself in as
    /// such, not as a string.
    pub(crate) fn to_json(&self, embeds: bool) -> String {
        let text = std::str::from_utf8(self.payload).ok();
        let embedded = text.filter(|_| embeds);
        let embedded = embedded.and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
        let payload = match (embedded, text) {
            (Some(json), _) => Payload::Json { payload: json },
            (None, Some(text)) => Payload::Text { payload: text },
            (None, None) => Payload::Binary {
                payload_base64: STANDARD.encode(self.payload),
            },
        };
        let object = Object {
            tst: self.time.strftime("%Y-%m-%dT%H:%M:%S.%6f%z").to_string(),
            topic: self.topic,
            qos: self.qos.as_u8(),
            retain: u8::from(self.retain),
            payloadlen: self.payload.len(),
            mid: self.packet_id.map(PacketId::get),
            properties: self.properties(),
            payload,
        };
        // Strings and numbers can always be expressed.
        serde_json::to_string(&object).unwrap_or_default()
    }

    fn properties(&self) -> Option<JsonProperties<'_>> {
        let details = &self.details;
        let properties = JsonProperties {
            payload_format_indicator: details.payload_format.map(u8::from),
            message_expiry_interval: self.expiry,
            content_type: details.content_type,
            response_topic: details.response_topic,
            correlation_data: details.correlation_data.map(text_or_base64),
            user_properties: &details.user_properties,
            subscription_identifiers: self.subscription_ids,
        };
        (!properties.is_empty()).then_some(properties)
    }
}

/// Returns bytes as text; what is no text, in base64.
fn text_or_base64(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => STANDARD.encode(bytes),
    }
}

#[derive(Serialize)]
struct Object<'a> {
    tst: String,
    topic: &'a str,
    qos: u8,
    retain: u8,
    payloadlen: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    mid: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<JsonProperties<'a>>,
    #[serde(flatten)]
    payload: Payload<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Payload<'a> {
    Json { payload: &'a RawValue },
    Text { payload: &'a str },
    Binary { payload_base64: String },
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct JsonProperties<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_format_indicator: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_expiry_interval: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_topic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_data: Option<String>,
    /// Pairs, because names may repeat and order counts.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    user_properties: &'a [(&'a str, &'a str)],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    subscription_identifiers: &'a [u32],
}

impl JsonProperties<'_> {
    fn is_empty(&self) -> bool {
        self.payload_format_indicator.is_none()
            && self.message_expiry_interval.is_none()
            && self.content_type.is_none()
            && self.response_topic.is_none()
            && self.correlation_data.is_none()
            && self.user_properties.is_empty()
            && self.subscription_identifiers.is_empty()
    }
}
