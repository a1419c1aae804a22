//! What the targets over streams share: any bytes, cut anywhere, read to their end.

use std::io;

use mqttstack_transport::{
    Stream,
    memory::{Faults, MemoryStream, faulty_pair},
};

/// How a layer took its input.
#[derive(Debug, Eq, PartialEq)]
pub struct Outcome {
    /// What came out.
    pub content: Vec<u8>,
    /// How it ended; `None` where more may come.
    pub end: Option<String>,
}

/// A peer's end and the end under test; no read of the latter crosses a cut.
#[must_use]
pub fn pair_with_cuts(cuts: &[u16]) -> (MemoryStream, MemoryStream) {
    let mut cuts: Vec<u64> = cuts.iter().map(|cut| u64::from(*cut)).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let forth = Faults {
        cuts,
        ..Faults::default()
    };
    faulty_pair(forth, Faults::default())
}

/// Hands `bytes` to the peer's end, opens the layer, and reads everything there is to read.
pub fn read_to_end(peer: &mut MemoryStream, bytes: &[u8], layer: &mut dyn Stream) -> Outcome {
    let mut outcome = Outcome {
        content: Vec::new(),
        end: None,
    };
    let mut rest = bytes;
    let mut buffer = [0; 512];
    loop {
        let written = match peer.write(rest) {
            Ok(count) => count,
            Err(_) => 0, // Full, or closed by the layer.
        };
        rest = rest.get(written..).unwrap_or_default();
        if let Err(error) = layer.handshake() {
            outcome.end = Some(error.to_string());
            return outcome;
        }
        let read = read(layer, &mut buffer, &mut outcome);
        // The answers go nowhere, so that they cannot fill up.
        let answered = matches!(peer.read(&mut buffer), Ok(1..));
        if outcome.end.is_some() || (!read && !answered && written == 0) {
            return outcome;
        }
    }
}

/// Reads until nothing is there; says whether something was.
fn read(layer: &mut dyn Stream, buffer: &mut [u8], outcome: &mut Outcome) -> bool {
    let before = outcome.content.len();
    loop {
        match layer.read(buffer) {
            Ok(0) => {
                outcome.end = Some("the end".into());
                return true;
            }
            Ok(count) => outcome.content.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return outcome.content.len() > before;
            }
            Err(error) => {
                outcome.end = Some(error.to_string());
                return true;
            }
        }
    }
}
