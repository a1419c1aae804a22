//! The broker under test: started for one scenario, watched, and stopped as an operator would.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::way::{Doors, Way};
use crate::clock::Deadline;
use crate::process::{Guarded, lines};

const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(20);
const LOG_LINES_SHOWN: usize = 40;

/// Which broker the scenarios run against.
#[derive(Clone, Debug)]
pub(crate) enum Against {
    /// The project's binary at this path.
    Mqttstack(PathBuf),
    /// A mosquitto from the system: a check of the scenarios themselves.
    Mosquitto,
}

/// What a scenario asks of its broker, apart from the defaults.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    /// The largest packet of an accepted client, in bytes.
    pub(crate) packet_size_max: Option<usize>,
    /// Listens in every way there is, beside plain TCP.
    pub(crate) listens_in_all_ways: bool,
}

/// A running broker on a loopback port of its own; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Broker {
    process: Guarded,
    address: SocketAddr,
    doors: Option<Doors>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Broker {
    /// Starts a broker and waits until it listens. `folder` is scratch space.
    pub(crate) fn start(against: &Against, folder: &Path, settings: Settings) -> Result<Self> {
        match against {
            Against::Mqttstack(binary) => Self::start_mqttstack(binary, folder, settings),
            Against::Mosquitto => Self::start_mosquitto(folder, settings),
        }
    }

    fn start_mqttstack(binary: &Path, folder: &Path, settings: Settings) -> Result<Self> {
        let mut command = Command::new(binary);
        command.arg("broker").current_dir(folder);
        let doors = settings.doors(folder)?;
        match &doors {
            None => command.args(["--listen", "127.0.0.1:0"]),
            Some(doors) => {
                let file = folder.join("mqttstack.toml");
                fs::write(&file, doors.mqttstack()?)?;
                command.arg("--config").arg(file)
            }
        };
        if let Some(bytes) = settings.packet_size_max {
            command.env("MQTTSTACK_LIMITS__PACKET_SIZE_MAX", format!("{bytes}B"));
        }
        let (process, log) = spawn(&mut command)?;
        let deadline = Deadline::after(START);
        loop {
            let lines = log_lines(&log);
            // The address of plain TCP is the last one where there are several.
            let is_announced = |address: &SocketAddr| match &doors {
                Some(doors) => doors.port(Way::Tcp).ok() == Some(address.port()),
                None => true,
            };
            let address = lines
                .iter()
                .filter_map(|line| announced(line))
                .find(is_announced);
            if let Some(address) = address {
                return Ok(Self {
                    process,
                    address,
                    doors,
                    log,
                });
            }
            if deadline.remaining().is_none() {
                bail!(
                    "no line with 'listening on 127.0.0.1:PORT' in time:\n{}",
                    tail(&log)
                );
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// mosquitto cannot choose a port itself, so one that was free a moment ago is tried.
    fn start_mosquitto(folder: &Path, settings: Settings) -> Result<Self> {
        let mut log = Arc::default();
        for _attempt in 0..5 {
            let doors = settings.doors(folder)?;
            let port = match &doors {
                Some(doors) => doors.port(Way::Tcp)?,
                None => free_port()?,
            };
            // It opens its listeners one after the other.
            let mut ports = vec![port];
            for way in Way::ALL.into_iter().filter(|way| *way != Way::Unix) {
                if let Some(doors) = &doors {
                    ports.push(doors.port(way)?);
                }
            }
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let is_open = |port: &u16| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok();
            let file = folder.join("mosquitto.conf");
            let mut configuration = String::from(
                "allow_anonymous true\nuser root\nmax_queued_messages 10000\nsys_interval 1\n",
            );
            configuration += &match &doors {
                Some(doors) => doors.mosquitto()?,
                None => format!("listener {port} 127.0.0.1\n"),
            };
            if let Some(bytes) = settings.packet_size_max {
                let _ = writeln!(configuration, "max_packet_size {bytes}");
            }
            fs::write(&file, configuration)?;
            let mut command = Command::new(mosquitto());
            command.arg("-v").arg("-c").arg(&file).current_dir(folder);
            let (mut process, lines) = spawn(&mut command)?;
            let deadline = Deadline::after(START);
            log = lines;
            while deadline.remaining().is_some() && process.try_wait()?.is_none() {
                if ports.iter().all(is_open) {
                    return Ok(Self {
                        process,
                        address,
                        doors,
                        log,
                    });
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        bail!("mosquitto does not start:\n{}", tail(&log))
    }

    pub(crate) const fn doors(&self) -> Option<&Doors> {
        self.doors.as_ref()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends the signal of this name.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        self.process.signal(name)
    }

    /// How much memory of the machine the process holds.
    pub(crate) fn resident_bytes(&self) -> Result<usize> {
        let path = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(&path).context(path)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
        let kibibytes: usize = kibibytes
            .context("no VmRSS in the process status")?
            .parse()?;
        Ok(kibibytes * 1024)
    }

    /// Waits for the end after a signal, which must be a clean one.
    pub(crate) fn wait(&mut self) -> Result<()> {
        let status = self
            .process
            .wait_for(STOP)
            .context("the broker does not stop on a signal")?;
        check_clean(status)
    }

    /// Stops the broker, which must still run and must end cleanly.
    pub(crate) fn stop(&mut self) -> Result<()> {
        if let Some(status) = self.process.try_wait()? {
            bail!("the broker ended during the scenario: {status}");
        }
        self.signal("TERM")?;
        self.wait()
    }

    /// The lines of the log that contain all of `marks`, once there is one.
    pub(crate) fn log_lines_with(&self, marks: &[&str], wait: Duration) -> Vec<String> {
        let deadline = Deadline::after(wait);
        loop {
            let mut lines = log_lines(&self.log);
            lines.retain(|line| marks.iter().all(|mark| line.contains(mark)));
            if !lines.is_empty() || deadline.remaining().is_none() {
                return lines;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The last lines of the broker's log.
    pub(crate) fn log_tail(&self) -> String {
        tail(&self.log)
    }
}

impl Settings {
    fn doors(self, folder: &Path) -> Result<Option<Doors>> {
        self.listens_in_all_ways
            .then(|| Doors::make(folder))
            .transpose()
    }
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// Where a Debian system keeps mosquitto, which is not on every user's path.
pub(crate) fn mosquitto() -> &'static str {
    if Path::new("/usr/sbin/mosquitto").exists() {
        "/usr/sbin/mosquitto"
    } else {
        "mosquitto"
    }
}

fn spawn(command: &mut Command) -> Result<(Guarded, Arc<Mutex<Vec<String>>>)> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut process = Guarded::spawn(command)?;
    let stderr = process
        .stderr
        .take()
        .context("the broker's standard error is not piped")?;
    let receiver = lines(stderr);
    let log = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&log);
    thread::spawn(move || {
        for line in receiver {
            shared
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
        }
    });
    Ok((process, log))
}

fn announced(line: &str) -> Option<SocketAddr> {
    let (_, address) = line.split_once("listening on ")?;
    let end = address.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
    address
        .get(..end.unwrap_or(address.len()))?
        .trim_end_matches(['.', ':'])
        .parse()
        .ok()
}

fn check_clean(status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("the broker did not stop cleanly: {status}");
    }
    Ok(())
}

fn log_lines(log: &Mutex<Vec<String>>) -> Vec<String> {
    log.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn tail(log: &Mutex<Vec<String>>) -> String {
    let lines = log_lines(log);
    lines
        .get(lines.len().saturating_sub(LOG_LINES_SHOWN)..)
        .unwrap_or_default()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::announced;

    #[test]
    fn the_announced_address_is_found_in_a_log_line() {
        let cases = [
            ("listening on 127.0.0.1:1883", Some("127.0.0.1:1883")),
            (
                "2026-01-01T00:00:00Z  INFO listening on 127.0.0.1:40001 (plain)",
                Some("127.0.0.1:40001"),
            ),
            (
                "listening on 127.0.0.1:40001, anonymous",
                Some("127.0.0.1:40001"),
            ),
            ("listening on 127.0.0.1:40001.", Some("127.0.0.1:40001")),
            ("not listening", None),
        ];
        for (line, expected) in cases {
            assert_eq!(
                announced(line),
                expected.and_then(|text| text.parse().ok()),
                "{line}"
            );
        }
    }
}
