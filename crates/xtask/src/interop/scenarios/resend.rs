//! Messages in flight when a connection drops, by hand: who sends what again, and how.

use anyhow::{Context, Result, ensure};

use super::Test;
use crate::interop::wire::{Hello, Publish, Wire};
use crate::interop::{Stage, Version};

pub(super) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for version in Version::ALL {
        for qos in [1, 2] {
            let name = format!("unacknowledged QoS {qos} comes again with DUP: raw {version}");
            tests.push(Test::new(name, move |stage| {
                unacknowledged(stage, version, qos)
            }));
        }
        let name = format!("PUBREL comes again, PUBLISH does not: raw {version}");
        tests.push(Test::new(name, move |stage| released(stage, version)));
        let name = format!("a repeated QoS 2 PUBLISH is delivered once: raw {version}");
        tests.push(Test::new(name, move |stage| exactly_once(stage, version)));
    }
    tests
}

/// v5 MQTT-4.4.0-1, v5 MQTT-3.3.1-1, v3.1.1 MQTT-4.4.0-1, v3.1.1 MQTT-3.3.1-1, V31-reconnect.
fn unacknowledged(stage: &Stage<'_>, version: Version, qos: u8) -> Result<()> {
    let (mut keeper, _) = stage.hello(&lasting(version))?;
    keeper.subscribe(version, "a", qos)?;
    let mut publisher = stage.wire(version, "pub")?;
    let numbers = [1_u16, 2, 3];
    for number in numbers {
        send(&mut publisher, version, qos, number)?;
    }
    let first: Vec<Publish> = numbers
        .iter()
        .map(|_| keeper.publish(version))
        .collect::<Result<_>>()?;
    ensure!(
        first.iter().all(|publish| !publish.duplicate),
        "DUP on a first sending: {first:?}"
    );
    drop(keeper);

    let (mut keeper, _) = resumed(stage, version)?;
    for before in &first {
        let again = keeper.publish(version)?;
        let expected = Publish {
            duplicate: true,
            ..before.clone()
        };
        ensure!(again == expected, "expected {expected:?}, got {again:?}");
    }
    for before in first {
        let id = before.id.context("no packet identifier")?;
        match qos {
            1 => acknowledge(&mut keeper, 0x40, id)?,
            _ => {
                acknowledge(&mut keeper, 0x50, id)?;
                expect_acknowledgement(&mut keeper, 0x62, id)?;
                acknowledge(&mut keeper, 0x70, id)?;
            }
        }
    }
    // Nothing is left of the three.
    keeper.ping()?;
    drop(keeper);
    resumed(stage, version)?.0.ping()
}

/// v5 MQTT-4.3.3-6, v3.1.1 MQTT-4.3.3-1: once PUBREL is sent, only PUBREL is sent again.
fn released(stage: &Stage<'_>, version: Version) -> Result<()> {
    let (mut keeper, _) = stage.hello(&lasting(version))?;
    keeper.subscribe(version, "a", 2)?;
    let mut publisher = stage.wire(version, "pub")?;
    send(&mut publisher, version, 2, 1)?;
    let id = keeper
        .publish(version)?
        .id
        .context("no packet identifier")?;
    acknowledge(&mut keeper, 0x50, id)?;
    expect_acknowledgement(&mut keeper, 0x62, id)?;
    drop(keeper);

    let (mut keeper, _) = resumed(stage, version)?;
    expect_acknowledgement(&mut keeper, 0x62, id)?;
    acknowledge(&mut keeper, 0x70, id)?;
    keeper.ping()
}

/// v5 MQTT-4.3.3-10, v3.1.1 MQTT-4.3.3-2, also where a reconnect lies between.
fn exactly_once(stage: &Stage<'_>, version: Version) -> Result<()> {
    let mut subscriber = stage.wire(version, "sub")?;
    subscriber.subscribe(version, "a", 0)?;
    let (mut keeper, _) = stage.hello(&lasting(version))?;
    let publish = numbered(2, 7);
    keeper.send(&publish.encode(version))?;
    expect_acknowledgement(&mut keeper, 0x50, 7)?;
    let duplicate = Publish {
        duplicate: true,
        ..publish
    };
    keeper.send(&duplicate.encode(version))?;
    expect_acknowledgement(&mut keeper, 0x50, 7)?;
    drop(keeper);

    let (mut keeper, _) = resumed(stage, version)?;
    keeper.send(&duplicate.encode(version))?;
    expect_acknowledgement(&mut keeper, 0x50, 7)?;
    acknowledge(&mut keeper, 0x62, 7)?;
    expect_acknowledgement(&mut keeper, 0x70, 7)?;
    let got = subscriber.publish(version)?;
    ensure!(got.payload == [0, 7], "got {got:?}");
    subscriber.ping()
}

fn lasting(version: Version) -> Hello<'static> {
    let properties = if version == Version::V5 {
        vec![0x11, 0x00, 0x00, 0x0E, 0x10]
    } else {
        vec![]
    };
    Hello {
        clean: false,
        properties,
        ..Hello::new(version, "keeper")
    }
}

fn resumed(stage: &Stage<'_>, version: Version) -> Result<(Wire, Vec<u8>)> {
    let (wire, connack) = stage.hello(&lasting(version))?;
    if version != Version::V31 {
        ensure!(
            connack.get(2) == Some(&1),
            "CONNACK says that there was no session"
        );
    }
    Ok((wire, connack))
}

fn numbered(qos: u8, number: u16) -> Publish {
    Publish {
        topic: "a".into(),
        qos,
        id: Some(number),
        payload: number.to_be_bytes().to_vec(),
        ..Publish::default()
    }
}

/// Publishes with the whole exchange of its QoS.
fn send(publisher: &mut Wire, version: Version, qos: u8, number: u16) -> Result<()> {
    publisher.send(&numbered(qos, number).encode(version))?;
    if qos == 1 {
        return expect_acknowledgement(publisher, 0x40, number);
    }
    expect_acknowledgement(publisher, 0x50, number)?;
    acknowledge(publisher, 0x62, number)?;
    expect_acknowledgement(publisher, 0x70, number)
}

fn acknowledge(wire: &mut Wire, first: u8, id: u16) -> Result<()> {
    let [high, low] = id.to_be_bytes();
    wire.send(&[first, 2, high, low])
}

/// Reads PUBACK, PUBREC, PUBREL or PUBCOMP in any of its forms, with a success code.
fn expect_acknowledgement(wire: &mut Wire, first: u8, id: u16) -> Result<()> {
    let packet = wire
        .packet()?
        .context("closed instead of an acknowledgement")?;
    let [high, low] = id.to_be_bytes();
    let is_it = packet.first() == Some(&first) && packet.get(2..4) == Some(&[high, low]);
    let is_success = packet.get(4).is_none_or(|&code| code < 0x80);
    ensure!(
        is_it && is_success,
        "expected {first:02X} for id {id}, got {packet:02X?}"
    );
    Ok(())
}
