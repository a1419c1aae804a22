//! What goes in comes out, in order, counted, and without memory kept.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::memory::{self, Faults};

const LARGE: usize = OutputQueue::SHARED_BYTES_MIN;

fn read_all(stream: &mut impl Stream) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        all.extend_from_slice(&buffer[..count]);
    }
    all
}

/// Takes everything, and counts the calls.
struct Sink {
    stream: memory::MemoryStream,
    writes: usize,
    segments: usize,
    taken: Vec<u8>,
}

impl Sink {
    fn new() -> Self {
        let (stream, _) = memory::pair();
        Self {
            stream,
            writes: 0,
            segments: 0,
            taken: Vec::new(),
        }
    }
}

impl Stream for Sink {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes += 1;
        self.segments += 1;
        self.taken.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.writes += 1;
        self.segments += slices.len();
        let before = self.taken.len();
        slices
            .iter()
            .for_each(|slice| self.taken.extend_from_slice(slice));
        Ok(self.taken.len() - before)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn source(&mut self) -> &mut dyn crate::Source {
        self.stream.source()
    }

    fn peer(&self) -> &crate::Peer {
        self.stream.peer()
    }
}

#[test]
fn small_pushes_leave_as_one_segment_of_one_write() {
    let (mut queue, mut sink) = (OutputQueue::new(), Sink::new());
    for _ in 0..100 {
        queue.push(b"0123456789");
        queue.push_shared(Bytes::from_static(b"abc"));
    }
    assert_eq!(queue.len(), 1300);
    let progress = queue.write_to(&mut sink).unwrap();
    assert_eq!(
        progress,
        WriteProgress {
            written: 1300,
            is_blocked: false
        }
    );
    assert_eq!((sink.writes, sink.segments), (1, 1));
}

#[test]
fn large_payloads_are_not_copied_and_leave_in_one_write_with_what_surrounds_them() {
    let (mut queue, mut sink) = (OutputQueue::new(), Sink::new());
    let payload = Bytes::from(vec![7; LARGE]);
    queue.push(b"a");
    queue.push_shared(payload.clone());
    queue.push(b"b");
    queue.push_shared(payload.clone());
    queue.buffer(1).extend_from_slice(b"c");
    let pending = queue.pending.as_ref().unwrap();
    assert_eq!(pending.closed[1].as_ptr(), payload.as_ptr());
    assert_eq!(queue.len(), 2 * LARGE + 3);
    let progress = queue.write_to(&mut sink).unwrap();
    assert_eq!(progress.written, 2 * LARGE + 3);
    assert_eq!((sink.writes, sink.segments), (1, 5));
    let expected = [b"a", &*payload, b"b", &*payload, b"c"].concat();
    assert_eq!(sink.taken, expected);
    assert!(payload.is_unique(), "the queue has let go of the payload");
}

#[test]
fn more_segments_than_one_call_takes_need_a_second() {
    let (mut queue, mut sink) = (OutputQueue::new(), Sink::new());
    let payload = Bytes::from(vec![7; LARGE]);
    for _ in 0..100 {
        queue.push_shared(payload.clone());
    }
    assert_eq!(queue.write_to(&mut sink).unwrap().written, 100 * LARGE);
    assert_eq!((sink.writes, sink.segments), (2, 100));
}

#[test]
fn a_turn_ends_when_its_budget_is_spent() {
    let (mut queue, mut sink) = (OutputQueue::new(), Sink::new());
    for _ in 0..200 {
        queue.push_shared(Bytes::from(vec![7; LARGE]));
    }
    let once = OutputQueue::SEGMENTS_PER_WRITE * LARGE;
    for (budget, written) in [(1, once), (once, once), (once + 1, 72 * LARGE), (1, 0)] {
        let progress = queue.write_turn_to(&mut sink, budget).unwrap();
        let is_blocked = false;
        assert_eq!(
            progress,
            WriteProgress {
                written,
                is_blocked
            },
            "{budget}"
        );
    }
    assert_eq!(sink.writes, 4);
    assert!(queue.pending.is_none());
}

#[test]
fn an_empty_queue_holds_no_memory() {
    let (mut queue, mut sink) = (OutputQueue::new(), Sink::new());
    assert_eq!(size_of::<OutputQueue>(), size_of::<usize>());
    queue.push(b"");
    assert!(queue.pending.is_none());
    queue.push(b"x");
    assert!(!queue.write_to(&mut sink).unwrap().is_blocked);
    assert!(queue.pending.is_none());
    queue.buffer(10);
    assert!(!queue.write_to(&mut sink).unwrap().is_blocked);
    assert!(queue.pending.is_none());
    queue.push(b"x");
    queue.clear();
    assert_eq!(queue.len(), 0);
}

#[test]
fn a_full_stream_keeps_the_rest_for_later() {
    let faults = Faults {
        capacity_bytes: 4,
        ..Faults::default()
    };
    let (mut near, mut far) = memory::faulty_pair(faults, Faults::default());
    let mut queue = OutputQueue::new();
    queue.push(b"abcdef");
    let progress = queue.write_to(&mut near).unwrap();
    assert_eq!(
        progress,
        WriteProgress {
            written: 4,
            is_blocked: true
        }
    );
    assert_eq!(queue.len(), 2);
    queue.push(b"g");
    assert_eq!(read_all(&mut far), b"abcd");
    let progress = queue.write_to(&mut near).unwrap();
    assert_eq!(
        progress,
        WriteProgress {
            written: 3,
            is_blocked: false
        }
    );
    assert_eq!(read_all(&mut far), b"efg");
}

#[test]
fn a_reset_keeps_what_was_not_sent() {
    let faults = Faults {
        reset_after: Some(4),
        ..Faults::default()
    };
    let (mut near, _far) = memory::faulty_pair(faults, Faults::default());
    let mut queue = OutputQueue::new();
    queue.push(b"abcdef");
    let error = queue.write_to(&mut near).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(queue.len(), 2);
}

#[test]
fn a_stream_that_takes_nothing_is_an_error_and_no_endless_loop() {
    struct Stuck(Sink);
    impl Stream for Stuck {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Ok(0)
        }
        fn shutdown(&mut self) -> io::Result<()> {
            Ok(())
        }
        fn source(&mut self) -> &mut dyn crate::Source {
            self.0.source()
        }
        fn peer(&self) -> &crate::Peer {
            self.0.peer()
        }
    }
    let mut queue = OutputQueue::new();
    queue.push(b"x");
    let error = queue.write_to(&mut Stuck(Sink::new())).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WriteZero);
}

proptest! {
    #[test]
    fn any_pushes_through_any_faults_arrive_in_order(
        pushes in vec((0..2 * LARGE, any::<bool>()), 0..12),
        write_bytes_max in 1..3 * LARGE,
        would_block_one_in in prop_oneof![Just(0), 2..5_u32],
        seed: u64,
    ) {
        let faults = Faults { write_bytes_max, would_block_one_in, seed, ..Faults::default() };
        let (mut near, mut far) = memory::faulty_pair(faults, Faults::default());
        let (mut queue, mut expected, mut received) = (OutputQueue::new(), Vec::new(), Vec::new());
        let mut left = 0;
        for (index, (len, is_shared)) in pushes.into_iter().enumerate() {
            let bytes = vec![u8::try_from(index).unwrap(); len];
            expected.extend_from_slice(&bytes);
            if is_shared {
                queue.push_shared(Bytes::from(bytes));
            } else {
                queue.push(&bytes);
            }
            left += len;
            prop_assert_eq!(queue.len(), left);
            left -= queue.write_to(&mut near).unwrap().written;
            prop_assert_eq!(queue.len(), left);
            received.append(&mut read_all(&mut far));
        }
        while received.len() < expected.len() {
            left -= queue.write_to(&mut near).unwrap().written;
            received.append(&mut read_all(&mut far));
        }
        prop_assert_eq!(left, 0);
        prop_assert!(queue.pending.is_none());
        prop_assert!(received == expected);
    }
}
