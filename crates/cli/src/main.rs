//! The `mqttstack` command.

mod bench;
mod broker;
mod certs;
mod command;
mod completions;
mod connection;
mod encryption;
mod failure;
mod format;
mod inspect;
mod interrupt;
mod matching;
mod payload;
mod properties;
mod publish;
mod record;
mod subscribe;

use std::process::ExitCode;

/// After a storm of connections or messages nearly all of a broker's memory goes back to the system;
/// glibc keeps the most of it, as what stays lies between what has gone. Jemalloc settles the size of
/// pages when it is built, so it is only for processors on which there is one.
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    command::run(std::env::args_os())
}
