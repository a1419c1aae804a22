//! Builds the fuzz targets with instrumentation, with a compiler that is not a nightly one.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::folder;
use crate::process::describe;
use crate::project::{Project, cargo};

/// What tells the fuzzer where the code has been. `cargo fuzz` asks for the same, and for sanitizers
/// besides, which a stable compiler does not have and code without `unsafe` does not need.
const INSTRUMENTATION: &str = "--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table";

/// A target that has been built, and the folders that belong to it.
#[derive(Debug)]
pub(super) struct Fuzzer {
    pub(super) target: String,
    pub(super) binary: PathBuf,
    /// Inputs that reach something new, from this run and earlier ones.
    pub(super) corpus: PathBuf,
    /// Inputs that fail.
    pub(super) artifacts: PathBuf,
    /// Committed inputs.
    pub(super) seeds: Vec<PathBuf>,
}

/// Returns the names of all targets.
pub(super) fn targets(project: &Project) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        targets: Vec<Target>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
        kind: Vec<String>,
    }
    let output = Command::new(cargo())
        .args(["metadata", "--no-deps", "--format-version=1"])
        .arg("--manifest-path")
        .arg(project.root().join("fuzz/Cargo.toml"))
        .output()
        .context("running cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("reading cargo metadata")?;
    let all = metadata.packages.into_iter().flat_map(|it| it.targets);
    let binaries = all.filter(|target| target.kind.iter().any(|kind| kind == "bin"));
    Ok(binaries.map(|target| target.name).collect())
}

/// Builds targets and makes their folders.
pub(super) fn build(project: &Project, targets: &[String]) -> Result<Vec<Fuzzer>> {
    let host = host()?;
    let built = project.target().join("fuzz");
    let mut command = Command::new(cargo());
    command
        .current_dir(project.root())
        .env("RUSTFLAGS", INSTRUMENTATION)
        // With a target, build scripts and macros are left without instrumentation.
        .args(["build", "--quiet", "--release", "--target", &host])
        .args(["--manifest-path", "fuzz/Cargo.toml", "--target-dir"])
        .arg(&built);
    for target in targets {
        command.args(["--bin", target]);
    }
    let status = command
        .status()
        .with_context(|| format!("starting {}", describe(&command)))?;
    ensure!(status.success(), "the fuzz targets do not build");
    let fuzzer = |target: &String| {
        Ok(Fuzzer {
            binary: built.join(&host).join("release").join(target),
            corpus: folder(project, "corpus", target)?,
            artifacts: folder(project, "artifacts", target)?,
            seeds: seeds(project, target),
            target: target.clone(),
        })
    };
    targets.iter().map(fuzzer).collect()
}

/// The seeds of one target, and those that serve all.
fn seeds(project: &Project, target: &str) -> Vec<PathBuf> {
    let seeds = project.root().join("fuzz/seeds");
    let folders = [seeds.join("bytes"), seeds.join(target)];
    folders.into_iter().filter(|it| it.is_dir()).collect()
}

fn host() -> Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("asking rustc for its host")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .context("rustc does not say what its host is")
}
