//! The scenarios: what other people's clients and hand-made packets do to a broker.

mod browser;
mod delivery;
mod ending;
mod everyone;
mod keep_alive;
mod malformed;
mod many;
mod our_client;
mod refused_connect;
mod resend;
mod retained;
mod rust_peer;
mod session;
mod shared;
mod slow;
mod v5;
mod ways;
mod will;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::Stage;
use super::peer::Message;
use super::runner::Test;

/// Every scenario; the long ones first, so that they overlap with the rest.
pub(super) fn all() -> Vec<Test> {
    [
        keep_alive::tests(),
        many::tests(),
        everyone::tests(),
        slow::tests(),
        browser::tests(),
        our_client::tests(),
        ways::tests(),
        delivery::tests(),
        retained::tests(),
        will::tests(),
        session::tests(),
        rust_peer::tests(),
        resend::tests(),
        shared::tests(),
        v5::tests(),
        ending::tests(),
        malformed::tests(),
        refused_connect::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

const MEBIBYTE: usize = 1024 * 1024;

/// Bytes without a short period, the same at each call.
fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Writes [`pattern`] to a file of the stage.
fn pattern_file(stage: &Stage<'_>, length: usize) -> Result<PathBuf> {
    let path = stage.folder().join("payload");
    fs::write(&path, pattern(length)).context("writing the payload")?;
    Ok(path)
}

/// Checks that a received message carries [`pattern`], byte for byte.
fn check_pattern(message: &Message, length: usize) -> Result<()> {
    let bytes = match &message.payload_file {
        Some(file) => fs::read(file).context("reading the received payload")?,
        None => message.payload.clone(),
    };
    ensure!(
        bytes.len() == length,
        "{} bytes of payload arrived, not {length}",
        bytes.len()
    );
    ensure!(
        bytes == pattern(length),
        "the payload arrived with other bytes"
    );
    Ok(())
}
