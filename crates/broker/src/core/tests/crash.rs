//! Crashes at any time: what was acknowledged is there, QoS 2 exactly once.

use std::collections::BTreeMap;

use mqttstack_session::{
    Message,
    client::{self, Event},
};

use super::*;

/// Numbers that look random and are the same for each seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let mixed = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(mixed).expect("31 bits") % bound
    }
}

/// A client that never crashes, with its session in front of the raw bytes of a [`Net`].
struct Station {
    client_id: String,
    session: client::Session,
    who: Option<Who>,
    /// How often each message has come.
    arrived: BTreeMap<String, usize>,
    /// Messages that this client has handed over, and whether the broker has them.
    published: BTreeMap<mqttstack_session::PublishToken, (String, QoS, bool)>,
}

impl Station {
    fn new(client_id: &str) -> Self {
        let settings = client::Settings::default();
        let state = mqttstack_session::SessionState::new();
        Self {
            client_id: client_id.into(),
            session: client::Session::resume(settings, state),
            who: None,
            arrived: BTreeMap::new(),
            published: BTreeMap::new(),
        }
    }

    fn connect(&mut self, net: &mut Net, core: usize) {
        if self.who.is_some() {
            return;
        }
        let who = net.open(core);
        net.stop_answering(who);
        net.keep_packets(who);
        self.who = Some(who);
        let connect = lasting(V5, &self.client_id, 10_000);
        self.session.connect(connect, net.now);
        self.exchange(net);
    }

    fn lose(&mut self) {
        self.who = None;
        self.session.handle_closed();
        self.react();
    }

    fn publish(&mut self, net: &mut Net, payload: String, qos: QoS) {
        let message = Message::builder("t", payload.clone()).qos(qos).build();
        let message = message.expect("valid");
        let token = self.session.publish(message, net.now).expect("taken");
        self.published.insert(token, (payload, qos, false));
        self.exchange(net);
    }

    /// Hands over what has come, and sends what there is to send.
    fn exchange(&mut self, net: &mut Net) {
        let Some(who) = self.who else { return };
        loop {
            let packets = net.take_packets(who);
            let mut is_quiet = packets.is_empty();
            for packet in packets {
                self.session
                    .handle_packet(packet, net.now)
                    .expect("the broker is correct");
                self.react();
            }
            while let Some(packet) = self.session.poll_packet(net.now) {
                is_quiet = false;
                let packet = packet.into_packet(V5).expect("a packet");
                net.send(who, packet);
            }
            if is_quiet {
                break;
            }
        }
        if net.is_closed(who) {
            self.lose();
        }
    }

    fn react(&mut self) {
        while let Some(event) = self.session.poll_event() {
            if let Event::MessageReceived {
                message, packet_id, ..
            } = event
            {
                let payload = String::from_utf8_lossy(message.payload()).into_owned();
                *self.arrived.entry(payload).or_default() += 1;
                if let Some(packet_id) = packet_id {
                    self.session.acknowledge(packet_id, ReasonCode::Success);
                }
            } else if let Event::Completed { token, .. } = event {
                self.published.get_mut(&token).expect("a token").2 = true;
            }
        }
    }
}

/// Publishers and subscribers on three workers; stores that are slow; now and then the process ends.
fn run(seed: u64) {
    let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let workers = 1 + chance.below(3);
    let sync_interval = [2, 8, 25][chance.below(3)];
    let mut net = Net::durable(u8::try_from(workers).expect("few"));
    let mut stations = ["p0", "p1", "s0", "s1"].map(Station::new);
    for station in &mut stations {
        let core = chance.below(workers);
        station.connect(&mut net, core);
        let filters = SubscribeFilters::new([Subscription::new("t", QoS::ExactlyOnce)]);
        if station.client_id.starts_with('s') {
            let filters = filters.expect("valid");
            let asked = station.session.subscribe(filters, Properties::empty());
            let token = asked.expect("connected");
            station
                .published
                .insert(token, ("subscription".into(), QoS::AtMostOnce, false));
            station.exchange(&mut net);
        }
    }
    net.holds_store = true;
    for step in 0..400 {
        match chance.below(24) {
            0..=5 => {
                let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce][chance.below(2)];
                let publisher = &mut stations[chance.below(2)];
                publisher.publish(&mut net, format!("{step}"), qos);
            }
            6..=11 => {
                let core = chance.below(workers);
                stations[chance.below(4)].connect(&mut net, core);
            }
            12 => {
                let station = &mut stations[chance.below(4)];
                if let Some(who) = station.who {
                    net.cut(who);
                    station.lose();
                }
            }
            13 => net.holds_worker_messages = !net.holds_worker_messages,
            14 if chance.below(4) == 0 => {
                stations.iter_mut().for_each(Station::lose);
                net = net.crash();
                net.holds_store = true;
            }
            _ if chance.below(sync_interval) == 0 => {
                let core = chance.below(workers);
                for _ in 0..chance.below(2 * sync_interval) {
                    net.sync_unit(core);
                }
                net.pump();
            }
            _ => {}
        }
        for station in &mut stations {
            station.exchange(&mut net);
        }
    }
    net.release_worker_messages();
    for _ in 0..50 {
        for station in &mut stations {
            station.connect(&mut net, 0);
            station.exchange(&mut net);
        }
        net.sync();
    }
    let [p0, p1, subscribers @ ..] = &stations;
    for (payload, qos, is_done) in p0.published.values().chain(p1.published.values()) {
        assert!(is_done, "seed {seed}: {payload} was never acknowledged");
        for subscriber in subscribers {
            let arrived = subscriber.arrived.get(payload).copied().unwrap_or(0);
            let name = &subscriber.client_id;
            let expected = *qos == QoS::AtLeastOnce && arrived > 1 || arrived == 1;
            assert!(
                expected,
                "seed {seed}: {name} got {payload} at {qos:?} {arrived} times"
            );
        }
    }
}

#[test]
fn m2_nothing_acknowledged_is_lost_and_qos_2_comes_once() {
    // v5 MQTT-4.3.2-4, v5 MQTT-4.3.3-8, v5 MQTT-4.3.3-10, v3.1.1 MQTT-4.3.3-2
    for seed in 0..60 {
        run(seed);
    }
}
