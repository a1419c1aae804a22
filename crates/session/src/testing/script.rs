//! Scripts: what goes in, and exactly what has to come out.

use core::time::Duration;
use std::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use mqttstack_codec::{Packet, ProtocolVersion};
use mqttstack_limits::Instant;

use super::packet;
use crate::ProtocolError;

/// A script, one line for each step:
///
/// - `> PACKET`: the peer sends it;
/// - `! verb words`: the owner calls it;
/// - `@ seconds`: so much time has passed since the start, and the timeout is handled;
/// - `< PACKET`: this is sent; `* event`: this is reported.
///
/// After each of the first three comes everything that it makes the session send and report, and
/// nothing else.
pub(crate) type Script<'a> = &'a str;

/// What a script drives.
pub(crate) trait Subject {
    fn receive(&mut self, packet: Packet, now: Instant) -> Result<(), ProtocolError>;
    fn command(&mut self, verb: &str, words: &str, now: Instant);
    fn time_out(&mut self, now: Instant) -> Result<(), ProtocolError>;
    fn version(&self) -> ProtocolVersion;
    fn next_packet(&mut self, now: Instant) -> Option<Packet>;
    fn next_event(&mut self) -> Option<String>;
    fn timeout(&self) -> Option<Instant>;
}

/// Returns the moment so many seconds after the start.
pub(crate) fn at(seconds: f64) -> Instant {
    Instant::from_micros(1_000_000_000) + Duration::from_secs_f64(seconds)
}

/// Runs a script.
pub(crate) fn run(subject: &mut impl Subject, script: Script<'_>) {
    let mut now = at(0.0);
    let mut lines = script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .peekable();
    while let Some(step) = lines.next() {
        let (kind, words) = step.split_once(' ').unwrap_or((step, ""));
        match kind {
            ">" => drop(subject.receive(packet(words), now)),
            "!" => {
                let (verb, words) = words.split_once(' ').unwrap_or((words, ""));
                subject.command(verb, words, now);
            }
            "@" => {
                now = at(words.parse().expect("seconds"));
                drop(subject.time_out(now));
            }
            _ => panic!("unexpected line: {step}"),
        }
        let mut packets = Vec::new();
        let mut events = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with(['<', '*'])) {
            match line.split_at(2) {
                ("< ", words) => packets.push(packet(words)),
                (_, words) => events.push(words.to_string()),
            }
        }
        let (sent, reported) = drain(subject, now);
        assert_eq!(sent, packets, "sent after `{step}` in:\n{script}");
        assert_eq!(reported, events, "reported after `{step}` in:\n{script}");
        if let Some(timeout) = subject.timeout() {
            assert!(timeout > now, "a timer in the past after `{step}`");
        }
    }
}

fn drain(subject: &mut impl Subject, now: Instant) -> (Vec<Packet>, Vec<String>) {
    let mut packets = Vec::new();
    let mut events = Vec::new();
    events.extend(core::iter::from_fn(|| subject.next_event()));
    while let Some(packet) = subject.next_packet(now) {
        let encoded = packet.encoded_len(subject.version());
        assert!(encoded.is_ok(), "{packet:?} is no packet: {encoded:?}");
        packets.push(packet);
    }
    events.extend(core::iter::from_fn(|| subject.next_event()));
    (packets, events)
}

/// Returns the name of the variant.
pub(crate) fn variant(value: &impl core::fmt::Debug) -> String {
    let text = format!("{value:?}");
    let end = text.find([' ', '(', '{']).unwrap_or(text.len());
    text.get(..end).unwrap_or_default().to_string()
}
