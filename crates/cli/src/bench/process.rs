//! What the system knows of a process: its processor time and its memory. Linux tells it in /proc;
//! elsewhere there is nothing to read.

use std::{fs, path::PathBuf};

use serde::Serialize;

/// The ticks of `/proc/PID/stat`, a second: the same on all Linux systems that matter.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process that can be looked at.
#[derive(Clone, Debug)]
pub(super) struct Process(PathBuf);

/// Processor time that all threads have used since the process began, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct CpuTime {
    /// User and system together, to the nanosecond where the kernel keeps it.
    pub(super) total: f64,
    /// In the program, by ticks.
    pub(super) user: f64,
    /// In the kernel, by ticks.
    pub(super) system: f64,
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub(super) struct Memory {
    /// Resident.
    pub(super) rss: u64,
    /// Resident, what is shared divided among those who share it.
    pub(super) pss: Option<u64>,
}

impl Process {
    pub(super) fn new(pid: u32) -> Self {
        Self(PathBuf::from(format!("/proc/{pid}")))
    }

    /// This process.
    pub(super) fn own() -> Self {
        Self(PathBuf::from("/proc/self"))
    }

    pub(super) fn is_there(&self) -> bool {
        self.0.join("stat").exists()
    }

    pub(super) fn cpu_time(&self) -> Option<CpuTime> {
        let stat = fs::read_to_string(self.0.join("stat")).ok()?;
        let (user, system) = ticks(&stat)?;
        let total = self.scheduled().unwrap_or(user + system);
        Some(CpuTime {
            total,
            user,
            system,
        })
    }

    /// Sums the time of the threads. That of threads which have ended is lost; brokers that start
    /// and end threads while they work would look better than they are.
    fn scheduled(&self) -> Option<f64> {
        let mut nanos = 0_u64;
        for thread in fs::read_dir(self.0.join("task")).ok()? {
            let Ok(text) = fs::read_to_string(thread.ok()?.path().join("schedstat")) else {
                // It ended a moment ago.
                continue;
            };
            nanos += text.split_ascii_whitespace().next()?.parse::<u64>().ok()?;
        }
        (nanos > 0).then_some(nanos as f64 / 1e9)
    }

    /// Returns the resident memory, as the kernel counts it anyway.
    pub(super) fn memory_quickly(&self) -> Option<u64> {
        let status = fs::read_to_string(self.0.join("status")).ok()?;
        kibibytes(&status, "VmRSS:")
    }

    pub(super) fn memory(&self) -> Option<Memory> {
        Some(Memory {
            rss: self.memory_quickly()?,
            pss: fs::read_to_string(self.0.join("smaps_rollup"))
                .ok()
                .and_then(|text| kibibytes(&text, "Pss:")),
        })
    }
}

impl CpuTime {
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            total: self.total - earlier.total,
            user: self.user - earlier.user,
            system: self.system - earlier.system,
        }
    }
}

/// Returns user and system time of a `stat` line, in seconds. The name of the process, in
/// parentheses, may have anything in it.
fn ticks(stat: &str) -> Option<(f64, f64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / TICKS_PER_SECOND);
    Some((seconds()?, seconds()?))
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(number * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_a_process_with_a_strange_name_are_found() {
        let stat = "17 (a) b) 1 2 (c) S 1 17 17 0 -1 4194560 100 0 0 0 250 75 0 0 20 0 3 0 1";
        assert_eq!(ticks(stat), Some((2.5, 0.75)));
        assert_eq!(ticks("17"), None);
    }

    #[test]
    fn memory_is_told_in_kibibytes() {
        let status = "Name:\tx\nVmHWM:\t  9 kB\nVmRSS:\t    1736 kB\n";
        assert_eq!(kibibytes(status, "VmRSS:"), Some(1736 * 1024));
        assert_eq!(kibibytes(status, "Pss:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_time_and_memory() {
        let own = Process::own();
        assert!(own.is_there());
        assert!(own.cpu_time().unwrap().total >= 0.0);
        assert!(own.memory().unwrap().rss > 0);
    }
}
