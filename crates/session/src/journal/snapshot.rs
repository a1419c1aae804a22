//! A state in bytes: the shortest journal that leads to it.

use alloc::{collections::BTreeSet, vec::Vec};

use super::{
    Operation,
    form::kind,
    format::{Epoch, FormatError, Reader, VERSION, Writer},
};
use crate::{SessionState, flow::Awaited};

impl SessionState {
    /// Appends the state to `out`, to be kept, or taken to another process or host.
    ///
    /// What does not outlive a connection is left out: messages of QoS 0, requests that wait for an
    /// answer, received messages about which nobody has decided, and the journal. Operations that
    /// have not been drained are part of the state as it is; drain them before, or forget them with
    /// it. `epoch` says what the deadlines count from.
    ///
    /// # Format
    ///
    /// One byte that says the version, 2, then records: a byte that says the kind, the length of the
    /// body, the body. Numbers take seven bits a byte, least first, the highest bit of a byte saying
    /// that more follow, in their shortest form. Deadlines are microseconds on the lasting clock of
    /// the [`Epoch`]; the largest number of 64 bits is never.
    ///
    /// | kind | body |
    /// | --- | --- |
    /// | 0x01 queued | token, delivery, message |
    /// | 0x02 sent | token, packet identifier |
    /// | 0x03 taken | packet identifier, then the token if there is one |
    /// | 0x04 completed | packet identifier |
    /// | 0x05 given up | one token or more, ascending |
    /// | 0x06 accepted | packet identifier |
    /// | 0x07 released | packet identifier |
    /// | 0x08 peer lost | 1 if what was in flight waits again, else 0 |
    /// | 0x09 cleared | - |
    /// | 0x80 totals | last token, messages dropped, messages expired |
    ///
    /// A delivery is a byte (bits 0-1 QoS, 2 RETAIN, 3 one Subscription Identifier, 4 several, 5
    /// deadline, 6 shared group), then the count if several, the identifiers, the deadline if it
    /// does not follow from the message, and the number of the group if there is one; version 1
    /// knows no groups, and is read as well. A message is a byte (bits 0-1 QoS, 2 RETAIN, 3 properties, 4 expires at a
    /// deadline, 5 expires after an interval), the deadline or the seconds, the topic and its length,
    /// the properties as MQTT 5.0 writes them and their length, and the payload, which takes the
    /// rest.
    ///
    /// A state is written as the shortest journal that leads to it: the messages in flight, oldest
    /// first, each queued and sent, or taken; the messages that wait; the messages accepted; totals. Each
    /// [`Operation`] has the same form for itself.
    ///
    /// Readers skip records of kinds from 0x80 on that they do not know, and refuse lower ones: a
    /// later version of this crate gives a kind below 0x80 only to what must not be lost.
    pub fn encode(&self, epoch: Epoch, out: &mut Vec<u8>) {
        let mut out = Writer::new(out, epoch);
        out.byte(VERSION);
        self.write(&mut out);
    }

    /// Reads a state that [`encode`](Self::encode) wrote. It keeps no journal.
    ///
    /// # Errors
    ///
    /// [`FormatError`]: the bytes are of a later version, or damaged. Reading takes time and memory
    /// in proportion to them, whatever they are.
    pub fn decode(bytes: &[u8], epoch: Epoch) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes, epoch);
        reader.version()?;
        let mut state = Self::new();
        // To drop them one record after the other would look at all that waits again and again.
        let mut given_up = BTreeSet::new();
        while let Some(record) = reader.record()? {
            if record.kind == kind::TOTALS {
                let mut body = record.body;
                state.read_totals(&mut body)?;
                body.finish()?;
            } else if let Some(operation) = Operation::read(record)? {
                state.apply_with(operation, &mut given_up)?;
            }
        }
        state.outbound.drop_given_up(&given_up);
        Ok(state)
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) {
        for (packet_id, exchange) in self.outbound.exchanges() {
            match exchange {
                Awaited::PubAck(queued) | Awaited::PubRec(queued) => {
                    queued.operation().write(out);
                    let token = queued.token;
                    Operation::Sent { token, packet_id }.write(out);
                }
                Awaited::PubComp(token) => {
                    let token = *token;
                    Operation::Taken { packet_id, token }.write(out);
                }
                // Requests end with their connection.
                Awaited::SubAck { .. } | Awaited::UnsubAck { .. } => {}
            }
        }
        for queued in self.outbound.waiting() {
            queued.operation().write(out);
        }
        for packet_id in self.inbound.accepted() {
            Operation::Accepted { packet_id }.write(out);
        }
        let totals = self.outbound.totals();
        if totals != [0; 3] {
            out.record(kind::TOTALS, |out| {
                for total in totals {
                    out.number(total);
                }
            });
        }
    }

    pub(super) fn read_totals(&mut self, body: &mut Reader<'_>) -> Result<(), FormatError> {
        let totals = [body.number()?, body.number()?, body.number()?];
        self.outbound.set_totals(totals);
        Ok(())
    }
}
