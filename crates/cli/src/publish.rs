//! `mqttstack pub`: publish messages.

use std::{
    collections::VecDeque,
    fs,
    io::{self, BufRead, Read as _},
    path::PathBuf,
    thread,
    time::Duration,
};

use mqttstack_client::{
    Client, Pending, Published, ServerUrl,
    codec::QoS,
    limits::{Limits, PROTOCOL_PACKET_SIZE_MAX},
    session::Message,
};

use crate::{
    connection::{Connection, parse_qos},
    failure::Failure,
    interrupt::Interrupt,
    properties::{self, Given},
};

/// How many messages may be without an outcome before the next line is read.
const UNSETTLED_MAX: usize = 1_024;
/// How long the last messages may take once everything was handed over; the connection itself is
/// watched by the keep alive.
const FOR_EVER: Duration = Duration::MAX;
/// A payload cannot be larger, in bytes.
const PAYLOAD_MAX: u64 = PROTOCOL_PACKET_SIZE_MAX as u64;

/// Arguments of `mqttstack pub`.
#[derive(Debug, clap::Args)]
#[command(
    disable_help_flag = true,
    disable_version_flag = true,
    override_usage = "mqttstack pub [OPTIONS] -t <TOPIC> {-m <MESSAGE> | -f <FILE> | -l | -s | -n}",
    after_help = concat!(
        "Examples:\n",
        "  mqttstack pub -t sensors/1/temperature -m 21.5\n",
        "  mqttstack pub -h broker.example -u ann --password-prompt -q 1 -r -t state -m on\n",
        "  tail -f log | mqttstack pub -t log -l\n",
        "  mqttstack pub -t firmware -f image.bin -q 2 -D publish content-type application/octet-stream\n",
        "\n",
        "Exit codes: 0 done, 1 wrong usage, 2 network failure, 3 refused by the server,\n",
        "130 interrupted."
    )
)]
pub(crate) struct Args {
    /// Topic to publish to.
    #[arg(short, long)]
    topic: Option<String>,
    /// QoS: 0, 1 or 2.
    #[arg(short, long, value_parser = parse_qos, default_value = "0")]
    qos: QoS,
    /// Have the server retain the message.
    #[arg(short, long)]
    retain: bool,
    #[command(flatten)]
    payload: PayloadArgs,
    /// Publish as many times (-m, -f, -n, -s).
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Seconds between repetitions; fractions are fine.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = parse_seconds)]
    repeat_delay: f64,
    #[command(flatten)]
    connection: Connection,
    /// Print help.
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

/// Where the payload comes from: exactly one of these.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct PayloadArgs {
    /// Payload.
    #[arg(short, long)]
    message: Option<String>,
    /// Read the payload from a file.
    #[arg(short, long)]
    file: Option<PathBuf>,
    /// Publish each line of standard input that is not empty.
    #[arg(short = 'l', long)]
    stdin_line: bool,
    /// Publish all of standard input as one message.
    #[arg(short = 's', long)]
    stdin_file: bool,
    /// Publish an empty message; with -r this removes the retained message.
    #[arg(short, long)]
    null_message: bool,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let quiet = args.connection.quiet;
    match publish(&args) {
        Err(failure) if quiet => Err(failure.quiet()),
        result => result,
    }
}

fn publish(args: &Args) -> Result<(), Failure> {
    let prepared = args.connection.prepare("pub", Limits::default())?;
    let topic = args.topic.clone().or_else(|| prepared.topic.clone());
    let topic = topic.ok_or_else(|| Failure::usage("no topic: give one with -t"))?;
    let template = Template {
        topic,
        qos: args.qos,
        retain: args.retain,
        given: prepared.properties.publish.clone(),
    };
    // What cannot be published is found before a connection is made.
    let message = match args.payload.read()? {
        Some(payload) => Some(template.message(payload)?),
        None => template.message(Vec::new()).map(|_| None)?,
    };
    let server = prepared.server.clone();
    let (client, inbox) = prepared.connect(args.payload.stdin_line)?;
    // Nothing is subscribed to; what an old session delivers all the same is acknowledged.
    drop(inbox);
    let interrupt =
        Interrupt::watch(client.clone()).map_err(|error| Failure::input("signals", &error))?;
    let mut outbox = Outbox::new(client, server, args.connection.debug);
    let result = match message {
        Some(message) => outbox.publish_repeatedly(&message, args),
        None => outbox.publish_lines(&template, &mut io::stdin().lock()),
    };
    let result = result.and_then(|()| outbox.finish());
    if interrupt.has_come() {
        Err(Failure::interrupted())
    } else {
        result
    }
}

impl PayloadArgs {
    /// Returns the payload; `None` if there is one per line.
    fn read(&self) -> Result<Option<Vec<u8>>, Failure> {
        if self.stdin_line {
            return Ok(None);
        }
        if let Some(message) = &self.message {
            return Ok(Some(message.clone().into_bytes()));
        }
        if let Some(file) = &self.file {
            let name = file.display().to_string();
            let content = fs::read(file).map_err(|error| Failure::input(&name, &error))?;
            return Ok(Some(content));
        }
        let mut content = Vec::new();
        if self.stdin_file {
            let mut input = io::stdin().lock().take(PAYLOAD_MAX);
            let read = input.read_to_end(&mut content);
            read.map_err(|error| Failure::input("standard input", &error))?;
        }
        Ok(Some(content))
    }
}

/// What all messages have in common.
struct Template {
    topic: String,
    qos: QoS,
    retain: bool,
    given: Vec<Given>,
}

impl Template {
    fn message(&self, payload: Vec<u8>) -> Result<Message, Failure> {
        let builder = Message::builder(&self.topic, payload)
            .qos(self.qos)
            .retain(self.retain);
        let message = properties::publish(&self.given, builder)?.build();
        message.map_err(|error| Failure::usage(format!("topic `{}`: {error}", self.topic)))
    }
}

/// Messages under way.
struct Outbox {
    client: Client,
    server: ServerUrl,
    debug: bool,
    unsettled: VecDeque<Pending<Published>>,
    /// The first message that failed.
    failure: Option<Failure>,
}

impl Outbox {
    const fn new(client: Client, server: ServerUrl, debug: bool) -> Self {
        Self {
            client,
            server,
            debug,
            unsettled: VecDeque::new(),
            failure: None,
        }
    }

    fn publish_repeatedly(&mut self, message: &Message, args: &Args) -> Result<(), Failure> {
        for round in 0..args.repeat {
            if round > 0 && args.repeat_delay > 0.0 {
                thread::sleep(Duration::from_secs_f64(args.repeat_delay));
            }
            self.publish(message.clone())?;
        }
        Ok(())
    }

    fn publish_lines(
        &mut self,
        template: &Template,
        input: &mut impl BufRead,
    ) -> Result<(), Failure> {
        loop {
            let mut line = Vec::new();
            let read = input
                .by_ref()
                .take(PAYLOAD_MAX)
                .read_until(b'\n', &mut line);
            if read.map_err(|error| Failure::input("standard input", &error))? == 0 {
                return Ok(());
            }
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            if !line.is_empty() {
                self.publish(template.message(line)?)?;
            }
        }
    }

    fn publish(&mut self, message: Message) -> Result<(), Failure> {
        let pending = self.client.publish(message);
        let pending = pending.map_err(|error| self.failed(&error.into()))?;
        self.unsettled.push_back(pending);
        while self
            .unsettled
            .front()
            .is_some_and(|first| first.outcome().is_some())
            || self.unsettled.len() > UNSETTLED_MAX
        {
            self.settle_first();
        }
        Ok(())
    }

    /// Waits for the outcome of the oldest message.
    fn settle_first(&mut self) {
        let Some(first) = self.unsettled.pop_front() else {
            return;
        };
        match first.wait(FOR_EVER) {
            Ok(Published::Acknowledged { reason_code, .. }) if self.debug => {
                eprintln!("acknowledged: {reason_code}");
            }
            Ok(_) => {}
            Err(error) => {
                let failure = self.failed(&error);
                self.failure.get_or_insert(failure);
            }
        }
    }

    /// Waits for all outcomes, and disconnects.
    fn finish(&mut self) -> Result<(), Failure> {
        while !self.unsettled.is_empty() {
            self.settle_first();
        }
        // Everything has its outcome; this is for what the transport still has to write.
        let _ = self.client.shutdown(Duration::from_secs(30));
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    fn failed(&self, error: &mqttstack_client::OperationError) -> Failure {
        Failure::operation(error, self.client.last_error().as_ref(), &self.server)
    }
}

/// Reads a number of seconds.
pub(crate) fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    if Duration::try_from_secs_f64(seconds).is_err() {
        return Err("not a number of seconds".into());
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        let arguments = std::iter::once("pub").chain(line.split_whitespace());
        Line::try_parse_from(arguments).map(|line| line.args)
    }

    #[test]
    fn the_flags_of_mosquitto_pub_are_understood() {
        let args = parse(
            "-h broker -p 1884 -t a/b -m on -q 2 -r -i me -k 30 -V mqttv311 -u ann -P pw -d \
             --will-topic w --will-payload gone --will-qos 1 --will-retain --repeat 3 \
             --repeat-delay 0.5 --quiet",
        )
        .unwrap();
        assert_eq!(args.topic.as_deref(), Some("a/b"));
        assert_eq!(
            (args.qos, args.retain, args.repeat),
            (QoS::ExactlyOnce, true, 3)
        );
        assert_eq!(args.payload.message.as_deref(), Some("on"));
        assert!(args.connection.prepare("pub", Limits::default()).is_ok());
        for payload in ["-n", "-l", "-s", "-f x", "--null-message", "--file x"] {
            assert!(parse(&format!("-t a {payload}")).is_ok(), "{payload}");
        }
    }

    #[test]
    fn the_payload_comes_from_exactly_one_place() {
        for line in [
            "-t a",
            "-t a -m x -n",
            "-t a -l -f x",
            "-t a -q 3 -n",
            "-t a -n --repeat 0",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("-t a -n --repeat-delay -1").is_err());
    }

    #[test]
    fn a_topic_is_needed_and_checked_before_a_connection_is_made() {
        for (line, message) in [("-n", "no topic"), ("-n -t a/#", "a/#")] {
            let failure = run(parse(line).unwrap()).unwrap_err();
            assert_eq!(failure.code, 1, "{line}");
            assert!(format!("{failure:?}").contains(message), "{failure:?}");
        }
    }
}
