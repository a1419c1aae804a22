//! A byte pipe in virtual time between a client and a worker, with everything that TCP may do.
//!
//! TCP loses nothing and reorders nothing; it delays, splits and coalesces, and it breaks, with what
//! was under way. A link does the same, as its conditions and its orders say.

use std::{collections::VecDeque, ops::Range, time::Duration};

use bytes::BytesMut;
use mqttstack_codec::{DecodeError, Decoder, Packet, PacketType, ProtocolVersion, Sender};
use mqttstack_limits::Instant;

use crate::Chance;

/// Which way bytes flow.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

impl Direction {
    /// Both, in a fixed order.
    pub const BOTH: [Self; 2] = [Self::ToServer, Self::ToClient];

    const fn index(self) -> usize {
        match self {
            Self::ToServer => 0,
            Self::ToClient => 1,
        }
    }
}

/// How a link treats its bytes.
#[derive(Clone, Debug)]
pub struct LinkConditions {
    /// How long a piece is under way; order is kept.
    pub delay: Range<Duration>,
    /// How often, in percent, a piece is split once more.
    pub split_percent: u8,
    /// How often, in percent, pieces that have arrived are read as one.
    pub coalesce_percent: u8,
}

impl LinkConditions {
    /// One millisecond, every write arrives as it was written.
    pub const SMOOTH: Self = Self {
        delay: Duration::from_millis(1)..Duration::from_millis(1),
        split_percent: 0,
        coalesce_percent: 0,
    };

    /// Uneven delays, pieces cut anywhere and glued together.
    pub const ROUGH: Self = Self {
        delay: Duration::from_micros(500)..Duration::from_millis(40),
        split_percent: 40,
        coalesce_percent: 50,
    };
}

/// What comes out of a link.
#[derive(Debug)]
pub enum Arrival {
    /// Bytes, and the packets that they complete.
    Bytes(Vec<u8>, Vec<Packet>),
    /// The other side has closed, or the link is cut.
    End,
}

/// One side has sent what is not MQTT.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkError {
    /// Which way it went.
    pub direction: Direction,
    /// What is wrong with it.
    pub error: DecodeError,
}

/// A byte pipe between a client and a worker.
///
/// ```
/// use mqttstack_testkit::{Arrival, Chance, Direction, Link, LinkConditions, Seed};
/// use mqttstack_testkit::codec::{PacketType, ProtocolVersion};
/// use mqttstack_testkit::limits::Instant;
///
/// let chance = Chance::new(Seed(1));
/// let mut link = Link::new(ProtocolVersion::V5, LinkConditions::SMOOTH, chance);
/// link.write(Direction::ToServer, &[0xC0, 0x00], Instant::EPOCH).unwrap();
/// let due = link.poll_timeout(Direction::ToServer).unwrap();
/// let Ok(Some(Arrival::Bytes(bytes, _))) = link.poll_arrival(Direction::ToServer, due) else {
///     panic!("nothing arrived")
/// };
/// assert_eq!(bytes, [0xC0, 0x00]);
/// assert!(link.carried(PacketType::PingReq));
/// ```
#[derive(Debug)]
pub struct Link {
    conditions: LinkConditions,
    chance: Chance,
    pipes: [Pipe; 2],
    /// Takes everything, delivers nothing.
    is_dead: bool,
    /// The link is cut once so many bytes have arrived in this direction.
    cut_at: Option<(Direction, u64)>,
}

#[derive(Debug)]
struct Pipe {
    pieces: VecDeque<(Instant, Piece)>,
    in_flight: usize,
    /// Nothing arrives before then.
    stalled_until: Instant,
    /// Bytes that have arrived.
    carried_bytes: u64,
    /// Packets that have arrived whole, and where each ended.
    carried: Vec<(PacketType, u64)>,
    sent: PacketReader,
    arrived: PacketReader,
}

#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    End,
}

/// Reads a stream of packets along.
#[derive(Debug)]
struct PacketReader {
    decoder: Decoder,
    buffer: BytesMut,
    /// The number of the byte after the last packet.
    end: u64,
}

impl PacketReader {
    /// Returns the packets that the bytes complete, each with the number of the byte after it.
    fn read(&mut self, bytes: &[u8]) -> Result<Vec<(Packet, u64)>, DecodeError> {
        self.buffer.extend_from_slice(bytes);
        let mut packets = Vec::new();
        loop {
            let before = self.buffer.len();
            let Some(packet) = self.decoder.decode(&mut self.buffer)? else {
                return Ok(packets);
            };
            self.end += u64::try_from(before - self.buffer.len()).unwrap_or_default();
            packets.push((packet, self.end));
        }
    }
}

impl Link {
    /// Opens a link for a client that speaks `version`.
    #[must_use]
    pub fn new(version: ProtocolVersion, conditions: LinkConditions, chance: Chance) -> Self {
        let reader = |sender| PacketReader {
            decoder: Decoder::new().with_version(version).with_sender(sender),
            buffer: BytesMut::new(),
            end: 0,
        };
        let pipe = |sender| Pipe {
            pieces: VecDeque::new(),
            in_flight: 0,
            stalled_until: Instant::EPOCH,
            carried_bytes: 0,
            carried: Vec::new(),
            sent: reader(sender),
            arrived: reader(sender),
        };
        Self {
            conditions,
            chance,
            pipes: [pipe(Sender::Client), pipe(Sender::Server)],
            is_dead: false,
            cut_at: None,
        }
    }

    /// Sends bytes; returns the packets that they complete.
    ///
    /// # Errors
    ///
    /// [`LinkError`]: they are no MQTT packets.
    pub fn write(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        now: Instant,
    ) -> Result<Vec<Packet>, LinkError> {
        let pipe = &mut self.pipes[direction.index()];
        let packets = pipe.sent.read(bytes);
        let packets = packets.map_err(|error| LinkError { direction, error })?;
        let packets = packets.into_iter().map(|(packet, _)| packet).collect();
        if !self.is_dead {
            let mut rest = bytes;
            while !rest.is_empty() {
                let is_split = self.chance.percent(self.conditions.split_percent);
                let len = if is_split {
                    1 + self.chance.index(rest.len())
                } else {
                    rest.len()
                };
                let (piece, later) = rest.split_at(len);
                rest = later;
                self.push(direction, Piece::Bytes(piece.to_vec()), now);
            }
        }
        Ok(packets)
    }

    /// One side closes: the other hears of it after everything that was sent before.
    pub fn finish(&mut self, direction: Direction, now: Instant) {
        if !self.is_dead {
            self.push(direction, Piece::End, now);
        }
    }

    fn push(&mut self, direction: Direction, piece: Piece, now: Instant) {
        let delay = self.chance.between(&self.conditions.delay);
        let pipe = &mut self.pipes[direction.index()];
        let last = pipe.pieces.back().map_or(now, |(at, _)| *at);
        if let Piece::Bytes(bytes) = &piece {
            pipe.in_flight += bytes.len();
        }
        pipe.pieces.push_back(((now + delay).max(last), piece));
    }

    /// Returns what has arrived by now.
    ///
    /// # Errors
    ///
    /// [`LinkError`]: it is no MQTT packet; [`write`](Self::write) has said so before.
    pub fn poll_arrival(
        &mut self,
        direction: Direction,
        now: Instant,
    ) -> Result<Option<Arrival>, LinkError> {
        let Some(mut bytes) = self.take_piece(direction, now) else {
            let is_end = self.poll_timeout(direction).is_some_and(|at| at <= now);
            if is_end {
                self.pipes[direction.index()].pieces.pop_front();
            }
            return Ok(is_end.then_some(Arrival::End));
        };
        while self.chance.percent(self.conditions.coalesce_percent) {
            match self.take_piece(direction, now) {
                Some(more) => bytes.extend(more),
                None => break,
            }
        }
        let cut_at = self.cut_at.filter(|(cut, _)| *cut == direction);
        let pipe = &mut self.pipes[direction.index()];
        let mut is_cut = false;
        if let Some((_, at)) = cut_at {
            let left = usize::try_from(at.saturating_sub(pipe.carried_bytes)).unwrap_or(usize::MAX);
            is_cut = left <= bytes.len();
            bytes.truncate(left);
        }
        pipe.carried_bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let packets = pipe.arrived.read(&bytes);
        let packets = packets.map_err(|error| LinkError { direction, error })?;
        let carried = packets.iter();
        pipe.carried
            .extend(carried.map(|(packet, end)| (packet.packet_type(), *end)));
        let packets = packets.into_iter().map(|(packet, _)| packet).collect();
        if is_cut {
            self.cut(now);
        }
        Ok(Some(Arrival::Bytes(bytes, packets)))
    }

    fn take_piece(&mut self, direction: Direction, now: Instant) -> Option<Vec<u8>> {
        let pipe = &mut self.pipes[direction.index()];
        if pipe.stalled_until > now {
            return None;
        }
        let (_, Piece::Bytes(bytes)) = pipe.pieces.front_mut().filter(|(at, _)| *at <= now)? else {
            return None;
        };
        let bytes = std::mem::take(bytes);
        pipe.pieces.pop_front();
        pipe.in_flight -= bytes.len();
        Some(bytes)
    }

    /// Returns when something arrives next.
    #[must_use]
    pub fn poll_timeout(&self, direction: Direction) -> Option<Instant> {
        let pipe = &self.pipes[direction.index()];
        let (at, _) = pipe.pieces.front()?;
        Some((*at).max(pipe.stalled_until))
    }

    /// Cuts the link: what is under way is lost, and both sides hear of it at once.
    pub fn cut(&mut self, now: Instant) {
        self.hang();
        for pipe in &mut self.pipes {
            pipe.pieces.push_back((now, Piece::End));
        }
    }

    /// Cuts the link so that only the receiver of `direction` hears of it: the other side is left
    /// with a connection that is half open.
    pub fn cut_half(&mut self, direction: Direction, now: Instant) {
        self.hang();
        let pipe = &mut self.pipes[direction.index()];
        pipe.pieces.push_back((now, Piece::End));
    }

    /// Cuts the link and tells nobody: only silence gives it away.
    pub fn hang(&mut self) {
        self.is_dead = true;
        self.cut_at = None;
        for pipe in &mut self.pipes {
            pipe.pieces.clear();
            pipe.in_flight = 0;
            pipe.stalled_until = Instant::EPOCH;
        }
    }

    /// Has the link cut once `count` more bytes have arrived in a direction.
    pub fn cut_after(&mut self, direction: Direction, count: u64) {
        let carried = self.pipes[direction.index()].carried_bytes;
        self.cut_at = Some((direction, carried.saturating_add(count)));
    }

    /// Lets nothing arrive in a direction before `until`.
    pub fn stall(&mut self, direction: Direction, until: Instant) {
        self.pipes[direction.index()].stalled_until = until;
    }

    /// Returns how many bytes are under way in a direction.
    #[must_use]
    pub fn in_flight(&self, direction: Direction) -> usize {
        self.pipes[direction.index()].in_flight
    }

    /// Returns whether nothing is under way, an end included.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.pipes.iter().all(|pipe| pipe.pieces.is_empty())
    }

    /// Returns whether the link is cut, or hangs.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.is_dead
    }

    /// Returns whether a packet of this type has arrived whole, either way.
    #[must_use]
    pub fn carried(&self, packet_type: PacketType) -> bool {
        let pipes = self.pipes.iter();
        let mut types = pipes.flat_map(|pipe| pipe.carried.iter().map(|(it, _)| *it));
        types.any(|carried| carried == packet_type)
    }

    /// Returns how many bytes have arrived in a direction.
    #[must_use]
    pub fn carried_bytes(&self, direction: Direction) -> u64 {
        self.pipes[direction.index()].carried_bytes
    }

    /// Returns the packets that have arrived whole in a direction, each with the number of the byte
    /// after its last.
    #[must_use]
    pub fn carried_packets(&self, direction: Direction) -> &[(PacketType, u64)] {
        &self.pipes[direction.index()].carried
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;

    const PING: [u8; 2] = [0xC0, 0x00];

    fn link(conditions: LinkConditions) -> Link {
        Link::new(ProtocolVersion::V5, conditions, Chance::new(Seed(5)))
    }

    fn read_all(link: &mut Link, direction: Direction) -> (Vec<u8>, bool) {
        let (mut bytes, mut ended) = (Vec::new(), false);
        while let Some(at) = link.poll_timeout(direction) {
            match link.poll_arrival(direction, at) {
                Ok(Some(Arrival::Bytes(more, _))) => bytes.extend(more),
                Ok(Some(Arrival::End)) => ended = true,
                other => panic!("{other:?}"),
            }
        }
        (bytes, ended)
    }

    #[test]
    fn bytes_keep_their_order_however_they_are_cut() {
        let mut link = link(LinkConditions::ROUGH);
        let written = PING.repeat(50);
        for chunk in written.chunks(7) {
            link.write(Direction::ToServer, chunk, Instant::EPOCH)
                .unwrap();
        }
        link.finish(Direction::ToServer, Instant::EPOCH);
        assert_eq!(read_all(&mut link, Direction::ToServer), (written, true));
        let ends = link.carried_packets(Direction::ToServer);
        assert!(ends.iter().map(|(_, end)| *end).eq((1..=50).map(|n| 2 * n)));
    }

    #[test]
    fn a_cut_is_exact_to_the_byte_and_both_sides_hear_of_it() {
        for cut in 0..=6 {
            let mut link = link(LinkConditions::SMOOTH);
            link.cut_after(Direction::ToServer, cut);
            link.write(Direction::ToServer, &PING.repeat(3), Instant::EPOCH)
                .unwrap();
            let (bytes, ended) = read_all(&mut link, Direction::ToServer);
            assert_eq!((bytes.len(), ended), (usize::try_from(cut).unwrap(), true));
            assert_eq!(read_all(&mut link, Direction::ToClient), (vec![], true));
        }
    }

    #[test]
    fn half_open_means_that_one_side_hears_nothing() {
        let mut link = link(LinkConditions::SMOOTH);
        link.cut_half(Direction::ToClient, Instant::EPOCH);
        link.write(Direction::ToServer, &PING, Instant::EPOCH)
            .unwrap();
        assert_eq!(link.poll_timeout(Direction::ToServer), None);
        assert_eq!(read_all(&mut link, Direction::ToClient), (vec![], true));
    }

    #[test]
    fn a_stall_holds_back_one_direction() {
        let mut link = link(LinkConditions::SMOOTH);
        let later = Instant::EPOCH + Duration::from_secs(9);
        link.stall(Direction::ToServer, later);
        link.write(Direction::ToServer, &PING, Instant::EPOCH)
            .unwrap();
        assert_eq!(link.poll_timeout(Direction::ToServer), Some(later));
        assert_eq!(link.in_flight(Direction::ToServer), 2);
        assert_eq!(read_all(&mut link, Direction::ToServer).0, PING);
    }

    #[test]
    fn what_is_not_mqtt_is_reported_where_it_is_written() {
        let written =
            link(LinkConditions::SMOOTH).write(Direction::ToClient, &[0, 0], Instant::EPOCH);
        assert_eq!(written.unwrap_err().direction, Direction::ToClient);
    }
}
