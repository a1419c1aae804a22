//! How many packages each crate brings with it, and under which licences.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use spdx::{Expression, LicenseReq, ParseMode};

use super::Totals;
use super::cargo::command;
use crate::project::{BINARY, CORE, Project};

/// What a crate may bring: the packages that are not of this workspace, build scripts' included,
/// those of tests not.
struct Budget {
    package: &'static str,
    features: &'static str,
    packages_max: usize,
}

const CORE_MAX: usize = 12;
const BROKER_MAX: usize = 70;
const BINARY_MAX: usize = 220;

/// Licences that ask no more of a user than a notice, or keep to their own files (MPL-2.0).
const LICENCES: [&str; 10] = [
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "MPL-2.0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "CDLA-Permissive-2.0",
];

pub(super) fn run(project: &Project) -> Result<Totals> {
    // What everyone gets. Who turns on a feature for JSON or for a debugger knows what it brings.
    let core = CORE.map(|package| Budget {
        package,
        features: "--features=default",
        packages_max: CORE_MAX,
    });
    let composed = [
        Budget {
            package: "mqttstack-broker",
            features: "--no-default-features",
            packages_max: BROKER_MAX,
        },
        Budget {
            package: BINARY,
            features: "--all-features",
            packages_max: BINARY_MAX,
        },
    ];
    let mut totals = Totals::default();
    for budget in core.iter().chain(&composed) {
        if project.package(budget.package).is_none() {
            continue;
        }
        let count = tree(project, &["--package", budget.package, budget.features])?.len();
        let is_kept = count <= budget.packages_max;
        let verdict = if is_kept {
            "of at most"
        } else {
            "TOO MANY, at most"
        };
        println!(
            "{} {}: {count} packages, {verdict} {}",
            budget.package, budget.features, budget.packages_max
        );
        totals.count(is_kept);
    }
    // Of every platform, since users build on all of them.
    let packages = tree(
        project,
        &[
            "--workspace",
            "--all-features",
            "--exclude",
            "xtask",
            "--target",
            "all",
        ],
    )?;
    let mut is_licensed = true;
    for (package, licence) in &packages {
        if let Err(error) = check_licence(licence) {
            println!("{package}: {error:#}");
            is_licensed = false;
        }
    }
    println!(
        "{} packages, licences {}",
        packages.len(),
        if is_licensed { "fine" } else { "NOT" }
    );
    totals.count(is_licensed);
    Ok(totals)
}

/// The packages from outside the workspace that a selection needs, with their licences.
fn tree(project: &Project, selection: &[&str]) -> Result<BTreeMap<String, String>> {
    let output = command(
        project,
        &["tree", "--edges", "normal,build", "--prefix", "none"],
    )
    .args(["--format", "{p}|{l}"])
    .args(selection)
    .output()
    .context("running cargo tree")?;
    ensure!(
        output.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).context("output of cargo tree")?;
    Ok(text.lines().filter_map(outside_package).collect())
}

/// Takes `name vX.Y.Z|licence` apart; packages of the workspace show their path in between.
fn outside_package(line: &str) -> Option<(String, String)> {
    let (package, licence) = line.split_once('|')?;
    let is_inside = package.contains(" (/");
    (!is_inside).then(|| {
        let package = package.trim_end_matches(" (proc-macro)");
        let licence = licence.trim_end_matches(" (*)");
        (package.to_owned(), licence.to_owned())
    })
}

fn check_licence(text: &str) -> Result<()> {
    let mode = ParseMode {
        allow_slash_as_or_operator: true,
        ..ParseMode::LAX
    };
    let expression = Expression::parse_mode(text, mode)
        .map_err(|error| anyhow::anyhow!("licence {text:?} cannot be read: {}", error.reason))?;
    let is_allowed = expression.evaluate(|requirement: &LicenseReq| {
        requirement
            .license
            .id()
            .is_some_and(|id| LICENCES.contains(&id.name))
    });
    ensure!(
        is_allowed,
        "licence {text:?} is not among {}",
        LICENCES.join(", ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions_are_understood() {
        let allowed = [
            "MIT",
            "MIT/Apache-2.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
            "GPL-3.0-only OR MIT",
        ];
        for text in allowed {
            assert!(check_licence(text).is_ok(), "{text}");
        }
        for text in [
            "GPL-3.0-only",
            "MIT AND AGPL-3.0-only",
            "",
            "no such licence",
        ] {
            assert!(check_licence(text).is_err(), "{text}");
        }
    }

    #[test]
    fn packages_of_the_workspace_do_not_count() {
        let cases = [
            ("bytes v1.12.1|MIT", Some(("bytes v1.12.1", "MIT"))),
            ("a v1.0.0 (proc-macro)|MIT (*)", Some(("a v1.0.0", "MIT"))),
            ("mqttstack-codec v0.1.0 (/src/crates/codec)|MIT", None),
            ("", None),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|(name, licence)| (name.to_owned(), licence.to_owned()));
            assert_eq!(outside_package(line), expected, "{line}");
        }
    }
}
