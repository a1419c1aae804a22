//! The publishing half of a client: how much may be on its way, and what comes next.

use mqttstack_codec::QoS;

use super::{
    ledger::{Checks, Fault, Ledger},
    wire::{AckType, Template, ack},
};

/// How many bytes wait for a socket before nothing more is added.
const OUTPUT_MAX: usize = 256 * 1024;

/// When messages are sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// As soon as there is room in flight, so many at once.
    Bursts { in_flight_max: u32, burst: u32 },
    /// By the clock, whatever happened to those before: the next one is due then, and further ones
    /// at this distance.
    Schedule { due: u64, interval: u64 },
}

/// A Packet Identifier's state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Exchange {
    Free,
    PubAck,
    PubRec,
    PubComp,
}

/// Publishes to its streams in turn.
#[derive(Debug)]
pub(super) struct Sender {
    first_stream: u32,
    templates: Vec<Template>,
    sequences: Vec<u32>,
    /// Which of them is next.
    at: usize,
    /// How many messages are still to be sent.
    pub(super) left: u64,
    pub(super) sent: u64,
    /// Deliveries that are still to come.
    pub(super) outstanding: u64,
    qos: QoS,
    pace: Pace,
    exchanges: Vec<Exchange>,
    free: Vec<u16>,
    /// Whether it is in the list of those that may go on.
    pub(super) is_queued: bool,
    /// Whether it stopped because the socket is behind.
    pub(super) is_held: bool,
}

impl Sender {
    pub(super) fn new(
        first_stream: u32,
        templates: Vec<Template>,
        messages: u64,
        qos: QoS,
        pace: Pace,
    ) -> Self {
        Self {
            first_stream,
            sequences: vec![0; templates.len()],
            templates,
            at: 0,
            left: messages,
            sent: 0,
            outstanding: 0,
            qos,
            pace,
            exchanges: Vec::new(),
            free: Vec::new(),
            is_queued: false,
            is_held: false,
        }
    }

    /// Sends other packets from now on, so many.
    pub(super) fn replace(&mut self, templates: Vec<Template>, messages: u64) {
        self.sequences.resize(templates.len(), 0);
        self.templates = templates;
        self.at = 0;
        self.left = messages;
    }

    /// The server takes so many messages without an acknowledgement.
    pub(super) fn set_window(&mut self, receive_maximum: u16) {
        let wanted = match self.pace {
            Pace::Bursts { in_flight_max, .. } => u16::try_from(in_flight_max).unwrap_or(u16::MAX),
            Pace::Schedule { .. } => u16::MAX,
        };
        let window = if self.qos == QoS::AtMostOnce {
            0
        } else {
            wanted.min(receive_maximum)
        };
        self.exchanges = vec![Exchange::Free; usize::from(window)];
        self.free = (1..=window).rev().collect();
    }

    /// Returns when the next message is due by the schedule.
    pub(super) fn due(&self) -> Option<u64> {
        match self.pace {
            Pace::Schedule { due, .. } if self.left > 0 => Some(due),
            Pace::Schedule { .. } | Pace::Bursts { .. } => None,
        }
    }

    /// Whether everything has been sent and acknowledged.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0 && self.in_flight() == 0
    }

    /// Returns how many messages have been sent, but not acknowledged to the end.
    pub(super) fn in_flight(&self) -> u64 {
        self.exchanges.len().saturating_sub(self.free.len()) as u64
    }

    /// Whether a message needs an identifier that none is free for.
    fn has_id(&self, count: u64) -> bool {
        self.exchanges.is_empty() || self.free.len() as u64 >= count
    }

    /// Begins with the schedule.
    pub(super) fn start(&mut self, now: u64) {
        if let Pace::Schedule { due, .. } = &mut self.pace {
            *due += now;
        }
    }

    /// Appends what may be sent now.
    pub(super) fn pump(&mut self, out: &mut Vec<u8>, ledger: &Ledger, now: u64) {
        match self.pace {
            Pace::Bursts {
                in_flight_max,
                burst,
            } => {
                // A server with a small Receive Maximum gets smaller bursts.
                let burst = u64::from(burst);
                let window = self.exchanges.len() as u64;
                let burst = if window > 0 { burst.min(window) } else { burst };
                while self.left > 0 {
                    self.is_held = out.len() >= OUTPUT_MAX;
                    if self.is_held {
                        return;
                    }
                    let burst = burst.min(self.left);
                    let receivers = u64::from(self.receivers(ledger));
                    let room = u64::from(in_flight_max) * receivers;
                    if self.outstanding + burst * receivers > room || !self.has_id(burst) {
                        return;
                    }
                    for _ in 0..burst {
                        self.send(out, ledger, now);
                    }
                }
            }
            Pace::Schedule { mut due, interval } => {
                while self.left > 0 && due <= now && self.has_id(1) {
                    self.send(out, ledger, due);
                    due += interval;
                }
                self.pace = Pace::Schedule { due, interval };
            }
        }
    }

    /// How many deliveries the next message comes to.
    fn receivers(&self, ledger: &Ledger) -> u32 {
        ledger.receivers(self.first_stream + u32::try_from(self.at).unwrap_or(u32::MAX))
    }

    fn send(&mut self, out: &mut Vec<u8>, ledger: &Ledger, due: u64) {
        let packet_id = self.free.pop();
        if let Some(id) = packet_id {
            self.exchanges[usize::from(id) - 1] = match self.qos {
                QoS::AtMostOnce => Exchange::Free,
                QoS::AtLeastOnce => Exchange::PubAck,
                QoS::ExactlyOnce => Exchange::PubRec,
            };
        }
        let stream = self.first_stream + u32::try_from(self.at).unwrap_or(u32::MAX);
        let stamp = ledger.stamp(stream, self.sequences[self.at], due);
        self.templates[self.at].write(out, packet_id, stamp);
        self.outstanding += u64::from(ledger.receivers(stream));
        self.sequences[self.at] += 1;
        self.sent += 1;
        self.left -= 1;
        self.at = (self.at + 1) % self.templates.len();
    }

    /// The server has acknowledged.
    pub(super) fn on_ack(
        &mut self,
        ack_type: AckType,
        packet_id: u16,
        is_error: bool,
        out: &mut Vec<u8>,
        checks: &mut Checks,
    ) {
        let exchange = self
            .exchanges
            .get_mut(usize::from(packet_id).wrapping_sub(1));
        let next = match (ack_type, exchange.as_deref()) {
            (AckType::PubAck, Some(Exchange::PubAck))
            | (AckType::PubComp, Some(Exchange::PubComp)) => Exchange::Free,
            (AckType::PubRec, Some(Exchange::PubRec)) if is_error => Exchange::Free,
            (AckType::PubRec, Some(Exchange::PubRec)) => {
                ack(out, AckType::PubRel, packet_id);
                Exchange::PubComp
            }
            (_, state) => {
                let what = || format!("{ack_type:?} for {packet_id}, which is {state:?}");
                return checks.note(Fault::ProtocolError, what);
            }
        };
        if is_error {
            checks.note(Fault::Refused, || format!("{ack_type:?} refuses a message"));
        }
        if let Some(exchange) = exchange {
            *exchange = next;
        }
        if next == Exchange::Free {
            self.free.push(packet_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use mqttstack_codec::ProtocolVersion;

    use super::*;
    use crate::bench::{
        ledger::{Stream, histogram},
        payload::filler,
    };

    const PACKET_LEN: usize = 2 + 2 + 1 + 2 + 64;

    fn ledger(receivers: u32) -> Ledger {
        let mut ledger = Ledger::new(0, filler(64), histogram().unwrap());
        ledger.add(Stream {
            topic: "t".into(),
            sender: 0,
            receivers,
        });
        ledger
    }

    fn sender(qos: QoS, pace: Pace) -> Sender {
        let filler = filler(64);
        let template = Template::new(ProtocolVersion::V311, "t", qos, false, 64, &filler);
        let mut sender = Sender::new(0, vec![template.unwrap()], 1000, qos, pace);
        sender.set_window(20);
        sender
    }

    fn bursts(in_flight_max: u32, burst: u32) -> Pace {
        Pace::Bursts {
            in_flight_max,
            burst,
        }
    }

    #[test]
    fn a_burst_waits_until_all_of_it_fits() {
        let ledger = ledger(2);
        let mut sender = sender(QoS::AtMostOnce, bursts(10, 4));
        let mut out = Vec::new();
        sender.pump(&mut out, &ledger, 0);
        assert_eq!((sender.sent, sender.outstanding), (8, 16));
        sender.outstanding -= 3;
        sender.pump(&mut out, &ledger, 0);
        assert_eq!(sender.sent, 8);
        sender.outstanding -= 1;
        sender.pump(&mut out, &ledger, 0);
        assert_eq!(sender.sent, 12);
    }

    #[test]
    fn the_receive_maximum_of_the_server_is_obeyed() {
        let ledger = ledger(1);
        let mut sender = sender(QoS::AtLeastOnce, bursts(100, 50));
        let (mut out, mut checks) = (Vec::new(), Checks::default());
        sender.pump(&mut out, &ledger, 0);
        assert_eq!((sender.sent, out.len()), (20, 20 * PACKET_LEN));
        for id in 1..=20 {
            sender.on_ack(AckType::PubAck, id, false, &mut out, &mut checks);
        }
        sender.outstanding = 0;
        sender.pump(&mut out, &ledger, 0);
        assert_eq!(sender.sent, 40);
        sender.on_ack(AckType::PubAck, 21, false, &mut out, &mut checks);
        sender.on_ack(AckType::PubComp, 1, false, &mut out, &mut checks);
        sender.on_ack(AckType::PubAck, 1, true, &mut out, &mut checks);
        assert_eq!((checks.protocol_errors, checks.refused), (2, 1));
    }

    #[test]
    fn qos_2_takes_four_packets() {
        let ledger = ledger(0);
        let mut sender = sender(QoS::ExactlyOnce, bursts(1, 1));
        let (mut out, mut checks) = (Vec::new(), Checks::default());
        sender.pump(&mut out, &ledger, 0);
        out.clear();
        sender.on_ack(AckType::PubRec, 1, false, &mut out, &mut checks);
        assert_eq!(out, [0x62, 2, 0, 1]);
        sender.pump(&mut out, &ledger, 0);
        assert_eq!(sender.sent, 1);
        sender.on_ack(AckType::PubComp, 1, false, &mut out, &mut checks);
        sender.pump(&mut out, &ledger, 0);
        assert_eq!(sender.sent, 2);
        assert!(checks.is_good());
    }

    #[test]
    fn a_schedule_is_kept_whatever_arrives() {
        let ledger = ledger(1);
        let pace = Pace::Schedule {
            due: 5,
            interval: 10,
        };
        let mut sender = sender(QoS::AtMostOnce, pace);
        sender.start(100);
        let mut out = Vec::new();
        for (now, sent) in [(104, 0), (105, 1), (114, 1), (155, 6)] {
            sender.pump(&mut out, &ledger, now);
            assert_eq!(sender.sent, sent, "{now}");
        }
        assert_eq!(sender.due(), Some(165));
    }
}
