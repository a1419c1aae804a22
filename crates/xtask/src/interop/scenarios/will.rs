//! Wills: published when a connection drops, not after a DISCONNECT.

use anyhow::{Result, ensure};

use super::Test;
use crate::interop::Stage;
use crate::interop::peer::{Connect, Message, Tool};

const WILL: &str = "will/w";

pub(super) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for tool in Tool::all() {
        tests.push(Test::new(
            format!("will of a killed client: {tool}"),
            move |stage| published_when_killed(stage, tool),
        ));
        tests.push(Test::new(
            format!("no will after DISCONNECT: {tool}"),
            move |stage| dropped_by_disconnect(stage, tool),
        ));
    }
    tests
}

/// v5 MQTT-3.1.2-8, v3.1.1 MQTT-3.1.2-8.
fn published_when_killed(stage: &Stage<'_>, tool: Tool) -> Result<()> {
    let mut witness = tool.listen(stage, &Connect::clean("witness"), &["will/#"], 2)?;
    for (qos, retain) in [(0, false), (1, true), (2, false)] {
        let will = Message {
            retain,
            ..Message::new(WILL, &format!("gone {qos}"), qos)
        };
        let connect = Connect::clean("mortal").with_will(will.clone());
        tool.listen(stage, &connect, &["nothing"], 0)?.kill()?;
        let got = witness.message()?;
        let expected = Message {
            retain: false,
            ..will
        };
        ensure!(got == expected, "expected {expected:?}, got {got:?}");
    }
    witness.expect_silence()?;
    let mut late = tool.listen(stage, &Connect::clean("late"), &["will/#"], 2)?;
    let kept = late.message()?;
    let expected = Message::new(WILL, "gone 1", 1).retained();
    ensure!(
        kept == expected,
        "expected the retained will {expected:?}, got {kept:?}"
    );
    Ok(())
}

/// v5 MQTT-3.14.4-3, v3.1.1 MQTT-3.14.4-3.
fn dropped_by_disconnect(stage: &Stage<'_>, tool: Tool) -> Result<()> {
    let mut witness = tool.listen(stage, &Connect::clean("witness"), &["will/#"], 1)?;
    let connect = Connect::clean("orderly").with_will(Message::new(WILL, "gone", 1));
    tool.publish(stage, &connect, &[Message::new("will/visit", "here", 1)])?;
    tool.publish(
        stage,
        &Connect::clean("pub"),
        &[Message::new("will/end", "", 1)],
    )?;
    let topics: Vec<String> = witness
        .messages_up_to("will/end")?
        .into_iter()
        .map(|message| message.topic)
        .collect();
    ensure!(topics == ["will/visit", "will/end"], "got {topics:?}");
    witness.expect_silence()
}
