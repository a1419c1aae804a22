//! What goes out to a connection when a turn ends, and when it has had its turn.

use bytes::{Bytes, BytesMut};
use mqttstack_codec::EncodeError;
use mqttstack_limits::Instant;
use mqttstack_session::Encoded;

use super::{
    Core,
    connection::{Connection, find_mut},
    keys::ConnectionId,
};

/// Where the core puts encoded packets.
pub trait Outlet {
    /// Returns how many bytes wait there already.
    fn waiting(&self) -> usize;
    /// Returns the buffer to append packets to.
    fn buffer(&mut self) -> &mut BytesMut;
    /// Appends a payload that is shared with others.
    fn append_shared(&mut self, payload: Bytes);
}

/// What [`Core::drain`] came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Drained {
    /// Everything there was is in the outlet.
    Empty,
    /// The outlet is full: call [`Core::handle_writable`] when it has been written.
    Full,
    /// There is more, but the connection has had its turn: call [`Core::drain`] again when the
    /// others have had theirs.
    More,
    /// The connection is over: close the transport when the outlet has been written, and call
    /// [`Core::handle_closed`].
    Close,
}

impl Core {
    /// Returns the handle of a connection that may have something to send, with its name.
    #[must_use]
    pub fn poll_dirty(&mut self) -> Option<(ConnectionId, u64)> {
        loop {
            let id = self.dirty.pop_front()?;
            if let Some(connection) = self.connection_mut(id) {
                connection.is_dirty = false;
                return Some((id, connection.handle));
            }
        }
    }

    /// Encodes what a connection has to send, as far as there is room. The search for retained
    /// messages is the only work here that its output does not bound: of that, a call does a turn's
    /// worth.
    pub fn drain(&mut self, id: ConnectionId, now: Instant, outlet: &mut impl Outlet) -> Drained {
        if let Some(connection) = self.connection_mut(id) {
            connection.begin_turn();
        }
        let before = outlet.waiting();
        let drained = self.drain_some(id, now, outlet);
        let sent = outlet.waiting().saturating_sub(before);
        self.counts.bytes_sent.add_len(sent);
        self.count_connection(id);
        if let Some(connection) = self.connection(id)
            && let Some(key) = connection.key
        {
            let dropped = connection.session.queue_status().dropped;
            self.note_drops(key, dropped, now);
        }
        drained
    }

    fn drain_some(&mut self, id: ConnectionId, now: Instant, outlet: &mut impl Outlet) -> Drained {
        if self.holds_output(id) {
            return Drained::Empty;
        }
        loop {
            match self.encode_packets(id, now, outlet) {
                Drained::Empty => {}
                ended @ (Drained::Full | Drained::More | Drained::Close) => return ended,
            }
            if self.send_more_retained(id, now) || self.read_on(id, now) {
                continue;
            }
            let had_its_turn = self.connection(id).is_some_and(Connection::had_its_turn);
            return if had_its_turn && self.owes_retained(id) {
                Drained::More
            } else {
                Drained::Empty
            };
        }
    }

    fn encode_packets(
        &mut self,
        id: ConnectionId,
        now: Instant,
        outlet: &mut impl Outlet,
    ) -> Drained {
        let Some(connection) = find_mut(&mut self.connections, id) else {
            return Drained::Empty;
        };
        // An outlet that is always full would never take anything.
        let full =
            usize::try_from(connection.limits().output_bytes_max.max(1)).unwrap_or(usize::MAX);
        let mut failed: Option<EncodeError> = None;
        let mut publishes = 0;
        if let Some(number) = connection.early.take() {
            let is_ended = connection.session.is_ended();
            self.early.take(number, |early| {
                // Who has said goodbye, or is told to go, gets no more messages.
                if !is_ended {
                    outlet.buffer().extend_from_slice(&early.bytes);
                    publishes = early.messages;
                }
            });
        }
        let mut packets = publishes;
        while outlet.waiting() < full || connection.session.is_ended() {
            let (pool, scratch) = (&mut self.messages, &mut self.scratch);
            let session = &mut connection.session;
            let Some(encoded) = session.encode_next(pool, scratch, outlet.buffer(), now) else {
                break;
            };
            packets = packets.saturating_add(1);
            match encoded {
                Ok(Encoded::Packet) => {}
                Ok(Encoded::Publish(payload)) => {
                    publishes = publishes.saturating_add(1);
                    if let Some(payload) = payload {
                        outlet.append_shared(payload);
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        let is_ended = connection.session.is_ended();
        let key = connection.key;
        // A connection that is over is not blocked: nothing more is read from it.
        let is_full = !is_ended && outlet.waiting() >= full;
        connection.is_blocked = is_full;
        if let Some(key) = key {
            self.write_down(key);
        }
        self.counts.packets_sent.add(packets);
        self.counts.publishes_sent.add(publishes);
        debug_assert!(
            failed.is_none(),
            "a packet of ours does not encode: {failed:?}"
        );
        match (is_ended, is_full) {
            (true, _) => Drained::Close,
            (false, true) => Drained::Full,
            (false, false) => Drained::Empty,
        }
    }

    /// Handles what had to wait until the answers were out; returns whether there are more answers.
    fn read_on(&mut self, id: ConnectionId, now: Instant) -> bool {
        self.work.begin();
        self.handle_unread(id, now);
        self.connection(id).is_some_and(|it| {
            it.session.has_packet() || it.early.is_some() || it.session.is_ended()
        })
    }

    pub(super) fn mark_dirty(&mut self, id: ConnectionId) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        // Where the output is full there is nothing to do until it has been written.
        let is_stuck = connection.is_blocked && !connection.session.is_ended();
        if !connection.is_dirty && !is_stuck {
            connection.is_dirty = true;
            self.dirty.push_back(id);
        }
    }
}
