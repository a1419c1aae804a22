//! Other people's clients over every transport, and what TLS agrees on.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{MEBIBYTE, Test, check_pattern, pattern_file};
use crate::interop::peer::{Connect, Message, Program, Tool};
use crate::interop::way::Way;
use crate::interop::{Settings, Stage, Version, WAIT};
use crate::process::run_to_end;

pub(super) fn tests() -> Vec<Test> {
    // v5 MQTT-4.2.0-1; v3.1.1 MQTT-7.1.1-1
    let mut tests = Vec::new();
    for tool in Tool::all() {
        for way in Way::WORKING.into_iter().filter(|way| goes(tool, *way)) {
            tests.push(
                Test::new(format!("messages over {way}: {tool}"), move |stage| {
                    round_trip(stage, tool, way)
                })
                .with(EVERY_WAY),
            );
        }
        if tool.version != Version::V31 {
            for protocol in ["mqtt", "x-amzn-mqtt-ca"] {
                let connect = move |id: &str| Connect::clean(id).over(Way::Tls).offering(protocol);
                tests.push(
                    Test::new(format!("ALPN {protocol}: {tool}"), move |stage| {
                        exchange(stage, tool, connect)
                    })
                    .with(EVERY_WAY),
                );
            }
        }
    }
    tests.push(Test::new("openssl: versions of TLS", versions).with(EVERY_WAY));
    tests.push(
        Test::new("openssl: ALPN", alpn)
            .with(EVERY_WAY)
            .unlike_mosquitto("agrees on no protocol"),
    );
    tests
}

/// A broker that listens in every way.
pub(super) const EVERY_WAY: Settings = Settings {
    packet_size_max: None,
    listens_in_all_ways: true,
};

/// Whether a program knows a transport; plain TCP is what all other scenarios are about.
const fn goes(tool: Tool, way: Way) -> bool {
    match (tool.program, way) {
        (_, Way::Tcp) => false,
        (Program::Mosquitto, Way::Ws | Way::Wss) => false, // Not in version 2.0.
        (Program::MqttJs, Way::Unix) => false,
        (Program::Rumqttc, _) => false, // Built without.
        (Program::Mosquitto | Program::Paho | Program::MqttJs, _) => true,
    }
}

fn round_trip(stage: &Stage<'_>, tool: Tool, way: Way) -> Result<()> {
    exchange(stage, tool, move |id| Connect::clean(id).over(way))?;
    // mosquitto_sub prints what is large in hexadecimal, which takes too long.
    if tool.program != Program::Mosquitto {
        let connect = |id: &str| Connect::clean(id).over(way);
        let mut listener = tool.listen(stage, &connect("sub"), &["large"], 1)?;
        let large = Message {
            payload_file: Some(pattern_file(stage, MEBIBYTE)?),
            ..Message::new("large", "", 1)
        };
        tool.publish(stage, &connect("pub"), &[large])?;
        check_pattern(&listener.large_message()?, MEBIBYTE)?;
    }
    Ok(())
}

/// Messages of each QoS from one client to another, both of which connect in the same way.
fn exchange(stage: &Stage<'_>, tool: Tool, connect: impl Fn(&str) -> Connect) -> Result<()> {
    let mut listener = tool.listen(stage, &connect("sub"), &["way/#"], 2)?;
    let sent: Vec<Message> = (0..=2)
        .map(|qos| Message::new("way/a", &format!("QoS {qos}"), qos))
        .collect();
    tool.publish(stage, &connect("pub"), &sent)?;
    for expected in sent {
        let got = listener.message()?;
        ensure!(got == expected, "expected {expected:?}, got {got:?}");
    }
    listener.expect_silence()
}

/// What `openssl s_client` says of a connection, and whether it succeeded.
fn openssl(stage: &Stage<'_>, way: Way, arguments: &[&str]) -> Result<(bool, String)> {
    let door = stage.door(way)?;
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect"]);
    command.arg(format!("{}:{}", door.host, door.port));
    command.arg("-CAfile").arg(door.cafile.context("no TLS")?);
    command.args(["-verify_return_error", "-servername", "localhost"]);
    command.args(arguments);
    let end = run_to_end(&mut command, WAIT)?;
    Ok((end.status.success(), end.text))
}

fn versions(stage: &mut Stage<'_>) -> Result<()> {
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let (is_fine, text) = openssl(stage, Way::Tls, &[version])?;
        ensure!(
            is_fine && text.contains(&format!("New, {name}, Cipher is")),
            "{version} is refused:\n{text}"
        );
    }
    // Without the level, the program itself would not offer so old a version.
    for version in ["-tls1_1", "-tls1"] {
        let arguments = [version, "-cipher", "ALL:@SECLEVEL=0"];
        let (is_fine, text) = openssl(stage, Way::Tls, &arguments)?;
        ensure!(
            !is_fine && text.contains("alert"),
            "{version} is not refused by an alert:\n{text}"
        );
    }
    Ok(())
}

fn alpn(stage: &mut Stage<'_>) -> Result<()> {
    for protocol in ["mqtt", "x-amzn-mqtt-ca"] {
        for version in ["-tls1_2", "-tls1_3"] {
            let (is_fine, text) = openssl(stage, Way::Tls, &["-alpn", protocol, version])?;
            ensure!(
                is_fine && text.contains(&format!("ALPN protocol: {protocol}")),
                "{protocol} is not agreed on:\n{text}"
            );
        }
    }
    let (is_fine, text) = openssl(stage, Way::Tls, &["-alpn", "gopher"])?;
    ensure!(
        !is_fine && text.contains("no application protocol"),
        "an unknown protocol is not refused:\n{text}"
    );
    let (is_fine, text) = openssl(stage, Way::Tls, &[])?;
    ensure!(
        is_fine && text.contains("No ALPN negotiated"),
        "whoever names no protocol is refused:\n{text}"
    );
    Ok(())
}
