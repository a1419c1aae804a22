//! What is done with the broker: one function for each kind of scenario.

mod connections;
mod flow;
mod kept;

use std::net::SocketAddr;

use mqttstack_codec::{ProtocolVersion, QoS};

use super::{
    client::Client,
    engine::{Engine, RunError},
    ledger::{Expected, Stream},
    measure::Phase,
    options::{Parameters, Scenario},
    receiver::Receiver,
    sender::{Pace, Sender},
    wire::{self, Introduction, Template, WireError},
};

/// Why a scenario did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScenarioError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("cannot make the packets: {0}")]
    Wire(#[from] WireError),
}

/// A scenario on its way.
pub(super) struct Run<'a> {
    pub(super) engine: Engine,
    pub(super) parameters: &'a Parameters,
    pub(super) version: ProtocolVersion,
    /// Tells this run's topics and clients from those of others.
    pub(super) number: u32,
    pub(super) filler: &'a [u8],
    pub(super) credentials: Option<(String, String)>,
}

/// What a publisher publishes: topics, and how many get each message.
struct Topics {
    names: Vec<String>,
    receivers: u32,
    retain: bool,
}

impl Run<'_> {
    /// Does all of it.
    pub(super) fn run(&mut self) -> Result<Vec<Phase>, ScenarioError> {
        match self.parameters.scenario {
            Scenario::P2p | Scenario::Latency | Scenario::Large => self.pairs(),
            Scenario::Fanout => self.fanout(),
            Scenario::Fanin => self.fanin(),
            Scenario::Wildcard => self.wildcard(),
            Scenario::Shared => self.shared(),
            Scenario::Retained => self.retained(),
            Scenario::Offline => self.offline(),
            Scenario::ConnectStorm => self.connect_storm(),
            Scenario::Idle => self.idle(),
        }
    }

    /// Returns a topic of this run.
    fn topic(&self, rest: impl std::fmt::Display) -> String {
        format!("bench/{:08x}/{rest}", self.number)
    }

    /// Adds a client with some subscriptions.
    fn client(
        &mut self,
        introduction: &Introduction,
        filters: &[String],
    ) -> Result<usize, WireError> {
        let greeting = wire::connect(self.version, introduction)?;
        let subscribe = wire::subscribe(self.version, filters, self.parameters.qos())?;
        let mut client = Client::new(greeting, subscribe);
        let sources = &self.parameters.source;
        if !sources.is_empty() {
            let at = self.engine.clients.len() % sources.len();
            client.source = sources.get(at).map(|address| SocketAddr::new(*address, 0));
        }
        Ok(self.engine.add(client))
    }

    /// Returns how a client that is nothing special introduces itself.
    fn introduction(&self, role: &str) -> Introduction {
        Introduction {
            client_id: format!("b{:08x}{role}{}", self.number, self.engine.clients.len()),
            is_durable: false,
            clean_start: true,
            receive_maximum: None,
            credentials: self.credentials.clone(),
        }
    }

    fn subscriber(&mut self, filters: &[String], expected: Expected) -> Result<usize, WireError> {
        let receive_maximum = self.parameters.receive_maximum;
        let introduction = Introduction {
            receive_maximum,
            ..self.introduction("s")
        };
        let id = self.client(&introduction, filters)?;
        let announced = receive_maximum.filter(|_| self.version.has_properties());
        self.engine.clients[id].receiver = Some(Box::new(Receiver::new(expected, announced)));
        Ok(id)
    }

    fn publisher(
        &mut self,
        topics: &Topics,
        messages: u64,
        qos: QoS,
        pace: Pace,
    ) -> Result<usize, WireError> {
        let id = self.client(&self.introduction("p"), &[])?;
        let mut first = None;
        let mut templates = Vec::with_capacity(topics.names.len());
        for name in &topics.names {
            let stream = self.engine.ledger.add(Stream {
                topic: name.as_str().into(),
                sender: id,
                receivers: topics.receivers,
            });
            first.get_or_insert(stream);
            let size = self.parameters.payload_size as usize;
            templates.push(Template::new(
                self.version,
                name,
                qos,
                topics.retain,
                size,
                self.filler,
            )?);
        }
        let sender = Sender::new(first.unwrap_or(0), templates, messages, qos, pace);
        self.engine.clients[id].sender = Some(Box::new(sender));
        Ok(id)
    }
}
