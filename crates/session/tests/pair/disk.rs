//! A store that is slow, and loses what it has not synced.

use std::collections::{BTreeMap, VecDeque};

use mqttstack_session::{
    PublishToken, SessionState,
    codec::{PacketId, QoS},
    journal::{Epoch, Operation, OperationSequence},
};

/// What one side has written down.
#[derive(Default)]
pub(crate) struct Disk {
    /// What would survive a crash.
    synced: SessionState,
    /// What was drained in one go, oldest first.
    units: VecDeque<Unit>,
    /// The messages that were ever queued.
    numbers: BTreeMap<PublishToken, usize>,
    /// The identifiers in flight, with their message and whether it was taken, as far as synced.
    in_flight: BTreeMap<PacketId, (usize, bool)>,
}

/// Operations that are stored together or not at all.
struct Unit {
    operations: Vec<(OperationSequence, Operation)>,
    /// The message that an owner accepted with these.
    accepted: Option<usize>,
}

/// What a crash undoes.
pub(crate) struct Crash {
    /// What is there afterwards.
    pub(crate) state: SessionState,
    /// Messages whose acceptance is forgotten.
    pub(crate) unaccepted: Vec<usize>,
    /// Messages that were taken for delivery, and are forgotten.
    pub(crate) unpublished: Vec<usize>,
    pub(crate) in_flight: BTreeMap<PacketId, (usize, bool)>,
}

impl Disk {
    /// Takes what a session has drained.
    pub(crate) fn write(
        &mut self,
        operations: Vec<(OperationSequence, Operation)>,
        accepted: Option<usize>,
    ) {
        let is_acceptance =
            |(_, operation): &(_, Operation)| matches!(operation, Operation::Accepted { .. });
        let accepted = accepted.filter(|_| operations.iter().any(is_acceptance));
        if !operations.is_empty() {
            self.units.push_back(Unit {
                operations,
                accepted,
            });
        }
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.units.is_empty()
    }

    /// Makes so many units durable; returns the place up to which everything is.
    pub(crate) fn sync(&mut self, units: usize) -> Option<OperationSequence> {
        let mut last = None;
        for _ in 0..units {
            let Some(unit) = self.units.pop_front() else {
                break;
            };
            for (sequence, operation) in unit.operations {
                last = Some(sequence);
                self.apply(operation);
            }
        }
        last
    }

    fn apply(&mut self, operation: Operation) {
        // What is written is what is read.
        let mut bytes = Vec::new();
        operation.encode(Epoch::default(), &mut bytes);
        let mut rest = bytes.as_slice();
        let read = Operation::decode(&mut rest, Epoch::default());
        assert_eq!(read, Ok(Some(operation.clone())));
        assert!(rest.is_empty());
        match &operation {
            Operation::Queued { token, message, .. } => {
                self.numbers.insert(*token, number(message.payload()));
            }
            Operation::Sent { token, packet_id } => {
                self.in_flight
                    .insert(*packet_id, (self.numbers[token], false));
            }
            Operation::Taken { packet_id, .. } => {
                let taken = self.in_flight.get_mut(packet_id).expect("in flight");
                taken.1 = true;
            }
            Operation::Completed { packet_id } => drop(self.in_flight.remove(packet_id)),
            Operation::PeerLost { .. } | Operation::Cleared => self.in_flight.clear(),
            Operation::GivenUp { .. }
            | Operation::Swept { .. }
            | Operation::Accepted { .. }
            | Operation::Released { .. } => {}
        }
        self.synced.apply(operation).expect("it fits");
    }

    /// Checks that what was written leads to what there is.
    pub(crate) fn check(&mut self, live: &SessionState, name: &str) {
        assert!(self.is_synced());
        assert_eq!(
            without_totals(&encoded(&self.synced)),
            without_totals(&encoded(live)),
            "{name}: the journal leads elsewhere"
        );
        // From here on it is written behind a snapshot.
        let read = SessionState::decode(&encoded(live), Epoch::default());
        self.synced = read.expect("what was written");
    }

    /// Loses what is not synced, and begins again with a snapshot.
    pub(crate) fn crash(&mut self) -> Crash {
        let mut unaccepted = Vec::new();
        let mut unpublished = Vec::new();
        for unit in self.units.drain(..) {
            unaccepted.extend(unit.accepted);
            for (_, operation) in unit.operations {
                if let Operation::Queued { message, .. } = operation {
                    unpublished.push(number(message.payload()));
                }
            }
        }
        let bytes = encoded(&self.synced);
        let mut state = SessionState::decode(&bytes, Epoch::default()).expect("what was written");
        assert_eq!(state, self.synced);
        state.keep_journal();
        Crash {
            state,
            unaccepted,
            unpublished,
            in_flight: self.in_flight.clone(),
        }
    }
}

/// Returns whether a message that its sender forgot may have arrived: nothing holds back QoS 1.
pub(crate) fn may_have_arrived(qos: QoS) -> bool {
    qos != QoS::ExactlyOnce
}

fn encoded(state: &SessionState) -> Vec<u8> {
    let mut bytes = Vec::new();
    state.encode(Epoch::default(), &mut bytes);
    bytes
}

/// Messages of QoS 0 count among the totals, which come last, and leave nothing in a journal.
fn without_totals(bytes: &[u8]) -> Vec<u8> {
    const TOTALS: u8 = 0x80;
    let mut records = bytes.get(1..).expect("a version");
    let mut kept = Vec::new();
    while let [kind, ..] = records {
        if *kind == TOTALS {
            break;
        }
        let mut rest = records;
        let operation = Operation::decode(&mut rest, Epoch::default());
        assert!(operation.is_ok_and(|operation| operation.is_some()));
        kept.extend_from_slice(records.get(..records.len() - rest.len()).expect("a prefix"));
        records = rest;
    }
    kept
}

fn number(payload: &[u8]) -> usize {
    let text = std::str::from_utf8(payload).expect("text");
    text.parse().expect("a number")
}
