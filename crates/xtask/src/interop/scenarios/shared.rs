//! Shared subscriptions: each message goes to one member of the group.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::Test;
use crate::clock::Deadline;
use crate::interop::peer::{Connect, Listener, Message, Tool};
use crate::interop::{Stage, Version, WAIT};

const MEMBERS: usize = 3;
const COUNT: usize = 60;

pub(super) fn tests() -> Vec<Test> {
    let test = |tool| {
        Test::new(
            format!("shared by three subscribers: {tool}"),
            move |stage| shared_by_three(stage, tool),
        )
    };
    Tool::all()
        .into_iter()
        .filter(|tool| tool.version == Version::V5)
        .map(test)
        .collect()
}

/// Each message exactly once, every member used, at the QoS granted: v5 MQTT-4.8.2-3.
fn shared_by_three(stage: &Stage<'_>, tool: Tool) -> Result<()> {
    let mut members: Vec<Listener> = Vec::new();
    for number in 0..MEMBERS {
        let connect = Connect::clean(&format!("member{number}"));
        members.push(tool.listen(stage, &connect, &["$share/group/work/+"], 1)?);
    }
    let mut outsider = tool.listen(stage, &Connect::clean("outsider"), &["work/+"], 1)?;
    let sent: Vec<Message> = (0..COUNT)
        .map(|number| Message::new("work/a", &number.to_string(), 2))
        .collect();
    tool.publish(stage, &Connect::clean("pub"), &sent)?;

    let mut shares = [0; MEMBERS];
    let mut seen = BTreeSet::new();
    let deadline = Deadline::after(WAIT);
    while seen.len() < COUNT && deadline.remaining().is_some() {
        for (member, share) in members.iter_mut().zip(&mut shares) {
            while let Some(message) = member.message_if_any(Duration::from_millis(20))? {
                ensure!(
                    message.qos == 1 && !message.retain,
                    "arrived as {message:?}"
                );
                let text = String::from_utf8_lossy(&message.payload).into_owned();
                ensure!(
                    seen.insert(text.clone()),
                    "message {text} went to two members"
                );
                *share += 1;
            }
        }
    }
    ensure!(
        seen.len() == COUNT,
        "{} of {COUNT} messages arrived",
        seen.len()
    );
    ensure!(
        shares.iter().all(|&share| share > 0),
        "a member got nothing: {shares:?}"
    );
    for member in &mut members {
        member.expect_silence()?;
    }
    for message in sent {
        let expected = Message { qos: 1, ..message };
        let got = outsider.message()?;
        ensure!(got == expected, "a plain subscriber gets all: {got:?}");
    }
    Ok(())
}
