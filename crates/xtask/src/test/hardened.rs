//! Hostile bytes against optimised code that checks its arithmetic: the vectors and corpora of the
//! codec, and the committed seeds through every fuzz target.

use anyhow::Result;

use super::Totals;
use super::cargo::{command, count_tests};
use crate::fuzz;
use crate::project::Project;

pub(super) fn run(project: &Project) -> Result<Totals> {
    let mut totals = count_tests(&mut command(
        project,
        &[
            "test",
            "--profile",
            "hardened",
            "--package",
            "mqttstack-codec",
            "--all-features",
            "--tests",
            "--no-fail-fast",
        ],
    ))?;
    let outcomes = fuzz::replay_seeds(project)?;
    fuzz::print_table(&outcomes);
    for outcome in &outcomes {
        totals.count(!outcome.has_failed());
    }
    Ok(totals)
}
