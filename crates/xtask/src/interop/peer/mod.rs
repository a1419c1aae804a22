//! Other people's clients, behind one face.
//!
//! A [`Tool`] is a client program in one protocol version. It can listen (one process that stays
//! connected) and publish (connect, publish, disconnect). How a given program is told to do that
//! is the business of [`mosquitto`] and [`agent`].

pub(crate) mod agent;
pub(crate) mod mosquitto;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};

use super::way::Way;
use super::{LARGE_WAIT, Stage, Version, WAIT};
use crate::clock::Deadline;
use crate::process::Guarded;

/// A client program of someone else.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Program {
    /// `mosquitto_pub` and `mosquitto_sub`.
    Mosquitto,
    /// paho-mqtt, Python.
    Paho,
    /// MQTT.js, Node.
    MqttJs,
    /// rumqttc, Rust: without wills and properties, so not one of [`Tool::all`].
    Rumqttc,
}

/// A client program that speaks one version.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Tool {
    pub(crate) program: Program,
    pub(crate) version: Version,
}

/// An application message.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Message {
    pub(crate) topic: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) payload_file: Option<PathBuf>,
    #[serde(with = "hexadecimal", default)]
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    #[serde(default)]
    pub(crate) properties: Properties,
}

/// The properties of a message that travel from publisher to subscriber, and the alias.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct Properties {
    pub(crate) user: Vec<(String, String)>,
    pub(crate) content_type: Option<String>,
    pub(crate) response_topic: Option<String>,
    /// Text, because one of the programs prints it raw.
    pub(crate) correlation_data: Option<String>,
    pub(crate) topic_alias: Option<u16>,
}

/// How to connect.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Connect {
    pub(crate) client_id: String,
    pub(crate) clean: bool,
    pub(crate) will: Option<Message>,
    pub(crate) topic_alias_maximum: Option<u16>,
    /// Which listener to connect to.
    #[serde(skip)]
    pub(crate) way: Way,
    /// The protocols to offer in TLS.
    pub(crate) alpn: Vec<String>,
}

/// What a client program reports.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// CONNACK accepted; not every program tells whether the session was there.
    Connected {
        session_present: Option<bool>,
    },
    Subscribed {
        codes: Vec<u8>,
    },
    Published,
    Message(Message),
    /// The broker ended the connection, with this DISCONNECT code if there was one.
    Closed {
        code: Option<u8>,
    },
    Failed {
        what: String,
    },
}

/// A connected client process; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Listener {
    process: Guarded,
    events: Receiver<Event>,
    session_present: Option<bool>,
    /// Messages that arrived while something else was waited for.
    early: VecDeque<Message>,
}

impl Message {
    pub(crate) fn new(topic: &str, payload: &str, qos: u8) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos,
            ..Self::default()
        }
    }

    pub(crate) fn retained(self) -> Self {
        Self {
            retain: true,
            ..self
        }
    }
}

impl Connect {
    pub(crate) fn clean(client_id: &str) -> Self {
        Self {
            client_id: client_id.into(),
            clean: true,
            will: None,
            topic_alias_maximum: None,
            way: Way::default(),
            alpn: Vec::new(),
        }
    }

    pub(crate) fn over(self, way: Way) -> Self {
        Self { way, ..self }
    }

    pub(crate) fn offering(self, protocol: &str) -> Self {
        Self {
            alpn: vec![protocol.to_owned()],
            ..self
        }
    }

    /// A session that outlives the connection, in 5.0 by an hour of expiry.
    pub(crate) fn persistent(client_id: &str) -> Self {
        Self {
            clean: false,
            ..Self::clean(client_id)
        }
    }

    pub(crate) fn with_will(self, will: Message) -> Self {
        Self {
            will: Some(will),
            ..self
        }
    }
}

impl Tool {
    /// Every program in every version that it speaks.
    pub(crate) fn all() -> Vec<Self> {
        let programs = [Program::Mosquitto, Program::Paho, Program::MqttJs];
        let versions = [Version::V31, Version::V311, Version::V5];
        programs
            .into_iter()
            .flat_map(|program| versions.map(|version| Self { program, version }))
            .collect()
    }

    /// Connects, subscribes to all filters at `qos`, and stays.
    pub(crate) fn listen(
        self,
        stage: &Stage<'_>,
        connect: &Connect,
        filters: &[&str],
        qos: u8,
    ) -> Result<Listener> {
        let listener = match self.program {
            Program::Mosquitto => mosquitto::listen(self.version, stage, connect, filters, qos),
            Program::Paho | Program::MqttJs | Program::Rumqttc => {
                agent::listen(self, stage, connect, filters, qos)
            }
        };
        listener.with_context(|| format!("{self} subscribing to {}", filters.join(", ")))
    }

    /// Connects, publishes in order with all acknowledgements, disconnects in order.
    pub(crate) fn publish(
        self,
        stage: &Stage<'_>,
        connect: &Connect,
        messages: &[Message],
    ) -> Result<()> {
        let published = match self.program {
            Program::Mosquitto => mosquitto::publish(self.version, stage, connect, messages),
            Program::Paho | Program::MqttJs | Program::Rumqttc => {
                agent::publish(self, stage, connect, messages)
            }
        };
        published.with_context(|| format!("{self} publishing"))
    }

    /// Leaves a persistent session with these subscriptions behind.
    pub(crate) fn plant_session(
        self,
        stage: &Stage<'_>,
        client_id: &str,
        filter: &str,
        qos: u8,
    ) -> Result<()> {
        let connect = Connect::persistent(client_id);
        let planted = match self.program {
            Program::Mosquitto => {
                mosquitto::plant_session(self.version, stage, &connect, filter, qos)
            }
            Program::Paho | Program::MqttJs | Program::Rumqttc => {
                agent::listen(self, stage, &connect, &[filter], qos).and_then(Listener::leave)
            }
        };
        planted.with_context(|| format!("{self} leaving a session"))
    }

    /// Connects again to the session that [`Self::plant_session`] left.
    pub(crate) fn resume(
        self,
        stage: &Stage<'_>,
        client_id: &str,
        filter: &str,
        qos: u8,
    ) -> Result<Listener> {
        // mosquitto_sub cannot connect without subscribing; the same filter again changes nothing.
        let filters = match self.program {
            Program::Mosquitto => &[filter][..],
            Program::Paho | Program::MqttJs | Program::Rumqttc => &[],
        };
        self.listen(stage, &Connect::persistent(client_id), filters, qos)
    }

    /// What this program makes of user properties; MQTT.js groups them by name.
    pub(crate) fn expected_user_properties(
        self,
        sent: &[(String, String)],
    ) -> Vec<(String, String)> {
        match self.program {
            Program::Mosquitto | Program::Paho | Program::Rumqttc => sent.to_vec(),
            Program::MqttJs => {
                let mut names: Vec<&String> = Vec::new();
                let mut groups: BTreeMap<&String, Vec<&String>> = BTreeMap::new();
                for (name, value) in sent {
                    if !names.contains(&name) {
                        names.push(name);
                    }
                    groups.entry(name).or_default().push(value);
                }
                names
                    .into_iter()
                    .flat_map(|name| {
                        let values = groups.remove(name).unwrap_or_default();
                        values
                            .into_iter()
                            .map(|value| (name.clone(), value.clone()))
                    })
                    .collect()
            }
        }
    }
}

impl Listener {
    fn new(process: Guarded, events: Receiver<Event>) -> Self {
        Self {
            process,
            events,
            session_present: None,
            early: VecDeque::new(),
        }
    }

    /// Whether the CONNACK said that the session was there, if the program tells.
    pub(crate) fn session_present(&self) -> Option<bool> {
        self.session_present
    }

    /// The next message within the usual wait.
    pub(crate) fn message(&mut self) -> Result<Message> {
        self.message_within(WAIT)
    }

    /// The next large message.
    pub(crate) fn large_message(&mut self) -> Result<Message> {
        self.message_within(LARGE_WAIT)
    }

    /// Reads messages until one is on `topic`, and returns all of them.
    pub(crate) fn messages_up_to(&mut self, topic: &str) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        loop {
            let message = self.message().with_context(|| {
                let topics: Vec<&str> = messages.iter().map(|m: &Message| &*m.topic).collect();
                format!("waiting for {topic} after {topics:?}")
            })?;
            let done = message.topic == topic;
            messages.push(message);
            if done {
                return Ok(messages);
            }
        }
    }

    /// Checks that no message arrives for a moment.
    pub(crate) fn expect_silence(&mut self) -> Result<()> {
        match self.message_if_any(Duration::from_millis(300))? {
            None => Ok(()),
            Some(message) => bail!("unexpected message on {}", message.topic),
        }
    }

    /// The next message, or `None` if none comes within `wait`.
    pub(crate) fn message_if_any(&mut self, wait: Duration) -> Result<Option<Message>> {
        if let Some(message) = self.early.pop_front() {
            return Ok(Some(message));
        }
        match self.event(wait)? {
            None => Ok(None),
            Some(Event::Message(message)) => Ok(Some(message)),
            Some(other) => Err(other.instead_of("a message")),
        }
    }

    /// Waits for the broker to end the connection and returns the code of its DISCONNECT.
    pub(crate) fn closed(&mut self) -> Result<Option<u8>> {
        match self.event(WAIT)? {
            Some(Event::Closed { code }) => Ok(code),
            Some(other) => Err(other.instead_of("the end of the connection")),
            None => bail!("the client program did not notice the end of the connection"),
        }
    }

    /// Kills the process: its socket closes without a DISCONNECT.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.process.kill()
    }

    /// Disconnects in order.
    fn leave(mut self) -> Result<()> {
        drop(self.process.stdin.take());
        let status = self.process.wait_for(WAIT)?;
        ensure!(status.success(), "the client program ended with {status}");
        Ok(())
    }

    fn message_within(&mut self, wait: Duration) -> Result<Message> {
        self.message_if_any(wait)?.context("no message in time")
    }

    fn event(&mut self, wait: Duration) -> Result<Option<Event>> {
        match self.events.recv_timeout(wait) {
            Ok(Event::Failed { what }) => bail!("the client program reports: {what}"),
            Ok(event) => Ok(Some(event)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("the client program ended"),
        }
    }

    /// Waits for the CONNACK.
    fn await_connected(&mut self) -> Result<()> {
        let event = self.next_report("the CONNACK")?;
        let Event::Connected { session_present } = event else {
            return Err(event.instead_of("the CONNACK"));
        };
        self.session_present = session_present;
        Ok(())
    }

    /// Waits until `filters` subscriptions are granted, all at `qos`.
    fn await_granted(&mut self, filters: usize, qos: u8) -> Result<()> {
        let mut granted = Vec::new();
        while granted.len() < filters {
            let event = self.next_report("a SUBACK")?;
            let Event::Subscribed { codes } = event else {
                return Err(event.instead_of("a SUBACK"));
            };
            granted.extend(codes);
        }
        ensure!(
            granted.iter().all(|&code| code == qos),
            "granted {granted:?}, asked for {qos}"
        );
        Ok(())
    }

    /// The next event that is not a message; messages are kept for later.
    fn next_report(&mut self, what: &str) -> Result<Event> {
        let deadline = Deadline::after(WAIT);
        while let Some(left) = deadline.remaining() {
            match self.event(left)? {
                Some(Event::Message(message)) => self.early.push_back(message),
                Some(event) => return Ok(event),
                None => {}
            }
        }
        bail!("no sign of {what} in time")
    }
}

impl Event {
    fn instead_of(&self, what: &str) -> anyhow::Error {
        anyhow!("expected {what}, got {self:?}")
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.program, self.version)
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mosquitto => "mosquitto_pub/sub",
            Self::Paho => "paho-mqtt",
            Self::MqttJs => "MQTT.js",
            Self::Rumqttc => "rumqttc",
        })
    }
}

/// Payloads in lines of text.
mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::interop::wire::hex;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], out: S) -> Result<S::Ok, S::Error> {
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        out.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(text: D) -> Result<Vec<u8>, D::Error> {
        hex(&String::deserialize(text)?).map_err(D::Error::custom)
    }
}
