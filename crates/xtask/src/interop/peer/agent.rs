//! Client libraries, each driven by a small program that reads commands and reports events.
//!
//! Commands go to its standard input and events come from its standard output, one JSON object a
//! line. End of input means: disconnect in order and end.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::{Connect, Event, Listener, Message, Program, Tool};
use crate::interop::way::Door;
use crate::interop::{LARGE_WAIT, Stage};
use crate::process::{Guarded, lines};

#[derive(Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Order<'a> {
    Connect {
        #[serde(flatten)]
        door: Door,
        level: u8,
        #[serde(flatten)]
        connect: &'a Connect,
    },
    Subscribe {
        filters: &'a [&'a str],
        qos: u8,
    },
    Publish {
        #[serde(flatten)]
        message: &'a Message,
    },
}

pub(super) fn listen(
    tool: Tool,
    stage: &Stage<'_>,
    connect: &Connect,
    filters: &[&str],
    qos: u8,
) -> Result<Listener> {
    let mut listener = start(tool, stage)?;
    tell(&mut listener, &connect_order(tool, stage, connect)?)?;
    listener.await_connected()?;
    if !filters.is_empty() {
        tell(&mut listener, &Order::Subscribe { filters, qos })?;
        listener.await_granted(filters.len(), qos)?;
    }
    Ok(listener)
}

pub(super) fn publish(
    tool: Tool,
    stage: &Stage<'_>,
    connect: &Connect,
    messages: &[Message],
) -> Result<()> {
    let mut listener = start(tool, stage)?;
    tell(&mut listener, &connect_order(tool, stage, connect)?)?;
    listener.await_connected()?;
    for message in messages {
        tell(&mut listener, &Order::Publish { message })?;
        match listener.event(LARGE_WAIT)? {
            Some(Event::Published) => {}
            other => bail!("expected the end of the publication, got {other:?}"),
        }
    }
    listener.leave()
}

fn start(tool: Tool, stage: &Stage<'_>) -> Result<Listener> {
    let programs = stage.programs();
    let mut command = match tool.program {
        Program::Paho => {
            let mut command = Command::new(stage.installed().join("venv/bin/python"));
            command.arg(programs.join("paho_agent.py"));
            command
        }
        Program::MqttJs => {
            let mut command = Command::new("node");
            command
                .arg(programs.join("mqttjs_agent.mjs"))
                .env("INTEROP_NODE", stage.installed().join("node"));
            command
        }
        Program::Rumqttc => Command::new(rumqttc(stage.installed())),
        Program::Mosquitto => bail!("mosquitto_pub and mosquitto_sub take no commands"),
    };
    command.current_dir(stage.folder());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = Guarded::spawn(&mut command)?;
    let output = lines(
        process
            .stdout
            .take()
            .context("standard output is not piped")?,
    );
    let errors = lines(
        process
            .stderr
            .take()
            .context("standard error is not piped")?,
    );
    let (sender, events) = mpsc::channel();
    thread::spawn(move || {
        for line in output {
            let event = serde_json::from_str(&line).unwrap_or_else(|error| Event::Failed {
                what: format!("{error} in {line}"),
            });
            if sender.send(event).is_err() {
                return;
            }
        }
        // Output has ended, so the program has: what it complained about explains the end.
        let complaint: Vec<String> = errors.iter().collect();
        if !complaint.is_empty() {
            let _ = sender.send(Event::Failed {
                what: complaint.join("\n"),
            });
        }
    });
    Ok(Listener::new(process, events))
}

/// Where the program for rumqttc is built to, below the folder of installed things.
pub(crate) fn rumqttc(installed: PathBuf) -> PathBuf {
    installed.join("rumqttc/debug/mqttstack-interop-rumqttc")
}

fn tell(listener: &mut Listener, order: &Order<'_>) -> Result<()> {
    let stdin = listener
        .process
        .stdin
        .as_mut()
        .context("standard input is closed")?;
    let line = serde_json::to_string(order)?;
    writeln!(stdin, "{line}").context("the client program takes no more commands")
}

fn connect_order<'a>(tool: Tool, stage: &Stage<'_>, connect: &'a Connect) -> Result<Order<'a>> {
    Ok(Order::Connect {
        door: stage.door(connect.way)?,
        level: tool.version.level(),
        connect,
    })
}
