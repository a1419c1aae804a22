//! The client role against the statements of the standards.

mod connect;
mod messages;

use alloc::sync::Arc;
use core::time::Duration;
use std::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use mqttstack_codec::{
    Auth, Disconnect, Packet, ProtocolVersion, ReasonCode, SubscribeFilters, Subscription,
    UnsubscribeFilters,
};
use mqttstack_limits::{Instant, Limits};

use super::{EndCause, Event, LostSession, Outcome, Session, Settings};
use crate::{
    ProtocolError, SessionState,
    testing::{self, Script, Subject, at, hex_code, id, message, properties, variant},
};

struct Client {
    session: Session,
    version: ProtocolVersion,
}

/// Settings that announce nothing, so that CONNECT is bare.
fn quiet() -> Settings {
    Settings {
        limits: Arc::new(Limits {
            receive_maximum: u16::MAX,
            topic_alias_maximum: 0,
            ..Limits::default()
        }),
        ping_timeout: Duration::from_secs(5),
        lost_session: LostSession::Resend,
    }
}

/// Runs a script against a client that has not connected.
fn check(settings: Settings, script: Script<'_>) {
    check_session(Session::new(settings), script);
}

fn check_session(session: Session, script: Script<'_>) {
    let version = ProtocolVersion::V5;
    testing::run(&mut Client { session, version }, script);
}

/// Runs a script against a client that sent this CONNECT and got this CONNACK.
fn check_connected(settings: Settings, connect: &str, connack: &str, script: Script<'_>) {
    let mut session = Session::new(settings);
    let connect = testing::connect(connect);
    let version = connect.version;
    session.connect(connect, at(0.0));
    assert!(session.poll_packet(at(0.0)).is_some(), "CONNECT");
    let connack = testing::packet(connack);
    session.handle_packet(connack, at(0.0)).expect("accepted");
    assert!(matches!(session.poll_event(), Some(Event::Connected(_))));
    testing::run(&mut Client { session, version }, script);
}

fn packet_id(words: &str) -> mqttstack_codec::PacketId {
    let number = words
        .split_whitespace()
        .find_map(|word| word.strip_prefix('#'));
    id(number.and_then(|n| n.parse().ok()).expect("#identifier"))
}

fn filters(words: &str) -> impl Iterator<Item = &str> {
    words
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("f:"))
}

impl Subject for Client {
    fn receive(&mut self, packet: Packet, now: Instant) -> Result<(), ProtocolError> {
        self.session.handle_packet(packet, now)
    }

    fn command(&mut self, verb: &str, words: &str, now: Instant) {
        let session = &mut self.session;
        let code = words
            .split_whitespace()
            .find_map(hex_code)
            .unwrap_or_default();
        match verb {
            "connect" => {
                let connect = testing::connect(words);
                self.version = connect.version;
                session.connect(connect, now);
            }
            "publish" => drop(session.publish(message(words), now)),
            "subscribe" => {
                let filters = filters(words)
                    .map(|filter| Subscription::new(filter, mqttstack_codec::QoS::AtLeastOnce));
                let filters = SubscribeFilters::new(filters).expect("filters");
                let _ = session.subscribe(filters, properties(words));
            }
            "unsubscribe" => {
                let filters = UnsubscribeFilters::new(filters(words)).expect("filters");
                let _ = session.unsubscribe(filters, properties(words));
            }
            "acknowledge" => session.acknowledge_with(packet_id(words), code, properties(words)),
            "authenticate" => session.authenticate(Auth {
                reason_code: code,
                properties: properties(words),
            }),
            "disconnect" => session.disconnect(Disconnect {
                reason_code: code,
                properties: properties(words),
            }),
            "progress" => session.handle_progress(now),
            "close" => session.handle_closed(),
            _ => panic!("no such verb: {verb}"),
        }
    }

    fn time_out(&mut self, now: Instant) -> Result<(), ProtocolError> {
        self.session.handle_timeout(now)
    }

    fn version(&self) -> ProtocolVersion {
        self.version
    }

    fn next_packet(&mut self, now: Instant) -> Option<Packet> {
        let has_packet = self.session.has_packet();
        let packet = self.session.poll_packet(now);
        assert!(has_packet || packet.is_none(), "has_packet denied a packet");
        packet.map(|packet| packet.into_packet(self.version).expect("a packet"))
    }

    fn next_event(&mut self) -> Option<String> {
        Some(match self.session.poll_event()? {
            Event::Connected(connack) if connack.session_present => "connected present".into(),
            Event::Connected(_) => "connected".into(),
            Event::AuthReceived(auth) => format!("auth {:02X}", auth.reason_code.as_u8()),
            Event::MessageReceived {
                message,
                packet_id,
                subscription_ids,
            } => {
                let payload = String::from_utf8_lossy(message.payload()).to_string();
                let id = packet_id.map(|id| format!(" #{id}")).unwrap_or_default();
                let ids: String = subscription_ids
                    .as_slice()
                    .iter()
                    .map(|id| format!(" sid={id}"))
                    .collect();
                format!("message {}={payload}{id}{ids}", message.topic())
            }
            Event::Completed { token, outcome } => {
                format!("done {} {}", token.get(), show_outcome(&outcome))
            }
            Event::Ended(cause) => format!("ended {}", show_cause(&cause)),
        })
    }

    fn timeout(&self) -> Option<Instant> {
        self.session.poll_timeout()
    }
}

fn show_outcome(outcome: &Outcome) -> String {
    let codes = match outcome {
        Outcome::Acknowledged { reason_code, .. } => Vec::from([*reason_code]),
        Outcome::Subscribed { reason_codes, .. } | Outcome::Unsubscribed { reason_codes, .. } => {
            reason_codes.iter().collect()
        }
        Outcome::Undelivered(why) => return format!("{why:?}"),
        Outcome::Sent | Outcome::Unanswered => Vec::new(),
    };
    let codes: String = codes
        .into_iter()
        .map(|code: ReasonCode| format!(" {:02X}", code.as_u8()))
        .collect();
    format!("{}{codes}", variant(outcome))
}

fn show_cause(cause: &EndCause) -> String {
    match cause {
        EndCause::Refused(connack) => {
            let reference = connack.properties.server_reference().unwrap_or_default();
            format!("Refused {:02X} {reference}", connack.reason_code.as_u8())
        }
        EndCause::ServerDisconnected {
            reason_code,
            properties,
        } => {
            let reference = properties.server_reference().unwrap_or_default();
            format!("ServerDisconnected {:02X} {reference}", reason_code.as_u8())
        }
        EndCause::Protocol(error) => variant(error),
        EndCause::TransportClosed | EndCause::ClientDisconnected => variant(cause),
    }
    .trim_end()
    .to_string()
}
