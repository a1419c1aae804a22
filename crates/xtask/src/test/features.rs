//! Every set of features of every core crate builds without a warning, and the crates above them
//! do with none and with all.

use anyhow::Result;

use super::Totals;
use super::cargo::{check, command};
use crate::project::{Package, Project};

/// More features than this would take 2^n builds for little insight.
const FEATURES_MAX: usize = 6;

pub(super) fn run(project: &Project) -> Result<Totals> {
    let core = project.core().map(|package| (package, powerset(package)));
    let above = project
        .above_core()
        .map(|package| (package, extremes(package)));
    let mut totals = Totals::default();
    for (package, sets) in core.chain(above) {
        for set in sets {
            println!("{} with [{}]", package.name, set.join(", "));
            // The lints of this crate alone are denied: each crate is judged under its own name.
            let features = set.join(",");
            let is_built = check(&mut command(
                project,
                &[
                    "clippy",
                    "--quiet",
                    "--no-deps",
                    "--package",
                    &package.name,
                    "--no-default-features",
                    "--features",
                    &features,
                    "--",
                    "-D",
                    "warnings",
                ],
            ))?;
            totals.count(is_built);
        }
    }
    Ok(totals)
}

/// All sets of the features.
fn powerset(package: &Package) -> Vec<Vec<&str>> {
    let features = features(package);
    if features.len() > FEATURES_MAX {
        return extremes(package);
    }
    (0..1_u32 << features.len())
        .map(|bits| {
            let is_chosen = |index: usize| bits >> index & 1 == 1;
            let chosen = features
                .iter()
                .enumerate()
                .filter(|(index, _)| is_chosen(*index));
            chosen.map(|(_, name)| *name).collect()
        })
        .collect()
}

/// None of the features, and all of them.
fn extremes(package: &Package) -> Vec<Vec<&str>> {
    match features(package) {
        features if features.is_empty() => vec![vec![]],
        features => vec![vec![], features],
    }
}

/// The features, `default` apart, which is only a name for one of the sets.
fn features(package: &Package) -> Vec<&str> {
    package
        .features
        .keys()
        .map(String::as_str)
        .filter(|name| *name != "default")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_powerset_leaves_out_default_and_nothing_else() {
        let features = ["alloc", "default", "std"];
        let package = Package {
            name: "x".into(),
            features: features.map(|name| (name.to_owned(), vec![])).into(),
        };
        let expected: [&[&str]; 4] = [&[], &["alloc"], &["std"], &["alloc", "std"]];
        assert_eq!(powerset(&package), expected);
        assert_eq!(extremes(&package), [&[] as &[&str], &["alloc", "std"]]);
    }
}
