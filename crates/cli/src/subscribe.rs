//! `mqttstack sub`: subscribe, and print what comes.

use std::{
    io::{self, BufWriter, Write},
    time::{Duration, Instant},
};

use jiff::Zoned;
use mqttstack_client::{
    Acknowledgement, Client, Inbox, ReceiveError, Received, ServerUrl,
    codec::{QoS, ReasonCode, RetainHandling, Subscription, SubscriptionOptions},
    limits::Limits,
    session::Message,
};
use mqttstack_topic::{TopicFilter, TopicFilterBuf, TopicName};

use crate::{
    connection::{Connection, Prepared, is_terminal, parse_qos},
    failure::Failure,
    format::Format,
    interrupt::Interrupt,
    payload::shown,
    properties,
    publish::parse_seconds,
    record::{Details, Record},
};

/// How long SUBACK may take.
const ANSWER: Duration = Duration::from_secs(30);
/// How long the acknowledgements of the last messages may take.
const SHUTDOWN: Duration = Duration::from_secs(5);
/// How many messages, and bytes of them, may be written before they are shown and acknowledged.
const UNSHOWN_MESSAGES_MAX: usize = 256;
const UNSHOWN_BYTES_MAX: usize = 1024 * 1024;

/// Arguments of `mqttstack sub`.
#[derive(Debug, clap::Args)]
#[command(
    disable_help_flag = true,
    disable_version_flag = true,
    override_usage = "mqttstack sub [OPTIONS] -t <FILTER>...",
    after_help = concat!(
        "Examples:\n",
        "  mqttstack sub -t 'sensors/#' -v\n",
        "  mqttstack sub -t state -C 1 -W 5            # one message, within five seconds\n",
        "  mqttstack sub -t 'jobs/+' -q 1 -c -i worker # resume the session of `worker`\n",
        "  mqttstack sub -t '#' --json | jq .topic\n",
        "  mqttstack sub -t '#' -F '%I %-30t %q %p'\n",
        "\n",
        "Formats (-F): %t topic, %p payload, %x and %X payload in hexadecimal, %l its length,\n",
        "%q QoS, %r retained, %m packet identifier, %j JSON, %J JSON with a JSON payload as such,\n",
        "%I time, %U Unix time, @X the X of strftime in local time, %C content type,\n",
        "%D correlation data, %E expiry, %F payload format, %P user properties,\n",
        "%R response topic, %S subscription identifiers, %% and @@ the signs themselves.\n",
        "\n",
        "Exit codes: 0 done, 1 wrong usage, 2 network failure, 3 refused by the server,\n",
        "4 time is up (-W; mosquitto_sub says 27), 130 interrupted."
    )
)]
pub(crate) struct Args {
    /// Topic filter to subscribe to; may be repeated.
    #[arg(short, long = "topic")]
    topics: Vec<String>,
    /// QoS to ask for: 0, 1 or 2.
    #[arg(short, long, value_parser = parse_qos, default_value = "0")]
    qos: QoS,
    /// Print the topic before the payload.
    #[arg(short, long)]
    verbose: bool,
    /// Exit after so many messages.
    #[arg(short = 'C', long, value_name = "MESSAGES", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Exit after so many seconds, with code 4.
    #[arg(short = 'W', long, value_name = "SECONDS", value_parser = parse_seconds)]
    timeout: Option<f64>,
    /// Exit as soon as the subscriptions are made.
    #[arg(short = 'E', long)]
    exit_after_subscribe: bool,
    /// Format of the output; see below.
    #[arg(short = 'F', long, value_name = "FORMAT", conflicts_with_all = ["json", "verbose"])]
    format: Option<Format>,
    /// Print each message as a JSON object on a line; a payload that is not text is in
    /// `payload_base64`.
    #[arg(long, conflicts_with = "verbose")]
    json: bool,
    /// Print bytes to a terminal as they are, control characters included.
    #[arg(long)]
    raw: bool,
    /// Print no line feed after a message.
    #[arg(short = 'N', long)]
    no_eol: bool,
    /// Do not print messages that were retained.
    #[arg(short = 'R', long, conflicts_with = "retained_only")]
    no_retained: bool,
    /// Print retained messages only, and exit at the first that is not.
    #[arg(long)]
    retained_only: bool,
    /// Remove each retained message that is received.
    #[arg(long)]
    remove_retained: bool,
    /// Keep the RETAIN flag as the publisher set it (5.0).
    #[arg(long)]
    retain_as_published: bool,
    /// Which retained messages to ask for: always, new (subscriptions only) or never (5.0).
    #[arg(long, value_name = "WHEN", value_parser = parse_retain_handling, default_value = "always")]
    retain_handling: RetainHandling,
    /// Do not send back what this client publishes (5.0).
    #[arg(long)]
    no_local: bool,
    /// Topic filter of messages that are not to be printed; may be repeated.
    #[arg(short = 'T', long = "filter-out", value_name = "FILTER", value_parser = parse_filter)]
    filter_out: Vec<TopicFilterBuf>,
    /// Topic filter to unsubscribe from first; may be repeated.
    #[arg(short = 'U', long = "unsubscribe", value_name = "FILTER")]
    unsubscribe: Vec<String>,
    #[command(flatten)]
    connection: Connection,
    /// Print help.
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let quiet = args.connection.quiet;
    match subscribe(&args) {
        Err(failure) if quiet => Err(failure.quiet()),
        result => result,
    }
}

fn subscribe(args: &Args) -> Result<(), Failure> {
    let deadline = args
        .timeout
        .map(|seconds| after(Duration::from_secs_f64(seconds)));
    let mut prepared = args.connection.prepare("sub", Limits::default())?;
    prepared.builder = prepared.builder.acknowledgement(Acknowledgement::Manual);
    let requests = Requests::new(args, &prepared)?;
    let server = prepared.server.clone();
    let (client, inbox) = prepared.connect(true)?;
    let interrupt =
        Interrupt::watch(client.clone()).map_err(|error| Failure::input("signals", &error))?;
    let result = requests.make(&client, &server).and_then(|()| {
        if args.exit_after_subscribe {
            return Ok(());
        }
        Printer::new(args, client.clone()).print(&inbox, deadline.flatten(), &server)
    });
    if interrupt.has_come() {
        return Err(Failure::interrupted());
    }
    // What is not acknowledged comes again with the session, if that is kept.
    let _ = client.shutdown(SHUTDOWN);
    result
}

/// What is asked of the server before messages are printed.
struct Requests {
    filters: Vec<String>,
    unsubscribe: Vec<String>,
    options: SubscriptionOptions,
    subscribe_properties: mqttstack_client::codec::Properties<mqttstack_client::codec::Shared>,
    unsubscribe_properties: mqttstack_client::codec::Properties<mqttstack_client::codec::Shared>,
}

impl Requests {
    fn new(args: &Args, prepared: &Prepared) -> Result<Self, Failure> {
        let mut filters = args.topics.clone();
        filters.extend(prepared.topic.clone());
        if filters.is_empty() && args.unsubscribe.is_empty() {
            return Err(Failure::usage("no topic: give one with -t"));
        }
        let mut options = SubscriptionOptions::new(args.qos);
        options.no_local = args.no_local;
        options.retain_as_published = args.retain_as_published;
        options.retain_handling = args.retain_handling;
        let given = &prepared.properties;
        Ok(Self {
            filters,
            unsubscribe: args.unsubscribe.clone(),
            options,
            subscribe_properties: properties::subscribe(&given.subscribe, "SUBSCRIBE")?,
            unsubscribe_properties: properties::subscribe(&given.unsubscribe, "UNSUBSCRIBE")?,
        })
    }

    fn make(&self, client: &Client, server: &ServerUrl) -> Result<(), Failure> {
        let failed = |error| Failure::operation(&error, client.last_error().as_ref(), server);
        if !self.unsubscribe.is_empty() {
            let filters = self.unsubscribe.iter().map(String::as_str);
            let properties = self.unsubscribe_properties.clone();
            let pending = client.unsubscribe_with(filters, properties);
            let pending = pending.map_err(|error| failed(error.into()))?;
            pending.wait(ANSWER).map_err(failed)?;
        }
        if self.filters.is_empty() {
            return Ok(());
        }
        let options = self.options;
        let subscriptions = self
            .filters
            .iter()
            .map(|filter| Subscription { filter, options });
        let pending = client.subscribe_with(subscriptions, self.subscribe_properties.clone());
        let pending = pending.map_err(|error| failed(error.into()))?;
        let subscribed = pending.wait(ANSWER).map_err(failed)?;
        self.check(&subscribed.reason_codes, server)
    }

    /// Reports the filters that were refused; fails if all were.
    fn check(&self, reason_codes: &[ReasonCode], server: &ServerUrl) -> Result<(), Failure> {
        let all = self.filters.iter().zip(reason_codes);
        let refused: Vec<_> = all.filter(|(_, code)| code.is_error()).collect();
        let list = |(filter, code): &(&String, &ReasonCode)| format!("`{filter}`: {code}");
        let list = refused.iter().map(list).collect::<Vec<_>>().join(", ");
        if refused.is_empty() {
            return Ok(());
        }
        let message = format!("{server} refused the subscription to {list}");
        if refused.len() == self.filters.len() {
            return Err(Failure::refused(message));
        }
        eprintln!("mqttstack sub: {message}");
        Ok(())
    }
}

/// Prints messages.
struct Printer<'a> {
    args: &'a Args,
    client: Client,
    escapes: bool,
    printed: u64,
}

impl<'a> Printer<'a> {
    fn new(args: &'a Args, client: Client) -> Self {
        Self {
            args,
            client,
            escapes: is_terminal() && !args.raw,
            printed: 0,
        }
    }

    fn print(
        &mut self,
        inbox: &Inbox,
        deadline: Option<Instant>,
        server: &ServerUrl,
    ) -> Result<(), Failure> {
        let mut page = Page::new(io::stdout().lock());
        loop {
            let received = match inbox.try_receive() {
                Err(ReceiveError::TimedOut) => {
                    // Nothing follows at once: show what there is.
                    page.show().map_err(Failure::output)?;
                    match inbox.receive_timeout(until(deadline)) {
                        Err(ReceiveError::TimedOut) => return Err(self.timed_out()),
                        received => received,
                    }
                }
                received => received,
            }
            .map_err(|_| self.ended(server))?;
            let goes_on = self.take(&received, &mut page.out);
            let goes_on = goes_on.map_err(Failure::output)?;
            page.add(received).map_err(Failure::output)?;
            if !goes_on {
                return page.show().map_err(Failure::output);
            }
            if deadline.is_some_and(|deadline| until(Some(deadline)).is_zero()) {
                page.show().map_err(Failure::output)?;
                return Err(self.timed_out());
            }
        }
    }

    fn timed_out(&self) -> Failure {
        let seconds = self.args.timeout.unwrap_or_default();
        match self.args.count {
            Some(count) => Failure::timed_out(format!(
                "{} of {count} messages in {seconds} s",
                self.printed
            )),
            None => Failure::timed_out(String::new()),
        }
    }

    fn ended(&self, server: &ServerUrl) -> Failure {
        match self.client.last_error() {
            Some(error) => Failure::connect(&error, server),
            None => Failure::interrupted(),
        }
    }

    /// Deals with one message; returns whether another one is wanted.
    fn take(&mut self, received: &Received, out: &mut impl Write) -> io::Result<bool> {
        let message = received.message();
        if message.retain() && self.args.remove_retained {
            self.remove(message);
        }
        if self.args.retained_only && !message.retain() {
            return Ok(false);
        }
        if (self.args.no_retained && message.retain()) || self.is_filtered_out(message.topic()) {
            return Ok(true);
        }
        self.write(received, out)?;
        self.printed += 1;
        Ok(self.args.count.is_none_or(|count| self.printed < count))
    }

    fn remove(&self, message: &Message) {
        let empty = Message::builder(message.topic(), "")
            .qos(message.qos())
            .retain(true)
            .build();
        // The topic came from the server; it is a topic. If the client is ending, the rest stays.
        if let Ok(empty) = empty {
            let _ = self.client.publish(empty);
        }
    }

    fn is_filtered_out(&self, topic: &str) -> bool {
        if self.args.filter_out.is_empty() {
            return false;
        }
        let Ok(topic) = TopicName::new(topic) else {
            return false;
        };
        self.args
            .filter_out
            .iter()
            .any(|filter| filter.as_filter().matches(&topic))
    }

    fn write(&self, received: &Received, out: &mut impl Write) -> io::Result<()> {
        let args = self.args;
        if args.json || args.format.is_some() {
            let time = Zoned::now();
            let properties = received.message().properties();
            let record = Record::of(received, Details::of(&properties), &time);
            match &args.format {
                Some(format) => format.write(&record, self.escapes, out)?,
                None => out.write_all(record.to_json(false).as_bytes())?,
            }
        } else {
            if args.verbose {
                out.write_all(&shown(received.topic().as_bytes(), self.escapes))?;
                out.write_all(b" ")?;
            }
            out.write_all(&shown(received.payload(), self.escapes))?;
        }
        if args.no_eol {
            Ok(())
        } else {
            out.write_all(b"\n")
        }
    }
}

/// What was written and is not shown yet, and the messages that wait for that: one is acknowledged
/// only when it has left this process.
struct Page<W: Write> {
    out: BufWriter<W>,
    unshown: Vec<Received>,
    unshown_bytes: usize,
}

impl<W: Write> Page<W> {
    fn new(out: W) -> Self {
        Self {
            out: BufWriter::with_capacity(64 * 1024, out),
            unshown: Vec::new(),
            unshown_bytes: 0,
        }
    }

    /// Holds a message that was written until it is shown.
    fn add(&mut self, received: Received) -> io::Result<()> {
        // QoS 0 has no acknowledgement.
        if received.packet_id().is_none() {
            return Ok(());
        }
        self.unshown_bytes += received.message().size();
        self.unshown.push(received);
        if self.unshown.len() < UNSHOWN_MESSAGES_MAX && self.unshown_bytes < UNSHOWN_BYTES_MAX {
            return Ok(());
        }
        self.show()
    }

    fn show(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.unshown_bytes = 0;
        for mut received in self.unshown.drain(..) {
            received.acknowledge();
        }
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the command is the outermost driver"
)]
fn after(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the command is the outermost driver"
)]
fn until(deadline: Option<Instant>) -> Duration {
    match deadline {
        Some(deadline) => deadline.saturating_duration_since(Instant::now()),
        None => Duration::MAX,
    }
}

fn parse_retain_handling(text: &str) -> Result<RetainHandling, String> {
    match text {
        "always" => Ok(RetainHandling::Send),
        "new" => Ok(RetainHandling::SendIfNew),
        "never" => Ok(RetainHandling::DoNotSend),
        _ => Err("not one of always, new, never".into()),
    }
}

fn parse_filter(text: &str) -> Result<TopicFilterBuf, String> {
    TopicFilter::new(text)
        .map(TopicFilter::to_owned)
        .map_err(|error| error.to_string())
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
        let arguments = std::iter::once("sub").chain(line.split_whitespace());
        Line::try_parse_from(arguments).map(|line| line.args)
    }

    #[test]
    fn the_flags_of_mosquitto_sub_are_understood() {
        let args = parse(
            "-h broker -t a/# -t b -q 1 -v -C 5 -W 3 -E -N -R -T a/x/# -U old -c -i me -x 60 \
             -k 5 -V 5 --remove-retained --retain-as-published --retain-handling new -d \
             -D subscribe subscription-identifier 7",
        )
        .unwrap();
        assert_eq!(args.topics, ["a/#", "b"]);
        assert_eq!((args.count, args.timeout), (Some(5), Some(3.0)));
        assert_eq!(args.unsubscribe, ["old"]);
        let prepared = args.connection.prepare("sub", Limits::default()).unwrap();
        let requests = Requests::new(&args, &prepared).unwrap();
        assert_eq!(requests.options.retain_handling, RetainHandling::SendIfNew);
        let ids = requests.subscribe_properties.subscription_identifiers();
        assert_eq!(ids.collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for line in [
            "-t a -F %p --json",
            "-t a -F %y",
            "-t a -v --json",
            "-t a -R --retained-only",
            "-t a -C 0",
            "-t a -T a#",
            "-t a --retain-handling sometimes",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert_eq!(run(parse("-q 1").unwrap()).unwrap_err().code, 1);
    }
}
