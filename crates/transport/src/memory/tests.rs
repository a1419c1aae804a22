//! The pair does what its faults say, and the same again for the same seed.

use super::*;

fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> io::ErrorKind {
    result.unwrap_err().kind()
}

/// Moves `bytes` from one end to the other and returns what each read returned.
fn carry(bytes: &[u8], faults: Faults) -> (Vec<u8>, Vec<usize>) {
    let (mut near, mut far) = faulty_pair(faults, Faults::default());
    let (mut sent, mut received, mut reads) = (0, Vec::new(), Vec::new());
    let mut buffer = [0; 32];
    while received.len() < bytes.len() {
        if sent < bytes.len() {
            match near.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        match far.read(&mut buffer) {
            Ok(count) => {
                received.extend_from_slice(&buffer[..count]);
                reads.push(count);
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    (received, reads)
}

#[test]
fn bytes_arrive_whole_whatever_the_faults() {
    let bytes: Vec<u8> = (0..=255).collect();
    for faults in [
        Faults::default(),
        Faults {
            read_bytes_max: 1,
            ..Faults::default()
        },
        Faults {
            write_bytes_max: 3,
            ..Faults::default()
        },
        Faults {
            capacity_bytes: 2,
            ..Faults::default()
        },
        Faults {
            would_block_one_in: 2,
            seed: 7,
            ..Faults::default()
        },
        Faults {
            cuts: vec![200, 1, 2, 100],
            ..Faults::default()
        },
    ] {
        assert_eq!(carry(&bytes, faults.clone()).0, bytes, "{faults:?}");
    }
}

#[test]
fn no_read_crosses_a_cut() {
    let faults = Faults {
        cuts: vec![1, 40, 5],
        ..Faults::default()
    };
    assert_eq!(carry(&[0; 50], faults).1, [1, 4, 32, 3, 10]);
}

#[test]
fn a_seed_repeats() {
    let faults = |seed| Faults {
        would_block_one_in: 3,
        seed,
        ..Faults::default()
    };
    let trace = |seed| {
        let (mut near, _far) = faulty_pair(faults(seed), Faults::default());
        (0..64)
            .map(|_| near.write(b"x").is_ok())
            .collect::<Vec<_>>()
    };
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1), trace(2));
    assert!(trace(1).contains(&false) && trace(1).contains(&true));
}

#[test]
fn a_reset_comes_after_the_byte_it_was_set_to_and_hits_both_ends() {
    let faults = Faults {
        reset_after: Some(3),
        ..Faults::default()
    };
    let (mut near, mut far) = faulty_pair(faults, Faults::default());
    let mut buffer = [0; 8];
    assert_eq!(near.write(b"abcdef").unwrap(), 3);
    assert_eq!(kind(near.write(b"def")), io::ErrorKind::ConnectionReset);
    assert_eq!(far.read(&mut buffer).unwrap(), 3);
    assert_eq!(kind(far.read(&mut buffer)), io::ErrorKind::ConnectionReset);
    assert_eq!(kind(far.write(b"x")), io::ErrorKind::ConnectionReset);
    assert_eq!(kind(near.read(&mut buffer)), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_reset_by_hand_loses_what_is_under_way() {
    let (mut near, mut far) = pair();
    near.write(b"lost").unwrap();
    assert_eq!(near.bytes_under_way(), 4);
    near.reset();
    assert_eq!(kind(far.read(&mut [0; 8])), io::ErrorKind::ConnectionReset);
    assert_eq!(kind(far.write(b"x")), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_half_closed_pair_still_carries_the_other_way() {
    let (mut near, mut far) = pair();
    let mut buffer = [0; 8];
    near.write(b"last").unwrap();
    near.shutdown().unwrap();
    near.shutdown().unwrap();
    assert_eq!(kind(near.write(b"x")), io::ErrorKind::BrokenPipe);
    assert_eq!(far.read(&mut buffer).unwrap(), 4);
    assert_eq!(far.read(&mut buffer).unwrap(), 0);
    far.write(b"answer").unwrap();
    assert_eq!(near.read(&mut buffer).unwrap(), 6);
    assert_eq!(kind(near.read(&mut buffer)), io::ErrorKind::WouldBlock);
}

#[test]
fn a_dropped_end_is_the_end_for_the_other() {
    let (mut near, far) = pair();
    drop(far);
    assert_eq!(near.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(kind(near.write(b"x")), io::ErrorKind::BrokenPipe);
}
