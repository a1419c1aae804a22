//! Compares brokers: the scenarios of `mqttstack bench` over mqttstack, mosquitto and rumqttd, and over
//! a relay that only moves bytes, in turn and several times; writes the table of docs/performance.md.

mod peers;
mod rows;
mod table;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use clap::Parser;

use self::{
    peers::{Peer, Program},
    rows::Row,
    table::Results,
};

/// Compares what a delivery costs each broker.
#[derive(Debug, Parser)]
#[command(name = "brokers", max_term_width = 100)]
struct Arguments {
    /// Only rows whose name has this in it; may be repeated.
    #[arg(long)]
    scenario: Vec<String>,
    /// Only these brokers; may be repeated.
    #[arg(long, value_enum)]
    broker: Vec<Program>,
    /// How often each is measured.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// A tenth of the messages, to see whether it works.
    #[arg(long)]
    quick: bool,
    /// Where rumqttd is; `cargo install --root target/peers rumqttd` puts it where it is looked for.
    #[arg(long)]
    rumqttd: Option<PathBuf>,
    /// Where mosquitto is.
    #[arg(long, default_value = "/usr/sbin/mosquitto")]
    mosquitto: PathBuf,
    /// Use the mqttstack that has been built.
    #[arg(long)]
    no_build: bool,
    /// Write the rows that were measured into docs/performance.md; the others stay.
    #[arg(long)]
    write: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    if !arguments.no_build {
        build(&root)?;
    }
    // This program, the relay and ours are built into the same folder.
    let programs = std::env::current_exe()?;
    let programs = programs.parent().context("a program lies in a folder")?;
    let target = programs.parent().unwrap_or(programs);
    let paths = peers::Paths {
        mqttstack: programs.join("mqttstack"),
        relay: programs.join("relay"),
        mosquitto: arguments.mosquitto.clone(),
        rumqttd: arguments
            .rumqttd
            .clone()
            .unwrap_or_else(|| target.join("peers/bin/rumqttd")),
        scratch: target.join("brokers"),
    };
    fs::create_dir_all(&paths.scratch)?;
    let rows = rows::all();
    let rows = rows.iter().filter(|row| {
        let wanted = &arguments.scenario;
        wanted.is_empty() || wanted.iter().any(|part| row.name.contains(part.as_str()))
    });
    let mut results = Results::default();
    for row in rows {
        measure(row, &arguments, &paths, &mut results)?;
        println!("{}", results.line(row));
    }
    if arguments.write {
        let path = root.join("docs/performance.md");
        let page = fs::read_to_string(&path)?;
        fs::write(&path, results.write_into(&page)?)?;
    }
    Ok(())
}

/// Measures one row: each broker once, then each again.
fn measure(
    row: &Row,
    arguments: &Arguments,
    paths: &peers::Paths,
    results: &mut Results,
) -> Result<()> {
    for round in 1..=arguments.rounds {
        for program in Program::ALL {
            let is_wanted = arguments.broker.is_empty() || arguments.broker.contains(&program);
            // Who has failed once is not asked again: a loss takes its time to be sure of.
            if !is_wanted || !row.is_for(program) || results.has_failed(row, program) {
                continue;
            }
            eprint!("\r\x1b[K{}, round {round}: {program}", row.name);
            let peer = Peer::start(program, row.relay, paths)?;
            let report = load(row, program, arguments.quick, &peer, paths)?;
            results.add(row, program, &report);
        }
    }
    eprint!("\r\x1b[K");
    Ok(())
}

/// Has the load generator do its work, and reads its report.
fn load(
    row: &Row,
    program: Program,
    is_quick: bool,
    peer: &Peer,
    paths: &peers::Paths,
) -> Result<serde_json::Value> {
    let mut command = Command::new(&paths.mqttstack);
    command.arg("bench").args(row.arguments.split_whitespace());
    if let Some(messages) = row.messages(program) {
        let messages = if is_quick { messages / 10 } else { messages };
        command.args(["-n", &messages.max(10).to_string()]);
    }
    command.args(["-V", "311", "--json", "--quiet", "--timeout", "60"]);
    command.args(["--port", &peer.port.to_string()]);
    command.args(["--broker-pid", &peer.pid().to_string()]);
    let output = command.output().context("running mqttstack bench")?;
    serde_json::from_slice(&output.stdout).with_context(|| {
        let error = String::from_utf8_lossy(&output.stderr);
        format!("{} over {program}: {error}", row.name)
    })
}

fn build(root: &Path) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let packages = ["-p", "mqttstack", "-p", "mqttstack-bench-brokers"];
    let status = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--quiet", "--release"])
        .args(packages)
        .status()?;
    if !status.success() {
        bail!("cargo build: {status}");
    }
    Ok(())
}
