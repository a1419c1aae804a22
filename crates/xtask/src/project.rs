//! What this project consists of, as cargo tells it.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The crates that build without std and keep the smallest dependency budget.
pub(crate) const CORE: [&str; 4] = [
    "mqttstack-codec",
    "mqttstack-topic",
    "mqttstack-limits",
    "mqttstack-session",
];

/// A crate above them whose core builds without std too.
const CLIENT: &str = "mqttstack-client";

/// The loop of an example that runs without an operating system.
const EXAMPLE: &str = "mqttstack-session-bare";

/// The package that holds the binary.
pub(crate) const BINARY: &str = "mqttstack";

/// The workspace: where it lies and which packages are in it.
#[derive(Debug, Deserialize)]
pub(crate) struct Project {
    workspace_root: PathBuf,
    target_directory: PathBuf,
    packages: Vec<Package>,
}

/// One package of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) features: BTreeMap<String, Vec<String>>,
}

impl Project {
    /// Asks cargo for the workspace that this command was built from.
    pub(crate) fn load() -> Result<Self> {
        let output = Command::new(cargo())
            .args([
                "metadata",
                "--no-deps",
                "--format-version=1",
                "--manifest-path",
            ])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
            .output()
            .context("running cargo metadata")?;
        if !output.status.success() {
            bail!(
                "cargo metadata: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        serde_json::from_slice(&output.stdout).context("reading cargo metadata")
    }

    pub(crate) fn root(&self) -> &Path {
        &self.workspace_root
    }

    pub(crate) fn target(&self) -> &Path {
        &self.target_directory
    }

    /// The folder of the programs that drive other people's clients.
    pub(crate) fn interop_programs(&self) -> PathBuf {
        self.root().join("crates/xtask/interop")
    }

    /// The git-ignored folder into which other people's clients are installed.
    pub(crate) fn interop_installed(&self) -> PathBuf {
        self.root().join(".interop")
    }

    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }

    /// The core crates that exist.
    pub(crate) fn core(&self) -> impl Iterator<Item = &Package> {
        CORE.iter().filter_map(|name| self.package(name))
    }

    /// The crates that exist and build without an operating system.
    pub(crate) fn bare(&self) -> impl Iterator<Item = &Package> {
        let others = [CLIENT, EXAMPLE].into_iter();
        self.core()
            .chain(others.filter_map(|name| self.package(name)))
    }

    /// The crates above them that users depend on or install.
    pub(crate) fn above_core(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| package.name.starts_with(BINARY) && !CORE.contains(&&*package.name))
    }
}

/// The cargo that runs this command.
pub(crate) fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}
