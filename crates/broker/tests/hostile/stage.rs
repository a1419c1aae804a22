//! A broker under attack, and an honest client beside it that must not notice anything.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use mqttstack_broker::{
    Broker, ListenerSettings,
    core::Metrics,
    limits::{BrokerLimits, Limits},
};

use super::common;
pub(crate) use super::common::{CONNACK_V311, CONNECT_V311, exchange, expect, hex, read_to_end};

pub(crate) const CONNECT_V31: &str = "10 11 00 06 4D 51 49 73 64 70 03 02 00 3C 00 03 62 61 64";
pub(crate) const CONNECT_V5: &str = "10 10 00 04 4D 51 54 54 05 02 00 3C 00 00 03 62 61 64";
/// Clean Start 0 and a Session Expiry Interval of 100 seconds.
pub(crate) const LASTING_V5: &str =
    "10 15 00 04 4D 51 54 54 05 00 00 00 05 11 00 00 00 64 00 03 62 61 64";
/// CONNACK 0x00 with Receive Maximum 1,024 and Topic Alias Maximum 32.
pub(crate) const CONNACK_V5: &str = "20 09 00 00 06 21 04 00 22 00 20";
/// The same with Session Present.
pub(crate) const RESUMED_V5: &str = "20 09 01 00 06 21 04 00 22 00 20";

pub(crate) struct Stage {
    pub(crate) broker: Broker,
    pub(crate) address: SocketAddr,
    bystander: TcpStream,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default(), 1)
    }

    pub(crate) fn with(limits: Limits, workers: u8) -> Self {
        Self::of(limits, BrokerLimits::default(), workers)
    }

    pub(crate) fn of(limits: Limits, broker_limits: BrokerLimits, workers: u8) -> Self {
        let tcp = ListenerSettings::tcp("127.0.0.1:0".parse().expect("an endpoint"));
        Self::at(tcp, limits, broker_limits, workers)
    }

    /// With a listener of any kind; the bystander comes through another, which is bare.
    pub(crate) fn behind(listener: ListenerSettings) -> Self {
        Self::at(listener, Limits::default(), BrokerLimits::default(), 1)
    }

    fn at(
        listener: ListenerSettings,
        limits: Limits,
        broker_limits: BrokerLimits,
        workers: u8,
    ) -> Self {
        let own = ListenerSettings::tcp("127.0.0.1:0".parse().expect("an endpoint"));
        let broker = Broker::builder()
            .listener(listener)
            .listener(own.limits(Limits::default()))
            .limits(limits)
            .broker_limits(broker_limits)
            .workers(workers)
            // What is retained is what clients retain, and the version.
            .status_interval(Duration::ZERO)
            .start()
            .expect("starts");
        let [address, own] = [0, 1].map(|at: usize| {
            let address = &broker.local_addresses()[at];
            address.socket_address().expect("a socket")
        });
        let mut bystander = common::open(own);
        // Client "by", SUBSCRIBE "by".
        exchange(
            &mut bystander,
            "10 0E 00 04 4D 51 54 54 04 02 00 00 00 02 62 79  82 07 00 01 00 02 62 79 00",
            "20 02 00 00  90 03 00 01 00",
        );
        Self {
            broker,
            address,
            bystander,
        }
    }

    pub(crate) fn open(&self) -> TcpStream {
        common::open(self.address)
    }

    /// Opens a connection with one of the CONNECTs, which is accepted.
    #[track_caller]
    pub(crate) fn client(&self, connect: &str) -> TcpStream {
        let mut stream = self.open();
        let is_v5 = hex(connect).get(8) == Some(&5);
        let connack = if is_v5 { CONNACK_V5 } else { CONNACK_V311 };
        exchange(&mut stream, connect, connack);
        stream
    }

    /// The bystander still gets what it publishes to itself.
    #[track_caller]
    pub(crate) fn check_bystander(&mut self) {
        exchange(
            &mut self.bystander,
            "30 05 00 02 62 79 78",
            "30 05 00 02 62 79 78",
        );
    }

    /// Sends `bad` behind the CONNECT of a version; `answer` and a close have to follow.
    #[track_caller]
    pub(crate) fn check(&mut self, connect: &str, bad: &str, answer: &str) {
        let mut stream = self.client(connect);
        send(&mut stream, bad);
        assert_eq!(read_to_end(&mut stream), hex(answer), "{bad}");
        self.check_bystander();
    }

    /// In 5.0 the reason comes in a DISCONNECT; in 3.x there is only the close.
    #[track_caller]
    pub(crate) fn check_all(&mut self, in_v5: &str, in_v3: &str, reason: &str) {
        self.check(CONNECT_V5, in_v5, &format!("E0 01 {reason}"));
        self.check(CONNECT_V311, in_v3, "");
        self.check(CONNECT_V31, in_v3, "");
    }

    pub(crate) fn metrics(&self) -> Metrics {
        self.broker.metrics()
    }

    /// Returns how many messages clients have retained.
    pub(crate) fn retained(&self) -> usize {
        // The broker keeps its version.
        self.broker.directory().retained_count().0 - 1
    }

    /// Returns how many subscriptions there are beside that of the bystander.
    pub(crate) fn subscriptions(&self) -> usize {
        self.broker.directory().subscription_count() - 1
    }

    /// Waits until the broker has noticed that all but the bystander are gone.
    pub(crate) fn alone(&mut self) {
        while self.broker.directory().connection_count() > 1 {
            self.check_bystander();
        }
    }

    /// All is well with the bystander; then the clients go, and the broker.
    #[track_caller]
    pub(crate) fn end(mut self, clients: impl Sized) {
        self.check_bystander();
        drop(clients);
        self.stop();
    }

    /// Clients that are still there would be waited for.
    pub(crate) fn stop(self) {
        drop(self.bystander);
        self.broker.stop();
        self.broker.wait().expect("no worker failed");
    }
}

/// One of the CONNECTs, for a client of another name of three letters.
pub(crate) fn named(connect: &str, name: &str) -> String {
    let name: Vec<String> = name.bytes().map(|byte| format!("{byte:02X}")).collect();
    connect.replace("62 61 64", &name.join(" "))
}

/// A packet: its first byte, its length, and the parts of the rest.
pub(crate) fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut packet = vec![first];
    packet.extend(integer(body.len()));
    packet.extend(body);
    packet
}

/// A variable byte integer.
pub(crate) fn integer(mut value: usize) -> Vec<u8> {
    let mut digits = Vec::new();
    loop {
        let digit = u8::try_from(value & 0x7F).expect("seven bits");
        value >>= 7;
        if value == 0 {
            digits.push(digit);
            return digits;
        }
        digits.push(digit | 0x80);
    }
}

/// A text with its length before it.
pub(crate) fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    let len = u16::try_from(text.len()).expect("short enough");
    [&len.to_be_bytes(), text].concat()
}

/// Bytes as the tests write them.
pub(crate) fn shown(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X} ")).collect()
}

pub(crate) fn send(stream: &mut TcpStream, text: &str) {
    send_bytes(stream, &hex(text));
}

pub(crate) fn send_bytes(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("written");
}
