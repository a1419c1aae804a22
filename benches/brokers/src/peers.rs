//! The programs that are compared: how each is configured, started and ended.

use std::{
    fmt, fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

/// What is compared.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
pub(crate) enum Program {
    /// The floor.
    Relay,
    Mqttstack,
    Mosquitto,
    Rumqttd,
}

impl Program {
    pub(crate) const ALL: [Self; 4] =
        [Self::Relay, Self::Mqttstack, Self::Mosquitto, Self::Rumqttd];
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relay => "relay",
            Self::Mqttstack => "mqttstack",
            Self::Mosquitto => "mosquitto",
            Self::Rumqttd => "rumqttd",
        })
    }
}

/// How the relay keeps bytes together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Relaying {
    /// The row says nothing about it.
    Never,
    Bytes,
    Frames,
}

/// Where everything is.
#[derive(Debug)]
pub(crate) struct Paths {
    pub(crate) mqttstack: PathBuf,
    pub(crate) relay: PathBuf,
    pub(crate) mosquitto: PathBuf,
    pub(crate) rumqttd: PathBuf,
    /// For configurations.
    pub(crate) scratch: PathBuf,
}

/// A program that runs; ends with this value.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    pub(crate) port: u16,
}

/// How long a program may take until it listens.
const START_TRIES: u32 = 500;
const START_PAUSE: Duration = Duration::from_millis(10);

impl Peer {
    /// Starts a program on a free port, with limits that let it keep everything.
    pub(crate) fn start(program: Program, relaying: Relaying, paths: &Paths) -> Result<Self> {
        let port = free_port()?;
        let path = paths.scratch.join(format!("{program}.toml"));
        fs::write(&path, configuration(program, port))?;
        let mut command = match program {
            Program::Relay => {
                let mut command = Command::new(&paths.relay);
                command.arg(port.to_string());
                if relaying == Relaying::Frames {
                    command.arg("frames");
                }
                command
            }
            Program::Mqttstack => {
                let mut command = Command::new(&paths.mqttstack);
                command.args(["broker", "--config"]).arg(&path);
                command
            }
            Program::Mosquitto => {
                let mut command = Command::new(&paths.mosquitto);
                command.arg("-c").arg(&path);
                command
            }
            Program::Rumqttd => {
                let mut command = Command::new(&paths.rumqttd);
                command.arg("-q").arg("-c").arg(&path);
                command
            }
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        let peer = Self { child, port };
        for _ in 0..START_TRIES {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                // What it does to begin with is not measured.
                thread::sleep(START_PAUSE * 20);
                return Ok(peer);
            }
            thread::sleep(START_PAUSE);
        }
        bail!("{program} does not listen on port {port}")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail only for a process that is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Limits as high as the scenarios need them: nobody is to lose messages by its defaults. One worker
/// thread of ours, since mosquitto has one.
fn configuration(program: Program, port: u16) -> String {
    match program {
        Program::Relay => String::new(),
        Program::Mqttstack => format!(
            "[[listener]]\naddress = \"127.0.0.1:{port}\"\n\
             [log]\nlevel = \"error\"\n\
             [limits]\ninflight_max = 65535\nreceive_maximum = 65535\n\
             queue_messages_max = 1000000\n\
             [broker]\nworkers = 1\n"
        ),
        Program::Mosquitto => format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n\
             max_inflight_messages 0\nmax_queued_messages 0\nmax_queued_bytes 0\n\
             set_tcp_nodelay true\nlog_type error\n"
        ),
        Program::Rumqttd => format!(
            "id = 0\n[router]\nid = 0\nmax_connections = 20010\nmax_outgoing_packet_count = 200\n\
             max_segment_size = 104857600\nmax_segment_count = 10\n\
             [v4.1]\nname = \"v4-1\"\nlisten = \"127.0.0.1:{port}\"\nnext_connection_delay_ms = 0\n\
             [v4.1.connections]\nconnection_timeout_ms = 60000\nmax_payload_size = 2097152\n\
             max_inflight_count = 100\ndynamic_filters = true\n"
        ),
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
