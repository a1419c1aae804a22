//! Packets for people: one line that names what differs from the ordinary.

use core::fmt;

use crate::{
    Connect, Packet, PacketId, Properties, Property, Publish, ReasonCode, RetainHandling, Storage,
    Subscription, Will,
};

impl<S: Storage> fmt::Display for Packet<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.packet_type().name())?;
        match self {
            Self::Connect(connect) => connect.fmt_fields(f),
            Self::ConnAck(connack) => {
                write!(f, " {}", connack.reason_code)?;
                flag(f, connack.session_present, "session-present")?;
                properties(f, &connack.properties)
            }
            Self::Publish(publish) => publish.fmt_fields(f),
            Self::PubAck(ack) | Self::PubRec(ack) | Self::PubRel(ack) | Self::PubComp(ack) => {
                write!(f, " id={} {}", ack.packet_id, ack.reason_code)?;
                properties(f, &ack.properties)
            }
            Self::Subscribe(subscribe) => {
                list(f, subscribe.packet_id, subscribe.filters.iter())?;
                properties(f, &subscribe.properties)
            }
            Self::SubAck(suback) => {
                list(f, suback.packet_id, suback.reason_codes.iter().map(Granted))?;
                properties(f, &suback.properties)
            }
            Self::Unsubscribe(unsubscribe) => {
                list(
                    f,
                    unsubscribe.packet_id,
                    unsubscribe.filters.iter().map(Quoted),
                )?;
                properties(f, &unsubscribe.properties)
            }
            Self::UnsubAck(unsuback) => {
                list(f, unsuback.packet_id, unsuback.reason_codes.iter())?;
                properties(f, &unsuback.properties)
            }
            Self::PingReq | Self::PingResp => Ok(()),
            Self::Disconnect(disconnect) => {
                write!(f, " {}", disconnect.reason_code)?;
                properties(f, &disconnect.properties)
            }
            Self::Auth(auth) => {
                write!(f, " {}", auth.reason_code)?;
                properties(f, &auth.properties)
            }
        }
    }
}

impl<S: Storage> Connect<S> {
    fn fmt_fields(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " {} client={:?}", self.version, self.client_id.as_ref())?;
        flag(f, self.bridge, "bridge")?;
        flag(f, self.clean_start, "clean")?;
        write!(f, " keep-alive={}s", self.keep_alive)?;
        if let Some(username) = &self.username {
            write!(f, " user={:?}", username.as_ref())?;
        }
        if let Some(password) = &self.password {
            write!(f, " password=<{} bytes>", password.as_ref().len())?;
        }
        if let Some(will) = &self.will {
            will.fmt_fields(f)?;
        }
        properties(f, &self.properties)
    }
}

impl<S: Storage> Will<S> {
    fn fmt_fields(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            " will=[{:?} qos={}",
            self.topic.as_ref(),
            self.qos.as_u8()
        )?;
        flag(f, self.retain, "retain")?;
        write!(f, " {} bytes", self.payload.as_ref().len())?;
        properties(f, &self.properties)?;
        f.write_str("]")
    }
}

impl<S: Storage> Publish<S> {
    fn fmt_fields(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " {:?} qos={}", self.topic.as_ref(), self.qos().as_u8())?;
        if let Some(packet_id) = self.packet_id() {
            write!(f, " id={packet_id}")?;
        }
        flag(f, self.dup(), "dup")?;
        flag(f, self.retain, "retain")?;
        write!(f, " {} bytes", self.payload.as_ref().len())?;
        properties(f, &self.properties)
    }
}

impl fmt::Display for Subscription<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = self.options;
        write!(f, "{:?} qos={}", self.filter, options.qos.as_u8())?;
        flag(f, options.no_local, "no-local")?;
        flag(f, options.retain_as_published, "retain-as-published")?;
        f.write_str(match options.retain_handling {
            RetainHandling::Send => "",
            RetainHandling::SendIfNew => " retained-if-new",
            RetainHandling::DoNotSend => " no-retained",
        })
    }
}

impl fmt::Display for Property<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.id())?;
        match self {
            Self::PayloadFormatIndicator(true) => f.write_str("text"),
            Self::PayloadFormatIndicator(false) => f.write_str("bytes"),
            Self::RequestProblemInformation(flag)
            | Self::RequestResponseInformation(flag)
            | Self::RetainAvailable(flag)
            | Self::WildcardSubscriptionAvailable(flag)
            | Self::SubscriptionIdentifierAvailable(flag)
            | Self::SharedSubscriptionAvailable(flag) => {
                f.write_str(if *flag { "yes" } else { "no" })
            }
            Self::MessageExpiryInterval(seconds) | Self::WillDelayInterval(seconds) => {
                write!(f, "{seconds}s")
            }
            Self::SessionExpiryInterval(u32::MAX) => f.write_str("never"),
            Self::SessionExpiryInterval(seconds) => write!(f, "{seconds}s"),
            Self::ServerKeepAlive(seconds) => write!(f, "{seconds}s"),
            Self::ContentType(text)
            | Self::ResponseTopic(text)
            | Self::AssignedClientIdentifier(text)
            | Self::AuthenticationMethod(text)
            | Self::ResponseInformation(text)
            | Self::ServerReference(text)
            | Self::ReasonString(text) => write!(f, "{text:?}"),
            Self::CorrelationData(bytes) | Self::AuthenticationData(bytes) => {
                write!(f, "<{} bytes>", bytes.len())
            }
            Self::SubscriptionIdentifier(number) | Self::MaximumPacketSize(number) => number.fmt(f),
            Self::ReceiveMaximum(number)
            | Self::TopicAliasMaximum(number)
            | Self::TopicAlias(number) => number.fmt(f),
            Self::MaximumQoS(qos) => qos.as_u8().fmt(f),
            Self::UserProperty(name, value) => write!(f, "{name:?}={value:?}"),
        }
    }
}

/// Text in quotes, with what cannot be read escaped.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// A code of SUBACK, where 0 is a grant.
struct Granted(ReasonCode);

impl fmt::Display for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == ReasonCode::Success {
            return f.write_str("granted QoS 0 (0x00)");
        }
        self.0.fmt(f)
    }
}

fn flag(f: &mut fmt::Formatter<'_>, is_set: bool, name: &str) -> fmt::Result {
    if is_set {
        write!(f, " {name}")?;
    }
    Ok(())
}

fn list<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    packet_id: PacketId,
    entries: impl Iterator<Item = T>,
) -> fmt::Result {
    write!(f, " id={packet_id}")?;
    let mut separator = " ";
    for entry in entries {
        write!(f, "{separator}{entry}")?;
        separator = ", ";
    }
    Ok(())
}

fn properties<S: Storage>(f: &mut fmt::Formatter<'_>, properties: &Properties<S>) -> fmt::Result {
    let mut separator = " {";
    for property in properties {
        write!(f, "{separator}{property}")?;
        separator = ", ";
    }
    if !properties.is_empty() {
        f.write_str("}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
