//! `cargo xtask embedded`: the codec and the session for a microcontroller, and how large programs
//! with them are.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use object::{Object, ObjectSection};

use crate::process::describe;
use crate::project::Project;
use crate::test::bare::{TARGET, Toolchain, toolchain};

/// The programs of the package `embedded`, what each does, and how many bytes of code it should not
/// exceed.
const PROGRAMS: [(&str, &str, Option<u64>); 5] = [
    ("nothing", "an empty program", None),
    ("encode_publish", "encode a PUBLISH of QoS 0", None),
    ("decode_publish", "decode a PUBLISH of QoS 0", None),
    ("client_v311", "a client of QoS 0 and 1, 3.1.1", Some(8192)),
    ("client_v5", "a client of QoS 0 and 1, 5.0", Some(8192)),
];

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Ends with exit code 1 if a program is larger than its goal.
    #[arg(long)]
    deny_over: bool,
}

/// Builds, measures and prints.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let project = Project::load()?;
    let toolchain = toolchain(&project, false)?;
    for (package, features) in [("mqttstack-codec", "alloc"), ("mqttstack-session", "")] {
        let mut command = toolchain.build(&project);
        command.args(["--release", "--no-default-features"]);
        command.args(["--package", package, "--features", features]);
        build(&mut command)?;
        println!("{package} builds for {TARGET} with [{features}]");
    }
    let folder = programs(&project, &toolchain)?;
    println!("\n{:34} {:>7} {:>7}", "bytes of", ".text", "goal");
    let mut is_over = false;
    for (name, what, goal) in PROGRAMS {
        let size = text_size(&folder.join(name))?;
        let goal_text = goal.map_or_else(String::new, |goal| goal.to_string());
        println!("{what:34} {size:>7} {goal_text:>7}");
        is_over |= goal.is_some_and(|goal| size > goal);
    }
    Ok(if is_over && options.deny_over {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Builds the programs and returns the folder that they are in.
fn programs(project: &Project, toolchain: &Toolchain) -> Result<PathBuf> {
    let target = project.target().join("embedded");
    let mut command = toolchain.build(project);
    command
        .args(["--release", "--manifest-path", "embedded/Cargo.toml"])
        .arg("--target-dir")
        .arg(&target)
        .env("RUSTFLAGS", format!("-Clinker={}", linker()?.display()));
    build(&mut command)?;
    Ok(target.join(TARGET).join("release"))
}

fn build(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("starting {}", describe(command)))?;
    ensure!(status.success(), "{}: {status}", describe(command));
    Ok(())
}

/// The linker that comes with the compiler in use; Debian's compiler comes without.
fn linker() -> Result<PathBuf> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir"])
        .output()
        .context("asking rustc for its libraries")?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let own = libraries.parent().map(|it| it.join("bin/rust-lld"));
    let debian = PathBuf::from("/usr/bin/ld.lld");
    match own.into_iter().chain([debian]).find(|it| it.exists()) {
        Some(linker) => Ok(linker),
        None => bail!("no linker for {TARGET}: on Debian, `apt-get install lld`"),
    }
}

/// The bytes of code of a program.
fn text_size(program: &Path) -> Result<u64> {
    let bytes = std::fs::read(program).with_context(|| format!("{}", program.display()))?;
    let file = object::File::parse(&*bytes).context("reading a program")?;
    let text = file
        .section_by_name(".text")
        .context("a program without code")?;
    Ok(text.size())
}
