//! `mqttstack match`: does a topic filter match a topic name?

use std::io::{self, BufRead, Read, Write};

use mqttstack_topic::{TopicLimits, Verdict};
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

/// The longest line that is read, in bytes: a filter and a topic of the longest there are, the tab and
/// the end of the line. Of a longer one nothing is kept.
const LINE_BYTES_MAX: usize = 2 * 65_535 + 3;

/// What there is to say of one filter and one topic, as it is written.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    filter: &'a str,
    topic: &'a str,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip)]
    exit_code: u8,
}

/// Writes a verdict for each topic.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match judge_all(args).map_err(Failure::beside_verdict)? {
        0 => Ok(()),
        exit_code => Err(Failure::verdict(exit_code)),
    }
}

/// Writes a verdict for each topic, and returns the exit code of the worst.
fn judge_all(args: &Args) -> Result<u8, Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut worst = Verdict::Match.exit_code();
    if args.lines {
        let mut input = io::stdin().lock();
        let mut line = Vec::new();
        while read_line(&mut input, &mut line)
            .map_err(|error| Failure::input("standard input", &error))?
        {
            worst = worst.max(write(&mut out, &judge_line(&line), args.json)?);
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
    let verdict = Verdict::of(filter, topic, limits);
    let (word, reason) = match verdict {
        Verdict::Match => ("match", None),
        Verdict::NoMatch => ("no_match", None),
        Verdict::FilterIllFormed(error) => (ILL_FORMED, Some(format!("filter: {error}"))),
        Verdict::NameIllFormed(error) => (ILL_FORMED, Some(format!("topic: {error}"))),
    };
    Answer {
        filter,
        topic,
        verdict: word,
        reason,
        exit_code: verdict.exit_code(),
    }
}

const ILL_FORMED: &str = "ill_formed";

/// Reads the next line, its end included, as far as it is not longer than the longest by more than a
/// byte, and skips the rest of it; returns whether there was one.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let most = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
    input
        .by_ref()
        .take(most.saturating_add(1))
        .read_until(b'\n', line)?;
    if line.len() > LINE_BYTES_MAX && line.last() != Some(&b'\n') {
        input.skip_until(b'\n')?;
    }
    Ok(!line.is_empty())
}

fn judge_line(line: &[u8]) -> Answer<'_> {
    let is_too_long = line.len() > LINE_BYTES_MAX;
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let ill_formed = |reason: &str| Answer {
        filter: "",
        topic: "",
        verdict: ILL_FORMED,
        reason: Some(reason.to_owned()),
        exit_code: 2,
    };
    if is_too_long {
        return ill_formed("line: longer than a filter and a topic can be");
    }
    match std::str::from_utf8(line).map(|text| text.split_once('\t')) {
        Ok(Some((filter, topic))) => judge(filter, topic),
        Ok(None) => ill_formed("line: no tab between filter and topic"),
        Err(_) => ill_formed("line: not UTF-8"),
    }
}

/// Writes an answer, and returns its exit code.
fn write(out: &mut impl Write, answer: &Answer<'_>, json: bool) -> Result<u8, Failure> {
    let line = match (json, &answer.reason) {
        (true, _) => {
            serde_json::to_string(answer).map_err(|error| Failure::output(error.into()))?
        }
        (false, Some(reason)) => format!("ill-formed {reason}"),
        (false, None) => answer.verdict.replace('_', " "),
    };
    writeln!(out, "{line}").map_err(Failure::output)?;
    Ok(answer.exit_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_tells_match_no_match_and_ill_formed_apart() {
        for (line, expected) in [
            ("a/+\ta/b", ("match", 0)),
            ("a/+\ta/b/c", ("no_match", 1)),
            ("#\t$SYS/x", ("no_match", 1)),
            ("$share/g/a/#\ta", ("match", 0)),
            ("a/#/b\ta", (ILL_FORMED, 2)),
            ("a\ta/+", (ILL_FORMED, 2)),
            ("a\t", (ILL_FORMED, 2)),
            ("no tab", (ILL_FORMED, 2)),
        ] {
            let answer = judge_line(line.as_bytes());
            assert_eq!((answer.verdict, answer.exit_code), expected, "{line:?}");
        }
        assert_eq!(judge_line(b"\xFF\ta").exit_code, 2);
    }

    #[test]
    fn lines_end_as_they_do_anywhere_and_none_is_too_long_to_pass_over() {
        let longest = format!("{}\t{}", "f".repeat(65_535), "f".repeat(65_535));
        let input = [
            "a\ta\r\n",
            "a\ta\n",
            "\n",
            &format!("{longest}\r\n"),
            &format!("{longest}x\r\n"),
            &format!("{longest}{longest}{longest}\n"),
            "a\ta",
        ]
        .concat();
        let mut input = input.as_bytes();
        let mut line = Vec::new();
        let mut codes = Vec::new();
        while read_line(&mut input, &mut line).expect("from memory") {
            assert!(line.len() <= LINE_BYTES_MAX + 1);
            codes.push(judge_line(&line).exit_code);
        }
        assert_eq!(codes, [0, 0, 2, 0, 2, 2, 0]);
    }
}
