//! The books of a run: what was to arrive, and what did.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::payload::Stamp;

/// Latencies are told apart from a microsecond to a minute, in nanoseconds, to three digits.
pub(super) fn histogram() -> Result<Histogram<u64>, hdrhistogram::CreationError> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3)
}

/// What went wrong, by kind. A good run has nothing but zeros.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub(super) struct Checks {
    /// Deliveries that never came.
    pub(super) lost: u64,
    /// Messages whose acknowledgement never came.
    pub(super) unacknowledged: u64,
    /// Deliveries that came although a later one of their stream had come, or the same one.
    pub(super) repeated: u64,
    /// Deliveries that left out an earlier one of their stream.
    pub(super) out_of_order: u64,
    /// Deliveries with another topic or content than what was published.
    pub(super) corrupted: u64,
    /// Deliveries that nobody asked for.
    pub(super) unexpected: u64,
    /// Deliveries beyond the Receive Maximum of the client.
    pub(super) beyond_receive_maximum: u64,
    /// Requests that the broker refused.
    pub(super) refused: u64,
    /// Packets that make no sense.
    pub(super) protocol_errors: u64,
    /// Connections that ended by themselves.
    pub(super) disconnected: u64,
    /// The first of all that, in words.
    pub(super) first: Option<String>,
}

/// A kind of thing that goes wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    Repeated,
    OutOfOrder,
    Corrupted,
    Unexpected,
    BeyondReceiveMaximum,
    Refused,
    ProtocolError,
    Disconnected,
}

impl Checks {
    pub(super) fn is_good(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn note(&mut self, fault: Fault, what: impl FnOnce() -> String) {
        let count = match fault {
            Fault::Repeated => &mut self.repeated,
            Fault::OutOfOrder => &mut self.out_of_order,
            Fault::Corrupted => &mut self.corrupted,
            Fault::Unexpected => &mut self.unexpected,
            Fault::BeyondReceiveMaximum => &mut self.beyond_receive_maximum,
            Fault::Refused => &mut self.refused,
            Fault::ProtocolError => &mut self.protocol_errors,
            Fault::Disconnected => &mut self.disconnected,
        };
        *count += 1;
        self.first.get_or_insert_with(what);
    }
}

/// Messages of one publisher to one topic.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) topic: Box<str>,
    /// The client that publishes.
    pub(super) sender: usize,
    /// How many deliveries each message comes to.
    pub(super) receivers: u32,
}

/// What one subscriber is to get.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// The first stream, and how far apart they are.
    first: u32,
    stride: u32,
    /// The next sequence number of each.
    next: Box<[u32]>,
    /// Whether others of a shared group get what this one does not.
    is_shared: bool,
}

impl Expected {
    pub(super) fn new(streams: std::ops::Range<u32>, is_shared: bool) -> Self {
        Self {
            first: streams.start,
            stride: 1,
            next: streams.map(|_| 0).collect(),
            is_shared,
        }
    }

    /// Expects `count` streams that are not next to each other.
    pub(super) fn every(first: u32, stride: u32, count: u32) -> Self {
        Self {
            first,
            stride: stride.max(1),
            next: (0..count).map(|_| 0).collect(),
            is_shared: false,
        }
    }

    /// Returns the place of what is next in a stream, if it is one of these.
    fn next_of(&mut self, stream: u32) -> Option<&mut u32> {
        let distance = stream.checked_sub(self.first)?;
        if distance % self.stride != 0 {
            return None;
        }
        self.next.get_mut((distance / self.stride) as usize)
    }
}

/// All streams, and what has arrived of them.
#[derive(Debug)]
pub(super) struct Ledger {
    run: u32,
    filler: Vec<u8>,
    streams: Vec<Stream>,
    /// Which messages of a stream have come, where a shared group gets them: a bit for each.
    shared: Vec<Vec<u64>>,
    pub(super) checks: Checks,
    /// Deliveries, repeated ones not counted.
    pub(super) delivered: u64,
    /// Times from when a message was due to when it arrived.
    pub(super) latencies: Histogram<u64>,
    pub(super) is_recording: bool,
    /// The senders of what has arrived since they were told.
    pub(super) credits: Vec<usize>,
}

impl Ledger {
    pub(super) fn new(run: u32, filler: Vec<u8>, latencies: Histogram<u64>) -> Self {
        Self {
            run,
            filler,
            streams: Vec::new(),
            shared: Vec::new(),
            checks: Checks::default(),
            delivered: 0,
            latencies,
            is_recording: false,
            credits: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, stream: Stream) -> u32 {
        self.streams.push(stream);
        self.shared.push(Vec::new());
        u32::try_from(self.streams.len() - 1).unwrap_or(u32::MAX)
    }

    pub(super) fn stamp(&self, stream: u32, sequence: u32, due: u64) -> Stamp {
        Stamp {
            run: self.run,
            stream,
            sequence,
            due,
        }
    }

    pub(super) fn receivers(&self, stream: u32) -> u32 {
        self.streams
            .get(stream as usize)
            .map_or(0, |stream| stream.receivers)
    }

    /// Enters a delivery.
    pub(super) fn receive(
        &mut self,
        expected: &mut Expected,
        topic: &str,
        payload: &[u8],
        now: u64,
    ) {
        let Some((stamp, rest)) = Stamp::read(payload) else {
            let what = || format!("{} bytes on {topic}, too few to be ours", payload.len());
            return self.checks.note(Fault::Corrupted, what);
        };
        if stamp.run != self.run {
            let what = || format!("a message of run {} on {topic}", stamp.run);
            return self.checks.note(Fault::Unexpected, what);
        }
        let Some(stream) = self.streams.get(stamp.stream as usize) else {
            let what = || format!("a message of stream {} on {topic}", stamp.stream);
            return self.checks.note(Fault::Corrupted, what);
        };
        if *stream.topic != *topic || rest != self.filler {
            let what = || format!("{stamp:?} on {topic} is not what was published");
            return self.checks.note(Fault::Corrupted, what);
        }
        let is_shared = expected.is_shared;
        let Some(next) = expected.next_of(stamp.stream) else {
            let what = || format!("{stamp:?} on {topic} at a client that did not ask for it");
            return self.checks.note(Fault::Unexpected, what);
        };
        let is_in_order = match stamp.sequence.cmp(next) {
            std::cmp::Ordering::Equal => true,
            std::cmp::Ordering::Greater => is_shared,
            std::cmp::Ordering::Less => {
                let what = || format!("{stamp:?} on {topic} when {next} was next");
                return self.checks.note(Fault::Repeated, what);
            }
        };
        if !is_in_order {
            let what = || format!("{stamp:?} on {topic} when {next} was next");
            self.checks.note(Fault::OutOfOrder, what);
        }
        *next = stamp.sequence.wrapping_add(1);
        if is_shared && !is_first(&mut self.shared[stamp.stream as usize], stamp.sequence) {
            let what = || format!("{stamp:?} on {topic} went to two members of a group");
            return self.checks.note(Fault::Repeated, what);
        }
        self.credits.push(stream.sender);
        self.delivered += 1;
        if self.is_recording {
            let latency = now.saturating_sub(stamp.due);
            self.latencies.saturating_record(latency);
        }
    }
}

/// Sets a bit and returns whether it was not set.
fn is_first(seen: &mut Vec<u64>, sequence: u32) -> bool {
    let (word, bit) = ((sequence / 64) as usize, 1 << (sequence % 64));
    if seen.len() <= word {
        seen.resize(word + 1, 0);
    }
    let is_first = seen[word] & bit == 0;
    seen[word] |= bit;
    is_first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::payload::filler;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(7, filler(32), histogram().unwrap());
        for topic in ["a", "b"] {
            ledger.add(Stream {
                topic: topic.into(),
                sender: 0,
                receivers: 1,
            });
        }
        ledger
    }

    fn payload(run: u32, stream: u32, sequence: u32) -> Vec<u8> {
        let mut payload = vec![0; 32];
        payload[Stamp::LEN..].copy_from_slice(&filler(32));
        Stamp {
            run,
            stream,
            sequence,
            due: 0,
        }
        .write(&mut payload);
        payload
    }

    #[test]
    fn each_kind_of_fault_is_found() {
        let mut changed = payload(7, 0, 0);
        changed[31] ^= 1;
        let cases: [(&str, &str, Vec<Vec<u8>>, Checks); 7] = [
            (
                "good",
                "a",
                vec![payload(7, 0, 0), payload(7, 0, 1)],
                Checks::default(),
            ),
            (
                "twice",
                "a",
                vec![payload(7, 0, 0), payload(7, 0, 0)],
                Checks {
                    repeated: 1,
                    ..Checks::default()
                },
            ),
            (
                "a gap",
                "a",
                vec![payload(7, 0, 0), payload(7, 0, 2), payload(7, 0, 3)],
                Checks {
                    out_of_order: 1,
                    ..Checks::default()
                },
            ),
            (
                "swapped",
                "a",
                vec![payload(7, 0, 1), payload(7, 0, 0)],
                Checks {
                    out_of_order: 1,
                    repeated: 1,
                    ..Checks::default()
                },
            ),
            (
                "changed, cut short, on another topic",
                "a",
                vec![changed, payload(7, 0, 0)[..8].to_vec(), payload(7, 1, 0)],
                Checks {
                    corrupted: 3,
                    ..Checks::default()
                },
            ),
            (
                "of another run",
                "a",
                vec![payload(6, 0, 0)],
                Checks {
                    unexpected: 1,
                    ..Checks::default()
                },
            ),
            (
                "not asked for",
                "b",
                vec![payload(7, 1, 0)],
                Checks {
                    unexpected: 1,
                    ..Checks::default()
                },
            ),
        ];
        for (name, topic, payloads, checks) in cases {
            let mut ledger = ledger();
            let mut expected = Expected::new(0..1, false);
            for payload in payloads {
                ledger.receive(&mut expected, topic, &payload, 0);
            }
            assert_eq!(ledger.checks.first.is_some(), !checks.is_good(), "{name}");
            ledger.checks.first = None;
            assert_eq!(ledger.checks, checks, "{name}");
        }
    }

    #[test]
    fn a_shared_group_gets_each_message_once() {
        let mut ledger = ledger();
        let mut members = [Expected::new(0..2, true), Expected::new(0..2, true)];
        for (member, sequence) in [(0, 0), (1, 1), (0, 2), (1, 70), (0, 3)] {
            ledger.receive(&mut members[member], "a", &payload(7, 0, sequence), 0);
        }
        assert!(ledger.checks.is_good(), "{:?}", ledger.checks);
        assert_eq!(ledger.delivered, 5);
        ledger.receive(&mut members[0], "a", &payload(7, 0, 70), 0);
        assert_eq!((ledger.checks.repeated, ledger.delivered), (1, 5));
    }

    #[test]
    fn latency_counts_from_when_the_message_was_due() {
        let mut ledger = ledger();
        ledger.is_recording = true;
        ledger.receive(
            &mut Expected::new(0..1, false),
            "a",
            &payload(7, 0, 0),
            5_000_000,
        );
        assert!(ledger.latencies.max().abs_diff(5_000_000) < 10_000);
    }
}
