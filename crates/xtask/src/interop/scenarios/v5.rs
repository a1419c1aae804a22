//! What only 5.0 has: properties of a message and topic aliases.

use anyhow::{Context, Result, ensure};

use super::Test;
use crate::interop::peer::{Connect, Message, Program, Properties, Tool};
use crate::interop::wire::{Hello, Publish, prefixed, string, user_property};
use crate::interop::{Stage, Version};

pub(super) fn tests() -> Vec<Test> {
    let mut tests = vec![
        Test::new(
            "properties arrive byte for byte and in order",
            properties_byte_for_byte,
        ),
        Test::new("alias of a raw client, set, used and changed", raw_alias),
        Test::new(
            "alias of the broker, if it uses one, resolves",
            broker_alias,
        ),
    ];
    for tool in Tool::all()
        .into_iter()
        .filter(|tool| tool.version == Version::V5)
    {
        tests.push(Test::new(
            format!("properties between two: {tool}"),
            move |stage| properties(stage, tool),
        ));
        tests.push(Test::new(
            format!("alias of the client: {tool}"),
            move |stage| client_alias(stage, tool),
        ));
    }
    tests.push(Test::new(
        "alias of the broker, if it uses one: MQTT.js 5.0",
        broker_alias_for_mqttjs,
    ));
    tests
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// v5 MQTT-3.3.2-15, v5 MQTT-3.3.2-16, v5 MQTT-3.3.2-17, v5 MQTT-3.3.2-18, v5 MQTT-3.3.2-20.
fn properties(stage: &Stage<'_>, tool: Tool) -> Result<()> {
    let sent = Properties {
        user: pairs(&[("b", "2"), ("a", "1"), ("b", "2"), ("a", "0")]),
        content_type: Some("text/plain".into()),
        response_topic: Some("answer/to/this".into()),
        correlation_data: Some("c-0001".into()),
        topic_alias: None,
    };
    let expected = Message {
        properties: Properties {
            user: tool.expected_user_properties(&sent.user),
            ..sent.clone()
        },
        ..Message::new("p", "x", 1)
    };
    let message = Message {
        properties: sent,
        ..expected.clone()
    };
    let mut listener = tool.listen(stage, &Connect::clean("sub"), &["p"], 1)?;
    tool.publish(stage, &Connect::clean("pub"), &[message])?;
    let got = listener.message()?;
    ensure!(got == expected, "expected {expected:?}, got {got:?}");
    Ok(())
}

/// v5 MQTT-1.5.4-3, v5 MQTT-3.3.2-4, v5 MQTT-3.3.2-17, v5 MQTT-3.3.2-18: User Properties keep
/// their order, duplicates included.
fn properties_byte_for_byte(stage: &mut Stage<'_>) -> Result<()> {
    let user = [
        ("z", "1"),
        ("a", "2"),
        ("z", "1"),
        ("", ""),
        ("a", "\u{FEFF}"),
    ];
    let user: Vec<u8> = user
        .iter()
        .flat_map(|(name, value)| user_property(name, value))
        .collect();
    let carried = [
        vec![0x01, 0x01],
        [vec![0x03], string("text/plain")].concat(),
        [vec![0x08], string("answer")].concat(),
        [vec![0x09], prefixed(&[0x00, 0xFF, 0x80])].concat(),
    ];
    let mut subscriber = stage.wire(Version::V5, "sub")?;
    subscriber.subscribe(Version::V5, "p", 0)?;
    let mut publisher = stage.wire(Version::V5, "pub")?;
    let publish = Publish {
        topic: "p".into(),
        properties: [carried.concat(), user.clone()].concat(),
        payload: "grüße".into(),
        ..Publish::default()
    };
    publisher.send(&publish.encode(Version::V5))?;
    let got = subscriber.publish(Version::V5)?;
    ensure!(
        got.payload == publish.payload && got.topic == "p",
        "got {got:?}"
    );
    // Different properties may change places; each must be there, and those of the user in order.
    ensure!(
        got.properties.len() == publish.properties.len(),
        "got {got:?}"
    );
    for property in carried.iter().chain([&user]) {
        let is_there = got
            .properties
            .windows(property.len())
            .any(|window| window == property);
        ensure!(
            is_there,
            "property {property:02X?} is not in {:02X?}",
            got.properties
        );
    }
    Ok(())
}

/// v5 MQTT-3.3.2-12: the smallest alias.
fn client_alias(stage: &Stage<'_>, tool: Tool) -> Result<()> {
    let mut listener = tool.listen(stage, &Connect::clean("sub"), &["aliased/+"], 1)?;
    let aliased = |topic: &str, payload: &str| {
        let properties = Properties {
            topic_alias: Some(1),
            ..Properties::default()
        };
        Message {
            properties,
            ..Message::new(topic, payload, 1)
        }
    };
    // mosquitto_pub leaves the topic out by itself from the second line on.
    let second = match tool.program {
        Program::Mosquitto => "aliased/a",
        Program::Paho | Program::MqttJs | Program::Rumqttc => "",
    };
    let sent = [aliased("aliased/a", "first"), aliased(second, "second")];
    tool.publish(stage, &Connect::clean("pub"), &sent)?;
    for payload in ["first", "second"] {
        let got = listener.message()?;
        let expected = Message::new("aliased/a", payload, 1);
        ensure!(got == expected, "expected {expected:?}, got {got:?}");
    }
    Ok(())
}

/// v5 MQTT-3.3.2-12: the greatest alias, given to one topic after another.
fn raw_alias(stage: &mut Stage<'_>) -> Result<()> {
    let mut subscriber = stage.wire(Version::V311, "sub")?;
    subscriber.subscribe(Version::V311, "#", 0)?;
    let (mut publisher, connack) = stage.hello(&Hello::new(Version::V5, "pub"))?;
    let maximum = topic_alias_maximum(&connack)?;
    ensure!(maximum > 0, "the broker takes no aliases at all");
    let [high, low] = maximum.to_be_bytes();
    let steps: [(&str, &str); 5] = [
        ("one", "one"),
        ("", "one"),
        ("two", "two"),
        ("", "two"),
        ("one", "one"),
    ];
    for (topic, expected) in steps {
        let publish = Publish {
            topic: topic.into(),
            properties: vec![0x23, high, low],
            payload: b"x".to_vec(),
            ..Publish::default()
        };
        publisher.send(&publish.encode(Version::V5))?;
        let got = subscriber.publish(Version::V311)?;
        ensure!(
            got.topic == expected,
            "expected topic {expected:?}, got {:?}",
            got.topic
        );
    }
    Ok(())
}

fn topic_alias_maximum(connack: &[u8]) -> Result<u16> {
    Ok(crate::interop::wire::connack_u16(connack, 0x22)?.unwrap_or(0))
}

/// v5 MQTT-3.1.2-26: no alias above the client's maximum, and each one is set before use.
fn broker_alias(stage: &mut Stage<'_>) -> Result<()> {
    let hello = Hello {
        properties: vec![0x22, 0x00, 0x02],
        ..Hello::new(Version::V5, "sub")
    };
    let (mut subscriber, _) = stage.hello(&hello)?;
    subscriber.subscribe(Version::V5, "#", 0)?;
    let mut publisher = stage.wire(Version::V311, "pub")?;
    let mut aliases: [Option<String>; 2] = [None, None];
    for round in 0..3 {
        for topic in [
            "some/long/topic/a",
            "some/long/topic/b",
            "some/long/topic/c",
        ] {
            let publish = Publish {
                topic: topic.into(),
                payload: vec![round],
                ..Publish::default()
            };
            publisher.send(&publish.encode(Version::V311))?;
            let mut got = subscriber.publish(Version::V5)?;
            if let [0x23, high, low] = got.properties[..] {
                let alias = usize::from(u16::from_be_bytes([high, low]));
                let slot = alias
                    .checked_sub(1)
                    .and_then(|index| aliases.get_mut(index));
                let slot = slot.with_context(|| format!("alias {alias} is above the maximum"))?;
                if !got.topic.is_empty() {
                    *slot = Some(got.topic.clone());
                }
                got.topic = slot
                    .clone()
                    .context("an alias is used that was never set")?;
            }
            ensure!(
                got.topic == topic && got.payload == [round],
                "expected {topic}, got {got:?}"
            );
        }
    }
    Ok(())
}

/// MQTT.js resolves the broker's aliases itself.
fn broker_alias_for_mqttjs(stage: &mut Stage<'_>) -> Result<()> {
    let tool = Tool {
        program: Program::MqttJs,
        version: Version::V5,
    };
    let connect = Connect {
        topic_alias_maximum: Some(5),
        ..Connect::clean("sub")
    };
    let mut listener = tool.listen(stage, &connect, &["some/#"], 1)?;
    let sent: Vec<Message> = (0..10)
        .map(|number| Message::new(&format!("some/long/topic/{}", number % 2), "x", 1))
        .collect();
    tool.publish(stage, &Connect::clean("pub"), &sent)?;
    for expected in sent {
        let got = listener.message()?;
        ensure!(got == expected, "expected {expected:?}, got {got:?}");
    }
    Ok(())
}
