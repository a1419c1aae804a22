//! The store of the broker, and what becomes of everything when the broker stops without a word.

use std::{collections::BTreeMap, time::Duration};

use mqttstack_codec::PacketId;
use mqttstack_session::{
    SessionState,
    journal::{Epoch, Operation, OperationSequence, Recovered, SessionRecord, StoreOperation},
};

use super::{Network, Observation};
use crate::Copy;

/// What a broker began anew with.
#[derive(Clone, Debug)]
pub struct Restored {
    /// What the store gave back.
    pub recovered: Recovered,
    /// What is in each session, by Client Identifier.
    pub contents: BTreeMap<String, Contents>,
}

/// What a session of the broker holds, read from its written form.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Messages that have no identifier yet.
    pub waiting: Vec<Copy>,
    /// Messages that wait for PUBACK or PUBREC, by identifier.
    pub in_flight: BTreeMap<PacketId, Copy>,
    /// Identifiers that wait for PUBCOMP.
    pub released: Vec<PacketId>,
    /// Identifiers of messages of QoS 2 that were accepted and not released.
    pub accepted: Vec<PacketId>,
    /// Of those in flight, which the client has never been sent.
    pub unsent: Vec<PacketId>,
    /// The payloads of messages of QoS 2 that the client has sent and that nobody has answered, as
    /// far as it knows, and whether the session has accepted each.
    pub unanswered: BTreeMap<String, bool>,
}

impl Contents {
    /// Reads the contents of a session.
    ///
    /// # Errors
    ///
    /// Its written form cannot be read.
    pub fn of(state: &SessionState) -> Result<Self, String> {
        let epoch = Epoch::from_micros(0);
        let mut bytes = Vec::new();
        state.encode(epoch, &mut bytes);
        let mut rest = bytes.get(1..).unwrap_or_default();
        let mut waiting = BTreeMap::new();
        let mut contents = Self::default();
        while !rest.is_empty() {
            let operation = Operation::decode(&mut rest, epoch).map_err(|it| it.to_string())?;
            match operation {
                Some(Operation::Queued {
                    token,
                    message,
                    options,
                    ..
                }) => {
                    let mut subscription_ids = options.subscription_ids.as_slice().to_vec();
                    subscription_ids.sort_unstable();
                    let copy = Copy {
                        topic: message.topic().into(),
                        payload: String::from_utf8_lossy(message.payload()).into(),
                        qos: options.qos,
                        retain: options.retain,
                        subscription_ids,
                    };
                    waiting.insert(token, copy);
                }
                Some(Operation::Sent { token, packet_id }) => {
                    contents
                        .in_flight
                        .extend(waiting.remove(&token).map(|copy| (packet_id, copy)));
                }
                Some(Operation::Taken { packet_id, .. }) => contents.released.push(packet_id),
                Some(Operation::Accepted { packet_id }) => contents.accepted.push(packet_id),
                None => {}
                Some(other) => return Err(format!("{other:?} in a state that is written whole")),
            }
        }
        contents.waiting = waiting.into_values().collect();
        Ok(contents)
    }
}

impl Network {
    /// Stops the broker without a word, and has it begin anew with what its store has kept. Every
    /// connection is cut; for `down` nobody is let in. A broker without a store is not stopped.
    pub fn crash(&mut self, down: Duration) {
        let now = self.now;
        let Some(store) = &mut self.store else {
            return;
        };
        let recovered = match store.crash(&self.hub.limits, now) {
            Ok(recovered) => recovered,
            Err(fault) => return self.fault(fault),
        };
        self.hub.restart(&recovered, now);
        self.down_until = now + down;
        self.let_in.clear();
        for wiring in self.links.values_mut() {
            wiring.connection = None;
            if !wiring.link.is_dead() {
                wiring.link.cut(now);
            }
        }
        self.links.retain(|_, wiring| wiring.has_client);
        match self.look_into(&recovered) {
            Ok(contents) => self.observe(Observation::Crashed(Box::new(Restored {
                recovered,
                contents,
            }))),
            Err(fault) => return self.fault(fault),
        }
        // Deadlines may have passed that were rung for, and that was not stored.
        self.observe(Observation::Rings);
        for core in &mut self.hub.cores {
            core.handle_timeout(now);
        }
        self.settle();
    }

    /// Reads what is in the sessions that are left, and goes on with that in the ledgers.
    fn look_into(&mut self, recovered: &Recovered) -> Result<BTreeMap<String, Contents>, String> {
        let mut ledgers = std::mem::take(&mut self.server_ledgers);
        let mut look = |record: &SessionRecord| {
            let client_id = record.client_id.to_string();
            let mut contents = Contents::of(&record.state)?;
            let mut ledger = ledgers.remove(&client_id).unwrap_or_default();
            contents.unsent = ledger.on_crash(&contents);
            self.server_ledgers.insert(client_id.clone(), ledger);
            for (station, ledger) in self.stations.iter().zip(&self.client_ledgers) {
                if station.core.client_id() == client_id {
                    let unanswered = ledger.unanswered().map(|(id, payload)| {
                        let payload = String::from_utf8_lossy(payload).into_owned();
                        (payload, contents.accepted.contains(&id))
                    });
                    contents.unanswered.extend(unanswered);
                }
            }
            Ok((client_id, contents))
        };
        let records = recovered.sessions.iter();
        records.map(|(_, record)| look(record)).collect()
    }

    /// Hands to the store what a worker wants to have written; returns whether there was something.
    pub(super) fn write_down(&mut self, worker: usize) -> bool {
        let Some(core) = self.hub.cores.get_mut(worker) else {
            return false;
        };
        let mut unit: Vec<StoreOperation> = Vec::new();
        let mut last = OperationSequence::default();
        while let Some((sequence, operation)) = core.poll_store_operation() {
            last = sequence;
            unit.push(operation);
        }
        if let Some(store) = self.store.as_mut().filter(|_| !unit.is_empty()) {
            store.write(worker, &unit, last, self.now);
        }
        !unit.is_empty()
    }

    /// The store has something durable for a worker.
    pub(super) fn sync(&mut self, worker: usize) {
        let Some(store) = &mut self.store else {
            return;
        };
        match store.sync(worker, self.now) {
            Ok(Some(sequence)) => self.hub.cores[worker].handle_stored(sequence, self.now),
            Ok(None) => {}
            Err(fault) => self.fault(fault),
        }
    }
}
