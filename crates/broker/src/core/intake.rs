//! A large packet on its way in: its bytes are read straight to where they stay, into memory that
//! earlier ones have left.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use mqttstack_limits::Instant;

use super::{Core, keys::ConnectionId};

/// Packets of this many bytes and more are read into a buffer of their own.
const PACKET_BYTES_MIN: usize = 16 * 1024;
/// How many of them have to be there before: a claim alone gets no memory.
const BEGUN_BYTES_MIN: usize = 1024;
/// By how much a new buffer exceeds what has arrived: it grows with that, never by what is claimed.
const GROWTH: usize = 4;
/// How much larger than the packet a buffer that was used before may be: an eighth, so that a payload
/// holds hardly more memory than it is counted with.
const EXCESS_SHIFT: u32 = 3;

/// The memory of packets that are over. Kept, it need not be fetched from the system again, and is
/// still in the caches of the processor.
#[derive(Debug, Default)]
pub(super) struct SpareBuffers(Mutex<Spare>);

#[derive(Debug, Default)]
struct Spare {
    /// The last one was used last.
    buffers: VecDeque<Box<[u8]>>,
    bytes: usize,
}

impl SpareBuffers {
    /// How many bytes are kept.
    const BYTES_MAX: usize = 4 * 1024 * 1024;
    /// How many of those that were used last are looked at for one that fits.
    const SEARCHED_MAX: usize = 16;

    /// Returns a buffer for a packet, if there is one of about its size.
    fn take(&self, len: usize) -> Option<Box<[u8]>> {
        let mut spare = self.spare();
        let longest = len.saturating_add(len >> EXCESS_SHIFT);
        let fits = |index: &usize| {
            let buffer = spare.buffers.get(*index);
            buffer.is_some_and(|it| (len..=longest).contains(&it.len()))
        };
        let last_used_first = (0..spare.buffers.len()).rev();
        let index = last_used_first.take(Self::SEARCHED_MAX).find(fits)?;
        let buffer = spare.buffers.remove(index)?;
        spare.bytes = spare.bytes.saturating_sub(buffer.len());
        Some(buffer)
    }

    /// Keeps a buffer; those that were not used for longest make room for it.
    fn put(&self, buffer: Box<[u8]>) {
        if !(PACKET_BYTES_MIN..=Self::BYTES_MAX).contains(&buffer.len()) {
            return;
        }
        let mut spare = self.spare();
        spare.bytes = spare.bytes.saturating_add(buffer.len());
        spare.buffers.push_back(buffer);
        while spare.bytes > Self::BYTES_MAX {
            let Some(oldest) = spare.buffers.pop_front() else {
                return;
            };
            spare.bytes = spare.bytes.saturating_sub(oldest.len());
        }
    }

    fn spare(&self) -> MutexGuard<'_, Spare> {
        // At worst a buffer is missing in the sum.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A packet whose length is known, and the beginning of which is there.
pub(super) struct Intake {
    /// As long as the packet, or shorter as long as little of it is there.
    buffer: Box<[u8]>,
    filled: usize,
    len: usize,
    spare: Arc<SpareBuffers>,
}

impl Intake {
    /// Begins a packet of `len` bytes with those that are there.
    fn begin(len: usize, begun: &[u8], spare: &Arc<SpareBuffers>) -> Self {
        let mut intake = Self {
            buffer: spare.take(len).unwrap_or_default(),
            filled: 0,
            len,
            spare: Arc::clone(spare),
        };
        intake.append(begun);
        intake
    }

    /// Takes bytes that were read elsewhere, at most so many as are missing.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        let end = self.filled.saturating_add(bytes.len()).min(self.len);
        if self.buffer.len() < end {
            self.grow(end);
        }
        if let Some(place) = self.buffer.get_mut(self.filled..end) {
            let (bytes, _) = bytes.split_at(place.len());
            place.copy_from_slice(bytes);
            self.filled = end;
        }
    }

    /// Returns where the next bytes are to be read to.
    fn room(&mut self) -> &mut [u8] {
        if self.filled == self.buffer.len() {
            self.grow(self.filled);
        }
        let end = self.buffer.len().min(self.len);
        self.buffer.get_mut(self.filled..end).unwrap_or_default()
    }

    /// Notes how many bytes were read into the room.
    fn fill(&mut self, count: usize) {
        self.filled = self.filled.saturating_add(count).min(self.len);
    }

    /// Makes room for more than the `arrived` bytes.
    fn grow(&mut self, arrived: usize) {
        let len = arrived.saturating_mul(GROWTH).min(self.len);
        let mut grown = vec![0; len].into_boxed_slice();
        let begun = self.buffer.get(..self.filled).unwrap_or_default();
        if let Some(place) = grown.get_mut(..begun.len()) {
            place.copy_from_slice(begun);
        }
        self.buffer = grown;
    }

    pub(super) const fn filled(&self) -> usize {
        self.filled
    }

    pub(super) const fn is_complete(&self) -> bool {
        self.filled == self.len
    }

    pub(super) fn capacity(&self) -> usize {
        self.buffer.len()
    }

    /// Returns the packet, which gives its memory back when nobody holds it any longer.
    pub(super) fn into_bytes(self) -> Bytes {
        let len = self.len;
        Bytes::from_owner(self).slice(..len)
    }
}

impl AsRef<[u8]> for Intake {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.spare.put(std::mem::take(&mut self.buffer));
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake")
            .field("filled", &self.filled)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl Core {
    /// Returns where to read the next bytes of a connection to: the rest of a large packet, if it has
    /// begun one. Say with [`handle_input_in_place`](Self::handle_input_in_place) how many there
    /// were. Without it, all bytes go through [`handle_input`](Self::handle_input).
    #[must_use]
    pub fn input_place(&mut self, id: ConnectionId) -> Option<&mut [u8]> {
        let connection = self.connection_mut(id)?;
        let intake = connection.intake_mut()?;
        Some(intake.room()).filter(|room| !room.is_empty())
    }

    /// Bytes have been read into the [`input_place`](Self::input_place), from its beginning on.
    pub fn handle_input_in_place(&mut self, id: ConnectionId, count: usize, now: Instant) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        let Some(intake) = connection.intake_mut() else {
            return;
        };
        intake.fill(count);
        let is_complete = intake.is_complete();
        self.counts.bytes_received.add_len(count);
        if !is_complete {
            self.count_connection(id);
            return self.end_hoarding(id, now);
        }
        self.work.begin();
        self.handle_unread(id, now);
        self.settle(id);
        self.conclude(now);
    }

    /// Returns memory for a packet that is as long as the one that a connection has begun, if there
    /// is some to spare: the next one is likely to be. Read to there what does not fit into the
    /// [`input_place`](Self::input_place), and hand it over with
    /// [`handle_input_ahead`](Self::handle_input_ahead), or put it back with
    /// [`put_back_ahead`](Self::put_back_ahead).
    #[must_use]
    pub fn input_ahead(&mut self, id: ConnectionId) -> Option<Box<[u8]>> {
        let intake = self.connection_mut(id)?.intake_mut()?;
        let len = intake.len;
        let mut buffer = self.spare_buffers.take(len)?;
        if buffer.len() > len {
            // What lies behind the packet is the beginning of another one, which is to have its own.
            let mut exact = Vec::from(buffer);
            exact.truncate(len);
            buffer = exact.into();
        }
        Some(buffer)
    }

    /// Takes back memory that nothing was read to.
    pub fn put_back_ahead(&mut self, buffer: Box<[u8]>) {
        self.spare_buffers.put(buffer);
    }

    /// Bytes have been read to memory from [`input_ahead`](Self::input_ahead), from its beginning on.
    /// If they are a packet of its length, or the beginning of one, they stay there.
    pub fn handle_input_ahead(
        &mut self,
        id: ConnectionId,
        buffer: Box<[u8]>,
        count: usize,
        now: Instant,
    ) {
        let input = buffer.get(..count).unwrap_or_default();
        let connection = super::connection::find_mut(&mut self.connections, id);
        let taker = connection.filter(|it| it.expects(input, buffer.len()));
        let Some(connection) = taker.filter(|_| count >= BEGUN_BYTES_MIN) else {
            self.handle_input(id, input, now);
            return self.put_back_ahead(buffer);
        };
        connection.want(buffer.len(), now);
        connection.take_in(Box::new(Intake {
            len: buffer.len(),
            buffer,
            filled: 0,
            spare: Arc::clone(&self.spare_buffers),
        }));
        self.handle_input_in_place(id, count, now);
    }

    /// Gives a large packet that has begun to arrive a buffer of its own.
    pub(super) fn begin_intake(&mut self, id: ConnectionId) {
        let Some(connection) = super::connection::find_mut(&mut self.connections, id) else {
            return;
        };
        let Some((begun, len)) = connection.begun() else {
            return;
        };
        if len >= PACKET_BYTES_MIN && (BEGUN_BYTES_MIN..len).contains(&begun.len()) {
            let intake = Intake::begin(len, begun, &self.spare_buffers);
            connection.take_in(Box::new(intake));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(len: usize) -> Vec<u8> {
        (0_u8..=250).cycle().take(len).collect()
    }

    #[test]
    fn a_buffer_grows_with_what_arrives_and_ends_at_the_size_of_the_packet() {
        let spare = Arc::new(SpareBuffers::default());
        let bytes = packet(1_000_000);
        let mut intake = Intake::begin(bytes.len(), &bytes[..2_000], &spare);
        while !intake.is_complete() {
            let filled = intake.filled();
            let room = intake.room();
            assert!(!room.is_empty() && room.len() < filled * GROWTH);
            // Not all that there is room for comes at once.
            let count = room.len().div_ceil(2);
            room[..count].copy_from_slice(&bytes[filled..filled + count]);
            intake.fill(count);
        }
        assert_eq!(intake.capacity(), bytes.len());
        assert!(intake.room().is_empty());
        assert_eq!(intake.into_bytes(), bytes);
    }

    #[test]
    fn bytes_that_came_another_way_are_copied_and_no_more_than_belong_to_the_packet() {
        let spare = Arc::new(SpareBuffers::default());
        let bytes = packet(20_000);
        let mut intake = Intake::begin(bytes.len(), &bytes[..1_500], &spare);
        intake.append(&bytes[1_500..19_000]);
        intake.append(&packet(20_000)[19_000..]);
        intake.append(b"another");
        assert!(intake.is_complete());
        assert_eq!(intake.into_bytes(), bytes);
    }

    #[test]
    fn memory_goes_to_the_next_packet_of_about_the_size_once_nobody_holds_it() {
        let spare = Arc::new(SpareBuffers::default());
        let kept = || spare.spare().bytes;
        let mut intake = Intake::begin(80_000, &packet(80_000), &spare);
        assert!(intake.is_complete() && intake.room().is_empty());
        let payload = intake.into_bytes().slice(10..);
        let another = payload.clone();
        drop(payload);
        assert_eq!(kept(), 0);
        drop(another);
        assert_eq!(kept(), 80_000);
        for (len, fits) in [(40_000, false), (71_200, true), (80_001, false)] {
            intake = Intake::begin(len, &packet(2_000), &spare);
            assert_eq!(intake.capacity() == 80_000, fits, "{len}");
            let bytes = packet(len);
            intake.append(&bytes[2_000..]);
            assert_eq!(intake.into_bytes(), bytes);
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes_first() {
        let spare = SpareBuffers::default();
        let buffer = |len: usize| vec![0; len].into_boxed_slice();
        spare.put(buffer(PACKET_BYTES_MIN - 1));
        spare.put(buffer(SpareBuffers::BYTES_MAX + 1));
        assert_eq!(spare.spare().bytes, 0);
        for len in [16_400, 16_500, SpareBuffers::BYTES_MAX - 16_500] {
            spare.put(buffer(len));
        }
        assert_eq!(spare.spare().bytes, SpareBuffers::BYTES_MAX);
        assert_eq!(spare.take(16_400).map(|it| it.len()), Some(16_500));
        assert!(spare.take(16_400).is_none());
    }
}
