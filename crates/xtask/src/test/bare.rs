//! The core crates and the core of the client, built for a microcontroller: no operating system,
//! no standard library.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Totals;
use super::cargo::{check, command};
use super::install::apt_install;
use crate::project::Project;

pub(crate) const TARGET: &str = "thumbv7em-none-eabi";

/// Debian's compiler, and the source of the standard library beside it.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_LIBRARY: &str = "/usr/lib/rustlib/src/rust/library/core/Cargo.toml";

/// How the target's core and alloc come about.
pub(crate) enum Toolchain {
    /// The compiler in use has them.
    Own,
    /// Debian's compiler builds them from its source.
    Debian,
}

impl Toolchain {
    /// A build for the target.
    pub(crate) fn build(&self, project: &Project) -> Command {
        let mut build = match self {
            Self::Own => command(project, &["build"]),
            Self::Debian => from_source(project),
        };
        build.args(["--quiet", "--target", TARGET]);
        build
    }
}

pub(super) fn run(project: &Project) -> Result<Totals> {
    let toolchain = toolchain(project, false)?;
    let mut totals = Totals::default();
    for package in project.bare() {
        // With and without the heap, where a crate makes the difference.
        let mut sets = vec![""];
        if package.features.contains_key("alloc") {
            sets.push("alloc");
        }
        for features in sets {
            println!("{} for {TARGET} with [{features}]", package.name);
            let mut command = toolchain.build(project);
            command.arg("--no-default-features");
            command.args(["--package", &package.name, "--features", features]);
            totals.count(check(&mut command)?);
        }
    }
    Ok(totals)
}

/// Makes sure that there is a way to build for the target.
pub(super) fn install(project: &Project) -> Result<()> {
    toolchain(project, true).map(|_| ())
}

/// Returns a way to build for the target, after installing one if it may.
pub(crate) fn toolchain(project: &Project, may_install: bool) -> Result<Toolchain> {
    if own_has_target()? {
        return Ok(Toolchain::Own);
    }
    if debian_is_there() {
        return Ok(Toolchain::Debian);
    }
    if may_install {
        let by_debian = apt_install(&DEBIAN_PACKAGES);
        if by_debian.is_ok() && debian_is_there() {
            return Ok(Toolchain::Debian);
        }
        let by_rustup = Command::new("rustup")
            .args(["target", "add", TARGET])
            .current_dir(project.root())
            .status();
        if by_rustup.is_ok_and(|status| status.success()) && own_has_target()? {
            return Ok(Toolchain::Own);
        }
    }
    bail!(
        "nothing here builds for {TARGET}: run `rustup target add {TARGET}`, \
         or on Debian `apt-get install {}`",
        DEBIAN_PACKAGES.join(" ")
    )
}

fn own_has_target() -> Result<bool> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .context("asking rustc for its libraries")?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(output.status.success() && PathBuf::from(text.trim()).is_dir())
}

fn debian_is_there() -> bool {
    [DEBIAN_RUSTC, DEBIAN_CARGO, DEBIAN_LIBRARY]
        .iter()
        .all(|path| Path::new(path).exists())
}

/// Building the library is unstable, and allowed to a stable compiler only by this variable.
fn from_source(project: &Project) -> Command {
    let mut command = Command::new(DEBIAN_CARGO);
    command
        .current_dir(project.root())
        .env("RUSTC", DEBIAN_RUSTC)
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("RUSTUP_TOOLCHAIN")
        .env("CARGO_TARGET_DIR", project.target().join("bare"))
        .args(["build", "-Zbuild-std=core,alloc"]);
    command
}
