//! The core by hand: cores, clients and time, all in one thread.

mod access;
mod connect;
mod crash;
mod durable;
mod fuzz;
mod large;
mod limits;
mod memory;
mod metrics;
mod publish;
mod retained;
mod shared;
mod subscribe;
mod takeover;
mod versions;
mod will;
mod workers;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use mqttstack_codec::{
    Ack, Connect, Decoder, Delivery, Disconnect, Packet, PacketId, Properties, ProtocolVersion,
    Publish, QoS, ReasonCode, Sender, Shared, Subscribe, SubscribeFilters, Subscription,
    SubscriptionOptions, Unsubscribe, UnsubscribeFilters, Will,
};
use mqttstack_limits::{BrokerLimits, Instant, Limits};
use mqttstack_session::journal::{OperationSequence, StoreImage, StoreOperation};

use super::{
    Access, AllowAll, Answer, ConnectionId, Core, Directory, Drained, Durability, Notice, Outlet,
    Settings, Ticket, WorkerId, WorkerMessage,
};

pub(super) use ProtocolVersion::{V5, V31, V311};

/// Cores that are joined by their messages, and clients at the other end of the bytes.
pub(super) struct Net {
    pub(super) cores: Vec<Core>,
    pub(super) now: Instant,
    pub(super) limits: Arc<Limits>,
    pub(super) notices: Vec<Notice>,
    peers: Vec<Peer>,
    /// Messages between workers wait here while they are held.
    on_the_way: VecDeque<(WorkerId, WorkerMessage)>,
    pub(super) holds_worker_messages: bool,
    /// What is durable.
    pub(super) image: StoreImage,
    /// What each core has drained and is not stored, in units.
    pub(super) unstored: Vec<VecDeque<Unit>>,
    pub(super) holds_store: bool,
    pub(super) is_durable: bool,
}

/// What was drained in one go, and the place of the last of it.
pub(super) type Unit = (OperationSequence, Vec<StoreOperation>);

/// What a [`Net`] is made of.
pub(super) struct Plan {
    pub(super) workers: u8,
    pub(super) limits: Limits,
    pub(super) broker_limits: BrokerLimits,
    pub(super) access: fn() -> Box<dyn Access>,
    pub(super) accept_bridges: bool,
    pub(super) durability: Durability,
    pub(super) status_interval: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            workers: 1,
            limits: Limits::default(),
            broker_limits: BrokerLimits::default(),
            access: || Box::new(AllowAll),
            accept_bridges: false,
            durability: Durability::Memory,
            status_interval: Duration::ZERO,
        }
    }
}

/// Names a client of a [`Net`].
pub(super) type Who = usize;

struct Peer {
    core: usize,
    id: ConnectionId,
    version: ProtocolVersion,
    incoming: Outgoing,
    /// What it has received and nobody has looked at.
    heard: Vec<String>,
    /// What it has received, if it is handed on as it is.
    packets: Option<Vec<Packet<Shared>>>,
    /// Whether it takes bytes.
    reads: bool,
    /// Whether it answers PUBLISH, PUBREC and PUBREL.
    answers: bool,
    is_closed: bool,
    next_packet_id: u16,
}

/// Bytes on their way to a client.
#[derive(Default)]
struct Outgoing {
    bytes: BytesMut,
}

impl Outlet for Outgoing {
    fn waiting(&self) -> usize {
        self.bytes.len()
    }

    fn buffer(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    fn append_shared(&mut self, payload: Bytes) {
        self.bytes.extend_from_slice(&payload);
    }
}

pub(super) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(super) fn packet_id(value: u16) -> PacketId {
    PacketId::new(value).expect("not 0")
}

/// A CONNECT with Clean Start (or clean session).
pub(super) fn clean(version: ProtocolVersion, client_id: &str) -> Connect<Shared> {
    let mut connect = Connect::new(version, client_id);
    connect.keep_alive = 0;
    connect
}

/// A CONNECT without Clean Start, whose session outlives the connection: by so many seconds in 5.0,
/// for ever in 3.x.
pub(super) fn lasting(version: ProtocolVersion, client_id: &str, expiry: u32) -> Connect<Shared> {
    let mut connect = clean(version, client_id);
    connect.clean_start = false;
    if version == V5 {
        connect.properties = Properties::builder()
            .session_expiry_interval(expiry)
            .build()
            .expect("valid");
    }
    connect
}

/// A CONNECT of 5.0 whose client takes packets of so many bytes.
pub(super) fn taking(mut connect: Connect<Shared>, packet_size_max: u32) -> Connect<Shared> {
    let properties = Properties::builder().properties(connect.properties.iter());
    connect.properties = properties
        .maximum_packet_size(packet_size_max)
        .build()
        .expect("valid");
    connect
}

/// A will to `will/{client id}`.
pub(super) fn with_will(mut connect: Connect<Shared>, delay: u32) -> Connect<Shared> {
    let properties = match delay {
        0 => Properties::empty(),
        seconds => Properties::builder()
            .will_delay_interval(seconds)
            .build()
            .expect("valid"),
    };
    connect.will = Some(Will {
        qos: QoS::AtLeastOnce,
        retain: false,
        properties,
        topic: format!("will/{}", &*connect.client_id).into(),
        payload: Bytes::from_static(b"gone"),
    });
    connect
}

/// A PUBLISH; its Packet Identifier is 1 if it needs one.
pub(super) fn message(topic: &str, payload: &str, qos: u8) -> Publish<Shared> {
    let mut publish = Publish::new(topic, payload.as_bytes().to_vec());
    let qos = QoS::from_u8(qos).expect("0 to 2");
    let id = (qos != QoS::AtMostOnce).then(|| packet_id(1));
    publish.delivery = Delivery::new(qos, id).expect("fits");
    publish
}

pub(super) fn retained(topic: &str, payload: &str, qos: u8) -> Publish<Shared> {
    let mut publish = message(topic, payload, qos);
    publish.retain = true;
    publish
}

pub(super) fn options(qos: u8) -> SubscriptionOptions {
    SubscriptionOptions::new(QoS::from_u8(qos).expect("0 to 2"))
}

impl Net {
    pub(super) fn new() -> Self {
        Self::planned(Plan::default())
    }

    pub(super) fn workers(workers: u8) -> Self {
        Self::planned(Plan {
            workers,
            ..Plan::default()
        })
    }

    pub(super) fn planned(plan: Plan) -> Self {
        let directory = Directory::new(7);
        let core = |index| {
            let mut number = u128::from(index) << 64;
            let unguessable = move || {
                number += 1;
                number
            };
            Core::new(Settings {
                limits: plan.broker_limits.clone(),
                access: (plan.access)(),
                accept_bridges: plan.accept_bridges,
                durability: plan.durability,
                status_interval: plan.status_interval,
                ..Settings::new(WorkerId::new(index), directory.clone(), unguessable)
            })
        };
        Self {
            cores: (0..plan.workers).map(core).collect(),
            now: Instant::from_micros(1_000_000),
            limits: Arc::new(plan.limits),
            notices: Vec::new(),
            peers: Vec::new(),
            on_the_way: VecDeque::new(),
            holds_worker_messages: false,
            image: StoreImage::new(),
            unstored: (0..plan.workers).map(|_| VecDeque::new()).collect(),
            holds_store: false,
            is_durable: plan.durability == Durability::Stored,
        }
    }

    /// Cores that are durable.
    pub(super) fn durable(workers: u8) -> Self {
        Self::planned(Plan {
            workers,
            durability: Durability::Stored,
            ..Plan::default()
        })
    }

    /// The process ends without a word, and another one begins with what is stored.
    pub(super) fn crash(mut self) -> Self {
        let workers = u8::try_from(self.cores.len()).expect("few");
        let mut net = Self::durable(workers);
        net.now = self.now + seconds(1);
        let recovered = self.image.recover(&Limits::default(), net.now);
        net.image = self.image;
        for (message, _) in recovered.retained {
            net.cores[0].restore_retained(&message, net.now);
        }
        for (place, (number, record)) in recovered.sessions.into_iter().enumerate() {
            let limits = Arc::clone(&net.limits);
            let core = place % net.cores.len();
            assert!(net.cores[core].restore(number, record, limits, net.now));
        }
        net.pump();
        net
    }

    /// Takes what a core wants to have written; returns whether there was something.
    fn write_down(&mut self, core: usize) -> bool {
        let mut unit: Option<Unit> = None;
        while let Some((sequence, operation)) = self.cores[core].poll_store_operation() {
            let (last, operations) = unit.get_or_insert_default();
            assert_eq!(sequence.get(), last.get().max(sequence.get() - 1) + 1);
            *last = sequence;
            operations.push(operation);
        }
        let Some(unit) = unit else { return false };
        self.unstored[core].push_back(unit);
        if !self.holds_store {
            self.sync_unit(core);
        }
        true
    }

    /// Makes the oldest unit of a core durable; returns whether there was one.
    pub(super) fn sync_unit(&mut self, core: usize) -> bool {
        let Some((sequence, operations)) = self.unstored[core].pop_front() else {
            return false;
        };
        for operation in operations {
            self.image.apply(operation).expect("it fits");
        }
        self.cores[core].handle_stored(sequence, self.now);
        true
    }

    /// Makes everything durable.
    pub(super) fn sync(&mut self) {
        loop {
            let any = (0..self.cores.len()).any(|core| self.sync_unit(core));
            if !any {
                return;
            }
            self.pump();
        }
    }

    /// Makes everything of some cores durable.
    pub(super) fn sync_only(&mut self, cores: &[usize]) {
        while cores.iter().any(|core| self.sync_unit(*core)) {
            self.pump();
        }
    }

    pub(super) fn try_open(&mut self, core: usize) -> Option<Who> {
        let who = self.peers.len();
        let handle = u64::try_from(who).expect("few");
        let limits = Arc::clone(&self.limits);
        let id =
            self.cores[core].handle_opened(handle, Arc::new("test".into()), limits, self.now)?;
        self.peers.push(Peer {
            core,
            id,
            version: V5,
            incoming: Outgoing::default(),
            heard: Vec::new(),
            packets: None,
            reads: true,
            answers: true,
            is_closed: false,
            next_packet_id: 1,
        });
        self.pump();
        Some(who)
    }

    pub(super) fn open(&mut self, core: usize) -> Who {
        self.try_open(core).expect("there is room")
    }

    /// Connects to the first worker; what comes of it is heard.
    pub(super) fn dial(&mut self, connect: Connect<Shared>) -> Who {
        self.dial_at(0, connect)
    }

    pub(super) fn dial_at(&mut self, core: usize, connect: Connect<Shared>) -> Who {
        let who = self.open(core);
        self.peers[who].version = connect.version;
        self.send(who, Packet::Connect(connect));
        who
    }

    /// Connects to the first worker, and is let in.
    pub(super) fn join(&mut self, connect: Connect<Shared>) -> Who {
        self.join_at(0, connect)
    }

    pub(super) fn join_at(&mut self, core: usize, connect: Connect<Shared>) -> Who {
        let who = self.dial_at(core, connect);
        let first = self.peers[who].heard.remove(0);
        assert!(first.starts_with("CONNACK success"), "{first}");
        who
    }

    pub(super) fn join_v5(&mut self, client_id: &str) -> Who {
        self.join(clean(V5, client_id))
    }

    pub(super) fn send(&mut self, who: Who, packet: Packet<Shared>) {
        let mut bytes = BytesMut::new();
        let version = self.peers[who].version;
        packet.encode(version, &mut bytes).expect("encodes");
        self.send_bytes(who, &bytes);
    }

    pub(super) fn send_bytes(&mut self, who: Who, bytes: &[u8]) {
        let (core, id) = (self.peers[who].core, self.peers[who].id);
        if !self.peers[who].is_closed {
            self.cores[core].handle_input(id, bytes, self.now);
        }
        self.pump();
    }

    /// Sends bytes that are written in hex; spaces and line ends are for the reader.
    pub(super) fn send_hex(&mut self, who: Who, hex: &str) {
        self.send_bytes(who, &from_hex(hex));
    }

    fn fresh_packet_id(&mut self, who: Who) -> PacketId {
        let peer = &mut self.peers[who];
        let id = packet_id(peer.next_packet_id);
        peer.next_packet_id = peer.next_packet_id.checked_add(1).unwrap_or(1);
        id
    }

    /// Publishes under a fresh Packet Identifier.
    pub(super) fn publish(&mut self, who: Who, mut publish: Publish<Shared>) {
        if publish.delivery.packet_id().is_some() {
            let id = self.fresh_packet_id(who);
            let dup = publish.delivery.dup();
            publish.delivery = Delivery::new(publish.qos(), Some(id))
                .expect("fits")
                .with_dup(dup);
        }
        self.send(who, Packet::Publish(publish));
    }

    pub(super) fn say(&mut self, who: Who, topic: &str, payload: &str, qos: u8) {
        self.publish(who, message(topic, payload, qos));
    }

    /// Subscribes; what comes of it is heard.
    pub(super) fn ask(
        &mut self,
        who: Who,
        filters: &[(&str, SubscriptionOptions)],
        subscription_id: Option<u32>,
    ) {
        let packet_id = self.fresh_packet_id(who);
        let properties = subscription_id.map_or_else(Properties::empty, |id| {
            Properties::builder()
                .subscription_identifier(id)
                .build()
                .expect("valid")
        });
        let entries = filters
            .iter()
            .map(|&(filter, options)| Subscription { filter, options });
        let filters = SubscribeFilters::new(entries).expect("well-formed");
        let subscribe = Subscribe {
            packet_id,
            properties,
            filters,
        };
        self.send(who, Packet::Subscribe(subscribe));
    }

    /// Subscribes, and takes the SUBACK away.
    pub(super) fn subscribe(&mut self, who: Who, filter: &str, qos: u8) {
        self.subscribe_with(who, filter, options(qos), None);
    }

    pub(super) fn subscribe_with(
        &mut self,
        who: Who,
        filter: &str,
        options: SubscriptionOptions,
        subscription_id: Option<u32>,
    ) {
        self.ask(who, &[(filter, options)], subscription_id);
        let heard = &mut self.peers[who].heard;
        let at = heard.iter().position(|line| line.starts_with("SUBACK"));
        let suback = heard.remove(at.expect("a SUBACK"));
        assert!(suback.contains("granted"), "{suback}");
    }

    /// Unsubscribes; what comes of it is heard.
    pub(super) fn unsubscribe(&mut self, who: Who, filters: &[&str]) {
        let packet_id = self.fresh_packet_id(who);
        let filters = UnsubscribeFilters::new(filters.iter().copied()).expect("well-formed");
        let properties = Properties::empty();
        let unsubscribe = Unsubscribe {
            packet_id,
            properties,
            filters,
        };
        self.send(who, Packet::Unsubscribe(unsubscribe));
    }

    /// Leaves in good order.
    pub(super) fn leave(&mut self, who: Who) {
        self.send(
            who,
            Packet::Disconnect(Disconnect::new(ReasonCode::Success)),
        );
        assert!(self.is_closed(who), "the server closes after DISCONNECT");
    }

    /// The connection breaks.
    pub(super) fn cut(&mut self, who: Who) {
        let (core, id) = (self.peers[who].core, self.peers[who].id);
        self.peers[who].is_closed = true;
        self.cores[core].handle_closed(id, self.now);
        self.pump();
    }

    /// From now on the client sends no acknowledgement by itself, and hears those it gets.
    pub(super) fn stop_answering(&mut self, who: Who) {
        self.peers[who].answers = false;
    }

    /// From now on what it gets is taken by [`take_packets`](Self::take_packets).
    pub(super) fn keep_packets(&mut self, who: Who) {
        self.peers[who].packets = Some(Vec::new());
    }

    pub(super) fn take_packets(&mut self, who: Who) -> Vec<Packet<Shared>> {
        let packets = self.peers[who].packets.as_mut();
        packets.map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn stop_reading(&mut self, who: Who) {
        self.peers[who].reads = false;
    }

    pub(super) fn read_again(&mut self, who: Who) {
        self.peers[who].reads = true;
        let (core, id) = (self.peers[who].core, self.peers[who].id);
        self.collect(who);
        self.cores[core].handle_writable(id, self.now);
        self.pump();
    }

    pub(super) fn is_closed(&self, who: Who) -> bool {
        self.peers[who].is_closed
    }

    pub(super) fn is_paused(&self, who: Who) -> bool {
        self.cores[self.peers[who].core].is_paused(self.peers[who].id)
    }

    pub(super) fn id_of(&self, who: Who) -> ConnectionId {
        self.peers[who].id
    }

    /// Takes what a client has received since the last time, a line for each packet.
    pub(super) fn hear(&mut self, who: Who) -> Vec<String> {
        std::mem::take(&mut self.peers[who].heard)
    }

    #[track_caller]
    pub(super) fn expect(&mut self, who: Who, lines: &[&str]) {
        assert_eq!(self.hear(who), lines);
    }

    /// The client has received these, and then the transport was closed.
    #[track_caller]
    pub(super) fn expect_end(&mut self, who: Who, lines: &[&str]) {
        assert_eq!(self.hear(who), lines);
        assert!(self.is_closed(who), "the transport is still open");
    }

    /// The program around the broker answers what it was asked.
    pub(super) fn answer(&mut self, ticket: Ticket, answer: impl Into<Answer>) {
        let core = usize::from(ticket.worker().index());
        self.cores[core].resolve(ticket, answer, self.now);
        self.pump();
    }

    /// Lets time pass; what becomes due does so at its time.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let due = self.cores.iter().filter_map(Core::poll_timeout).min();
            self.now = due.map_or(until, |due| due.min(until)).max(self.now);
            for core in &mut self.cores {
                core.handle_timeout(self.now);
            }
            self.pump();
            if due.is_none_or(|due| due > until) {
                self.now = until;
                return;
            }
        }
    }

    /// Hands on what the workers told one another while it was held.
    pub(super) fn release_worker_messages(&mut self) {
        self.holds_worker_messages = false;
        self.pump();
    }

    /// Hands on the first of what the workers told one another while it was held.
    pub(super) fn release_one_worker_message(&mut self) {
        let (worker, message) = self.on_the_way.pop_front().expect("one is held");
        self.cores[usize::from(worker.index())].handle_worker_message(message, self.now);
        self.pump();
    }

    /// Until nobody has anything left to say.
    pub(super) fn pump(&mut self) {
        loop {
            let mut is_quiet = true;
            for core in 0..self.cores.len() {
                while let Some((id, handle)) = self.cores[core].poll_dirty() {
                    is_quiet = false;
                    let who = usize::try_from(handle).expect("one of ours");
                    assert_eq!(id, self.peers[who].id);
                    self.drain(who);
                }
                is_quiet &= !self.write_down(core);
                while let Some(message) = self.cores[core].poll_worker_message() {
                    self.on_the_way.push_back(message);
                }
                self.notices
                    .extend(std::iter::from_fn(|| self.cores[core].poll_notice()));
            }
            while !self.holds_worker_messages
                && let Some((worker, message)) = self.on_the_way.pop_front()
            {
                is_quiet = false;
                self.cores[usize::from(worker.index())].handle_worker_message(message, self.now);
            }
            if is_quiet {
                return;
            }
        }
    }

    /// Hands over only those letters that are for some of the cores; the others stay on the way.
    pub(super) fn pass_to(&mut self, cores: &[u8]) {
        assert!(self.holds_worker_messages);
        loop {
            self.pump();
            let is_meant = |letter: &(WorkerId, _)| cores.contains(&letter.0.index());
            let Some(at) = self.on_the_way.iter().position(is_meant) else {
                return;
            };
            let (worker, letter) = self.on_the_way.remove(at).expect("it is there");
            self.cores[usize::from(worker.index())].handle_worker_message(letter, self.now);
        }
    }

    /// Lets all letters go on, the messages from one core first: only letters of the same core keep
    /// their order.
    pub(super) fn pass_all_but_first_from(&mut self, core: u8) {
        let is_first = |letter: &(WorkerId, WorkerMessage)| matches!(&letter.1, WorkerMessage::Deliver(letter) if letter.from().index() == core);
        let (first, rest): (VecDeque<_>, VecDeque<_>) =
            self.on_the_way.drain(..).partition(is_first);
        self.on_the_way = first.into_iter().chain(rest).collect();
        self.holds_worker_messages = false;
        self.pump();
    }

    fn drain(&mut self, who: Who) {
        let now = self.now;
        loop {
            let peer = &mut self.peers[who];
            if peer.is_closed {
                return;
            }
            let drained = self.cores[peer.core].drain(peer.id, now, &mut peer.incoming);
            match drained {
                Drained::Empty => return self.collect(who),
                Drained::More => {}
                Drained::Full if !peer.reads => return,
                Drained::Full => {
                    self.collect(who);
                    let peer = &self.peers[who];
                    self.cores[peer.core].handle_writable(peer.id, now);
                }
                Drained::Close => {
                    peer.is_closed = true;
                    self.cores[peer.core].handle_closed(peer.id, now);
                    return self.collect(who);
                }
            }
        }
    }

    /// The client takes the bytes that have arrived.
    fn collect(&mut self, who: Who) {
        let peer = &mut self.peers[who];
        if !peer.reads {
            return;
        }
        let decoder = Decoder::new()
            .with_version(peer.version)
            .with_sender(Sender::Server);
        let mut bytes = std::mem::take(&mut peer.incoming.bytes);
        while let Some(packet) = decoder.decode(&mut bytes).expect("the broker is correct") {
            if let Some(packets) = &mut self.peers[who].packets {
                packets.push(packet);
                continue;
            }
            self.on_packet(who, &packet);
        }
        assert!(bytes.is_empty(), "half a packet: {bytes:?}");
    }

    fn on_packet(&mut self, who: Who, packet: &Packet<Shared>) {
        let peer = &mut self.peers[who];
        #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else is answered")]
        let answer: Option<Packet<Shared>> = match packet {
            _ if !peer.answers => None,
            Packet::Publish(publish) => match publish.delivery {
                Delivery::AtMostOnce => None,
                Delivery::AtLeastOnce { packet_id, .. } => {
                    Some(Packet::PubAck(Ack::new(packet_id)))
                }
                Delivery::ExactlyOnce { packet_id, .. } => {
                    Some(Packet::PubRec(Ack::new(packet_id)))
                }
            },
            Packet::PubRec(ack) if !ack.reason_code.is_error() => {
                Some(Packet::PubRel(Ack::new(ack.packet_id)))
            }
            Packet::PubRel(ack) => Some(Packet::PubComp(Ack::new(ack.packet_id))),
            _ => None,
        };
        let is_routine = peer.answers
            && matches!(
                packet,
                Packet::PubAck(ack)
                | Packet::PubRec(ack)
                | Packet::PubRel(ack)
                | Packet::PubComp(ack) if !ack.reason_code.is_error()
            );
        if !is_routine {
            peer.heard.push(describe(packet, peer.answers));
        }
        if let Some(answer) = answer {
            // Handled in its turn by whoever pumps.
            let mut bytes = BytesMut::new();
            answer.encode(peer.version, &mut bytes).expect("encodes");
            if !peer.is_closed {
                self.cores[peer.core].handle_input(peer.id, &bytes, self.now);
            }
        }
    }
}

/// Shows a packet on a line; of a PUBLISH what matters to who gets it.
fn describe(packet: &Packet<Shared>, hides_packet_id: bool) -> String {
    let line = packet.to_string();
    let Packet::Publish(publish) = packet else {
        return line;
    };
    let properties = line.find(" {").map_or("", |at| &line[at..]);
    let id = match publish.packet_id() {
        Some(id) if !hides_packet_id => format!(" id={id}"),
        _ => String::new(),
    };
    format!(
        "{}={} q{}{id}{}{}{properties}",
        &*publish.topic,
        String::from_utf8_lossy(&publish.payload),
        publish.qos().as_u8(),
        if publish.dup() { " dup" } else { "" },
        if publish.retain { " retain" } else { "" },
    )
}

pub(super) fn from_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).expect("hex")).expect("< 16");
    digits
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}
