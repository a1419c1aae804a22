//! One connection: the bytes that wait to be decoded, and the session on it.

use std::sync::Arc;

use bytes::Bytes;
use mqttstack_codec::{
    Connect, DecodeError, Decoder, FrameHeader, Packet, PacketRef, PacketType, ProtocolVersion,
    Sender, Shared,
};
use mqttstack_limits::{Instant, Limits};
use mqttstack_session::{
    MessagePool, ProtocolError,
    journal::OperationSequence,
    server::{Arrival, Session},
};
use mqttstack_topic::{CharacterPolicy, TopicLimits};

use super::{
    early::PlaceNumber,
    intake::Intake,
    keys::{ConnectionId, SessionKey},
    known_peer::{KnownPeer, ListenerNames},
    memory::will_bytes,
    peer::Peer,
    questions::Question,
    slots::Slots,
    unread::Unread,
};

/// Packets of this many bytes and more are decoded in place, so that their payload is shared
/// instead of copied.
const SHARED_PACKET_MIN: usize = 8 * 1024;

/// How many bytes of memory answers may take before the next packet is looked at. Far below what
/// the limits allow, so that a client that asks much in one go is not mistaken for one that does
/// not read.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// How many searches for retained messages a connection gets before the others have their turn.
/// Each is short, whether it finds something or not.
const SEARCHES_PER_TURN: u8 = 8;

/// A connection of this worker.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) generation: u32,
    /// What the driver calls it.
    pub(super) handle: u64,
    peer: KnownPeer,
    pub(super) session: Session,
    /// The session it is on, once it has been accepted.
    pub(super) key: Option<SessionKey>,
    /// A CONNECT on its way through authentication and takeover.
    pub(super) admission: Option<Box<Admission>>,
    /// What has arrived and has not been handled; mostly there is nothing.
    unread: Option<Box<Unread>>,
    /// Nothing leaves before this is stored.
    pub(super) output_after: OperationSequence,
    /// Whether the output is full: then nothing more is encoded until it has been written.
    pub(super) is_blocked: bool,
    /// What the program around the broker was asked and has not answered.
    pub(super) question: Option<Box<Question>>,
    /// Whether something that its client did with another worker is still under way.
    pub(super) is_moving: bool,
    /// Whether its client has sent DISCONNECT.
    pub(super) has_left: bool,
    /// Whether it has published while memory is short, and waits for its next portion.
    pub(super) is_slowed: bool,
    /// How many bytes wait to be written, as far as the driver has said.
    pub(super) output_bytes: usize,
    /// What it counts as in the memory of all.
    pub(super) counted_bytes: u64,
    /// Whether it has made enough work for now.
    pub(super) has_had_its_share: bool,
    /// Where messages are that have been encoded for it already.
    pub(super) early: Option<PlaceNumber>,
    /// Whether it is in the list of connections with something to send.
    pub(super) is_dirty: bool,
    /// For when it is in the timers.
    pub(super) timer_at: Instant,
    /// How many searches for retained messages are left in this turn.
    searches_left: u8,
}

/// A CONNECT that is being decided.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) connect: Box<Connect<Shared>>,
    pub(super) identity: Option<Box<str>>,
    pub(super) client_id: Box<str>,
    /// Whether the broker chose the Client Identifier.
    pub(super) is_assigned: bool,
    /// The last word of an exchange that proved who the client is.
    pub(super) authentication_data: Option<Bytes>,
}

/// What came of looking at received bytes.
#[derive(Debug)]
pub(super) enum Step {
    /// So many bytes were a packet, which the session has handled.
    Handled(usize),
    /// So many bytes were a PUBLISH, which carried this.
    Arrived(usize, Arrival),
    /// More bytes are needed: so many in all.
    Wanted(usize),
    /// The client broke the protocol; the session knows.
    Failed,
}

impl Connection {
    pub(super) fn new(
        generation: u32,
        handle: u64,
        peer: Arc<Peer>,
        limits: Arc<Limits>,
        now: Instant,
    ) -> Self {
        Self {
            generation,
            handle,
            peer: KnownPeer::Whole(peer),
            session: Session::new(limits, now),
            key: None,
            admission: None,
            unread: None,
            output_after: OperationSequence::default(),
            is_blocked: false,
            has_left: false,
            question: None,
            is_moving: false,
            is_slowed: false,
            output_bytes: 0,
            counted_bytes: 0,
            has_had_its_share: false,
            early: None,
            is_dirty: false,
            timer_at: Instant::NEVER,
            searches_left: SEARCHES_PER_TURN,
        }
    }

    /// The others have had their turn.
    pub(super) fn begin_turn(&mut self) {
        self.searches_left = SEARCHES_PER_TURN;
    }

    /// Takes one of the searches of this turn, if there is one left.
    pub(super) fn take_search(&mut self) -> bool {
        let has_one = self.searches_left > 0;
        self.searches_left = self.searches_left.saturating_sub(1);
        has_one
    }

    /// Returns whether the searches of this turn are used up.
    pub(super) fn had_its_turn(&self) -> bool {
        self.searches_left == 0
    }

    /// Returns whether received bytes have to wait: for the answer to a CONNECT, for the answers to
    /// what came before, for what the program around the broker has to say, for a session to
    /// arrive, or for the turn of others.
    ///
    /// A client whose output is full is heard all the same: it may be slow with a large message,
    /// and its PINGREQ has to count.
    pub(super) fn is_paused(&self) -> bool {
        self.session.is_deciding()
            || self.question.is_some()
            || self.is_moving
            || self.is_slowed
            || self.has_had_its_share
            || self.session.response_bytes() > RESPONSE_BYTES_MAX
    }

    /// Returns the limits of the listener that the client came to.
    pub(super) const fn limits(&self) -> &Arc<Limits> {
        self.session.limits()
    }

    /// Returns what the limits say about topics.
    pub(super) fn topic_limits(&self) -> TopicLimits {
        TopicLimits {
            levels_max: self.limits().topic_levels_max,
            bytes_max: u16::MAX,
            // The codec has seen to it.
            characters: CharacterPolicy::Accept,
        }
    }

    /// Returns what is known of the client beside what it says.
    pub(super) fn peer(&self, listeners: &ListenerNames) -> Arc<Peer> {
        self.peer.get(listeners)
    }

    /// More has become known of the client.
    pub(super) fn set_peer(&mut self, peer: Arc<Peer>) {
        self.peer = KnownPeer::Whole(peer);
    }

    /// The client has been let in: what is known of it is seldom wanted from now on.
    pub(super) fn pack_peer(&mut self, listeners: &mut ListenerNames) {
        self.peer.pack(listeners);
    }

    /// Keeps bytes for later.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        self.unread.get_or_insert_default().keep(bytes);
    }

    /// Puts back what was taken: it is ahead of all that is kept.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        self.unread.get_or_insert_default().put_back(bytes);
    }

    /// Returns how many bytes make it worth to look again; all there are if that is not known.
    pub(super) fn missing(&self) -> usize {
        let missing = self.unread.as_ref().and_then(|unread| unread.missing());
        missing.unwrap_or(usize::MAX)
    }

    /// Notes how many bytes the packet at the head of what is kept takes.
    pub(super) fn want(&mut self, wanted: usize, now: Instant) {
        self.unread.get_or_insert_default().want(wanted, now);
    }

    /// Returns when the packet that an accepted client has begun has to be whole.
    pub(super) fn packet_deadline(&self) -> Instant {
        let begun_at = self.unread.as_ref().and_then(|unread| unread.begun_at());
        match begun_at.filter(|_| self.key.is_some()) {
            Some(begun_at) => begun_at + self.limits().packet_timeout,
            None => Instant::NEVER,
        }
    }

    /// Takes what is kept, if it is worth looking at.
    pub(super) fn take_unread(&mut self) -> Option<Bytes> {
        self.unread.as_mut()?.take()
    }

    /// Returns the bytes of its will, and of what is being decided: a CONNECT, or a question.
    pub(super) fn asked_bytes(&self) -> usize {
        let connect = self.admission.as_deref().map_or(0, |admission| {
            let connect = &admission.connect;
            let username = connect.username.as_ref().map_or(0, |it| it.len());
            let password = connect.password.as_ref().map_or(0, |it| it.len());
            let properties = connect.properties.as_bytes().len();
            properties.saturating_add(username).saturating_add(password)
        });
        let will = self.session.will().map_or(0, will_bytes);
        let question = self.question.as_deref().map_or(0, Question::bytes);
        connect.saturating_add(will).saturating_add(question)
    }

    /// Returns the beginning of a packet, if that is all there is and its length is known: so many
    /// bytes.
    pub(super) fn begun(&self) -> Option<(&[u8], usize)> {
        self.unread.as_ref()?.begun()
    }

    /// Goes on with that packet in a buffer of its own.
    pub(super) fn take_in(&mut self, intake: Box<Intake>) {
        self.unread.get_or_insert_default().take_in(intake);
    }

    /// Returns whether `input` would be looked at now, and is the beginning of a packet of so many
    /// bytes, or all of it.
    pub(super) fn expects(&self, input: &[u8], len: usize) -> bool {
        let is_free = !self.has_unread() && !self.is_paused() && !self.session.is_ended();
        let is_of_len = |header: FrameHeader| header.total_len() == len;
        is_free && matches!(self.decoder().frame(input), Ok(Some(header)) if is_of_len(header))
    }

    /// Returns the large packet that is being received.
    pub(super) fn intake_mut(&mut self) -> Option<&mut Intake> {
        self.unread.as_mut()?.intake_mut()
    }

    pub(super) fn has_unread(&self) -> bool {
        self.unread
            .as_ref()
            .is_some_and(|unread| !unread.is_empty())
    }

    /// Returns how much memory is taken that only the client can give back.
    pub(super) fn hoarded_bytes(&self) -> usize {
        let aliases = self.session.alias_bytes();
        self.unread_capacity().saturating_add(aliases)
    }

    /// Returns how much memory is taken for bytes that have not been handled.
    pub(super) fn unread_capacity(&self) -> usize {
        self.unread.as_ref().map_or(0, |unread| unread.capacity())
    }

    /// Drops what is kept: nobody will look at it.
    pub(super) fn drop_unread(&mut self) {
        self.unread = None;
    }

    /// Handles the packet at the head of `bytes`, copying a payload that is to be kept.
    pub(super) fn step(&mut self, bytes: &[u8], pool: &mut MessagePool, now: Instant) -> Step {
        if self.check_first(bytes).is_err() {
            return Step::Failed;
        }
        let decoder = self.decoder();
        match decode(decoder, bytes) {
            Ok(Some((packet, len))) => {
                self.end_packet();
                match self.session.handle_packet_in(packet, pool, now) {
                    Ok(None) => Step::Handled(len),
                    Ok(Some(arrival)) => Step::Arrived(len, arrival),
                    Err(_) => Step::Failed,
                }
            }
            Ok(None) => Step::Wanted(wanted(decoder, bytes)),
            Err(error) => {
                self.session
                    .handle_decode_error(error, Decoder::connect_version(bytes));
                Step::Failed
            }
        }
    }

    /// Handles the packet at the head of `bytes`; the payload of a large one shares their memory.
    pub(super) fn step_shared(
        &mut self,
        bytes: &Bytes,
        pool: &mut MessagePool,
        now: Instant,
    ) -> Step {
        let decoder = self.decoder();
        let total = match decoder.frame(bytes) {
            Ok(Some(header)) => header.total_len(),
            Ok(None) | Err(_) => 0,
        };
        // A small part of a large buffer is copied: kept, it would keep all of the buffer.
        let is_most = total.saturating_mul(2) >= bytes.len();
        if total < SHARED_PACKET_MIN || total > bytes.len() || !is_most {
            return self.step(bytes, pool, now);
        }
        let mut frame = bytes.slice(..total);
        match decoder.decode_bytes(&mut frame) {
            Ok(Some(packet)) => match self.handle_shared(packet, now) {
                Ok(()) => Step::Handled(total),
                Err(_) => Step::Failed,
            },
            Ok(None) => Step::Wanted(total),
            Err(error) => {
                self.session
                    .handle_decode_error(error, Decoder::connect_version(bytes));
                Step::Failed
            }
        }
    }

    fn handle_shared(&mut self, packet: Packet<Shared>, now: Instant) -> Result<(), ProtocolError> {
        self.end_packet();
        self.session.handle_packet(packet, now)
    }

    /// The packet at the head of what arrived is whole.
    fn end_packet(&mut self) {
        if let Some(unread) = &mut self.unread {
            unread.end_packet();
            self.unread.take_if(|unread| unread.is_idle());
        }
    }

    /// A peer that does not begin with CONNECT need not be heard out.
    fn check_first(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        let (None, Some(first)) = (self.session.version(), bytes.first()) else {
            return Ok(());
        };
        match PacketType::from_u8(first >> 4) {
            Some(packet_type) => self.session.handle_packet_type(packet_type),
            None => Ok(()),
        }
    }

    fn decoder(&self) -> Decoder {
        Decoder::new()
            .with_version(self.session.version().unwrap_or(ProtocolVersion::V5))
            .with_packet_size_max(self.session.packet_size_max())
            .with_sender(Sender::Client)
            .with_refuse_discouraged(self.limits().refuse_discouraged)
    }
}

/// Reads the packet at the head of `bytes`, as `decoder` does.
///
/// It looks for characters that the standard only discourages in the topic of a PUBLISH, one by one,
/// when everything else has been found good. Mostly a glance tells that there are none.
fn decode(decoder: Decoder, bytes: &[u8]) -> Result<Option<(PacketRef<'_>, usize)>, DecodeError> {
    if bytes.first().map(|first| first >> 4) == Some(PacketType::Publish as u8) {
        let decoded = decoder.with_refuse_discouraged(false).decode_ref(bytes);
        match &decoded {
            Ok(Some((Packet::Publish(publish), _))) if !is_plain(publish.topic.as_bytes()) => {}
            _ => return decoded,
        }
    }
    decoder.decode_ref(bytes)
}

/// Returns whether there are only visible characters of ASCII, and spaces.
fn is_plain(text: &[u8]) -> bool {
    text.iter().fold(true, |is_plain, byte| {
        is_plain & matches!(byte, b' '..=b'~')
    })
}

/// Returns a connection by its name, to change it.
pub(super) fn find_mut(
    connections: &mut Slots<Connection>,
    id: ConnectionId,
) -> Option<&mut Connection> {
    let slot = usize::try_from(id.slot).ok()?;
    connections
        .get_mut(slot)
        .filter(|connection| connection.generation == id.generation)
}

/// Returns a connection by its name.
pub(super) fn find(connections: &Slots<Connection>, id: ConnectionId) -> Option<&Connection> {
    let slot = usize::try_from(id.slot).ok()?;
    connections
        .get(slot)
        .filter(|connection| connection.generation == id.generation)
}

/// Returns how many bytes the packet at the head of `bytes` takes, or one more than there are if
/// that cannot be told.
fn wanted(decoder: Decoder, bytes: &[u8]) -> usize {
    match decoder.frame(bytes) {
        Ok(Some(header)) => header.total_len(),
        Ok(None) | Err(_) => bytes.len().saturating_add(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_takes_little_beside_its_session() {
        let beside = size_of::<Connection>() - size_of::<Session>();
        assert!(beside <= 128, "{beside}");
    }
}
