//! Messages of each QoS and of large size, and which topics a filter catches.

use anyhow::{Context, Result, ensure};

use super::{MEBIBYTE, Test, check_pattern, pattern_file};
use crate::interop::peer::mosquitto::Raw;
use crate::interop::peer::{Connect, Message, Program, Tool};
use crate::interop::{Stage, Version};

const COUNT: usize = 20;

pub(super) fn tests() -> Vec<Test> {
    let mut tests = vec![Test::new(
        "100 MiB payload: mosquitto_pub to mosquitto_sub 3.1.1",
        hundred_mebibytes_by_mosquitto,
    )];
    for program in [Program::Paho, Program::MqttJs] {
        let tool = Tool {
            program,
            version: Version::V5,
        };
        tests.push(Test::new(
            format!("100 MiB payload: {tool}"),
            move |stage| large_payload(stage, tool, 100 * MEBIBYTE),
        ));
    }
    for tool in Tool::all() {
        for qos in 0..=2 {
            tests.push(Test::new(
                format!("QoS {qos} in order: {tool}"),
                move |stage| in_order(stage, tool, qos),
            ));
        }
        tests.push(Test::new(format!("1 MiB payload: {tool}"), move |stage| {
            large_payload(stage, tool, MEBIBYTE)
        }));
        tests.push(Test::new(
            format!("QoS is the lower of both: {tool}"),
            move |stage| lower_qos(stage, tool),
        ));
        tests.push(Test::new(format!("wildcards: {tool}"), move |stage| {
            wildcards(stage, tool)
        }));
        tests.push(Test::new(
            format!("leading wildcard and $: {tool}"),
            move |stage| dollar(stage, tool),
        ));
    }
    tests
}

fn in_order(stage: &Stage<'_>, tool: Tool, qos: u8) -> Result<()> {
    let mut listener = tool.listen(stage, &Connect::clean("sub"), &["order/+"], qos)?;
    let sent: Vec<Message> = (0..COUNT)
        .map(|number| Message::new("order/a", &format!("no. {number}"), qos))
        .collect();
    tool.publish(stage, &Connect::clean("pub"), &sent)?;
    for expected in sent {
        let got = listener.message()?;
        ensure!(got == expected, "expected {expected:?}, got {got:?}");
    }
    listener.expect_silence()
}

/// v5 MQTT-3.8.4-8, v3.1.1 MQTT-3.8.4-6.
fn lower_qos(stage: &Stage<'_>, tool: Tool) -> Result<()> {
    for granted in 0..=2 {
        let client_id = format!("sub{granted}");
        let mut listener = tool.listen(stage, &Connect::clean(&client_id), &["q"], granted)?;
        let sent: Vec<Message> = (0..=2).map(|qos| Message::new("q", "x", qos)).collect();
        tool.publish(stage, &Connect::clean("pub"), &sent)?;
        // Between QoS levels there is no order, so the levels are only counted.
        let mut got: Vec<u8> = Vec::new();
        for _ in &sent {
            got.push(listener.message()?.qos);
        }
        got.sort_unstable();
        let expected: Vec<u8> = (0..=2).map(|qos: u8| qos.min(granted)).collect();
        ensure!(
            got == expected,
            "granted {granted}: expected QoS {expected:?}, got {got:?}"
        );
    }
    Ok(())
}

fn large_payload(stage: &Stage<'_>, tool: Tool, length: usize) -> Result<()> {
    let mut listener = tool.listen(stage, &Connect::clean("sub"), &["large"], 1)?;
    let mut message = Message::new("large", "", 1);
    message.payload_file = Some(pattern_file(stage, length)?);
    tool.publish(stage, &Connect::clean("pub"), &[message])?;
    check_pattern(&listener.large_message()?, length)
}

fn hundred_mebibytes_by_mosquitto(stage: &mut Stage<'_>) -> Result<()> {
    let length = 100 * MEBIBYTE;
    let tool = Tool {
        program: Program::Mosquitto,
        version: Version::V311,
    };
    let receiver = Raw::listen(tool.version, stage, "sub", "large", length)?;
    let mut message = Message::new("large", "", 1);
    message.payload_file = Some(pattern_file(stage, length)?);
    tool.publish(stage, &Connect::clean("pub"), &[message])?;
    check_pattern(
        &Message {
            payload: receiver.payload()?,
            ..Message::default()
        },
        length,
    )
}

/// v5 MQTT-4.7.1-1, v5 MQTT-4.7.1-2, v5 MQTT-4.7.3-4, X311-4.7.3-a, X311-3.8.3-a,
/// v3.1.1 MQTT-4.7.1-2, v3.1.1 MQTT-4.7.1-3.
fn wildcards(stage: &Stage<'_>, tool: Tool) -> Result<()> {
    const END: &str = "end";
    const TOPICS: [&str; 8] = ["a", "a/b", "a/b/c", "a//c", "/a", "A/b", "a/", "b/b"];
    let cases: [(&str, &[&str]); 9] = [
        ("#", &TOPICS),
        ("a/#", &["a", "a/b", "a/b/c", "a//c", "a/"]),
        ("a/+", &["a/b", "a/"]),
        ("+/b", &["a/b", "A/b", "b/b"]),
        ("a/+/c", &["a/b/c", "a//c"]),
        ("+/+", &["a/b", "/a", "A/b", "a/", "b/b"]),
        ("+", &["a"]),
        ("/+", &["/a"]),
        ("a/b", &["a/b"]),
    ];
    let mut listeners = Vec::new();
    for (number, (filter, _)) in cases.iter().enumerate() {
        // Where "#" catches the end mark, a second subscription would catch it twice.
        let both = [filter, END];
        let filters = if matches!(*filter, "#" | "+") {
            &both[..1]
        } else {
            &both
        };
        let connect = Connect::clean(&format!("sub{number}"));
        listeners.push(tool.listen(stage, &connect, filters, 1)?);
    }
    let publisher = Tool {
        program: Program::Paho,
        ..tool
    };
    let sent: Vec<Message> = TOPICS
        .iter()
        .chain([&END])
        .map(|topic| Message::new(topic, "x", 1))
        .collect();
    publisher.publish(stage, &Connect::clean("pub"), &sent)?;
    for (listener, (filter, expected)) in listeners.iter_mut().zip(cases) {
        let messages = listener
            .messages_up_to(END)
            .with_context(|| filter.to_owned())?;
        let mut topics: Vec<&str> = messages.iter().map(|message| &*message.topic).collect();
        topics.pop();
        ensure!(
            topics == expected,
            "{filter} caught {topics:?}, not {expected:?}"
        );
    }
    Ok(())
}

/// v5 MQTT-4.7.2-1, v3.1.1 MQTT-4.7.2-1.
///
/// A broker may keep clients from publishing to `$` topics, so what such a publish meets is not
/// looked at: it must not reach a filter with a leading wildcard, that is all.
fn dollar(stage: &Stage<'_>, tool: Tool) -> Result<()> {
    const END: &str = "x/end";
    let filters = ["#", "+/x/#", "+/end"];
    let mut listeners = Vec::new();
    for (number, filter) in filters.into_iter().enumerate() {
        let both = [filter, END];
        let filters = if filter == "+/x/#" {
            &both[..]
        } else {
            &both[..1]
        };
        let connect = Connect::clean(&format!("sub{number}"));
        listeners.push(tool.listen(stage, &connect, filters, 0)?);
    }
    let mut publisher = stage.wire(Version::V311, "dollar")?;
    publisher.send_hex("30 09 00 06 24 6D 69 6E 65 2F 78")?; // $mine/ with payload "x"
    publisher.send_hex("30 0A 00 07 24 6D 69 6E 65 2F 78 78")?; // $mine/x with payload "x"
    // Answers the ping or has closed: either way it is through with the two above.
    publisher.send_hex("C0 00")?;
    publisher.packet()?;
    tool.publish(stage, &Connect::clean("pub"), &[Message::new(END, "x", 0)])?;
    for (listener, filter) in listeners.iter_mut().zip(filters) {
        let messages = listener.messages_up_to(END)?;
        let topics: Vec<&str> = messages.iter().map(|message| &*message.topic).collect();
        ensure!(topics == [END], "{filter} caught {topics:?}");
    }
    Ok(())
}
