//! `mqttstack match`: does a topic filter match a topic name?

use std::io::{self, BufRead, Write};

use mqttstack_topic::{TopicFilter, TopicLimits, TopicName};
use serde::Serialize;

use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  mqttstack match 'sport/+/player1/#' sport/tennis/player1/ranking
      match
  mqttstack match '#' '$SYS/broker/version'
      no match
  mqttstack match '$share/workers/jobs/+' jobs/1 jobs/2
      a shared subscription matches by what follows its group
  printf 'a/+\\ta/b\\na/#/b\\tx\\n' | mqttstack match --lines
      one verdict for each line

Exit codes: 0 every topic matches, 1 one does not, 2 a filter or a topic is ill-formed.";

/// Says whether a topic filter matches topic names.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The topic filter; `$share/GROUP/FILTER` counts as FILTER.
    #[arg(required_unless_present = "lines", value_name = "FILTER")]
    filter: Option<String>,
    /// The topic names.
    #[arg(required_unless_present = "lines", value_name = "TOPIC")]
    topics: Vec<String>,
    /// Reads lines of filter, tab, topic from standard input, and writes one line for each.
    #[arg(long, conflicts_with_all = ["filter", "topics"])]
    lines: bool,
    /// Writes one JSON object for each verdict.
    #[arg(long)]
    json: bool,
}

/// What came of one filter and one topic; the worse, the greater.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Match,
    NoMatch,
    IllFormed,
}

/// A verdict as it is written.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    filter: &'a str,
    topic: &'a str,
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Writes a verdict for each topic.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match judge_all(args).map_err(Failure::beside_verdict)? {
        Verdict::Match => Ok(()),
        Verdict::NoMatch => Err(Failure::verdict(1)),
        Verdict::IllFormed => Err(Failure::verdict(2)),
    }
}

/// Writes a verdict for each topic, and returns the worst.
fn judge_all(args: &Args) -> Result<Verdict, Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut worst = Verdict::Match;
    if args.lines {
        for line in io::stdin().lock().split(b'\n') {
            let line = line.map_err(|error| Failure::input("standard input", &error))?;
            let answer = judge_line(&line);
            worst = worst.max(write(&mut out, &answer, args.json)?);
        }
    } else {
        let filter = args.filter.as_deref().unwrap_or_default();
        for topic in &args.topics {
            worst = worst.max(write(&mut out, &judge(filter, topic), args.json)?);
        }
    }
    out.flush().map_err(Failure::output)?;
    Ok(worst)
}

fn judge<'a>(filter: &'a str, topic: &'a str) -> Answer<'a> {
    let limits = TopicLimits {
        levels_max: u8::MAX,
        ..TopicLimits::DEFAULT
    };
    let ill_formed = |reason: String| Answer {
        filter,
        topic,
        verdict: Verdict::IllFormed,
        reason: Some(reason),
    };
    let parsed = match TopicFilter::with_limits(filter, limits) {
        Ok(parsed) => parsed,
        Err(error) => return ill_formed(format!("filter: {error}")),
    };
    let name = match TopicName::with_limits(topic, limits) {
        Ok(name) => name,
        Err(error) => return ill_formed(format!("topic: {error}")),
    };
    let verdict = if parsed.matches(&name) {
        Verdict::Match
    } else {
        Verdict::NoMatch
    };
    Answer {
        filter,
        topic,
        verdict,
        reason: None,
    }
}

fn judge_line(line: &[u8]) -> Answer<'_> {
    let ill_formed = |reason: &str| Answer {
        filter: "",
        topic: "",
        verdict: Verdict::IllFormed,
        reason: Some(reason.to_owned()),
    };
    match std::str::from_utf8(line).map(|text| text.split_once('\t')) {
        Ok(Some((filter, topic))) => judge(filter, topic),
        Ok(None) => ill_formed("line: no tab between filter and topic"),
        Err(_) => ill_formed("line: not UTF-8"),
    }
}

fn write(out: &mut impl Write, answer: &Answer<'_>, json: bool) -> Result<Verdict, Failure> {
    let line = match (json, answer.verdict, &answer.reason) {
        (true, ..) => {
            serde_json::to_string(answer).map_err(|error| Failure::output(error.into()))?
        }
        (false, Verdict::Match, _) => "match".to_owned(),
        (false, Verdict::NoMatch, _) => "no match".to_owned(),
        (false, Verdict::IllFormed, reason) => {
            format!("ill-formed {}", reason.as_deref().unwrap_or_default())
        }
    };
    writeln!(out, "{line}").map_err(Failure::output)?;
    Ok(answer.verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_tells_match_no_match_and_ill_formed_apart() {
        for (line, expected) in [
            ("a/+\ta/b", Verdict::Match),
            ("a/+\ta/b/c", Verdict::NoMatch),
            ("#\t$SYS/x", Verdict::NoMatch),
            ("$share/g/a/#\ta", Verdict::Match),
            ("a/#/b\ta", Verdict::IllFormed),
            ("a\ta/+", Verdict::IllFormed),
            ("a\t", Verdict::IllFormed),
            ("no tab", Verdict::IllFormed),
        ] {
            assert_eq!(judge_line(line.as_bytes()).verdict, expected, "{line:?}");
        }
        assert_eq!(judge_line(b"\xFF\ta").verdict, Verdict::IllFormed);
    }
}
