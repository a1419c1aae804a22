//! What a scenario finds when it starts: a broker, scratch space, and the test programs.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::broker::{Against, Broker, Settings};
use super::runner::Ground;
use super::way::{Door, Doors, Way};
use super::wire::{Hello, Wire};
use super::{Version, WAIT};

/// A broker of its own and a folder of its own for one scenario.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    ground: Ground<'a>,
    against: &'a Against,
    broker: Broker,
    folder: PathBuf,
    is_stopped: bool,
}

impl<'a> Stage<'a> {
    /// Starts a broker in the fresh folder `name` of the target directory.
    pub(crate) fn set(
        ground: Ground<'a>,
        against: &'a Against,
        settings: Settings,
        name: &str,
    ) -> Result<Self> {
        let folder = ground.project.target().join("interop").join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).context("clearing the scratch folder")?;
        }
        fs::create_dir_all(&folder).context("making the scratch folder")?;
        let broker = Broker::start(against, &folder, settings)?;
        Ok(Self {
            ground,
            against,
            broker,
            folder,
            is_stopped: false,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.broker.address()
    }

    /// Where the broker listens, if it was asked to listen in every way.
    pub(crate) fn doors(&self) -> Result<&Doors> {
        self.broker
            .doors()
            .context("the broker has one listener only")
    }

    /// How a client gets in.
    pub(crate) fn door(&self, way: Way) -> Result<Door> {
        match self.broker.doors() {
            Some(doors) => doors.door(way),
            None => {
                ensure!(way == Way::Tcp, "the broker does not listen for {way}");
                let address = self.address();
                Ok(Door::plain(address.ip().to_string(), address.port()))
            }
        }
    }

    /// The project's binary.
    pub(crate) fn binary(&self) -> &Path {
        self.ground.binary
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn programs(&self) -> PathBuf {
        self.ground.project.interop_programs()
    }

    pub(crate) fn installed(&self) -> PathBuf {
        self.ground.project.interop_installed()
    }

    /// Whether the project's own broker is on stage, from which more is demanded.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.against, Against::Mqttstack(_))
    }

    /// Sends a signal that ends the broker; [`Self::await_stopped`] waits for that.
    pub(crate) fn stop_by_signal(&mut self, name: &str) -> Result<()> {
        self.is_stopped = true;
        self.broker.signal(name)
    }

    /// How much memory of the machine the broker holds.
    pub(crate) fn broker_resident_bytes(&self) -> Result<usize> {
        self.broker.resident_bytes()
    }

    /// Waits for a clean end after [`Self::stop_by_signal`].
    pub(crate) fn await_stopped(&mut self) -> Result<()> {
        self.broker.wait()
    }

    /// Checks that our broker has said once, with a reason, that it ended a connection.
    ///
    /// `peer` is the client's end of the connection.
    pub(crate) fn check_logged(&self, peer: SocketAddr) -> Result<()> {
        if self.is_ours() {
            let marks = [&*format!("peer={peer} "), "reason="];
            let lines = self.broker.log_lines_with(&marks, WAIT);
            ensure!(
                lines.len() == 1,
                "the log has {} lines on the end of {peer}",
                lines.len()
            );
        }
        Ok(())
    }

    /// A raw connection with a clean session.
    pub(crate) fn wire(&self, version: Version, client_id: &str) -> Result<Wire> {
        Wire::connected(self.address(), version, client_id)
            .with_context(|| format!("raw {version} client {client_id}"))
    }

    /// A raw connection, and its CONNACK.
    pub(crate) fn hello(&self, hello: &Hello<'_>) -> Result<(Wire, Vec<u8>)> {
        Wire::hello(self.address(), hello)
            .with_context(|| format!("raw {} client {}", hello.version, hello.client_id))
    }

    /// Ends the scenario: the broker must still run, and stop cleanly; the folder is removed.
    pub(super) fn strike(mut self) -> Result<()> {
        if !self.is_stopped {
            self.broker.stop()?;
        }
        fs::remove_dir_all(&self.folder).context("removing the scratch folder")
    }

    pub(super) fn log_tail(&self) -> String {
        self.broker.log_tail()
    }
}
