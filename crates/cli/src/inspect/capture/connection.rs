//! One connection of a capture: two directions that share a version.

use std::{fmt, io::Write, net::SocketAddr};

use jiff::Timestamp;
use mqttstack_codec::{Decoder, ProtocolVersion, Sender};
use serde::{Serialize, Serializer};

use crate::failure::Failure;

use super::{
    super::{
        flow::{Fault, Flow},
        report::{Report, as_text, side, version_after},
    },
    Ends,
    link::Segment,
    reassembly::Reassembly,
};

/// Which connection and which side of it something comes from, and when.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Origin {
    /// Connections are numbered from 1, as they appear.
    connection: u64,
    #[serde(serialize_with = "as_side")]
    from: Sender,
    #[serde(serialize_with = "as_text")]
    source: SocketAddr,
    #[serde(serialize_with = "as_text")]
    destination: SocketAddr,
    /// When the last of its bytes was captured.
    #[serde(serialize_with = "as_time", skip_serializing_if = "Option::is_none")]
    time: Option<Timestamp>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "connection {}, {} {} to {}",
            self.connection,
            side(self.from),
            self.source,
            self.destination
        )?;
        match self.time {
            Some(time) => write!(f, ", {time}"),
            None => Ok(()),
        }
    }
}

fn as_side<S: Serializer>(sender: &Sender, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(side(*sender))
}

fn as_time<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}

/// A connection that is being followed.
#[derive(Debug)]
pub(super) struct Connection {
    number: u64,
    decoder: Decoder,
    client: Direction,
    server: Direction,
    /// The sequence number of the client's SYN.
    began_with: Option<u32>,
}

/// What one side has sent.
#[derive(Debug)]
struct Direction {
    origin: Origin,
    /// Whether its packets are reported.
    is_shown: bool,
    reassembly: Reassembly,
    flow: Flow,
}

impl Connection {
    /// Creates a connection between two ends; packets `from` one side or both are reported.
    pub(super) fn new(number: u64, ends: Ends, from: Sender, decoder: Decoder) -> Self {
        let (client, server) = ends;
        let direction = |sender, is_shown, source, destination| Direction {
            origin: Origin {
                connection: number,
                from: sender,
                source,
                destination,
                time: None,
            },
            is_shown,
            reassembly: Reassembly::default(),
            flow: Flow::default(),
        };
        Self {
            number,
            decoder,
            client: direction(Sender::Client, from.may_be_client(), client, server),
            server: direction(Sender::Server, from.may_be_server(), server, client),
            began_with: None,
        }
    }

    /// Takes a segment that one side has sent, and reports the packets that it completes. If more
    /// than `room` bytes are buffered then, the side is not followed any further.
    pub(super) fn take<W: Write>(
        &mut self,
        segment: &Segment<'_>,
        sender: Sender,
        time: Option<Timestamp>,
        room: usize,
        report: &mut Report<W>,
    ) -> Result<(), Failure> {
        if segment.syn && sender == Sender::Client {
            self.began_with = Some(segment.sequence);
        }
        self.decoder.version = match sender {
            Sender::Server => self.server.take(segment, time, self.decoder, report)?,
            Sender::Client | Sender::Any => {
                self.client.take(segment, time, self.decoder, report)?
            }
        };
        if self.buffered() > room {
            let limit = super::BUFFERED_BYTES_MAX;
            let fault = Fault::BufferFull { limit };
            match sender {
                Sender::Server => self.server.give_up(fault, self.decoder, report)?,
                Sender::Client | Sender::Any => self.client.give_up(fault, self.decoder, report)?,
            }
        }
        Ok(())
    }

    /// The connection has ended; reports what either side has not finished.
    pub(super) fn finish<W: Write>(&mut self, report: &mut Report<W>) -> Result<(), Failure> {
        self.client.finish(self.decoder, report)?;
        self.server.finish(self.decoder, report)
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Returns whether the client's SYN had this sequence number.
    pub(super) fn began_with(&self, sequence: u32) -> bool {
        self.began_with == Some(sequence)
    }

    /// Returns how many bytes are buffered.
    pub(super) fn buffered(&self) -> usize {
        self.client.buffered() + self.server.buffered()
    }
}

impl Direction {
    /// Takes a segment; returns the version in which the connection goes on.
    fn take<W: Write>(
        &mut self,
        segment: &Segment<'_>,
        time: Option<Timestamp>,
        decoder: Decoder,
        report: &mut Report<W>,
    ) -> Result<ProtocolVersion, Failure> {
        let mut decoder = decoder.with_sender(self.origin.from);
        let mut sequence = segment.sequence;
        if segment.syn {
            // A SYN counts as a byte, and may come twice.
            self.reassembly.begin(sequence);
            sequence = sequence.wrapping_add(1);
        }
        if self.flow.has_failed() || segment.payload.is_empty() {
            return Ok(decoder.version);
        }
        self.origin.time = time;
        let flow = &mut self.flow;
        let payload = segment.payload;
        let goes_on = self
            .reassembly
            .take(sequence, payload, |bytes| flow.push(bytes));
        while let Some(item) = flow.poll(decoder) {
            decoder.version = version_after(&item, decoder.version);
            if self.is_shown {
                report.item(&item, Some(&self.origin))?;
            }
        }
        if self.flow.has_failed() {
            self.reassembly = Reassembly::default();
        } else if let Some(count) = self.reassembly.gap().filter(|_| !goes_on) {
            self.give_up(Fault::Missing { count }, decoder, report)?;
        }
        Ok(decoder.version)
    }

    /// Reports a fault, and reads no further.
    fn give_up<W: Write>(
        &mut self,
        fault: Fault,
        decoder: Decoder,
        report: &mut Report<W>,
    ) -> Result<(), Failure> {
        self.reassembly = Reassembly::default();
        let item = self.flow.fail(decoder, fault);
        if self.is_shown {
            report.item(&item, Some(&self.origin))?;
        }
        // Lets go of what has been shown.
        self.flow.push(&[]);
        Ok(())
    }

    fn finish<W: Write>(
        &mut self,
        decoder: Decoder,
        report: &mut Report<W>,
    ) -> Result<(), Failure> {
        let decoder = decoder.with_sender(self.origin.from);
        if let Some(count) = self.reassembly.gap() {
            return self.give_up(Fault::Missing { count }, decoder, report);
        }
        match self.flow.finish(decoder) {
            Some(item) if self.is_shown => report.item(&item, Some(&self.origin)),
            Some(_) | None => Ok(()),
        }
    }

    fn buffered(&self) -> usize {
        self.flow.buffered() + self.reassembly.buffered()
    }
}
