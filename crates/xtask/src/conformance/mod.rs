//! `cargo xtask conformance`: every statement of the specification beside the tests that name it.

mod claims;
mod report;
mod statements;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::project::Project;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Fails if a statement of these layers has no test; of any layer where none is named.
    #[arg(long, value_name = "LAYER,...", value_delimiter = ',', num_args = 0..)]
    deny_open: Option<Vec<String>>,
}

/// Writes `docs/conformance.md` and prints what is open.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let project = Project::load()?;
    let statements = statements::read(&project.root().join("docs/spec"))?;
    let claims = claims::find(project.root())?;
    let report = report::Report::new(&statements, &claims);
    let path = project.root().join("docs/conformance.md");
    fs::write(&path, report.to_markdown())
        .with_context(|| format!("writing {}", path.display()))?;
    print!("{}", report.summary());
    for (id, places) in report.unknown() {
        println!("no such statement: {id}, named by {}", places.join(", "));
    }
    let Some(layers) = &options.deny_open else {
        return Ok(ExitCode::SUCCESS);
    };
    let open = report.open(layers);
    for id in &open {
        println!("open: {id}");
    }
    Ok(if open.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
