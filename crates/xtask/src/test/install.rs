//! Other people's programs that the tests need: found, installed, or named as missing.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Totals, bare};
use crate::interop::{mosquitto, rumqttc};
use crate::process::run_bounded;
use crate::project::{Project, cargo};

const INSTALL_WAIT: Duration = Duration::from_secs(600);

/// Installs everything that any step needs.
pub(super) fn run(project: &Project) -> Result<Totals> {
    let mut totals = Totals::default();
    for (what, result) in [
        // Two dependencies of the command line tool are in C.
        ("C compiler", debian_program("cc", "--version", "gcc", true)),
        ("make", debian_program("make", "--version", "make", true)),
        ("peers", require_peers(project, true)),
        ("bare target", bare::install(project)),
    ] {
        match &result {
            Ok(()) => println!("{what}: there"),
            Err(error) => println!("{what}: {error:#}"),
        }
        totals.count(result.is_ok());
    }
    Ok(totals)
}

/// Makes sure that all client programs are there, installing them if it may.
///
/// # Errors
///
/// Every program that is missing, and how to get it: none is left out in silence.
pub(crate) fn require_peers(project: &Project, may_install: bool) -> Result<()> {
    let mut missing = Vec::new();
    for result in [
        mosquitto_programs(may_install),
        python_packages(project, may_install),
        node_packages(project, may_install),
        rust_peer(project, may_install),
        debian_program("openssl", "version", "openssl", may_install),
        debian_program("chromium", "--version", "chromium", may_install),
    ] {
        if let Err(error) = result {
            missing.push(format!("- {error:#}"));
        }
    }
    if !missing.is_empty() {
        bail!("the interoperability tests lack:\n{}", missing.join("\n"));
    }
    Ok(())
}

/// Installs Debian packages, as root or through sudo without a password.
pub(super) fn apt_install(packages: &[&str]) -> Result<()> {
    println!("installing {}", packages.join(" "));
    let apt = |arguments: &[&str]| {
        let mut command = if is_root() {
            Command::new("apt-get")
        } else {
            let mut command = Command::new("sudo");
            command.args(["-n", "apt-get"]);
            command
        };
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(arguments);
        run_bounded(&mut command, INSTALL_WAIT)
    };
    // The lists on a fresh machine are old or empty; an update that fails may still do.
    let updated = apt(&["update"]);
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages);
    apt(&arguments)
        .or_else(|error| updated.and(Err(error)))
        .map(|_| ())
}

fn mosquitto_programs(may_install: bool) -> Result<()> {
    let is_there = || {
        ["mosquitto_pub", "mosquitto_sub"]
            .iter()
            .all(|name| answers(name, "--help"))
            && answers(mosquitto(), "-h")
    };
    if !is_there() && may_install {
        apt_install(&["mosquitto", "mosquitto-clients"]).context(
            "mosquitto, mosquitto_pub and mosquitto_sub: \
             `apt-get install mosquitto mosquitto-clients`",
        )?;
    }
    if !is_there() {
        bail!(
            "mosquitto, mosquitto_pub and mosquitto_sub: \
             `apt-get install mosquitto mosquitto-clients`"
        );
    }
    Ok(())
}

/// A program that a Debian package brings.
fn debian_program(program: &str, argument: &str, package: &str, may_install: bool) -> Result<()> {
    let how = || format!("{program}: `apt-get install {package}`");
    if !answers(program, argument) && may_install {
        apt_install(&[package]).with_context(how)?;
    }
    if !answers(program, argument) {
        bail!("{}", how());
    }
    Ok(())
}

/// Pinned in its `Cargo.lock`; cargo knows whether it is built.
fn rust_peer(project: &Project, may_install: bool) -> Result<()> {
    let how = "rumqttc: `cargo xtask test --only install`";
    let installed = project.interop_installed();
    if !may_install {
        if !rumqttc(installed).exists() {
            bail!("{how}");
        }
        return Ok(());
    }
    let mut command = Command::new(cargo());
    command.args(["build", "--quiet", "--locked", "--manifest-path"]);
    command.arg(project.interop_programs().join("rumqttc/Cargo.toml"));
    command.arg("--target-dir").arg(installed.join("rumqttc"));
    run_bounded(&mut command, INSTALL_WAIT).context(how)?;
    Ok(())
}

/// Pinned in `requirements.txt`, installed into a virtual environment of the project's own.
fn python_packages(project: &Project, may_install: bool) -> Result<()> {
    let wanted = project.interop_programs().join("requirements.txt");
    let folder = project.interop_installed().join("venv");
    if is_current(&folder, &wanted) {
        return Ok(());
    }
    let how = "paho-mqtt: a Python 3 with venv, then `cargo xtask test --only install`";
    if !may_install {
        bail!("{how}");
    }
    println!("installing paho-mqtt into {}", folder.display());
    clear(&folder)?;
    let make = || {
        let mut command = Command::new("python3");
        run_bounded(command.args(["-m", "venv"]).arg(&folder), INSTALL_WAIT)
    };
    if make().is_err() {
        apt_install(&["python3", "python3-venv"]).context(how)?;
        make().context(how)?;
    }
    let mut command = Command::new(folder.join("bin/python"));
    command.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    command.arg("--requirement").arg(&wanted);
    run_bounded(&mut command, INSTALL_WAIT).context(how)?;
    mark_current(&folder, &wanted)
}

/// Pinned, with all that it needs, in `package-lock.json`.
fn node_packages(project: &Project, may_install: bool) -> Result<()> {
    let programs = project.interop_programs();
    let wanted = programs.join("package-lock.json");
    let folder = project.interop_installed().join("node");
    let has_node = || answers("node", "--version") && answers("npm", "--version");
    if is_current(&folder, &wanted) && has_node() {
        return Ok(());
    }
    let how = "MQTT.js: node and npm, then `cargo xtask test --only install`";
    if !may_install {
        bail!("{how}");
    }
    if !has_node() {
        apt_install(&["nodejs", "npm"]).context(how)?;
    }
    println!("installing MQTT.js into {}", folder.display());
    clear(&folder)?;
    fs::create_dir_all(&folder).context(how)?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(programs.join(name), folder.join(name)).context(how)?;
    }
    let mut command = Command::new("npm");
    command
        .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
        .current_dir(&folder);
    run_bounded(&mut command, INSTALL_WAIT).context(how)?;
    mark_current(&folder, &wanted)
}

/// Whether a folder was installed from exactly this list, and to the end.
fn is_current(folder: &Path, wanted: &Path) -> bool {
    match (fs::read(folder.join("installed-from")), fs::read(wanted)) {
        (Ok(installed), Ok(wanted)) => installed == wanted,
        (Err(_), _) | (_, Err(_)) => false,
    }
}

fn mark_current(folder: &Path, wanted: &Path) -> Result<()> {
    fs::copy(wanted, folder.join("installed-from")).context("marking an installation")?;
    Ok(())
}

fn clear(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("clearing {}", folder.display()))?;
    }
    Ok(())
}

/// Whether a program can be started; some answer `--help` with an exit code of their own.
fn answers(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).output().is_ok()
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout == b"0\n")
}
