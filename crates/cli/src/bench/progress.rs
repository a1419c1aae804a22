//! One line on a terminal that says how far the run is.

use std::io::{IsTerminal as _, Write as _, stderr};

use super::sampler::Sample;

/// Writes over its own line; writes nothing where nobody looks.
#[derive(Debug)]
pub(super) struct Progress {
    is_shown: bool,
    doing: &'static str,
}

impl Progress {
    pub(super) fn on_terminal() -> Self {
        Self {
            is_shown: stderr().is_terminal(),
            doing: "starting",
        }
    }

    pub(super) const fn silent() -> Self {
        Self {
            is_shown: false,
            doing: "",
        }
    }

    pub(super) fn begin(&mut self, doing: &'static str) {
        self.doing = doing;
    }

    pub(super) fn show(&self, before: Option<&Sample>, now: &Sample) {
        if self.is_shown {
            // Who looks away misses nothing.
            let _ = write!(stderr(), "\r\x1b[K{}", line(self.doing, before, now));
        }
    }

    pub(super) fn end(&self) {
        if self.is_shown {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

fn line(doing: &str, before: Option<&Sample>, now: &Sample) -> String {
    let start = Sample::default();
    let before = before.unwrap_or(&start);
    let seconds = (now.seconds - before.seconds).max(1e-3);
    let rate = now.delivered.saturating_sub(before.delivered) as f64 / seconds;
    let mut line = format!(
        "{doing}: {:.0} s, {} connections, {} sent, {} delivered, {rate:.0}/s",
        now.seconds, now.connections, now.sent, now.delivered
    );
    if let (Some(cpu), Some(earlier)) = (now.broker_cpu, before.broker_cpu) {
        line += &format!(", broker {:.0} % CPU", (cpu - earlier) / seconds * 100.0);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_rates_since_the_last_look() {
        let before = Sample {
            seconds: 1.0,
            delivered: 1_000,
            broker_cpu: Some(2.0),
            ..Sample::default()
        };
        let now = Sample {
            seconds: 1.5,
            connections: 100,
            sent: 70,
            delivered: 1_600,
            broker_cpu: Some(2.2),
            broker_rss: None,
        };
        assert_eq!(
            line("publishing", Some(&before), &now),
            "publishing: 2 s, 100 connections, 70 sent, 1600 delivered, 1200/s, broker 40 % CPU"
        );
    }
}
