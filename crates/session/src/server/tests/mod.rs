//! The server role against the statements of the standards.

mod authentication;
mod connect;
mod ending;
mod queue;
mod receiving;
mod requests;
mod sending;

use alloc::sync::Arc;
use std::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use mqttstack_codec::{Auth, Packet, ProtocolVersion, ReasonCode};
use mqttstack_limits::{Instant, Limits};

use super::{Acceptance, EndCause, Ended, Event, Session};
use crate::{
    DeliveryOptions, Encoded, MessagePool, ProtocolError, PublishError, SessionState,
    SubscriptionIds,
    testing::{self, Script, Subject, at, hex_code, id, message, properties, variant},
};

/// A server session and what its owner has to remember.
struct Server {
    session: Session,
    limits: Arc<Limits>,
    /// What the last connection left.
    stored: SessionState,
}

/// Runs a script against a server with these limits, from the opening of the transport.
fn check(limits: Limits, script: Script<'_>) {
    let limits = Arc::new(limits);
    let mut server = Server {
        session: Session::new(Arc::clone(&limits), at(0.0)),
        limits,
        stored: SessionState::new(),
    };
    testing::run(&mut server, script);
}

/// Limits that announce nothing, so that CONNACK is bare.
fn quiet() -> Limits {
    Limits {
        receive_maximum: u16::MAX,
        topic_alias_maximum: 0,
        ..Limits::default()
    }
}

/// Runs a script against a server that has accepted this CONNECT.
fn check_connected(limits: Limits, connect: &str, script: Script<'_>) {
    let limits = Arc::new(limits);
    let mut session = accepted(&limits, connect);
    assert!(session.poll_packet(at(0.0)).is_some(), "CONNACK");
    let mut server = Server {
        session,
        limits,
        stored: SessionState::new(),
    };
    testing::run(&mut server, script);
}

/// Returns a session that has accepted this CONNECT, and is about to say so.
fn accepted(limits: &Arc<Limits>, connect: &str) -> Session {
    let mut session = Session::new(Arc::clone(limits), at(0.0));
    let connect = Packet::Connect(testing::connect(connect));
    session.handle_packet(connect, at(0.0)).expect("accepted");
    assert!(matches!(
        session.poll_event(),
        Some(Event::ConnectRequested(_))
    ));
    session
        .accept(Acceptance::default(), at(0.0))
        .expect("fits");
    session
}

fn connected(limits: &Limits) -> Session {
    let mut session = Session::new(Arc::new(limits.clone()), at(0.0));
    let connect = Packet::Connect(testing::connect("id=c"));
    session.handle_packet(connect, at(0.0)).expect("accepted");
    session
        .accept(Acceptance::default(), at(0.0))
        .expect("fits");
    while session.poll_packet(at(0.0)).is_some() {}
    session
}

fn codes(words: &str) -> Vec<ReasonCode> {
    words.split_whitespace().filter_map(hex_code).collect()
}

fn packet_id(words: &str) -> mqttstack_codec::PacketId {
    let number = words
        .split_whitespace()
        .find_map(|word| word.strip_prefix('#'));
    id(number.and_then(|n| n.parse().ok()).expect("#identifier"))
}

impl Subject for Server {
    fn receive(&mut self, packet: Packet, now: Instant) -> Result<(), ProtocolError> {
        self.session.handle_packet(packet, now)
    }

    fn command(&mut self, verb: &str, words: &str, now: Instant) {
        if verb == "publish" {
            return self.publish(words, now);
        }
        let session = &mut self.session;
        let code = codes(words).first().copied().unwrap_or_default();
        match verb {
            "accept" | "resume" => {
                let assigned = words
                    .split_whitespace()
                    .find_map(|word| word.strip_prefix("as:"));
                let acceptance = Acceptance {
                    state: core::mem::take(&mut self.stored),
                    session_present: verb == "resume",
                    assigned_client_id: assigned.map(Into::into),
                    properties: properties(words),
                };
                if let Err(not_accepted) = session.accept(acceptance, now) {
                    self.stored = *not_accepted.state;
                }
            }
            "refuse" => session.refuse_with(code, properties(words)),
            "authenticate" => session.authenticate(Auth {
                reason_code: code,
                properties: properties(words),
            }),
            "acknowledge" => session.acknowledge_with(packet_id(words), code, properties(words)),
            "suback" => session.suback_with(packet_id(words), codes(words), properties(words)),
            "unsuback" => session.unsuback_with(packet_id(words), codes(words), properties(words)),
            "disconnect" => session.disconnect_with(code, properties(words)),
            "close" => session.handle_closed(),
            // A new transport; the state of the old connection is stored.
            "reopen" => {
                session.handle_closed();
                self.stored = session.detach().expect("a session");
                self.session = Session::new(Arc::clone(&self.limits), now);
            }
            "settle" => self.stored.acknowledge(packet_id(words), code),
            _ => panic!("no such verb: {verb}"),
        }
    }

    fn time_out(&mut self, now: Instant) -> Result<(), ProtocolError> {
        self.session.handle_timeout(now)
    }

    fn version(&self) -> ProtocolVersion {
        self.session.version().unwrap_or(ProtocolVersion::V5)
    }

    fn next_packet(&mut self, now: Instant) -> Option<Packet> {
        let has_packet = self.session.has_packet();
        let encoded = self.encode_next(now);
        let packet = self.session.poll_packet(now);
        assert!(has_packet || packet.is_none(), "has_packet denied a packet");
        let packet = packet.map(|packet| packet.into_packet(self.version()).expect("a packet"));
        let mut expected = packet.as_ref().map(|_| Vec::new());
        if let (Some(packet), Some(out)) = (&packet, &mut expected) {
            packet.encode(self.version(), out).expect("it encodes");
        }
        assert_eq!(encoded, expected, "what is encoded where it waits");
        packet
    }

    fn next_event(&mut self) -> Option<String> {
        Some(match self.session.poll_event()? {
            Event::ConnectRequested(connect) if connect.bridge => "connect bridge".into(),
            Event::ConnectRequested(_) => "connect".into(),
            Event::AuthReceived(auth) => format!("auth {:02X}", auth.reason_code.as_u8()),
            Event::MessageReceived { message, packet_id } => {
                let payload = String::from_utf8_lossy(message.payload()).to_string();
                let id = packet_id.map(|id| format!(" #{id}")).unwrap_or_default();
                format!("message {}={payload}{id}", message.topic())
            }
            Event::SubscribeRequested(subscribe) => format!("subscribe #{}", subscribe.packet_id),
            Event::UnsubscribeRequested(request) => format!("unsubscribe #{}", request.packet_id),
            Event::Ended(ended) => show_ended(&ended),
        })
    }

    fn timeout(&self) -> Option<Instant> {
        self.session.poll_timeout()
    }
}

impl Server {
    fn publish(&mut self, words: &str, now: Instant) {
        let message = message(words);
        let ids = properties(words);
        let options = DeliveryOptions {
            qos: message.qos(),
            retain: message.retain(),
            subscription_ids: ids.subscription_identifiers().collect::<SubscriptionIds>(),
            group: None,
        };
        let (mut scratch, mut early) = (Vec::new(), Vec::new());
        let session = &mut self.session;
        let is_early = session.encode_at_once(&message, &options, &mut scratch, &mut early);
        assert!(!is_early || !session.has_packet(), "something waits ahead");
        session.publish(message, options, now).expect("taken");
        if is_early {
            let expected = self.encode_next(now);
            assert_eq!(Some(early), expected, "what is encoded at once");
        }
    }

    /// Returns what a twin of the session encodes next.
    fn encode_next(&self, now: Instant) -> Option<Vec<u8>> {
        let (mut pool, mut out) = (MessagePool::new(8), Vec::new());
        let mut twin = self.session.clone();
        let encoded = twin.encode_next(&mut pool, &mut Vec::new(), &mut out, now)?;
        if let Encoded::Publish(Some(payload)) = encoded.expect("it encodes") {
            out.extend_from_slice(&payload);
        }
        assert_eq!(twin.queue_status(), {
            let mut other = self.session.clone();
            let _ = other.poll_packet(now);
            other.queue_status()
        });
        Some(out)
    }
}

fn show_ended(ended: &Ended) -> String {
    let cause = if let EndCause::Protocol(error) = &ended.cause {
        variant(error)
    } else {
        format!("{:?}", ended.cause)
    };
    let will = if ended.will.is_some() { " will" } else { "" };
    match ended.session_expiry_interval {
        0 => format!("ended {cause}{will}"),
        seconds => format!("ended {cause}{will} session={seconds}"),
    }
}
