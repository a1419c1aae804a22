//! Captures: the MQTT connections of a pcap or pcapng file, both sides of each.

mod connection;
mod file;
mod link;
mod reassembly;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufReader, Read, Write},
    net::SocketAddr,
};

use mqttstack_codec::{Decoder, Sender};

use crate::failure::Failure;

use super::report::Report;
use connection::Connection;
pub(crate) use connection::Origin;
use file::{Frame, Frames};
use link::segment;

/// How many connections are followed at a time; beyond it, the oldest is given up.
const CONNECTIONS_MAX: usize = 16_384;
/// How many bytes may wait, in all connections together, for the rest of their packets.
const BUFFERED_BYTES_MAX: usize = 512 * 1024 * 1024;

/// How many ports of other servers are named where no connection was found.
const OTHER_PORTS_MAX: usize = 8;

/// What of a capture is looked at.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    /// The ports of servers.
    pub(crate) ports: Vec<u16>,
    /// Whose packets are reported.
    pub(crate) from: Sender,
}

/// Reports the packets of a capture, in the order in which their last bytes were captured.
pub(crate) fn run<W: Write>(
    reader: BufReader<impl Read>,
    name: &str,
    selection: Selection,
    decoder: Decoder,
    report: &mut Report<W>,
) -> Result<(), Failure> {
    let failed = |error| Failure::usage(format!("{name}: {error}"));
    let mut frames = Frames::new(reader).map_err(failed)?;
    let mut connections = Connections::new(selection, decoder);
    let ended = loop {
        match frames.next() {
            Ok(Some(frame)) => connections.take(&frame, report)?,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
        if frames.may_wait() {
            report.flush()?;
        }
    };
    // A capture that breaks off still shows what it has.
    connections.finish(report)?;
    if let Some(hint) = connections.hint() {
        eprintln!("mqttstack inspect: {name}: {hint}");
    }
    ended.map_err(failed)
}

/// The two ends of a connection: the client, and the server.
type Ends = (SocketAddr, SocketAddr);

/// The connections that are followed.
struct Connections {
    selection: Selection,
    decoder: Decoder,
    by_ends: BTreeMap<Ends, Connection>,
    /// The connections by their numbers, which grow with time.
    by_number: BTreeMap<u64, Ends>,
    last_number: u64,
    buffered: usize,
    /// Some of the ports that TCP was spoken with and that are not looked at.
    other_ports: BTreeSet<u16>,
}

impl Connections {
    fn new(selection: Selection, decoder: Decoder) -> Self {
        Self {
            selection,
            decoder,
            by_ends: BTreeMap::new(),
            by_number: BTreeMap::new(),
            last_number: 0,
            buffered: 0,
            other_ports: BTreeSet::new(),
        }
    }

    /// Takes a frame, whatever is in it.
    fn take<W: Write>(&mut self, frame: &Frame<'_>, report: &mut Report<W>) -> Result<(), Failure> {
        let Some(segment) = segment(frame.link, frame.bytes) else {
            return Ok(());
        };
        let (source, destination) = (segment.source, segment.destination);
        let ports = &self.selection.ports;
        let (sender, ends) = if ports.contains(&destination.port()) {
            (Sender::Client, (source, destination))
        } else if ports.contains(&source.port()) {
            (Sender::Server, (destination, source))
        } else {
            if self.other_ports.len() < OTHER_PORTS_MAX {
                // That of the server is the lower one, nearly always.
                let port = source.port().min(destination.port());
                self.other_ports.insert(port);
            }
            return Ok(());
        };
        let is_new_client = segment.syn && sender == Sender::Client;
        let is_repeated = |connection: &Connection| connection.began_with(segment.sequence);
        if is_new_client && !self.by_ends.get(&ends).is_some_and(is_repeated) {
            self.end(ends, report)?;
        }
        if !self.by_ends.contains_key(&ends) {
            if segment.payload.is_empty() && !segment.syn {
                return Ok(());
            }
            self.begin(ends, report)?;
        }
        let Some(connection) = self.by_ends.get_mut(&ends) else {
            return Ok(());
        };
        let others = self.buffered.saturating_sub(connection.buffered());
        let room = BUFFERED_BYTES_MAX.saturating_sub(others);
        connection.take(&segment, sender, frame.time, room, report)?;
        self.buffered = others + connection.buffered();
        if segment.rst {
            self.end(ends, report)?;
        }
        Ok(())
    }

    fn begin<W: Write>(&mut self, ends: Ends, report: &mut Report<W>) -> Result<(), Failure> {
        if self.by_ends.len() >= CONNECTIONS_MAX
            && let Some((_, oldest)) = self.by_number.first_key_value()
        {
            self.end(*oldest, report)?;
        }
        self.last_number += 1;
        let connection = Connection::new(self.last_number, ends, self.selection.from, self.decoder);
        self.by_number.insert(self.last_number, ends);
        self.by_ends.insert(ends, connection);
        Ok(())
    }

    fn end<W: Write>(&mut self, ends: Ends, report: &mut Report<W>) -> Result<(), Failure> {
        if let Some(mut connection) = self.by_ends.remove(&ends) {
            self.by_number.remove(&connection.number());
            self.buffered = self.buffered.saturating_sub(connection.buffered());
            connection.finish(report)?;
        }
        Ok(())
    }

    /// Ends the connections that are left, in the order in which they began.
    fn finish<W: Write>(&mut self, report: &mut Report<W>) -> Result<(), Failure> {
        while let Some((_, ends)) = self.by_number.first_key_value() {
            self.end(*ends, report)?;
        }
        Ok(())
    }

    /// What to do if there was no connection to look at.
    fn hint(&self) -> Option<String> {
        if self.last_number != 0 {
            return None;
        }
        let list = |ports: &mut dyn Iterator<Item = &u16>| {
            let ports: Vec<_> = ports.map(u16::to_string).collect();
            ports.join(", ")
        };
        let looked_at = list(&mut self.selection.ports.iter());
        let mut hint = format!("no connection to port {looked_at} in this capture");
        if !self.other_ports.is_empty() {
            let others = list(&mut self.other_ports.iter());
            hint += &format!("; there is TCP with port {others}: choose one with --port");
        }
        Some(hint)
    }
}

#[cfg(test)]
mod tests;
