//! What comes in from a connection: bytes become packets, and packets what a session asks for.

use bytes::Bytes;
use mqttstack_limits::Instant;
use mqttstack_session::server::{Arrival, Event};

use super::{
    Core,
    connection::{Step, find_mut},
    keys::ConnectionId,
};

impl Core {
    /// Bytes have arrived.
    ///
    /// A driver stops reading while [`is_paused`](Self::is_paused).
    pub fn handle_input(&mut self, id: ConnectionId, input: &[u8], now: Instant) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        // What follows the end is ignored.
        if connection.session.is_ended() {
            return;
        }
        self.work.begin();
        self.counts.bytes_received.add_len(input.len());
        let mut rest = input;
        while !rest.is_empty() {
            let Some(connection) = self.connection_mut(id) else {
                return;
            };
            if !connection.has_unread() && !connection.is_paused() {
                self.handle_fresh(id, rest, now);
                break;
            }
            // Only what completes the packet, so that it has its buffer to itself.
            let missing = connection.missing().min(rest.len());
            let (first, after) = rest.split_at_checked(missing).unwrap_or((rest, &[]));
            connection.keep(first);
            rest = after;
            self.handle_unread(id, now);
        }
        self.begin_intake(id);
        self.end_hoarding(id, now);
        self.settle(id);
        self.conclude(now);
    }

    /// Handles bytes straight from the driver's buffer.
    fn handle_fresh(&mut self, id: ConnectionId, input: &[u8], now: Instant) {
        let mut rest = input;
        let mut handled = 0;
        while !rest.is_empty() {
            let Some(connection) = find_mut(&mut self.connections, id) else {
                break;
            };
            if connection.session.is_ended() {
                break;
            }
            if connection.is_paused() {
                connection.keep(rest);
                break;
            }
            self.work.count(1);
            if self.work.is_enough() || self.journal.is_full() {
                connection.keep(rest);
                self.end_share(id, now);
                break;
            }
            match connection.step(rest, &mut self.messages, now) {
                Step::Arrived(len, Arrival { message, packet_id }) => {
                    handled += 1;
                    rest = rest.get(len..).unwrap_or_default();
                    self.on_message(id, message, packet_id, now);
                    continue;
                }
                Step::Handled(len) => {
                    handled += 1;
                    rest = rest.get(len..).unwrap_or_default();
                }
                Step::Wanted(wanted) => {
                    connection.keep(rest);
                    connection.want(wanted, now);
                    break;
                }
                Step::Failed => rest = &[],
            }
            self.handle_events(id, now);
        }
        self.counts.packets_received.add(handled);
    }

    /// Handles bytes that were kept.
    pub(super) fn handle_unread(&mut self, id: ConnectionId, now: Instant) {
        while let Some(connection) = self.connection_mut(id).filter(|it| !it.is_paused()) {
            let Some(unread) = connection.take_unread() else {
                return;
            };
            self.handle_kept(id, unread, now);
        }
    }

    fn handle_kept(&mut self, id: ConnectionId, kept: Bytes, now: Instant) {
        let mut rest = kept;
        while !rest.is_empty() {
            let Some(connection) = find_mut(&mut self.connections, id) else {
                return;
            };
            if connection.session.is_ended() {
                return;
            }
            if connection.is_paused() {
                connection.put_back(&rest);
                return;
            }
            self.work.count(1);
            if self.work.is_enough() || self.journal.is_full() {
                connection.put_back(&rest);
                return self.end_share(id, now);
            }
            match connection.step_shared(&rest, &mut self.messages, now) {
                Step::Handled(len) => {
                    self.counts.packets_received.add(1);
                    rest = rest.slice(len.min(rest.len())..);
                }
                Step::Arrived(len, Arrival { message, packet_id }) => {
                    self.counts.packets_received.add(1);
                    rest = rest.slice(len.min(rest.len())..);
                    self.on_message(id, message, packet_id, now);
                    continue;
                }
                Step::Wanted(wanted) => {
                    connection.put_back(&rest);
                    connection.want(wanted, now);
                    return;
                }
                Step::Failed => return self.handle_events(id, now),
            }
            self.handle_events(id, now);
        }
    }

    /// Reacts to what the session of a connection reports.
    pub(super) fn handle_events(&mut self, id: ConnectionId, now: Instant) {
        while let Some(connection) = self.connection_mut(id) {
            let Some(event) = connection.session.poll_event() else {
                return;
            };
            match event {
                Event::MessageReceived { message, packet_id } => {
                    self.on_message(id, message, packet_id, now);
                }
                Event::SubscribeRequested(subscribe) => self.on_subscribe(id, subscribe, now),
                Event::UnsubscribeRequested(unsubscribe) => self.on_unsubscribe(id, &unsubscribe),
                Event::ConnectRequested(connect) => self.on_connect(id, connect, now),
                Event::Ended(ended) => self.on_ended(id, *ended, now),
                Event::AuthReceived(auth) => self.on_auth(id, &auth, now),
                // The list of events is open; what is not known here asks for nothing.
                _ => {}
            }
        }
    }
}
