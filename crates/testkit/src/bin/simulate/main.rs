//! Runs worlds from seeds until one shows a violation, or the budget is spent.

mod clock;
mod search;

use std::process::ExitCode;

use clap::Parser;
use mqttstack_testkit::{Action, Report, Seed, World, WorldSettings, shrink};

use self::{
    clock::Stopwatch,
    search::{Budget, Found, search},
};

/// How often a failing script is tried with less in it.
const SHRINK_ATTEMPTS: usize = 3_000;

/// Runs simulated worlds: clients, links with faults, workers of a broker, all from one seed.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask simulate", max_term_width = 100)]
struct Options {
    /// How many seeds are run at most.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// For how many minutes at most.
    #[arg(long)]
    minutes: Option<f64>,
    /// Runs this seed alone; if it fails, shows the shortest trace that was found.
    #[arg(long, conflicts_with_all = ["seeds", "minutes", "first"])]
    seed: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many steps of work each seed gets.
    #[arg(long, default_value_t = 400)]
    steps: usize,
    /// Goes on after a violation, and lists the seeds that fail.
    #[arg(long)]
    keep_going: bool,
    /// How many threads search; default is one for each core.
    #[arg(long)]
    jobs: Option<usize>,
    /// Writes the result as JSON, and nothing else.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let watch = Stopwatch::start();
    let found = match options.seed {
        Some(seed) => search::one(Seed(seed), options.steps),
        None => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let budget = Budget {
                first: options.first,
                seeds: options.seeds,
                minutes: options.minutes,
                steps: options.steps,
                keeps_going: options.keep_going,
                jobs: options.jobs.unwrap_or(cores).max(1),
            };
            search(&budget, !options.json)
        }
    };
    let seconds = watch.seconds();
    let first = found.failed.first_key_value();
    if options.json {
        println!("{}", json(&found, seconds));
    } else {
        println!("{}", found.progress(seconds));
        for (seed, what) in &found.failed {
            println!("seed {seed} fails: {what}");
        }
        if let Some((seed, _)) = first {
            explain(*seed, options.steps);
        }
    }
    match first {
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    }
}

/// Shows the shortest way to the violation that is found in reasonable time.
fn explain(seed: Seed, steps: usize) {
    let settings = WorldSettings::draw(seed);
    let script = World::script(&settings, seed, steps);
    let run = |script: &[Action], is_traced| World::replay(&settings, seed, script, is_traced);
    let script = shrink(script, SHRINK_ATTEMPTS, |candidate| {
        run(candidate, false).is_err()
    });
    println!("{} of {steps} steps are enough:", script.len());
    if let Err(violation) = run(&script, true) {
        println!("{violation}");
    }
    println!("replay: cargo xtask simulate --seed {seed} --steps {steps}");
    println!("then add a line to crates/testkit/tests/regressions.txt: {seed} {steps} and why");
}

fn json(found: &Found, seconds: f64) -> String {
    let failed: Vec<String> = found.failed.keys().map(ToString::to_string).collect();
    let Report {
        events,
        published,
        delivered,
        connections,
        sessions,
        wills,
        crashes,
        fingerprint: _,
    } = &found.report;
    format!(
        "{{\"seeds\":{},\"seconds\":{seconds:.3},\"events\":{events},\
         \"published\":{published},\"delivered\":{delivered},\"connections\":{connections},\
         \"sessions\":{sessions},\"wills\":{wills},\"crashes\":{crashes},\"failed_seeds\":[{}]}}",
        found.seeds,
        failed.join(",")
    )
}
