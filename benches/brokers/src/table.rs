//! Medians, ratios, and the table of docs/performance.md.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    peers::Program,
    rows::{self, Goal, Quantity, Row},
};

const BEGIN: &str = "<!-- brokers: begin -->";
const END: &str = "<!-- brokers: end -->";
const HEAD: &str = "\
| scenario | relay | mqttstack | mosquitto | rumqttd | goal | reached | |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |";

/// What was measured of each row and program.
#[derive(Debug, Default)]
pub(crate) struct Results(BTreeMap<(&'static str, Program), Cell>);

/// The runs of one program in one row.
#[derive(Debug, Default)]
struct Cell {
    values: Vec<f64>,
    /// Why a run does not count.
    failure: Option<String>,
}

impl Cell {
    fn median(&self) -> Option<f64> {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        values
            .get(values.len() / 2)
            .copied()
            .filter(|_| self.failure.is_none())
    }

    fn text(&self) -> String {
        if let Some(failure) = &self.failure {
            return failure.clone();
        }
        let (Some(median), Some(least), Some(most)) = (
            self.median(),
            self.values.iter().copied().min_by(f64::total_cmp),
            self.values.iter().copied().max_by(f64::total_cmp),
        ) else {
            return "-".into();
        };
        match self.values.len() {
            1 => number(median),
            _ => format!("{} ({}..{})", number(median), number(least), number(most)),
        }
    }
}

impl Results {
    /// Enters a run.
    pub(crate) fn add(&mut self, row: &Row, program: Program, report: &Value) {
        let cell = self.0.entry((row.name, program)).or_default();
        if report["passed"] != true {
            cell.failure = Some(failure(report));
            return;
        }
        let phases = report["phases"].as_array();
        let phase = phases
            .into_iter()
            .flatten()
            .find(|phase| phase["name"] == row.phase);
        let value = phase.and_then(|phase| match row.quantity {
            Quantity::CpuMicros => phase["broker_cpu_us"].as_f64(),
            Quantity::Bytes => phase["bytes_each"].as_f64(),
            Quantity::LatencyP99 => p99(&phase["latency"]),
        });
        cell.values.extend(value);
    }

    pub(crate) fn has_failed(&self, row: &Row, program: Program) -> bool {
        let cell = self.0.get(&(row.name, program));
        cell.is_some_and(|cell| cell.failure.is_some())
    }

    /// Writes the line of a row.
    pub(crate) fn line(&self, row: &Row) -> String {
        let mut line = format!("| {}", row.name);
        for program in Program::ALL {
            let cell = self.0.get(&(row.name, program));
            let text = cell.map_or_else(|| "-".into(), Cell::text);
            let _ = write!(line, " | {text}");
        }
        let (goal, reached, is_met) = self.verdict(row);
        let verdict = match is_met {
            Some(true) => "met",
            Some(false) => "**not met**",
            None => "",
        };
        let _ = write!(line, " | {goal} | {reached} | {verdict} |");
        line
    }

    /// Returns the goal, what was reached, and whether that is enough.
    fn verdict(&self, row: &Row) -> (String, String, Option<bool>) {
        let median = |program| self.0.get(&(row.name, program)).and_then(Cell::median);
        let ours = median(Program::Mqttstack);
        let over = |other: Program| Some(ours? / median(other)?);
        match row.goal {
            Goal::OfMosquitto(part) => {
                let reached = over(Program::Mosquitto);
                (share(part), text(reached, share), is_met(reached, part))
            }
            Goal::OfRelay(times) => {
                let reached = over(Program::Relay);
                let show = |value: f64| format!("{value:.2}x relay");
                (show(times), text(reached, show), is_met(reached, times))
            }
            Goal::AtMost(most) => (number(most), text(ours, number), is_met(ours, most)),
            Goal::Best => {
                let others = [Program::Mosquitto, Program::Rumqttd];
                let best = others.into_iter().filter_map(median).min_by(f64::total_cmp);
                let reached = ours.zip(best).map(|(ours, best)| ours / best);
                let show = |value: f64| format!("{value:.2}x best");
                (
                    "below all".into(),
                    text(reached, show),
                    is_met(reached, 1.0),
                )
            }
        }
    }

    /// Puts the measured rows into a page; rows that were not measured stay as they are.
    pub(crate) fn write_into(&self, page: &str) -> Result<String> {
        let (before, rest) = page.split_once(BEGIN).context("the page has no table")?;
        let (old, after) = rest.split_once(END).context("the table does not end")?;
        let mut table = format!("{BEGIN}\n{HEAD}\n");
        for row in rows::all() {
            let is_measured = self.0.keys().any(|(name, _)| *name == row.name);
            let start = format!("| {} |", row.name);
            let line = match old.lines().find(|line| line.starts_with(&start)) {
                Some(line) if !is_measured => line.to_owned(),
                Some(_) | None => self.line(&row),
            };
            table += &line;
            table.push('\n');
        }
        Ok(format!("{before}{table}{END}{after}"))
    }
}

/// Says why a run does not count.
fn failure(report: &Value) -> String {
    let checks = report["checks"].as_object();
    let counts: Vec<_> = checks
        .into_iter()
        .flatten()
        .filter(|(_, count)| count.as_u64().is_some_and(|count| count > 0))
        .map(|(name, count)| format!("{count} {}", name.replace('_', " ")))
        .collect();
    match (report["error"].as_str(), counts.is_empty()) {
        (Some(_), true) => "failed: not finished".into(),
        _ => format!("failed: {}", counts.join(", ")),
    }
}

fn p99(latency: &Value) -> Option<f64> {
    let percentiles = latency["percentiles"].as_array()?;
    let found = percentiles.iter().find(|pair| pair[0] == 99.0)?;
    found[1].as_f64()
}

fn is_met(reached: Option<f64>, most: f64) -> Option<bool> {
    reached.map(|reached| reached <= most)
}

fn text(value: Option<f64>, show: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "-".into(), show)
}

/// Writes a part of what mosquitto takes.
fn share(part: f64) -> String {
    if part > 0.5 {
        format!("{part:.2}")
    } else {
        format!("1/{:.1}", 1.0 / part)
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(micros: f64) -> Value {
        json!({"passed": true, "phases": [{"name": "flow", "broker_cpu_us": micros}]})
    }

    fn results(ours: &[f64], mosquitto: &[f64]) -> Results {
        let rows = rows::all();
        let mut results = Results::default();
        for (program, values) in [(Program::Mqttstack, ours), (Program::Mosquitto, mosquitto)] {
            for micros in values {
                results.add(&rows[0], program, &report(*micros));
            }
        }
        results
    }

    #[test]
    fn medians_are_compared_with_the_goal() {
        let row = &rows::all()[0];
        for (ours, line_end) in [
            ([0.3, 0.9, 0.4], "| 1/25.0 | 1/25.0 | met |"),
            ([0.3, 0.9, 0.5], "| 1/25.0 | 1/20.0 | **not met** |"),
        ] {
            let line = results(&ours, &[10.0, 9.0, 11.0]).line(row);
            assert!(line.ends_with(line_end), "{line}");
            assert!(line.contains("10.0 (9.00..11.0)"), "{line}");
        }
    }

    #[test]
    fn a_run_that_fails_a_check_has_no_figure() {
        let row = &rows::all()[0];
        let mut results = results(&[0.1], &[10.0]);
        let failed = json!({"passed": false, "checks": {"lost": 3, "repeated": 0}});
        results.add(row, Program::Mosquitto, &failed);
        let line = results.line(row);
        assert!(line.contains("failed: 3 lost"), "{line}");
        assert!(line.ends_with("| - |  |"), "{line}");
    }

    #[test]
    fn rows_that_were_not_measured_stay() {
        let second = rows::all()[1].name;
        let page = format!("a\n{BEGIN}\n{HEAD}\n| {second} | 1 |\n{END}\nb\n");
        let written = results(&[0.1], &[10.0]).write_into(&page).unwrap();
        assert!(written.starts_with("a\n") && written.ends_with("\nb\n"));
        assert!(written.contains(&format!("\n| {second} | 1 |\n")));
        assert!(written.contains("| 0.10 | 10.0 |"), "{written}");
    }
}
