//! Two joined streams in memory, with faults that repeat.
//!
//! What TCP may do to a stream, these do on request: hand over less than was asked for, have nothing
//! to give, cut at an awkward byte, break. A seed makes the same calls meet the same faults. No
//! system is involved, so [`Stream::source`] registers nowhere: the test turns both ends by hand.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use mio::{Interest, Registry, event::Source};

use crate::{Peer, PeerAddress, Stream};

/// Returns two streams, each of which reads what the other wrote, without faults.
#[must_use]
pub fn pair() -> (MemoryStream, MemoryStream) {
    faulty_pair(Faults::default(), Faults::default())
}

/// Returns two streams, each of which reads what the other wrote.
///
/// `forth` are the faults on the way from the first to the second, `back` those on the way from the
/// second to the first.
#[must_use]
pub fn faulty_pair(forth: Faults, back: Faults) -> (MemoryStream, MemoryStream) {
    static PAIRS: AtomicU64 = AtomicU64::new(1);
    let peer = Peer::new(PeerAddress::Memory(PAIRS.fetch_add(1, Ordering::Relaxed)));
    let forth = Arc::new(Mutex::new(Pipe::new(forth)));
    let back = Arc::new(Mutex::new(Pipe::new(back)));
    let first = MemoryStream {
        input: Arc::clone(&back),
        output: Arc::clone(&forth),
        peer: peer.clone(),
    };
    let second = MemoryStream {
        input: forth,
        output: back,
        peer,
    };
    (first, second)
}

/// What goes wrong in one direction; by default nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Faults {
    /// How many bytes one read returns at most. Default: `usize::MAX`.
    pub read_bytes_max: usize,
    /// How many bytes one write takes at most. Default: `usize::MAX`.
    pub write_bytes_max: usize,
    /// How many bytes may be under way; a full pipe refuses writes. Default: 64 KiB.
    pub capacity_bytes: usize,
    /// One call in so many would block without a reason; 0 for none, 1 for every call, which no
    /// owner outlives. Default: 0.
    pub would_block_one_in: u32,
    /// Positions in the stream that no read and no write crosses. Default: none.
    pub cuts: Vec<u64>,
    /// The position at which the connection breaks, in both directions: the reader gets every byte
    /// before it, then an error, and so does the writer. Default: `None`.
    pub reset_after: Option<u64>,
    /// What decides which calls would block. Default: 0.
    pub seed: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            read_bytes_max: usize::MAX,
            write_bytes_max: usize::MAX,
            capacity_bytes: 64 * 1024,
            would_block_one_in: 0,
            cuts: Vec::new(),
            reset_after: None,
            seed: 0,
        }
    }
}

/// One end of a pair; dropping it closes both directions, as a process that ends does.
#[derive(Debug)]
pub struct MemoryStream {
    input: Arc<Mutex<Pipe>>,
    output: Arc<Mutex<Pipe>>,
    peer: Peer,
}

impl MemoryStream {
    /// Breaks the connection: what is under way is lost, and both ends get an error from now on.
    pub fn reset(&self) {
        for pipe in [&self.input, &self.output] {
            with(pipe, |pipe| {
                pipe.bytes.clear();
                pipe.is_reset = true;
            });
        }
    }

    /// Returns how many bytes this end has written and the other has not yet read.
    #[must_use]
    pub fn bytes_under_way(&self) -> usize {
        with(&self.output, |pipe| pipe.bytes.len())
    }
}

impl Stream for MemoryStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = with(&self.input, |pipe| pipe.read(buffer));
        self.spread_reset(result)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = with(&self.output, |pipe| pipe.write(bytes));
        self.spread_reset(result)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        with(&self.output, |pipe| pipe.is_ended = true);
        Ok(())
    }

    fn source(&mut self) -> &mut dyn Source {
        self
    }

    fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl MemoryStream {
    /// Breaks the other direction too once one of them has broken.
    fn spread_reset(&self, result: io::Result<usize>) -> io::Result<usize> {
        if let Err(error) = &result
            && error.kind() == io::ErrorKind::ConnectionReset
        {
            for pipe in [&self.input, &self.output] {
                with(pipe, |pipe| pipe.is_reset = true);
            }
        }
        result
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        with(&self.output, |pipe| pipe.is_ended = true);
        with(&self.input, |pipe| pipe.has_reader = false);
    }
}

/// No system watches memory: every call says so.
impl Source for MemoryStream {
    fn register(&mut self, _: &Registry, _: mio::Token, _: Interest) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn reregister(&mut self, _: &Registry, _: mio::Token, _: Interest) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// One direction.
#[derive(Debug)]
struct Pipe {
    bytes: VecDeque<u8>,
    faults: Faults,
    /// How many bytes were written, and how many of them were read.
    written: u64,
    read: u64,
    chance: u64,
    has_reader: bool,
    is_ended: bool,
    is_reset: bool,
}

impl Pipe {
    fn new(mut faults: Faults) -> Self {
        faults.cuts.sort_unstable();
        Self {
            bytes: VecDeque::new(),
            written: 0,
            read: 0,
            chance: faults.seed,
            has_reader: true,
            is_ended: false,
            is_reset: false,
            faults,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fail_by_chance()?;
        let len = buffer
            .len()
            .min(self.bytes.len())
            .min(self.faults.read_bytes_max)
            .min(self.until_cut(self.read));
        if len > 0 {
            for (to, from) in buffer.iter_mut().zip(self.bytes.drain(..len)) {
                *to = from;
            }
            self.read += len as u64;
            return Ok(len);
        }
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.is_reset || self.faults.reset_after == Some(self.read) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if self.is_ended {
            return Ok(0);
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if self.is_ended || !self.has_reader {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.faults.reset_after == Some(self.written) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.fail_by_chance()?;
        let len = bytes
            .len()
            .min(self.faults.write_bytes_max)
            .min(self.faults.capacity_bytes.saturating_sub(self.bytes.len()))
            .min(self.until_cut(self.written));
        if len == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.bytes.extend(bytes.iter().take(len));
        self.written += len as u64;
        Ok(len)
    }

    /// Returns how far it is from `position` to the next place that no call may cross.
    fn until_cut(&self, position: u64) -> usize {
        let cuts = &self.faults.cuts;
        let next = cuts
            .get(cuts.partition_point(|cut| *cut <= position))
            .copied();
        let reset = self.faults.reset_after.filter(|reset| *reset > position);
        match next.into_iter().chain(reset).min() {
            Some(cut) => usize::try_from(cut - position).unwrap_or(usize::MAX),
            None => usize::MAX,
        }
    }

    fn fail_by_chance(&mut self) -> io::Result<()> {
        if self.faults.would_block_one_in == 0 {
            return Ok(());
        }
        // splitmix64: short, and any seed will do.
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        if mixed.is_multiple_of(u64::from(self.faults.would_block_one_in)) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(())
    }
}

/// Locks one direction; a test that panicked while it held the lock has failed anyway.
fn with<T>(pipe: &Mutex<Pipe>, work: impl FnOnce(&mut Pipe) -> T) -> T {
    work(&mut pipe.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests;
