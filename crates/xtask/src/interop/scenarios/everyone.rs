//! All programs in all versions at once, each talking to each.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use super::Test;
use crate::interop::Stage;
use crate::interop::peer::{Connect, Listener, Message, Tool};

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new(
        "every client in every version talks to every other",
        everyone,
    )]
}

fn everyone(stage: &mut Stage<'_>) -> Result<()> {
    let tools = Tool::all();
    let mut listeners: Vec<(Tool, Listener)> = Vec::new();
    for (number, &tool) in tools.iter().enumerate() {
        let connect = Connect::clean(&format!("sub{number}"));
        listeners.push((tool, tool.listen(stage, &connect, &["everyone/+"], 2)?));
    }
    let mut expected = BTreeSet::new();
    for (number, &tool) in tools.iter().enumerate() {
        let sent: Vec<Message> = (0..=2)
            .map(|qos| Message::new(&format!("everyone/{number}"), &format!("QoS {qos}"), qos))
            .collect();
        tool.publish(stage, &Connect::clean("pub"), &sent)?;
        expected.extend(sent.iter().map(summary));
    }
    for (tool, listener) in &mut listeners {
        let mut got = BTreeSet::new();
        for _ in 0..expected.len() {
            let message = listener.message().with_context(|| {
                let missing: Vec<_> = expected.difference(&got).collect();
                format!("{tool} still waits for {missing:?}")
            })?;
            got.insert(summary(&message));
        }
        ensure!(got == expected, "{tool} got {got:?}");
        listener
            .expect_silence()
            .with_context(|| tool.to_string())?;
    }
    Ok(())
}

fn summary(message: &Message) -> (String, u8, Vec<u8>) {
    (message.topic.clone(), message.qos, message.payload.clone())
}
