//! `mosquitto_pub` and `mosquitto_sub`, told by their flags and read by their debug output.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use anyhow::{Context, Result, ensure};

use super::{Connect, Event, Listener, Message, Properties};
use crate::interop::wire::hex;
use crate::interop::{LARGE_WAIT, Stage, Version, WAIT};
use crate::process::{Guarded, describe, lines};

/// Topic, QoS, retain, payload in hex, then the properties; tabs occur in none of them.
const FORMAT: &str = "MESSAGE\t%t\t%q\t%r\t%x\t%C\t%R\t%D\t%P";

pub(super) fn listen(
    version: Version,
    stage: &Stage<'_>,
    connect: &Connect,
    filters: &[&str],
    qos: u8,
) -> Result<Listener> {
    let mut command = flags(unbuffered_sub(), version, stage, connect)?;
    command.args(["-d", "-F", FORMAT, "-q", &qos.to_string()]);
    for filter in filters {
        command.args(["-t", filter]);
    }
    command
        .stdin(Stdio::null())
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
    let failures = sender.clone();
    thread::spawn(move || {
        for event in output.iter().filter_map(|line| parse(&line)) {
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for what in errors {
            if failures.send(Event::Failed { what }).is_err() {
                return;
            }
        }
    });
    let mut listener = Listener::new(process, events);
    listener.await_connected()?;
    listener.await_granted(filters.len(), qos)?;
    Ok(listener)
}

pub(super) fn publish(
    version: Version,
    stage: &Stage<'_>,
    connect: &Connect,
    messages: &[Message],
) -> Result<()> {
    // Lines of standard input are one message each: one connection keeps their order.
    if let [first, _, ..] = messages
        && messages.iter().all(|message| is_line_like(message, first))
    {
        let mut command = flags(Command::new("mosquitto_pub"), version, stage, connect)?;
        message_flags(&mut command, first);
        command.arg("-l");
        let text = messages
            .iter()
            .map(|m| [&m.payload[..], b"\n"].concat())
            .collect::<Vec<_>>();
        return run(&mut command, &text.concat());
    }
    for message in messages {
        let mut command = flags(Command::new("mosquitto_pub"), version, stage, connect)?;
        message_flags(&mut command, message);
        match &message.payload_file {
            Some(file) => {
                command.arg("-f").arg(file);
            }
            None if message.payload.is_empty() => {
                command.arg("-n");
            }
            None => {
                command.arg("-s");
            }
        }
        run(&mut command, &message.payload)?;
    }
    Ok(())
}

pub(super) fn plant_session(
    version: Version,
    stage: &Stage<'_>,
    connect: &Connect,
    filter: &str,
    qos: u8,
) -> Result<()> {
    let mut command = flags(unbuffered_sub(), version, stage, connect)?;
    command.args(["-E", "-q", &qos.to_string(), "-t", filter]);
    run(&mut command, b"")
}

/// A `mosquitto_sub` that takes one message and prints its payload as it came.
///
/// For payloads too large to be printed in hexadecimal.
pub(crate) struct Raw {
    _process: Guarded,
    subscribed: Receiver<()>,
    payload: Receiver<std::io::Result<Vec<u8>>>,
}

impl Raw {
    /// Subscribes to `topic`, for a payload of `length` bytes.
    pub(crate) fn listen(
        version: Version,
        stage: &Stage<'_>,
        client_id: &str,
        topic: &str,
        length: usize,
    ) -> Result<Self> {
        let mut command = flags(unbuffered_sub(), version, stage, &Connect::clean(client_id))?;
        command.args(["-d", "-C", "1", "-N", "-q", "0", "-t", topic]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = Guarded::spawn(&mut command)?;
        let mut output = BufReader::new(
            process
                .stdout
                .take()
                .context("standard output is not piped")?,
        );
        let (subscribed_sender, subscribed) = mpsc::channel();
        let (payload_sender, payload) = mpsc::channel();
        thread::spawn(move || {
            let result = read_past(&mut output, "Subscribed (mid: ")
                .and_then(|()| {
                    // Fails only if the scenario has given up.
                    let _ = subscribed_sender.send(());
                    read_past(&mut output, " received PUBLISH (")
                })
                .and_then(|()| {
                    let mut payload = vec![0; length];
                    output.read_exact(&mut payload).map(|()| payload)
                });
            let _ = payload_sender.send(result);
        });
        let raw = Self {
            _process: process,
            subscribed,
            payload,
        };
        raw.subscribed
            .recv_timeout(WAIT)
            .context("mosquitto_sub is not subscribed in time")?;
        Ok(raw)
    }

    /// Waits for the payload.
    pub(crate) fn payload(self) -> Result<Vec<u8>> {
        let payload = self
            .payload
            .recv_timeout(LARGE_WAIT)
            .context("no message in time")?;
        payload.context("reading the output of mosquitto_sub")
    }
}

/// Reads lines up to and with the one that contains `mark`.
fn read_past(output: &mut impl BufRead, mark: &str) -> std::io::Result<()> {
    let mut line = String::new();
    while output.read_line(&mut line)? > 0 {
        if line.contains(mark) {
            return Ok(());
        }
        line.clear();
    }
    Err(std::io::ErrorKind::UnexpectedEof.into())
}

/// mosquitto_sub, which would otherwise keep what it prints to a pipe until it ends.
fn unbuffered_sub() -> Command {
    let mut command = Command::new("stdbuf");
    command.args(["-oL", "mosquitto_sub"]);
    command
}

fn flags(
    mut command: Command,
    version: Version,
    stage: &Stage<'_>,
    connect: &Connect,
) -> Result<Command> {
    let door = stage.door(connect.way)?;
    match &door.socket {
        Some(socket) => command.arg("--unix").arg(socket),
        None => command.args(["-h", &door.host, "-p", &door.port.to_string()]),
    };
    for (flag, file) in [
        ("--cafile", &door.cafile),
        ("--cert", &door.cert),
        ("--key", &door.key),
    ] {
        if let Some(file) = file {
            command.arg(flag).arg(file);
        }
    }
    for protocol in &connect.alpn {
        command.args(["--tls-alpn", protocol]);
    }
    command.args(["-i", &connect.client_id, "-V"]);
    command.arg(version.name());
    if !connect.clean {
        command.arg("-c");
        if version == Version::V5 {
            command.args(["-x", "3600"]);
        }
    }
    if let Some(maximum) = connect.topic_alias_maximum {
        command.args(["-D", "connect", "topic-alias-maximum", &maximum.to_string()]);
    }
    if let Some(will) = &connect.will {
        let payload = String::from_utf8(will.payload.clone()).context("will payload is text")?;
        command.args([
            "--will-topic",
            &will.topic,
            "--will-qos",
            &will.qos.to_string(),
        ]);
        command.args(["--will-payload", &payload]);
        if will.retain {
            command.arg("--will-retain");
        }
    }
    Ok(command)
}

fn message_flags(command: &mut Command, message: &Message) {
    command.args(["-t", &message.topic, "-q", &message.qos.to_string()]);
    if message.retain {
        command.arg("-r");
    }
    let Properties {
        user,
        content_type,
        response_topic,
        correlation_data,
        topic_alias,
    } = &message.properties;
    for (name, value) in user {
        command.args(["-D", "publish", "user-property", name, value]);
    }
    let alias = topic_alias.map(|alias| alias.to_string());
    let named = [
        ("content-type", content_type),
        ("response-topic", response_topic),
        ("correlation-data", correlation_data),
        ("topic-alias", &alias),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            command.args(["-D", "publish", name, value]);
        }
    }
}

fn is_line_like(message: &Message, first: &Message) -> bool {
    let same = Message {
        payload: first.payload.clone(),
        ..message.clone()
    };
    same == *first
        && message.payload_file.is_none()
        && !message.payload.is_empty()
        && !message.payload.contains(&b'\n')
}

fn run(command: &mut Command, input: &[u8]) -> Result<()> {
    let description = describe(command);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut process = Guarded::spawn(command)?;
    let errors = lines(
        process
            .stderr
            .take()
            .context("standard error is not piped")?,
    );
    let mut stdin = process
        .stdin
        .take()
        .context("standard input is not piped")?;
    let input = input.to_vec();
    // A program that ends without reading its input says why by its exit code.
    let feeder = thread::spawn(move || stdin.write_all(&input).is_ok());
    let status = process
        .wait_for(LARGE_WAIT.max(WAIT))
        .with_context(|| description.clone())?;
    drop(process);
    let _ = feeder.join();
    let errors: Vec<String> = errors.iter().collect();
    ensure!(
        status.success(),
        "{description}: {status}: {}",
        errors.join("; ")
    );
    ensure!(errors.is_empty(), "{description}: {}", errors.join("; "));
    Ok(())
}

fn parse(line: &str) -> Option<Event> {
    if let Some(fields) = line.strip_prefix("MESSAGE\t") {
        let fields: Vec<&str> = fields.split('\t').collect();
        return Some(match message(&fields) {
            Ok(message) => Event::Message(message),
            Err(error) => Event::Failed {
                what: format!("{error:#} in {line}"),
            },
        });
    }
    if line.ends_with("received CONNACK (0)") {
        return Some(Event::Connected {
            session_present: None,
        });
    }
    if let Some((_, codes)) = line.strip_prefix("Subscribed (mid: ")?.split_once("): ") {
        let codes = codes
            .split(", ")
            .filter_map(|code| code.parse().ok())
            .collect();
        return Some(Event::Subscribed { codes });
    }
    None
}

fn message(fields: &[&str]) -> Result<Message> {
    let [
        topic,
        qos,
        retain,
        payload,
        content_type,
        response_topic,
        correlation_data,
        user,
    ] = fields
    else {
        anyhow::bail!("{} fields", fields.len());
    };
    let optional = |text: &&str| Some((*text).to_owned()).filter(|text| !text.is_empty());
    Ok(Message {
        topic: (*topic).to_owned(),
        payload_file: None,
        payload: hex(payload)?,
        qos: qos.parse()?,
        retain: *retain == "1",
        properties: Properties {
            user: user
                .split(' ')
                .filter_map(|pair| pair.split_once(':'))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            content_type: optional(content_type),
            response_topic: optional(response_topic),
            correlation_data: optional(correlation_data),
            topic_alias: None,
        },
    })
}
