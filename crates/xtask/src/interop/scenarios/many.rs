//! A thousand clients at once.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Test;
use crate::interop::wire::{Hello, Publish, Wire};
use crate::interop::{LARGE_WAIT, Stage, Version};
use crate::process::run_bounded;

const COUNT: usize = 1000;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("1000 clients at once: MQTT.js", swarm),
        Test::new("1000 clients at once: raw, in all versions", raw),
    ]
}

fn swarm(stage: &mut Stage<'_>) -> Result<()> {
    let address = stage.address();
    let mut command = Command::new("node");
    command
        .arg(stage.programs().join("mqttjs_swarm.mjs"))
        .args([
            address.ip().to_string(),
            address.port().to_string(),
            COUNT.to_string(),
        ])
        .env("INTEROP_NODE", stage.installed().join("node"));
    let output = run_bounded(&mut command, LARGE_WAIT)?;
    ensure!(
        output == b"ok\n",
        "the swarm says {}",
        String::from_utf8_lossy(&output)
    );
    Ok(())
}

/// Each client passes a message to the next one; all also hear one message to everybody.
fn raw(stage: &mut Stage<'_>) -> Result<()> {
    let version = |number: usize| {
        if number.is_multiple_of(3) {
            Version::V31
        } else if number % 3 == 1 {
            Version::V311
        } else {
            Version::V5
        }
    };
    // All CONNECTs are on their way before the first CONNACK is read.
    let mut clients = Vec::new();
    for number in 0..COUNT {
        let mut wire = Wire::open(stage.address()).with_context(|| format!("client {number}"))?;
        wire.send(&Hello::new(version(number), &format!("raw{number}")).encode())?;
        clients.push(wire);
    }
    for (number, wire) in clients.iter_mut().enumerate() {
        let connack = wire
            .packet()?
            .with_context(|| format!("client {number}: no CONNACK"))?;
        ensure!(
            connack.get(3) == Some(&0),
            "client {number} is refused: {connack:02X?}"
        );
    }
    for (number, wire) in clients.iter_mut().enumerate() {
        wire.subscribe(version(number), &format!("raw/{number}"), 0)?;
        wire.subscribe(version(number), "everybody", 0)?;
    }
    for (number, wire) in clients.iter_mut().enumerate() {
        let publish = Publish {
            topic: format!("raw/{}", (number + 1) % COUNT),
            payload: number.to_string().into_bytes(),
            ..Publish::default()
        };
        wire.send(&publish.encode(version(number)))?;
    }
    for (number, wire) in clients.iter_mut().enumerate() {
        let got = wire
            .publish(version(number))
            .with_context(|| format!("client {number}"))?;
        let expected = (number + COUNT - 1) % COUNT;
        ensure!(
            got.topic == format!("raw/{number}") && got.payload == expected.to_string().as_bytes(),
            "client {number} got {got:?}"
        );
    }
    let everybody = Publish {
        topic: "everybody".into(),
        payload: b"hello".to_vec(),
        ..Publish::default()
    };
    let first = clients.first_mut().context("there are clients")?;
    first.send(&everybody.encode(version(0)))?;
    for (number, wire) in clients.iter_mut().enumerate() {
        let got = wire
            .publish(version(number))
            .with_context(|| format!("client {number}"))?;
        ensure!(got.topic == "everybody", "client {number} got {got:?}");
    }
    Ok(())
}
