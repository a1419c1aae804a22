//! rumqttc, the client that most Rust programs use.

use anyhow::{Result, ensure};

use super::{MEBIBYTE, Test, check_pattern, pattern_file};
use crate::interop::peer::{Connect, Message, Program, Tool};
use crate::interop::{Stage, Version};

pub(super) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for version in [Version::V311, Version::V5] {
        let tool = Tool {
            program: Program::Rumqttc,
            version,
        };
        tests.push(Test::new(format!("messages: {tool}"), move |stage| {
            messages(stage, tool)
        }));
        tests.push(Test::new(
            format!("messages to a session that is away: {tool}"),
            move |stage| session(stage, tool),
        ));
        tests.push(Test::new(
            format!("a large message: {tool}"),
            move |stage| large(stage, tool),
        ));
    }
    tests
}

/// Each QoS at each granted QoS, and a retained message.
fn messages(stage: &Stage<'_>, tool: Tool) -> Result<()> {
    let kept = Message::new("rust/kept", "kept", 1).retained();
    tool.publish(stage, &Connect::clean("pub"), std::slice::from_ref(&kept))?;
    for granted in 0..=2 {
        let mut listener = tool.listen(stage, &Connect::clean("sub"), &["rust/#"], granted)?;
        let first = listener.message()?;
        let expected = Message {
            qos: granted.min(1),
            ..kept.clone()
        };
        ensure!(first == expected, "expected {expected:?}, got {first:?}");
        let sent: Vec<Message> = (0..=2)
            .map(|qos| Message::new("rust/a", &format!("QoS {qos}"), qos))
            .collect();
        tool.publish(stage, &Connect::clean("pub"), &sent)?;
        for message in sent {
            let got = listener.message()?;
            let qos = message.qos.min(granted);
            let expected = Message { qos, ..message };
            ensure!(got == expected, "expected {expected:?}, got {got:?}");
        }
        listener.expect_silence()?;
    }
    Ok(())
}

fn session(stage: &Stage<'_>, tool: Tool) -> Result<()> {
    tool.plant_session(stage, "away", "rust/#", 1)?;
    let sent = Message::new("rust/a", "meanwhile", 1);
    tool.publish(stage, &Connect::clean("pub"), std::slice::from_ref(&sent))?;
    let mut listener = tool.resume(stage, "away", "rust/#", 1)?;
    ensure!(
        listener.session_present() == Some(true),
        "the session is not there"
    );
    let got = listener.message()?;
    ensure!(got == sent, "expected {sent:?}, got {got:?}");
    Ok(())
}

fn large(stage: &Stage<'_>, tool: Tool) -> Result<()> {
    let mut listener = tool.listen(stage, &Connect::clean("sub"), &["large"], 1)?;
    let message = Message {
        payload_file: Some(pattern_file(stage, 4 * MEBIBYTE)?),
        ..Message::new("large", "", 1)
    };
    tool.publish(stage, &Connect::clean("pub"), &[message])?;
    check_pattern(&listener.large_message()?, 4 * MEBIBYTE)
}
