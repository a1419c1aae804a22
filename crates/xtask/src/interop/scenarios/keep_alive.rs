//! Silence: after a connection is opened, inside a CONNECT, and past the keep alive.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::Test;
use super::ending::expect_disconnect;
use crate::clock::{Deadline, Stopwatch};
use crate::interop::wire::{Hello, Wire};
use crate::interop::{Stage, Version};

/// No sensible broker waits longer than this for a CONNECT.
const CONNECT_PATIENCE: Duration = Duration::from_secs(45);

const KEEP_ALIVE_TIMEOUT: u8 = 0x8D;

pub(super) fn tests() -> Vec<Test> {
    const WHY: &str = "gives a silent connection a keep alive of 60 s";
    let mut tests = vec![
        Test::new("silence instead of CONNECT", silence).unlike_mosquitto(WHY),
        Test::new("a CONNECT that never ends", half_a_connect).unlike_mosquitto(WHY),
        Test::new("a CONNECT one byte a second", trickled_connect).unlike_mosquitto(WHY),
    ];
    for version in Version::ALL {
        tests.push(Test::new(
            format!("keep alive runs out: raw {version}"),
            move |stage| keep_alive(stage, version),
        ));
        tests.push(Test::new(
            format!("half a packet is no sign of life: raw {version}"),
            move |stage| partial_packet(stage, version),
        ));
    }
    tests
}

/// v5 U-04, X311-3.1.4-a.
fn silence(stage: &mut Stage<'_>) -> Result<()> {
    let mut wire = Wire::open(stage.address())?;
    wire.expect_close(CONNECT_PATIENCE)
}

fn half_a_connect(stage: &mut Stage<'_>) -> Result<()> {
    let mut wire = Wire::open(stage.address())?;
    wire.send_hex("10 0D 00 04 4D 51")?;
    wire.expect_close(CONNECT_PATIENCE)
}

/// X311-3.1.4-a: the time for a CONNECT counts from the start of the connection, not from its
/// last byte.
fn trickled_connect(stage: &mut Stage<'_>) -> Result<()> {
    let mut wire = Wire::open(stage.address())?;
    let deadline = Deadline::after(CONNECT_PATIENCE);
    let hello = Hello::new(
        Version::V311,
        "trickle-trickle-trickle-trickle-trickle-trickle",
    );
    for byte in hello.encode() {
        ensure!(
            deadline.remaining().is_some(),
            "the broker still waits for the rest"
        );
        if wire.send(&[byte]).is_err() || wire.is_closed_within(Duration::from_secs(1))? {
            return Ok(());
        }
    }
    anyhow::bail!("the broker took a CONNECT that came one byte a second")
}

/// v5 MQTT-3.1.2-22, v3.1.1 MQTT-3.1.2-24, V31-keepalive: one and a half times the keep alive.
fn keep_alive(stage: &Stage<'_>, version: Version) -> Result<()> {
    let mut witness = stage.wire(version, "witness")?;
    witness.subscribe(version, "will", 0)?;
    let will = Some(("will", &b"silent"[..]));
    let hello = Hello {
        keep_alive: 1,
        will,
        ..Hello::new(version, "silent")
    };
    let (mut silent, _) = stage.hello(&hello)?;
    let watch = Stopwatch::start();
    silent.ping()?;
    expect_end(stage, &mut silent, version)?;
    let elapsed = watch.elapsed();
    ensure!(
        elapsed >= Duration::from_secs(1),
        "closed within the keep alive: {elapsed:?}"
    );
    let got = witness.publish(version)?;
    ensure!(got.payload == b"silent", "instead of the will: {got:?}");
    witness.ping()
}

/// Only whole packets restart the keep alive.
fn partial_packet(stage: &Stage<'_>, version: Version) -> Result<()> {
    let hello = Hello {
        keep_alive: 1,
        ..Hello::new(version, "partial")
    };
    let (mut wire, _) = stage.hello(&hello)?;
    wire.send_hex("30 20 00 10")?;
    expect_end(stage, &mut wire, version)
}

fn expect_end(stage: &Stage<'_>, wire: &mut Wire, version: Version) -> Result<()> {
    if version == Version::V5 {
        expect_disconnect(stage, wire, &[KEEP_ALIVE_TIMEOUT])
    } else {
        wire.expect_close(crate::interop::WAIT)
    }
}
