//! Two sessions, the packets between them, and their owners.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the owners act on some events and let the others pass"
)]

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use mqttstack_session::{
    DeliveryOptions, Message, PublishToken, QueueStatus, SessionState, SubscriptionIds,
    client::{self, LostSession, Outcome, Settings},
    codec::{
        Connect, Packet, PacketId, Properties, ProtocolVersion, QoS, ReasonCode, SubscribeFilters,
        Subscription,
    },
    limits::{Instant, Limits},
    server::{self, Acceptance},
};

use super::{
    chance::Chance,
    disk::{Crash, Disk},
    ledger::Ledger,
};

const NOW: Instant = Instant::from_micros(1);

/// What may happen.
#[derive(Clone, Copy, Default)]
pub(crate) struct Rules {
    /// The owner of the server acts on a message at once, and acknowledges it later.
    pub(crate) is_eager: bool,
    pub(crate) may_lose_session: bool,
    pub(crate) may_refuse: bool,
    /// Both sides write a journal, to stores that are slow; each may crash.
    pub(crate) has_stores: bool,
}

/// A message that the owner of the client has and has not acknowledged.
struct AtClient {
    packet_id: PacketId,
    number: usize,
    qos: QoS,
    /// Which of the sessions it belongs to.
    session: u64,
}

pub(crate) struct World {
    name: String,
    rules: Rules,
    chance: Chance,
    version: ProtocolVersion,
    client: client::Session,
    server: server::Session,
    /// Packets on their way.
    up: VecDeque<Packet>,
    down: VecDeque<Packet>,
    /// What the server keeps while the client is away.
    stored: Option<SessionState>,
    from_client: Ledger,
    from_server: Ledger,
    /// Messages that the owners have not acknowledged.
    at_server: Vec<(PacketId, usize)>,
    at_client: Vec<AtClient>,
    outcomes: BTreeMap<PublishToken, usize>,
    server_disk: Disk,
    client_disk: Disk,
    /// How many steps lie between two syncs, about.
    sync_interval: usize,
}

fn limits(receive_maximum: usize, inflight_max: usize) -> Limits {
    let number = |value| u16::try_from(value).expect("small");
    Limits {
        receive_maximum: number(receive_maximum),
        inflight_max: number(inflight_max),
        topic_alias_maximum: 2,
        topic_aliases_used_max: 2,
        ..Limits::default()
    }
}

fn settings(chance: &mut Chance) -> Settings {
    Settings {
        limits: Arc::new(limits(1 + chance.below(4), 1 + chance.below(6))),
        lost_session: LostSession::Resend,
        ..Settings::default()
    }
}

fn new_state(rules: Rules) -> SessionState {
    let mut state = SessionState::new();
    if rules.has_stores {
        state.keep_journal();
    }
    state
}

impl World {
    pub(crate) fn new(seed: u64, version: ProtocolVersion, rules: Rules, name: String) -> Self {
        let mut chance = Chance::new(seed);
        let mut world = Self {
            name,
            rules,
            version,
            // A first CONNACK may get lost: whatever the server has is this client's.
            client: client::Session::resume(settings(&mut chance), new_state(rules)),
            server: server::Session::new(Arc::default(), NOW),
            chance,
            up: VecDeque::new(),
            down: VecDeque::new(),
            stored: None,
            from_client: Ledger::new(rules.has_stores),
            from_server: Ledger::new(rules.has_stores),
            at_server: Vec::new(),
            at_client: Vec::new(),
            outcomes: BTreeMap::new(),
            server_disk: Disk::default(),
            client_disk: Disk::default(),
            sync_interval: [2, 10, 40][usize::try_from(seed % 3).expect("small")],
        };
        world.server.handle_closed();
        world
    }

    pub(crate) fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
            self.write_down(None);
            if self.rules.has_stores {
                self.disturb_stores();
            }
        }
    }

    /// Both sides write down what they have changed.
    fn write_down(&mut self, accepted: Option<usize>) {
        let server = &mut self.server;
        let mut operations: Vec<_> = std::iter::from_fn(|| server.poll_operation()).collect();
        if let Some(state) = &mut self.stored {
            operations.extend(std::iter::from_fn(|| state.poll_operation()));
        }
        self.server_disk.write(operations, accepted);
        let operations = std::iter::from_fn(|| self.client.poll_operation()).collect();
        self.client_disk.write(operations, accepted);
    }

    fn disturb_stores(&mut self) {
        if self.chance.once_in(self.sync_interval) {
            let units = 1 + self.chance.below(2 * self.sync_interval);
            if self.chance.once_in(2) {
                self.sync_server(units);
            } else {
                self.sync_client(units);
            }
        }
        match self.chance.below(300) {
            0 => self.crash_server(),
            1 => self.crash_client(),
            _ => {}
        }
    }

    fn sync_server(&mut self, units: usize) {
        let Some(sequence) = self.server_disk.sync(units) else {
            return;
        };
        self.server.handle_stored(sequence);
        if let Some(state) = &mut self.stored {
            state.handle_stored(sequence);
        }
        if self.server_disk.is_synced() {
            let live = match &self.stored {
                Some(state) => state.clone(),
                None => {
                    let mut server = self.server.clone();
                    server.handle_closed();
                    server.detach().expect("a session")
                }
            };
            self.server_disk.check(&live, &self.name);
        }
    }

    fn sync_client(&mut self, units: usize) {
        let Some(sequence) = self.client_disk.sync(units) else {
            return;
        };
        self.client.handle_stored(sequence);
        if self.client_disk.is_synced() {
            let live = self.client.clone().detach();
            self.client_disk.check(&live, &self.name);
        }
    }

    fn crash_server(&mut self) {
        self.cut();
        self.write_down(None);
        let Crash {
            state,
            unaccepted,
            unpublished,
            in_flight,
        } = self.server_disk.crash();
        self.stored = Some(state);
        self.from_client.forget_acceptances(&unaccepted);
        self.from_server.sender_crashed(&unpublished, in_flight);
    }

    fn crash_client(&mut self) {
        self.cut();
        self.write_down(None);
        let Crash {
            state,
            unaccepted,
            unpublished,
            in_flight,
        } = self.client_disk.crash();
        self.at_client.clear();
        self.client = client::Session::resume(settings(&mut self.chance), state);
        self.from_server.forget_acceptances(&unaccepted);
        self.from_client.sender_crashed(&unpublished, in_flight);
    }

    fn step(&mut self) {
        match self.chance.below(40) {
            // Crashes cut it as well, and most exchanges should come to their end.
            0 if self.rules.has_stores && !self.chance.once_in(6) => {}
            0 => self.cut(),
            1..=2 => self.connect(),
            3..=6 => self.publish_at_client(),
            7..=10 => self.publish_at_server(),
            11 => self.subscribe(),
            12..=17 => self.client_sends(),
            18..=23 => self.server_sends(),
            24..=29 => self.server_receives(),
            30..=35 => self.client_receives(),
            36..=37 => self.server_decides(),
            _ => self.client_decides(),
        }
    }

    /// Lets everything come to its end, undisturbed.
    pub(crate) fn settle(&mut self) {
        for _ in 0..20_000 {
            self.connect();
            self.client_sends();
            self.server_receives();
            self.server_decides();
            self.server_sends();
            self.client_receives();
            self.client_decides();
            self.write_down(None);
            self.sync_server(usize::MAX);
            self.sync_client(usize::MAX);
            if self.is_quiet() {
                return;
            }
        }
        panic!("{}: no end", self.name);
    }

    fn is_quiet(&self) -> bool {
        let idle = |status: QueueStatus| {
            status
                == QueueStatus {
                    dropped: status.dropped,
                    expired: status.expired,
                    ..QueueStatus::default()
                }
        };
        self.client.is_connected()
            && self.server.is_connected()
            && self.up.is_empty()
            && self.down.is_empty()
            && self.at_client.is_empty()
            && self.at_server.is_empty()
            && !self.client.has_packet()
            && !self.server.has_packet()
            && self.server_disk.is_synced()
            && self.client_disk.is_synced()
            && idle(self.client.queue_status())
            && idle(self.server.queue_status())
    }

    pub(crate) fn check_outcomes(&self) {
        self.from_client.check(&format!("{}, up", self.name));
        if !self.rules.may_lose_session {
            self.from_server.check(&format!("{}, down", self.name));
        }
        if self.rules.has_stores {
            // A client that crashed may hear of a message again.
            return;
        }
        for (token, outcomes) in &self.outcomes {
            assert_eq!(
                *outcomes, 1,
                "{}: {token:?} has {outcomes} outcomes",
                self.name
            );
        }
    }

    fn connect(&mut self) {
        if !self.client.is_ended() || !self.server.is_ended() {
            return;
        }
        if self.chance.once_in(4) {
            // The client goes on elsewhere, with other limits and another owner.
            self.at_client.clear();
            let fresh = client::Session::new(settings(&mut self.chance));
            let state = std::mem::replace(&mut self.client, fresh).detach();
            self.client = client::Session::resume(settings(&mut self.chance), state);
        }
        let server_limits = limits(1 + self.chance.below(4), 1 + self.chance.below(6));
        self.server = server::Session::new(Arc::new(server_limits), NOW);
        let connect = Connect {
            clean_start: false,
            properties: if self.version == ProtocolVersion::V5 {
                let builder = Properties::builder().session_expiry_interval(u32::MAX);
                builder.build().expect("valid")
            } else {
                Properties::empty()
            },
            ..Connect::new(self.version, "pair")
        };
        self.client.connect(connect, NOW);
    }

    /// The transport breaks: what is on its way is gone.
    fn cut(&mut self) {
        self.client.handle_closed();
        self.server.handle_closed();
        self.up.clear();
        self.down.clear();
        self.drain_events();
        if let Some(mut state) = self.server.detach() {
            for (packet_id, _) in self.at_server.drain(..) {
                if self.rules.is_eager {
                    // It has acted on these already.
                    state.acknowledge(packet_id, ReasonCode::Success);
                }
            }
            self.stored = Some(state);
        }
        self.at_server.clear();
        // At QoS 2 the owner still has to decide: the message does not come again.
        self.at_client
            .retain(|message| message.qos == QoS::ExactlyOnce);
        // A 3.1 client could not tell.
        if self.rules.may_lose_session
            && self.version != ProtocolVersion::V31
            && self.chance.once_in(3)
        {
            self.stored = None;
            // Nor can any client tell if the CONNACK that says so gets lost.
            self.from_client.receiver_forgets();
        }
    }

    fn any_qos(&mut self) -> QoS {
        match self.chance.below(5) {
            0 => QoS::AtMostOnce,
            1..=2 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        }
    }

    fn new_message(&mut self, qos: QoS, payload: String) -> Message {
        let topic = ["a", "b", "c"][self.chance.below(3)];
        let builder = Message::builder(topic, payload).qos(qos);
        builder.build().expect("valid")
    }

    fn publish_at_client(&mut self) {
        let qos = self.any_qos();
        let payload = self.from_client.publish(qos);
        let message = self.new_message(qos, payload);
        match self.client.publish(message, NOW) {
            Ok(token) => drop(self.outcomes.insert(token, 0)),
            Err(_) => self.from_client.withdraw(),
        }
        self.drain_events();
    }

    fn publish_at_server(&mut self) {
        let qos = self.any_qos();
        let payload = self.from_server.publish(qos);
        let message = self.new_message(qos, payload);
        let options = DeliveryOptions {
            qos,
            retain: false,
            subscription_ids: SubscriptionIds::None,
            group: None,
        };
        let taken = match &mut self.stored {
            Some(state) => state.enqueue(message, options, &Limits::default(), NOW),
            None => self.server.publish(message, options, NOW),
        };
        if taken.is_err() {
            self.from_server.withdraw();
        }
    }

    fn subscribe(&mut self) {
        let filters = SubscribeFilters::new([Subscription::new("a", QoS::AtMostOnce)]);
        let result = self
            .client
            .subscribe(filters.expect("valid"), Properties::empty());
        if let Ok(token) = result {
            self.outcomes.insert(token, 0);
        }
    }

    fn client_sends(&mut self) {
        let Some(packet) = self.client.poll_packet(NOW) else {
            return;
        };
        let packet = packet.into_packet(self.version).expect("a packet");
        self.from_client.on_sent(&packet);
        self.drain_events();
        self.up.push_back(packet);
    }

    fn server_sends(&mut self) {
        let Some(packet) = self.server.poll_packet(NOW) else {
            return;
        };
        let packet = packet.into_packet(self.version).expect("a packet");
        self.from_server.on_sent(&packet);
        self.down.push_back(packet);
    }

    fn server_receives(&mut self) {
        let Some(packet) = self.up.pop_front() else {
            return;
        };
        if let Packet::Connect(connect) = &packet {
            let receive_maximum = connect.properties.receive_maximum();
            let window = receive_maximum.map_or(usize::from(u16::MAX), |max| max.get().into());
            self.from_server.connected(window);
        }
        self.from_server.on_answered(&packet);
        let result = self.server.handle_packet(packet, NOW);
        assert_eq!(result, Ok(()), "{}: the server objects", self.name);
        self.drain_events();
    }

    fn client_receives(&mut self) {
        let Some(packet) = self.down.pop_front() else {
            return;
        };
        if let Packet::ConnAck(connack) = &packet {
            let receive_maximum = connack.properties.receive_maximum();
            let window = receive_maximum.map_or(usize::from(u16::MAX), |max| max.get().into());
            self.from_client.connected(window);
            if !connack.session_present && self.version != ProtocolVersion::V31 {
                self.from_client.forget();
            }
        }
        self.from_client.on_answered(&packet);
        let result = self.client.handle_packet(packet, NOW);
        assert_eq!(result, Ok(()), "{}: the client objects", self.name);
        self.drain_events();
    }

    /// The owners of both sides hear what has happened.
    fn drain_events(&mut self) {
        while let Some(event) = self.server.poll_event() {
            self.on_server_event(event);
        }
        while let Some(event) = self.client.poll_event() {
            self.on_client_event(event);
        }
    }

    fn on_server_event(&mut self, event: server::Event) {
        match event {
            server::Event::ConnectRequested(_) => {
                let stored = self.stored.take();
                if stored.is_none() {
                    self.from_server.forget();
                }
                let acceptance = Acceptance {
                    session_present: stored.is_some(),
                    state: stored.unwrap_or_else(|| new_state(self.rules)),
                    ..Acceptance::default()
                };
                self.server.accept(acceptance, NOW).expect("no limits");
            }
            server::Event::MessageReceived { message, packet_id } => {
                let number = self.from_client.on_arrived(message.payload());
                if let Some(packet_id) = packet_id {
                    if self.rules.is_eager {
                        self.from_client.on_decided(number, true);
                    }
                    self.at_server.push((packet_id, number));
                }
            }
            server::Event::SubscribeRequested(subscribe) => {
                self.server
                    .suback(subscribe.packet_id, [ReasonCode::Success]);
            }
            _ => {}
        }
    }

    fn on_client_event(&mut self, event: client::Event) {
        match event {
            client::Event::MessageReceived {
                message, packet_id, ..
            } => {
                let number = self.from_server.on_arrived(message.payload());
                if let Some(packet_id) = packet_id {
                    self.at_client.push(AtClient {
                        packet_id,
                        number,
                        qos: message.qos(),
                        session: self.client.sessions_begun(),
                    });
                }
            }
            client::Event::Completed { token, outcome } => {
                let lost = matches!(outcome, Outcome::Undelivered(_) | Outcome::Unanswered);
                let outcomes = self.outcomes.entry(token).or_default();
                *outcomes += 1;
                assert!(
                    !lost || *outcomes == 1 || self.rules.has_stores,
                    "{}: {token:?} {outcome:?}",
                    self.name
                );
            }
            _ => {}
        }
    }

    fn verdict(&mut self) -> ReasonCode {
        let may_refuse = self.rules.may_refuse && self.version == ProtocolVersion::V5;
        if may_refuse && self.chance.once_in(3) {
            ReasonCode::NotAuthorized
        } else {
            ReasonCode::Success
        }
    }

    fn server_decides(&mut self) {
        if self.at_server.is_empty() {
            return;
        }
        let verdict = self.verdict();
        let at = self.chance.below(self.at_server.len());
        let (packet_id, number) = self.at_server.remove(at);
        if !self.rules.is_eager {
            self.from_client.on_decided(number, !verdict.is_error());
        }
        self.write_down(None);
        self.server.acknowledge(packet_id, verdict);
        self.write_down(Some(number));
    }

    fn client_decides(&mut self) {
        if self.at_client.is_empty() {
            return;
        }
        let verdict = self.verdict();
        let at = self.chance.below(self.at_client.len());
        let message = self.at_client.remove(at);
        if message.session != self.client.sessions_begun() {
            // The server has forgotten it, and sends it as a new one if at all.
            return;
        }
        self.from_server
            .on_decided(message.number, !verdict.is_error());
        self.write_down(None);
        self.client.acknowledge(message.packet_id, verdict);
        self.write_down(Some(message.number));
    }
}
