//! Large packets, which are read to where they stay.

use super::*;
use crate::core::{Authorization, PublishRequest};

/// Numbers that look like chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("small") % bound
    }
}

impl Net {
    /// Sends bytes as a driver does that asks where to read them to, in pieces of chance.
    fn send_in_place(&mut self, who: Who, mut bytes: &[u8], chance: &mut Chance) {
        let id = self.id_of(who);
        while !bytes.is_empty() {
            let length = [1, 100, 4_096, 70_000, 300_000][chance.below(5)];
            let length = (1 + chance.below(length)).min(bytes.len());
            let goes_around = chance.below(4) == 0;
            let core = &mut self.cores[0];
            let count = match core.input_place(id).filter(|_| !goes_around) {
                Some(place) => {
                    let count = length.min(place.len());
                    let is_full = count == place.len();
                    place[..count].copy_from_slice(&bytes[..count]);
                    // Where there is room behind it, as much as comes.
                    let mut ahead = Vec::new();
                    while is_full && ahead.len() < chance.below(5) {
                        ahead.extend(core.input_ahead(id));
                    }
                    core.handle_input_in_place(id, count, self.now);
                    count + self.fill_ahead(id, &bytes[count..length], ahead)
                }
                None => {
                    core.handle_input(id, &bytes[..length], self.now);
                    length
                }
            };
            bytes = &bytes[count..];
            self.pump();
        }
    }

    /// Returns how many of the bytes there was room for.
    fn fill_ahead(&mut self, id: ConnectionId, bytes: &[u8], ahead: Vec<Box<[u8]>>) -> usize {
        let core = &mut self.cores[0];
        let mut rest = bytes;
        for mut buffer in ahead {
            let (now, later) = rest.split_at(rest.len().min(buffer.len()));
            rest = later;
            if now.is_empty() {
                core.put_back_ahead(buffer);
            } else {
                buffer[..now.len()].copy_from_slice(now);
                core.handle_input_ahead(id, buffer, now.len(), self.now);
            }
        }
        bytes.len() - rest.len()
    }
}

fn payload(number: usize, length: usize) -> Vec<u8> {
    let byte = |index: usize| (number * 31 + index % 251).to_le_bytes()[0];
    (0..length).map(byte).collect()
}

fn payload_of(packet: Packet<Shared>) -> Option<Vec<u8>> {
    let Packet::Publish(publish) = packet else {
        return None;
    };
    Some(publish.payload.to_vec())
}

#[test]
fn packets_of_every_size_arrive_unchanged_however_they_are_cut() {
    let mut chance = Chance(7);
    let mut net = Net::new();
    let (publisher, subscriber) = (net.join_v5("p"), net.join_v5("s"));
    net.subscribe(subscriber, "t", 0);
    net.keep_packets(subscriber);
    let lengths = [
        0, 900, 8_000, 16_300, 16_500, 70_000, 70_000, 3_000, 400_000,
    ];
    let mut bytes = BytesMut::new();
    let mut expected = Vec::new();
    for number in 0..100 {
        let sent = payload(number, lengths[chance.below(lengths.len())]);
        let publish = Publish::<Shared>::new("t", sent.clone());
        publish.encode(V5, &mut bytes).expect("encodes");
        if chance.below(3) == 0 {
            bytes.extend_from_slice(&[0xC0, 0]);
        }
        expected.push(sent);
    }
    net.send_in_place(publisher, &bytes, &mut chance);
    let packets = net.take_packets(subscriber).into_iter();
    let got: Vec<Vec<u8>> = packets.filter_map(payload_of).collect();
    assert!(got == expected);
    assert!(!net.is_closed(publisher));
}

#[test]
fn packets_of_one_size_are_read_ahead_to_where_they_stay() {
    let mut net = Net::new();
    let (publisher, subscriber) = (net.join_v5("p"), net.join_v5("s"));
    net.subscribe(subscriber, "t", 0);
    net.keep_packets(subscriber);
    let mut packet = BytesMut::new();
    let publish = Publish::<Shared>::new("t", payload(1, 50_000));
    publish.encode(V5, &mut packet).expect("encodes");
    let id = net.id_of(publisher);
    let begun = |net: &mut Net| {
        net.send_bytes(publisher, &packet[..2_000]);
        let place = net.cores[0].input_place(id).expect("it has begun");
        let count = place.len().min(packet.len() - 2_000);
        place[..count].copy_from_slice(&packet[2_000..2_000 + count]);
        count
    };
    // Nobody has left any memory yet.
    let count = begun(&mut net);
    assert!(net.cores[0].input_ahead(id).is_none());
    net.cores[0].handle_input_in_place(id, count, net.now);
    let other = net.join_v5("o");
    net.send_bytes(other, &packet[..2_000]);
    net.send_bytes(publisher, &packet[2_000 + count..]);
    net.send_bytes(other, &packet[2_000..]);
    assert_eq!(net.take_packets(subscriber).len(), 2);
    // Now somebody has: the next packet fits, the beginning of the one after that does not.
    let count = begun(&mut net);
    let ahead = net.cores[0].input_ahead(id).expect("one is to spare");
    assert_eq!(ahead.len(), packet.len());
    net.cores[0].handle_input_in_place(id, count, net.now);
    assert_eq!(net.fill_ahead(id, &packet, vec![ahead]), packet.len());
    net.pump();
    let count = begun(&mut net);
    let ahead = net.cores[0].input_ahead(id).expect("it was given back");
    net.cores[0].handle_input_in_place(id, count, net.now);
    let mut other = BytesMut::new();
    let publish = Publish::<Shared>::new("t", payload(2, 20_000));
    publish.encode(V5, &mut other).expect("encodes");
    net.fill_ahead(id, &other, vec![ahead]);
    net.pump();
    let packets = net.take_packets(subscriber).into_iter();
    let got: Vec<usize> = packets
        .filter_map(|packet| payload_of(packet).map(|payload| payload.len()))
        .collect();
    assert_eq!(got, [50_000, 50_000, 50_000, 20_000]);
}

#[test]
fn a_claim_gets_no_memory_and_what_was_begun_is_given_back() {
    let mut net = Net::new();
    net.limits = Arc::new(Limits {
        packet_size_max: 200_000_000,
        ..Limits::default()
    });
    let publisher = net.join_v5("p");
    let before = net.cores[0].memory_balance();
    // PUBLISH of 100,000,006 bytes.
    let begun = from_hex("30 81 C2 D7 2F 00 01 74 00");
    let mut arrived = 0;
    for bytes in [begun, vec![0; 5_000], vec![0; 60_000]] {
        arrived += i64::try_from(bytes.len()).expect("small");
        net.send_in_place(publisher, &bytes, &mut Chance(1));
        let held = net.cores[0].memory_balance() - before;
        assert!(held <= 4 * arrived, "{held} for {arrived}");
    }
    let id = net.id_of(publisher);
    assert!(net.cores[0].input_place(id).is_some());
    net.cut(publisher);
    assert!(net.cores[0].memory_balance() < before);
}

/// Answers later.
struct Slow;

impl Access for Slow {
    fn authorize_publish(&mut self, request: &PublishRequest<'_>) -> Authorization {
        TICKETS.with_borrow_mut(|tickets| tickets.push(request.ticket));
        Authorization::Deferred
    }
}

thread_local! {
    static TICKETS: std::cell::RefCell<Vec<Ticket>> = const { std::cell::RefCell::new(Vec::new()) };
}

#[test]
fn what_comes_behind_a_large_packet_waits_with_it() {
    let mut net = Net::planned(Plan {
        access: || Box::new(Slow),
        ..Plan::default()
    });
    let (publisher, subscriber) = (net.join_v5("p"), net.join_v5("s"));
    net.subscribe(subscriber, "t", 0);
    net.keep_packets(subscriber);
    // One piece has the end of the first and all of the others, while nobody has answered.
    let mut bytes = BytesMut::new();
    let sent = [
        payload(1, 50),
        payload(2, 50_000),
        payload(3, 60),
        payload(4, 90_000),
    ];
    for payload in &sent {
        let publish = Publish::<Shared>::new("t", payload.clone());
        publish.encode(V5, &mut bytes).expect("encodes");
    }
    net.send_bytes(publisher, &bytes[..20_000]);
    net.send_bytes(publisher, &bytes[20_000..]);
    for number in 0..sent.len() {
        let ticket = TICKETS.with_borrow_mut(|tickets| {
            assert_eq!(tickets.len(), 1, "one question at a time: {number}");
            tickets.remove(0)
        });
        net.answer(ticket, Authorization::Allow);
    }
    let got = net.take_packets(subscriber);
    assert_eq!(got.len(), sent.len());
    for (packet, payload) in got.iter().zip(&sent) {
        assert!(matches!(packet, Packet::Publish(publish) if publish.payload == *payload));
    }
}
