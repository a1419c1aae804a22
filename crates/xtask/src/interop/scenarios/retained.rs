//! Retained messages: set, replaced, cleared.

use anyhow::{Result, ensure};

use super::Test;
use crate::interop::Stage;
use crate::interop::peer::{Connect, Message, Tool};

pub(super) fn tests() -> Vec<Test> {
    let test = |tool| {
        Test::new(
            format!("retained set, replaced, cleared: {tool}"),
            move |stage| set_replaced_cleared(stage, tool),
        )
    };
    Tool::all().into_iter().map(test).collect()
}

/// v5 MQTT-3.3.1-5, v5 MQTT-3.3.1-6, v5 MQTT-3.3.1-7, v5 MQTT-3.3.1-9, v5 MQTT-3.3.1-12;
/// v3.1.1 MQTT-3.3.1-5, v3.1.1 MQTT-3.3.1-6, v3.1.1 MQTT-3.3.1-8, v3.1.1 MQTT-3.3.1-9,
/// v3.1.1 MQTT-3.3.1-10, v3.1.1 MQTT-3.3.1-11; V31-retain.
fn set_replaced_cleared(stage: &Stage<'_>, tool: Tool) -> Result<()> {
    const TOPIC: &str = "kept/a";
    let publish = |payload: &str| {
        let message = Message::new(TOPIC, payload, 1).retained();
        tool.publish(stage, &Connect::clean("pub"), &[message])
    };
    let mut early = tool.listen(stage, &Connect::clean("early"), &["kept/#"], 1)?;
    for payload in ["first", "second"] {
        publish(payload)?;
        let live = early.message()?;
        ensure!(
            live == Message::new(TOPIC, payload, 1),
            "live copy has RETAIN: {live:?}"
        );
        let client_id = format!("late-{payload}");
        let mut late = tool.listen(stage, &Connect::clean(&client_id), &["kept/#"], 1)?;
        let kept = late.message()?;
        let expected = Message::new(TOPIC, payload, 1).retained();
        ensure!(kept == expected, "expected {expected:?}, got {kept:?}");
        late.expect_silence()?;
    }
    publish("")?;
    let live = early.message()?;
    ensure!(
        live == Message::new(TOPIC, "", 1),
        "the clearing message is delivered: {live:?}"
    );
    let mut last = tool.listen(stage, &Connect::clean("last"), &["kept/#"], 1)?;
    tool.publish(
        stage,
        &Connect::clean("pub"),
        &[Message::new("kept/end", "", 1)],
    )?;
    let got = last.messages_up_to("kept/end")?;
    ensure!(got.len() == 1, "still retained after clearing: {got:?}");
    Ok(())
}
