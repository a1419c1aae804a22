//! The report as a page: tables and plots, in one file that loads nothing.

use std::fmt::Write as _;

use super::{
    measure::Phase,
    plot::{Plot, Scale, escape},
    report::Report,
    sampler::Sample,
};

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.2rem .8rem;text-align:right;\
border-bottom:1px solid #ddd}th:first-child,td:first-child{text-align:left}\
.good{color:#176a2c}.bad{color:#a11}svg{max-width:100%;height:auto}svg text{font:12px sans-serif;fill:#444}\
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}th,td{border-color:#444}\
svg text{fill:#bbb}.good{color:#7c7}.bad{color:#f88}}";

/// Writes the page.
pub(super) fn page(report: &Report<'_>) -> String {
    let mut page = String::new();
    let name = escape(&serde_name(&report.parameters.scenario));
    let class = if report.passed { "good" } else { "bad" };
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>mqttstack bench {name}</title><style>{STYLE}</style>\
         <h1>mqttstack bench {name}</h1><p class=\"{class}\">{}</p>",
        escape(&report.verdict())
    );
    phases(&mut page, &report.phases);
    for phase in &report.phases {
        if let Some(latency) = &phase.latency {
            page += "<h2>Latency</h2><p>From when a message was due to when it arrived.</p>";
            // Nines: each step to the right is ten times rarer.
            let nines = |at: f64| -(1.0 - at / 100.0).log10();
            let points = latency
                .percentiles
                .iter()
                .map(|(at, value)| (nines(*at), *value));
            let ticks = [50.0, 90.0, 99.0, 99.9, 99.99].map(|at| (nines(at), format!("{at} %")));
            let plot = Plot {
                title: "percentile, microseconds",
                points: points.collect(),
                ticks: ticks.to_vec(),
                scale: Scale::Logarithmic,
            };
            page += &plot.to_svg();
        }
    }
    over_time(&mut page, &report.samples);
    table(&mut page, "Checks", report.checks.counts());
    parameters(&mut page, report);
    let _ = write!(
        page,
        "<p>mqttstack {}, broker at {}</p></html>",
        report.version,
        escape(&report.broker)
    );
    page
}

fn phases(page: &mut String, phases: &[Phase]) {
    *page += "<h2>Phases</h2><table><tr><th>phase<th>count<th>of<th>seconds<th>a second\
              <th>broker CPU, us each<th>generator CPU, us each<th>bytes each</tr>";
    for phase in phases {
        let _ = write!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{:.2}<td>{:.0}<td>{}<td>{}<td>{}</tr>",
            phase.name,
            phase.count,
            phase.unit,
            phase.seconds,
            phase.rate,
            number(phase.broker_cpu_us, 3),
            number(phase.generator_cpu_us, 3),
            number(phase.bytes_each, 0),
        );
    }
    *page += "</table>";
}

fn over_time(page: &mut String, samples: &[Sample]) {
    let rates = |value: fn(&Sample) -> Option<f64>, factor: f64| -> Vec<(f64, f64)> {
        samples
            .windows(2)
            .filter_map(|pair| {
                let [before, after] = pair else { return None };
                let seconds = (after.seconds - before.seconds).max(1e-9);
                let rate = (value(after)? - value(before)?) / seconds * factor;
                Some((after.seconds, rate))
            })
            .collect()
    };
    let memory = samples
        .iter()
        .filter_map(|sample| Some((sample.seconds, sample.broker_rss? as f64 / 1e6)));
    let connections = samples
        .iter()
        .map(|sample| (sample.seconds, sample.connections as f64));
    let plots = [
        (
            "deliveries a second",
            rates(|sample| Some(sample.delivered as f64), 1.0),
        ),
        (
            "broker: processor, percent of one core",
            rates(|sample| sample.broker_cpu, 100.0),
        ),
        ("broker: resident memory, megabytes", memory.collect()),
        ("connections", connections.collect()),
    ];
    *page += "<h2>Over time</h2>";
    for (title, points) in plots {
        let end = points.last().map_or(0.0, |(seconds, _)| *seconds);
        let ticks = (0..=5)
            .map(|part| end * f64::from(part) / 5.0)
            .map(|seconds| (seconds, format!("{seconds:.1} s")));
        let plot = Plot {
            title,
            points,
            ticks: ticks.collect(),
            scale: Scale::FromZero,
        };
        *page += &plot.to_svg();
    }
}

fn parameters(page: &mut String, report: &Report<'_>) {
    let Ok(serde_json::Value::Object(map)) = serde_json::to_value(report.parameters) else {
        return;
    };
    let rows = map.iter().map(|(name, value)| {
        let text = value.as_str().map(str::to_owned);
        let text = text.unwrap_or_else(|| value.to_string());
        (name.clone(), text)
    });
    table(page, "Parameters", rows);
}

fn table<N: AsRef<str>, V: ToString>(
    page: &mut String,
    title: &str,
    rows: impl IntoIterator<Item = (N, V)>,
) {
    let _ = write!(page, "<h2>{title}</h2><table>");
    for (name, value) in rows {
        let (name, value) = (escape(name.as_ref()), escape(&value.to_string()));
        let _ = write!(page, "<tr><td>{name}<td>{value}</tr>");
    }
    *page += "</table>";
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.digits$}"))
}

fn serde_name(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(_) | Err(_) => String::new(),
    }
}
