//! Connections that the broker ends: shutdown, takeover; and those that just vanish.

use anyhow::{Result, bail, ensure};

use super::Test;
use crate::interop::peer::{Connect, Program, Tool};
use crate::interop::wire::{Hello, Wire, packet, to_hex};
use crate::interop::{Stage, Version, WAIT};

const SHUTTING_DOWN: u8 = 0x8B;
const TAKEN_OVER: u8 = 0x8E;

pub(super) fn tests() -> Vec<Test> {
    let mut tests = vec![
        Test::new("SIGTERM: raw clients of all versions", |stage| {
            signal_raw(stage, "TERM")
        }),
        Test::new("SIGINT: raw clients of all versions", |stage| {
            signal_raw(stage, "INT")
        }),
        Test::new("half-open: the client ends its sending side", half_open),
        Test::new("a reset connection publishes its will", reset),
        Test::new("what follows a DISCONNECT is ignored", after_disconnect),
    ];
    for tool in reporting() {
        let told = [
            Test::new(format!("SIGTERM is told with 0x8B: {tool}"), move |stage| {
                sigterm(stage, tool)
            }),
            Test::new(
                format!("takeover is told with 0x8E: {tool}"),
                move |stage| takeover(stage, tool),
            ),
        ];
        let why = "2.0.11 closes without a DISCONNECT";
        tests.extend(told.map(|test| test.unlike_mosquitto(why)));
    }
    for old in Version::ALL {
        for new in Version::ALL {
            let name = format!("takeover of a raw {old} client by {new}");
            tests.push(Test::new(name, move |stage| takeover_raw(stage, old, new)));
        }
    }
    tests
}

/// The programs that report the code of a DISCONNECT; mosquitto_sub reconnects silently.
fn reporting() -> impl Iterator<Item = Tool> {
    [Program::Paho, Program::MqttJs]
        .into_iter()
        .map(|program| Tool {
            program,
            version: Version::V5,
        })
}

fn sigterm(stage: &mut Stage<'_>, tool: Tool) -> Result<()> {
    let mut listener = tool.listen(stage, &Connect::clean("sub"), &["a"], 1)?;
    stage.stop_by_signal("TERM")?;
    let code = listener.closed()?;
    ensure!(code == Some(SHUTTING_DOWN), "DISCONNECT says {code:02X?}");
    stage.await_stopped()
}

fn signal_raw(stage: &mut Stage<'_>, signal: &str) -> Result<()> {
    let mut old = stage.wire(Version::V31, "v31")?;
    let mut middle = stage.wire(Version::V311, "v311")?;
    let mut new = stage.wire(Version::V5, "v5")?;
    stage.stop_by_signal(signal)?;
    expect_disconnect(stage, &mut new, &[SHUTTING_DOWN])?;
    old.expect_close(WAIT)?;
    middle.expect_close(WAIT)?;
    stage.await_stopped()?;
    let again = Wire::open(stage.address());
    ensure!(again.is_err(), "the port still takes connections");
    Ok(())
}

/// v5 MQTT-3.1.4-3.
fn takeover(stage: &Stage<'_>, tool: Tool) -> Result<()> {
    let mut first = tool.listen(stage, &Connect::clean("one"), &["a"], 1)?;
    let mut second = tool.listen(stage, &Connect::clean("one"), &["b"], 1)?;
    let code = first.closed()?;
    ensure!(code == Some(TAKEN_OVER), "DISCONNECT says {code:02X?}");
    second.expect_silence()
}

/// v5 MQTT-3.1.4-3, v3.1.1 MQTT-3.1.4-2, V31-takeover.
fn takeover_raw(stage: &Stage<'_>, old: Version, new: Version) -> Result<()> {
    let will = Some(("will", &b"taken over"[..]));
    let mut witness = stage.wire(Version::V5, "witness")?;
    witness.subscribe(Version::V5, "will", 0)?;
    let (mut first, _) = stage.hello(&Hello {
        will,
        ..Hello::new(old, "one")
    })?;
    let mut second = stage.wire(new, "one")?;
    if old == Version::V5 {
        expect_disconnect(stage, &mut first, &[TAKEN_OVER])?;
    } else {
        first.expect_close(WAIT)?;
    }
    let got = witness.publish(Version::V5)?;
    ensure!(got.payload == b"taken over", "instead of the will: {got:?}");
    second.ping()?;
    witness.ping()
}

/// The sending side of a connection ends without DISCONNECT: the connection has dropped.
fn half_open(stage: &mut Stage<'_>) -> Result<()> {
    for version in Version::ALL {
        let mut witness = stage.wire(version, "witness")?;
        witness.subscribe(version, "will", 0)?;
        let will = Some(("will", &b"half"[..]));
        let (mut half, _) = stage.hello(&Hello {
            will,
            ..Hello::new(version, "half")
        })?;
        // The first bytes of a packet whose rest never comes.
        half.send_hex("30 20 00 03")?;
        half.shut_sending()?;
        half.packet_within(WAIT)?;
        let got = witness.publish(version)?;
        ensure!(got.payload == b"half", "instead of the will: {got:?}");
        witness.ping()?;
    }
    Ok(())
}

/// A socket closed with unread data in it is reset rather than ended.
fn reset(stage: &mut Stage<'_>) -> Result<()> {
    for version in Version::ALL {
        let mut witness = stage.wire(version, "witness")?;
        witness.subscribe(version, "will", 0)?;
        let will = Some(("will", &b"reset"[..]));
        let (mut lost, _) = stage.hello(&Hello {
            will,
            ..Hello::new(version, "lost")
        })?;
        lost.send(&packet(0xC0, &[]).repeat(1000))?;
        // An answer is in the socket before it goes.
        lost.packet()?;
        drop(lost);
        let got = witness.publish(version)?;
        ensure!(got.payload == b"reset", "instead of the will: {got:?}");
        witness.ping()?;
    }
    Ok(())
}

/// v5 MQTT-3.14.4-1, v3.1.1 MQTT-3.14.4-2, X311-3.14.4-a.
fn after_disconnect(stage: &mut Stage<'_>) -> Result<()> {
    for version in Version::ALL {
        let mut witness = stage.wire(version, "witness")?;
        witness.subscribe(version, "#", 0)?;
        let will = Some(("will", &b"no"[..]));
        let (mut leaver, _) = stage.hello(&Hello {
            will,
            ..Hello::new(version, "leaver")
        })?;
        let publish = if version == Version::V5 {
            "30 04 00 01 61 00"
        } else {
            "30 03 00 01 61"
        };
        leaver.send_hex(&format!("E0 00 {publish}"))?;
        leaver.expect_close(WAIT)?;
        witness.ping()?;
        witness.expect_silence(std::time::Duration::from_millis(200))?;
    }
    Ok(())
}

/// Reads a DISCONNECT of 5.0 with one of these codes, and the close behind it.
///
/// The standard leaves the DISCONNECT to the server, so other brokers may close without one.
pub(super) fn expect_disconnect(stage: &Stage<'_>, wire: &mut Wire, codes: &[u8]) -> Result<()> {
    let bytes = wire.packet()?;
    match bytes.as_deref() {
        Some([0xE0, _, code, ..]) if codes.contains(code) || !stage.is_ours() => {
            wire.expect_close(WAIT)
        }
        Some(other) => {
            let got = to_hex(other);
            bail!("expected DISCONNECT with {codes:02X?}, got {got}")
        }
        None => {
            ensure!(
                !stage.is_ours(),
                "closed without the DISCONNECT with {codes:02X?}"
            );
            Ok(())
        }
    }
}
