//! Sessions that outlive their connection.

use anyhow::{Result, ensure};

use super::Test;
use crate::interop::peer::{Connect, Message, Program, Tool};
use crate::interop::{Stage, Version};

const FILTER: &str = "queued/#";

pub(super) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for tool in Tool::all() {
        tests.push(Test::new(
            format!("messages queue for a session: {tool}"),
            move |stage| queued(stage, tool),
        ));
        tests.push(Test::new(
            format!("a clean start ends the session: {tool}"),
            move |stage| ended_by_clean_start(stage, tool),
        ));
    }
    tests
}

/// v5 MQTT-3.1.2-5, v3.1.1 MQTT-3.1.2-4, v3.1.1 MQTT-3.1.2-5, v3.1.1 MQTT-3.2.2-2, V31-clean.
fn queued(stage: &Stage<'_>, tool: Tool) -> Result<()> {
    const ROUNDS: usize = 2;
    tool.plant_session(stage, "keeper", FILTER, 2)?;
    for round in 0..ROUNDS {
        for qos in [1, 2] {
            let batch: Vec<Message> = (0..5)
                .map(|number| {
                    Message::new(&format!("queued/{qos}"), &format!("{round}.{number}"), qos)
                })
                .collect();
            tool.publish(stage, &Connect::clean("pub"), &batch)?;
        }
        let mut keeper = tool.resume(stage, "keeper", FILTER, 2)?;
        if let Some(session_present) = keeper.session_present() {
            ensure!(session_present, "CONNACK says that there was no session");
        }
        for qos in [1, 2] {
            let topic = format!("queued/{qos}");
            for number in 0..5 {
                let got = keeper.message()?;
                let expected = Message::new(&topic, &format!("{round}.{number}"), qos);
                ensure!(got == expected, "expected {expected:?}, got {got:?}");
            }
        }
        keeper.expect_silence()?;
        // The second round finds the session of a client that was killed.
        keeper.kill()?;
    }
    Ok(())
}

/// v5 MQTT-3.1.2-4, v3.1.1 MQTT-3.1.2-6.
fn ended_by_clean_start(stage: &Stage<'_>, tool: Tool) -> Result<()> {
    tool.plant_session(stage, "keeper", FILTER, 1)?;
    tool.publish(
        stage,
        &Connect::clean("pub"),
        &[Message::new("queued/old", "x", 1)],
    )?;
    let mut keeper = tool.listen(stage, &Connect::clean("keeper"), &["other"], 1)?;
    if let Some(session_present) = keeper.session_present() {
        ensure!(
            !session_present,
            "CONNACK says that the session is still there"
        );
    }
    let witness = Tool {
        program: Program::Paho,
        version: Version::V311,
    };
    let messages = [
        Message::new("queued/new", "x", 1),
        Message::new("other", "x", 1),
    ];
    witness.publish(stage, &Connect::clean("pub"), &messages)?;
    let got = keeper.messages_up_to("other")?;
    ensure!(
        got.len() == 1,
        "messages of the ended session arrive: {got:?}"
    );
    keeper.expect_silence()
}
