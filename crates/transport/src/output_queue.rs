//! The bytes that a connection still has to send.

use core::fmt;
use std::{
    collections::VecDeque,
    io::{self, IoSlice},
};

use bytes::{Buf as _, Bytes, BytesMut};

use crate::Stream;

/// Bytes on their way out: small ones collected in one buffer, large ones held by reference.
///
/// Everything that one turn of the event loop produces for a connection goes in here, and leaves
/// with one vectored write. An empty queue holds no memory, so that an idle connection costs one
/// word. The queue itself sets no bound: the owner looks at [`len`](Self::len) before it adds, as
/// only the owner knows what to do at the bound.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use mqttstack_transport::{OutputQueue, Stream as _, memory};
///
/// let (mut near, mut far) = memory::pair();
/// let mut queue = OutputQueue::new();
/// queue.push(b"header ");
/// queue.push_shared(Bytes::from(vec![b'x'; 10_000])); // Not copied.
/// assert_eq!(queue.len(), 10_007);
///
/// let progress = queue.write_to(&mut near)?;
/// assert_eq!(progress.written, 10_007);
/// assert!(queue.is_empty() && !progress.is_blocked);
/// # let mut buffer = [0; 7];
/// # far.read(&mut buffer)?;
/// # assert_eq!(&buffer, b"header ");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Default)]
pub struct OutputQueue {
    /// Boxed because most connections of a large server have nothing to send.
    pending: Option<Box<Pending>>,
}

#[derive(Debug, Default)]
struct Pending {
    /// What goes first: shared bytes, and the collected bytes between them.
    closed: VecDeque<Bytes>,
    closed_len: usize,
    /// What goes last, and can still be added to.
    open: BytesMut,
}

/// The memory of a queue that is empty, for the next one that is not: a worker that writes to one
/// connection after the other needs it once. Holds at most a megabyte.
#[derive(Debug, Default)]
pub struct SpareBuffer(Option<Box<Pending>>);

/// What became of a write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub struct WriteProgress {
    /// How many bytes left the queue.
    pub written: usize,
    /// The stream refused the rest, in the queue or in its own layers: go on when it is writable.
    pub is_blocked: bool,
}

impl OutputQueue {
    /// The least size, in bytes, at which shared bytes are queued by reference. Below it, a copy
    /// costs less than a further segment of the write and the reference count.
    pub const SHARED_BYTES_MIN: usize = 8 * 1024;
    /// How many segments one system call takes.
    const SEGMENTS_PER_WRITE: usize = 64;
    /// What the open buffer starts with, in bytes: a few small packets.
    const OPEN_BYTES_START: usize = 256;

    /// The largest buffer that is kept for others.
    const SPARE_BYTES_MAX: usize = 1024 * 1024;

    /// Creates an empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self { pending: None }
    }

    /// Adds a copy of `bytes`.
    pub fn push(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.buffer(bytes.len()).extend_from_slice(bytes);
        }
    }

    /// Adds `bytes`: by reference from [`SHARED_BYTES_MIN`](Self::SHARED_BYTES_MIN) on, else as a
    /// copy.
    pub fn push_shared(&mut self, bytes: Bytes) {
        if bytes.len() < Self::SHARED_BYTES_MIN {
            return self.push(&bytes);
        }
        let pending = self.pending.get_or_insert_default();
        pending.close();
        pending.closed_len += bytes.len();
        pending.closed.push_back(bytes);
    }

    /// Returns the buffer at the end of the queue, with room for `additional` bytes, to encode
    /// straight into.
    ///
    /// It may hold bytes that were queued before: append only.
    pub fn buffer(&mut self, additional: usize) -> &mut BytesMut {
        let open = &mut self.pending.get_or_insert_default().open;
        if open.capacity() == 0 {
            open.reserve(additional.max(Self::OPEN_BYTES_START));
        } else {
            open.reserve(additional);
        }
        open
    }

    /// Writes until the queue is empty or the stream refuses, then flushes the stream.
    ///
    /// # Errors
    ///
    /// The stream's, except that it would block: that is [`WriteProgress::is_blocked`]. What was
    /// not written stays in the queue.
    pub fn write_to<S: Stream + ?Sized>(&mut self, stream: &mut S) -> io::Result<WriteProgress> {
        self.write_turn_to(stream, usize::MAX)
    }

    /// Writes as [`write_to`](Self::write_to) does, but stops as soon as `budget` bytes have left,
    /// so that one peer that keeps up does not hold up all others. What is left then, without
    /// [`WriteProgress::is_blocked`], needs another call and no event.
    ///
    /// The budget is passed by at most what the stream takes in one call.
    ///
    /// # Errors
    ///
    /// Those of [`write_to`](Self::write_to).
    pub fn write_turn_to<S: Stream + ?Sized>(
        &mut self,
        stream: &mut S,
        budget: usize,
    ) -> io::Result<WriteProgress> {
        self.write_lending_to(stream, budget, &mut SpareBuffer::default())
    }

    /// Writes as [`write_turn_to`](Self::write_turn_to) does; what is empty afterwards gives its
    /// memory to `spare`, from where [`borrow`](Self::borrow) takes it.
    ///
    /// # Errors
    ///
    /// Those of [`write_to`](Self::write_to).
    pub fn write_lending_to<S: Stream + ?Sized>(
        &mut self,
        stream: &mut S,
        budget: usize,
        spare: &mut SpareBuffer,
    ) -> io::Result<WriteProgress> {
        let mut written = 0;
        let result = self
            .write_some_to(stream, budget, &mut written)
            .and_then(|()| stream.flush());
        if self.is_empty() {
            self.lend(spare);
        }
        match result {
            Ok(()) => Ok(WriteProgress {
                written,
                is_blocked: false,
            }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(WriteProgress {
                written,
                is_blocked: true,
            }),
            Err(error) => Err(error),
        }
    }

    /// Takes spare memory, if this queue has none of its own.
    pub fn borrow(&mut self, spare: &mut SpareBuffer) {
        if self.pending.is_none() {
            self.pending = spare.0.take();
        }
    }

    /// Gives memory away that nothing lies in.
    fn lend(&mut self, spare: &mut SpareBuffer) {
        if let Some(mut pending) = self.pending.take()
            && pending.open.capacity() <= Self::SPARE_BYTES_MAX
        {
            pending.open.clear();
            spare.0 = Some(pending);
        }
    }

    /// Throws everything away, and the memory with it.
    pub fn clear(&mut self) {
        self.pending = None;
    }

    /// Returns how many bytes wait, those held by reference included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.len())
    }

    /// Says whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn write_some_to<S: Stream + ?Sized>(
        &mut self,
        stream: &mut S,
        budget: usize,
        written: &mut usize,
    ) -> io::Result<()> {
        let Some(pending) = &mut self.pending else {
            return Ok(());
        };
        while pending.len() > 0 && *written < budget {
            let taken = pending.write_once_to(stream)?;
            if taken == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            pending.advance(taken);
            *written += taken;
        }
        Ok(())
    }
}

impl Pending {
    /// Puts the open buffer in line, so that something can follow it by reference.
    fn close(&mut self) {
        if !self.open.is_empty() {
            // What follows has the rest of the same memory.
            let open = self.open.split().freeze();
            self.closed_len += open.len();
            self.closed.push_back(open);
        }
    }

    /// Offers as much as one system call takes.
    fn write_once_to<S: Stream + ?Sized>(&self, stream: &mut S) -> io::Result<usize> {
        if self.closed.is_empty() {
            return stream.write(&self.open);
        }
        let mut slices = [IoSlice::new(&[]); OutputQueue::SEGMENTS_PER_WRITE];
        let mut count = 0;
        let closed = self.closed.iter().map(|bytes| &**bytes);
        let open = (!self.open.is_empty()).then_some(&*self.open);
        for (slice, bytes) in slices.iter_mut().zip(closed.chain(open)) {
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        stream.write_vectored(slices.get(..count).unwrap_or(&slices))
    }

    /// Forgets the first `count` bytes, and lets go of what held them.
    fn advance(&mut self, mut count: usize) {
        while let Some(first) = self.closed.front_mut() {
            let step = count.min(first.len());
            first.advance(step);
            self.closed_len -= step;
            count -= step;
            if !first.is_empty() {
                return;
            }
            self.closed.pop_front();
        }
        // A stream that claims more than it was offered gets no panic out of this.
        self.open.advance(count.min(self.open.len()));
    }

    fn len(&self) -> usize {
        self.closed_len + self.open.len()
    }
}

impl fmt::Debug for OutputQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputQueue")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
