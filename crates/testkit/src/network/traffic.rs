//! What arrives at either end of a link, and what each end has to say.

use std::{num::NonZero, sync::Arc};

use bytes::BytesMut;
use mqttstack_broker::core::{ConnectionId, Drained, Notice, WorkerId};
use mqttstack_client::core::TransportRequest;
use mqttstack_codec::{Packet, ProtocolVersion};

use super::{LinkId, Network, Observation, TURNS_MAX, Wiring};
use crate::{Arrival, Direction, Link, LinkError, hub::Output};

impl Network {
    pub(super) fn arrive_at_server(&mut self, id: LinkId) {
        let now = self.now;
        let Some(wiring) = self.links.get_mut(&id) else {
            return;
        };
        let arrival = wiring.link.poll_arrival(Direction::ToServer, now);
        let (station, worker) = (wiring.station, wiring.worker);
        let Some(connection) = wiring.connection else {
            return self.drop_if_over(id);
        };
        match arrival {
            Ok(Some(Arrival::Bytes(bytes, packets))) => {
                if !self.hub.cores[worker].is_over(connection) {
                    for packet in packets {
                        self.on_handled(id, station, packet);
                    }
                }
                self.hub.cores[worker].handle_input(connection, &bytes, now);
            }
            Ok(Some(Arrival::End)) => {
                self.drain(worker, connection, id);
                self.hub.cores[worker].handle_closed(connection, now);
                self.detach_server(id);
            }
            Ok(None) => {}
            Err(error) => self.link_fault(id, &error),
        }
    }

    fn on_handled(&mut self, id: LinkId, station: usize, packet: Packet) {
        if let Packet::Connect(connect) = &packet {
            if let Some(wiring) = self.links.get_mut(&id) {
                wiring.resumes = !connect.clean_start;
                wiring.receive_maximum = match connect.version {
                    ProtocolVersion::V5 => connect
                        .properties
                        .receive_maximum()
                        .map_or(u16::MAX, NonZero::get),
                    ProtocolVersion::V31 | ProtocolVersion::V311 => u16::MAX,
                };
            }
        } else {
            let client_id = self.stations[station].core.client_id();
            let received = self
                .server_ledgers
                .get_mut(client_id)
                .map(|it| it.on_received(&packet));
            if let Some(Err(fault)) = received {
                self.fault(format!("from client {station}: {fault}"));
            }
        }
        let packet = Box::new(packet);
        let link = id;
        self.observe(Observation::Handled {
            station,
            link,
            packet,
        });
    }

    pub(super) fn arrive_at_client(&mut self, id: LinkId) {
        let now = self.now;
        let Some(wiring) = self.links.get_mut(&id) else {
            return;
        };
        let arrival = wiring.link.poll_arrival(Direction::ToClient, now);
        let index = wiring.station;
        let (worker, connection) = (wiring.worker, wiring.connection);
        let resumes = wiring.resumes;
        let has_room = wiring.link.in_flight(Direction::ToClient) == 0;
        if has_room
            && std::mem::take(&mut wiring.is_blocked)
            && let Some(connection) = connection
        {
            self.hub.cores[worker].handle_writable(connection, now);
        }
        if !self.links.get(&id).is_some_and(|it| it.has_client) {
            return self.drop_if_over(id);
        }
        match arrival {
            Ok(Some(Arrival::Bytes(bytes, packets))) => {
                for packet in packets {
                    let ledger = &mut self.client_ledgers[index];
                    if let Packet::ConnAck(connack) = &packet
                        && !connack.reason_code.is_error()
                    {
                        let maximum = connack.properties.receive_maximum();
                        let maximum = maximum.map_or(u16::MAX, NonZero::get);
                        let is_resumed = match self.stations[index].core.settings().version {
                            ProtocolVersion::V31 => resumes,
                            ProtocolVersion::V311 | ProtocolVersion::V5 => connack.session_present,
                        };
                        ledger.begin(maximum, is_resumed);
                    } else if let Err(fault) = ledger.on_received(&packet) {
                        self.fault(format!("to client {index}: {fault}"));
                    }
                    self.observe(Observation::Arrived {
                        station: index,
                        packet: Box::new(packet),
                    });
                }
                self.stations[index].core.handle_input(&bytes, now);
            }
            Ok(Some(Arrival::End)) => {
                self.stations[index].core.handle_closed(now);
                self.detach_client(id);
            }
            Ok(None) => {}
            Err(error) => self.link_fault(id, &error),
        }
    }

    /// Moves everything that anybody has to say until nobody has.
    pub(super) fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            let mut any = false;
            for index in 0..self.stations.len() {
                any |= self.pump_station(index);
            }
            for worker in 0..self.hub.cores.len() {
                any |= self.pump_worker(worker);
            }
            if !any {
                return;
            }
        }
        self.fault("no end of things to say".into());
    }

    fn pump_station(&mut self, index: usize) -> bool {
        let now = self.now;
        let station = &mut self.stations[index];
        let mut any = station.take_events();
        if let Some(output) = station.core.poll_output(now) {
            let mut bytes = output.bytes.to_vec();
            bytes.extend(output.payload.unwrap_or_default());
            self.send_from_client(index, &bytes);
            any = true;
        }
        match self.stations[index].core.poll_transport() {
            Some(TransportRequest::Open) => self.open(index),
            Some(TransportRequest::Close) => {
                if let Some(id) = self.stations[index].link {
                    if let Some(wiring) = self.links.get_mut(&id) {
                        wiring.link.finish(Direction::ToServer, now);
                    }
                    self.detach_client(id);
                }
                self.stations[index].core.handle_closed(now);
            }
            Some(other) => self.fault(format!("unknown request {other:?}")),
            None => return any,
        }
        true
    }

    fn send_from_client(&mut self, index: usize, bytes: &[u8]) {
        let Some(id) = self.stations[index].link else {
            return;
        };
        let Some(wiring) = self.links.get_mut(&id) else {
            return;
        };
        match wiring.link.write(Direction::ToServer, bytes, self.now) {
            Ok(packets) => {
                for packet in packets {
                    if let Err(fault) = self.client_ledgers[index].on_sent(&packet) {
                        self.fault(format!("client {index}: {fault}"));
                    }
                }
            }
            Err(error) => self.link_fault(id, &error),
        }
    }

    fn open(&mut self, index: usize) {
        let now = self.now;
        let worker = self.chance.index(self.hub.cores.len());
        let core = &mut self.stations[index].core;
        let is_refused = self.chance.percent(self.conditions.refuse_percent);
        if is_refused || now < self.down_until {
            return core.handle_closed(now);
        }
        self.links_made += 1;
        let id = LinkId(self.links_made);
        let limits = self.hub.limits.clone();
        let peer = Arc::new(id.0.to_string().as_str().into());
        let opened = self.hub.cores[worker].handle_opened(id.0, peer, limits, now);
        let Some(connection) = opened else {
            return core.handle_closed(now);
        };
        let version = core.settings().version;
        let link = Link::new(version, self.conditions.links.clone(), self.chance.fork());
        let wiring = Wiring {
            link,
            station: index,
            has_client: true,
            worker,
            connection: Some(connection),
            is_blocked: false,
            receive_maximum: u16::MAX,
            resumes: false,
        };
        self.links.insert(id, wiring);
        core.handle_connected(now);
        self.stations[index].link = Some(id);
    }

    fn pump_worker(&mut self, worker: usize) -> bool {
        let mut any = false;
        while let Some(notice) = self.hub.cores[worker].poll_notice() {
            any = true;
            if let Notice::Connected {
                client_id,
                session_present,
                peer,
                ..
            } = &notice
                && let Some(link) = LinkId::of_peer(&peer.address)
            {
                let let_in = (link, *session_present);
                self.let_in.insert(client_id.to_string(), let_in);
                // Its CONNACK may wait for the store, and never leave.
                let ledger = self.server_ledgers.get_mut(&**client_id);
                if let Some(ledger) = ledger.filter(|_| !session_present) {
                    ledger.clear();
                }
            }
            self.observe(Observation::Noticed(notice));
        }
        while let Some((connection, handle)) = self.hub.cores[worker].poll_dirty() {
            any = true;
            self.drain(worker, connection, LinkId(handle));
        }
        while let Some((to, message)) = self.hub.cores[worker].poll_worker_message() {
            any = true;
            let from = WorkerId::new(u8::try_from(worker).unwrap_or(u8::MAX));
            self.hub.post(from, to, message, self.now);
        }
        any | self.write_down(worker)
    }

    /// Moves what a worker has to say on a connection into its link.
    fn drain(&mut self, worker: usize, connection: ConnectionId, id: LinkId) {
        while self.drain_turn(worker, connection, id) == Some(Drained::More) {}
    }

    fn drain_turn(
        &mut self,
        worker: usize,
        connection: ConnectionId,
        id: LinkId,
    ) -> Option<Drained> {
        let now = self.now;
        let wiring = self.links.get_mut(&id)?;
        let mut output = Output {
            waiting: wiring.link.in_flight(Direction::ToClient),
            bytes: BytesMut::new(),
        };
        let core = &mut self.hub.cores[worker];
        let drained = core.drain(connection, now, &mut output);
        let written = wiring.link.write(Direction::ToClient, &output.bytes, now);
        wiring.is_blocked = drained == Drained::Full;
        if drained == Drained::Close {
            wiring.link.finish(Direction::ToClient, now);
            core.handle_closed(connection, now);
        }
        let (index, receive_maximum) = (wiring.station, wiring.receive_maximum);
        match written {
            Ok(packets) => self.on_written(index, id, receive_maximum, packets),
            Err(error) => self.link_fault(id, &error),
        }
        if drained == Drained::Close {
            self.detach_server(id);
        }
        Some(drained)
    }

    fn on_written(
        &mut self,
        index: usize,
        link: LinkId,
        receive_maximum: u16,
        packets: Vec<Packet>,
    ) {
        let client_id = self.stations[index].core.client_id().to_owned();
        for packet in packets {
            let ledger = self.server_ledgers.entry(client_id.clone()).or_default();
            if self.store.is_some() {
                ledger.expect_store();
            }
            // Answers that have waited for the store may leave when the client has been let in
            // elsewhere: what they say is stored, and they tell nothing of the session that is there
            // now.
            let (owner, is_resumed) = self.let_in.get(&client_id).copied().unzip();
            let is_here = owner.is_none_or(|owner| owner == link);
            if let Packet::ConnAck(connack) = &packet
                && !connack.reason_code.is_error()
                && is_here
            {
                // A CONNACK of 3.1 does not say it.
                ledger.begin(receive_maximum, is_resumed.unwrap_or_default());
            }
            let is_first = ledger.is_first(&packet);
            let sent = match (&packet, is_here) {
                (Packet::Publish(_), false) => Err(format!("{packet:?} of a session elsewhere")),
                (_, false) => Ok(()),
                (_, true) => ledger.on_sent(&packet),
            };
            if let Err(fault) = sent {
                self.fault(format!("broker to client {index}: {fault}"));
            }
            let packet = Box::new(packet);
            self.observe(Observation::Sent {
                station: index,
                link,
                is_first,
                packet,
            });
        }
    }

    fn detach_client(&mut self, id: LinkId) {
        if let Some(wiring) = self.links.get_mut(&id) {
            wiring.has_client = false;
            self.stations[wiring.station].link = None;
        }
        self.drop_if_over(id);
    }

    fn detach_server(&mut self, id: LinkId) {
        if let Some(wiring) = self.links.get_mut(&id) {
            wiring.connection = None;
        }
        self.drop_if_over(id);
    }

    fn drop_if_over(&mut self, id: LinkId) {
        let is_over = |wiring: &Wiring| !wiring.has_client && wiring.connection.is_none();
        if self.links.get(&id).is_some_and(is_over) {
            self.links.remove(&id);
        }
    }

    fn link_fault(&mut self, id: LinkId, error: &LinkError) {
        self.fault(format!("{id:?} {:?}: {}", error.direction, error.error));
    }
}
