//! `-D COMMAND PROPERTY VALUE`: properties of MQTT 5.0 packets, as mosquitto's tools take them.

use mqttstack_client::{
    codec::{Properties, Property, Shared},
    limits::Limits,
    session::MessageBuilder,
};

use crate::failure::Failure;

/// The properties that were given, by packet.
#[derive(Debug, Default)]
pub(crate) struct GivenProperties {
    pub(crate) connect: Vec<Given>,
    pub(crate) publish: Vec<Given>,
    pub(crate) subscribe: Vec<Given>,
    pub(crate) unsubscribe: Vec<Given>,
    pub(crate) will: Vec<Given>,
}

/// One property.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Given {
    name: String,
    value: String,
    /// The second value of a User Property.
    second: String,
}

impl GivenProperties {
    /// Reads the values of all occurrences of `-D`, one after the other.
    pub(crate) fn parse(values: &[String]) -> Result<Self, Failure> {
        let mut given = Self::default();
        let mut values = values.iter();
        while let Some(command) = values.next() {
            let (Some(name), Some(value)) = (values.next(), values.next()) else {
                return Err(Failure::usage("-D needs a command, a property and a value"));
            };
            let second = match &**name {
                "user-property" => values.next().cloned().ok_or_else(|| {
                    Failure::usage("-D ... user-property needs a name and a value")
                })?,
                _ => String::new(),
            };
            let property = Given {
                name: name.clone(),
                value: value.clone(),
                second,
            };
            match &**command {
                "connect" => given.connect.push(property),
                "publish" => given.publish.push(property),
                "subscribe" => given.subscribe.push(property),
                "unsubscribe" => given.unsubscribe.push(property),
                "will" => given.will.push(property),
                other => {
                    return Err(Failure::usage(format!(
                        "-D {other}: not one of connect, publish, subscribe, unsubscribe, will"
                    )));
                }
            }
        }
        Ok(given)
    }

    pub(crate) fn is_empty(&self) -> bool {
        let all = [
            &self.connect,
            &self.publish,
            &self.subscribe,
            &self.unsubscribe,
            &self.will,
        ];
        all.iter().all(|given| given.is_empty())
    }
}

impl Given {
    fn number<T: std::str::FromStr>(&self) -> Result<T, Failure> {
        let (name, value) = (&self.name, &self.value);
        value
            .parse()
            .map_err(|_| Failure::usage(format!("{name}: `{value}` is not a fitting number")))
    }

    fn flag(&self) -> Result<bool, Failure> {
        match &*self.value {
            "0" => Ok(false),
            "1" => Ok(true),
            other => Err(Failure::usage(format!(
                "{}: `{other}` is neither 0 nor 1",
                self.name
            ))),
        }
    }

    fn unknown(&self, packet: &str) -> Failure {
        Failure::usage(format!("`{}` is not a property of {packet}", self.name))
    }
}

/// Returns the properties of CONNECT, puts limits where they belong, and returns the Session
/// Expiry Interval if it is among them.
pub(crate) fn connect(
    given: &[Given],
    limits: &mut Limits,
) -> Result<(Properties<Shared>, Option<u32>), Failure> {
    let mut builder = Properties::builder();
    let mut session_expiry = None;
    for property in given {
        let value = &*property.value;
        builder = match &*property.name {
            "session-expiry-interval" => {
                session_expiry = Some(property.number()?);
                builder
            }
            "receive-maximum" => {
                limits.receive_maximum = property.number()?;
                builder
            }
            "maximum-packet-size" => {
                limits.packet_size_max = property.number()?;
                builder
            }
            "topic-alias-maximum" => {
                limits.topic_alias_maximum = property.number()?;
                builder
            }
            "request-problem-information" => builder.request_problem_information(property.flag()?),
            "request-response-information" => {
                builder.request_response_information(property.flag()?)
            }
            "authentication-method" => builder.authentication_method(value),
            "authentication-data" => builder.authentication_data(value.as_bytes()),
            "user-property" => builder.user_property(value, &property.second),
            _ => return Err(property.unknown("CONNECT")),
        };
    }
    let properties = builder
        .build()
        .map_err(|error| Failure::usage(error.to_string()))?;
    Ok((properties, session_expiry))
}

/// Adds the properties of a PUBLISH to a message.
pub(crate) fn publish(
    given: &[Given],
    mut builder: MessageBuilder,
) -> Result<MessageBuilder, Failure> {
    for property in given {
        let value = &*property.value;
        builder = match &*property.name {
            "content-type" => builder.content_type(value),
            "correlation-data" => builder.correlation_data(value.as_bytes()),
            "message-expiry-interval" => builder.expiry_interval(property.number()?),
            "payload-format-indicator" => builder.payload_is_utf8(property.flag()?),
            "response-topic" => builder.response_topic(value),
            "user-property" => builder.user_property(value, &property.second),
            "topic-alias" => {
                return Err(Failure::usage("topic aliases are chosen by the client"));
            }
            _ => return Err(property.unknown("PUBLISH")),
        };
    }
    Ok(builder)
}

/// Takes the Will Delay Interval out, in seconds, and returns the rest.
pub(crate) fn will_delay(given: &[Given]) -> Result<(u32, Vec<Given>), Failure> {
    let is_delay = |property: &&Given| property.name == "will-delay-interval";
    let delay = given
        .iter()
        .find(is_delay)
        .map(Given::number)
        .transpose()?
        .unwrap_or(0);
    let rest = given.iter().filter(|property| !is_delay(property)).cloned();
    Ok((delay, rest.collect()))
}

/// Returns the properties of SUBSCRIBE or UNSUBSCRIBE.
pub(crate) fn subscribe(given: &[Given], packet: &str) -> Result<Properties<Shared>, Failure> {
    let mut builder = Properties::builder();
    for property in given {
        builder = match &*property.name {
            "subscription-identifier" if packet == "SUBSCRIBE" => {
                builder.property(Property::SubscriptionIdentifier(property.number()?))
            }
            "user-property" => builder.user_property(&property.value, &property.second),
            _ => return Err(property.unknown(packet)),
        };
    }
    builder
        .build()
        .map_err(|error| Failure::usage(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<GivenProperties, Failure> {
        GivenProperties::parse(&line.split(' ').map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn occurrences_are_told_apart_although_user_properties_have_two_values() {
        let given = parse(
            "publish user-property a b publish content-type text/plain connect receive-maximum 7",
        )
        .unwrap();
        assert_eq!((given.publish.len(), given.connect.len()), (2, 1));
        let mut limits = Limits::default();
        let (properties, expiry) = connect(&given.connect, &mut limits).unwrap();
        assert_eq!((limits.receive_maximum, expiry), (7, None));
        assert!(properties.is_empty());
        let message = mqttstack_client::session::Message::builder("t", "");
        let message = publish(&given.publish, message).unwrap().build().unwrap();
        let properties = message.properties();
        assert_eq!(properties.content_type(), Some("text/plain"));
        assert_eq!(
            properties.user_properties().collect::<Vec<_>>(),
            [("a", "b")]
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(parse("publish content-type").is_err());
        assert!(parse("publish user-property a").is_err());
        assert!(parse("pubish content-type text/plain").is_err());
        let given = parse("connect content-type text/plain").unwrap();
        assert!(connect(&given.connect, &mut Limits::default()).is_err());
        let given = parse("subscribe subscription-identifier 0").unwrap();
        assert!(subscribe(&given.subscribe, "SUBSCRIBE").is_err());
        let given = parse("connect receive-maximum many").unwrap();
        assert!(connect(&given.connect, &mut Limits::default()).is_err());
    }
}
