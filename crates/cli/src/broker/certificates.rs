//! Certificates, keys, authorities and revocation lists that are replaced while the broker runs.

use std::{
    fs, io,
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError},
    thread,
    time::{Duration, SystemTime},
};

use mqttstack_broker::transport::TlsServer;

/// The TLS of all listeners, and what its files looked like.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    listeners: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    listener: String,
    server: TlsServer,
    /// What the files looked like when they were last read.
    read: Vec<Stamp>,
    /// What they looked like at the last look.
    seen: Vec<Stamp>,
}

/// What changes when a file is written or replaced. `None` for a file that is not there.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Stamp {
    path: PathBuf,
    state: Option<(Option<SystemTime>, u64, u64)>,
}

impl Certificates {
    /// Adds what a listener uses; its files have just been read.
    pub(super) fn add(&mut self, listener: String, server: TlsServer) {
        let read = stamps(&server);
        self.listeners.push(Watched {
            listener,
            server,
            seen: read.clone(),
            read,
        });
    }

    /// Starts a thread that reads the files again when it is told to, and when they have changed,
    /// which it looks for in this interval.
    pub(super) fn watch(
        mut self,
        interval: Option<Duration>,
        orders: Receiver<()>,
    ) -> io::Result<()> {
        let run = move || {
            loop {
                let order = match interval {
                    Some(interval) => orders.recv_timeout(interval),
                    None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                };
                match order {
                    Ok(()) => self.reload(),
                    Err(RecvTimeoutError::Timeout) => self.look(),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        let thread = thread::Builder::new().name("certificates".to_owned());
        thread.spawn(run).map(drop)
    }

    /// Reads all files again.
    fn reload(&mut self) {
        if self.listeners.is_empty() {
            tracing::info!("there are no certificates to reload");
        }
        for watched in &mut self.listeners {
            watched.seen = stamps(&watched.server);
            watched.reload();
        }
    }

    /// Reads the files of a listener again if they have changed, and have kept still for an
    /// interval: they are replaced one by one, and only together do they fit.
    fn look(&mut self) {
        for watched in &mut self.listeners {
            let seen = stamps(&watched.server);
            let is_still = seen == watched.seen;
            watched.seen = seen;
            if is_still && watched.seen != watched.read {
                watched.reload();
            }
        }
    }
}

impl Watched {
    fn reload(&mut self) {
        let listener = &self.listener;
        match self.server.reload() {
            Ok(()) => tracing::info!(%listener, "certificates reloaded, for new connections"),
            Err(error) => {
                tracing::error!(%listener, %error, "certificates not reloaded: those before stay in force");
            }
        }
        // What is broken is tried again when it has changed, not over and over.
        self.read.clone_from(&self.seen);
    }
}

fn stamps(server: &TlsServer) -> Vec<Stamp> {
    let stamp = |path: PathBuf| {
        let state = fs::metadata(&path).ok();
        let state = state.map(|at| (at.modified().ok(), at.len(), inode(&at)));
        Stamp { path, state }
    };
    server.files().into_iter().map(stamp).collect()
}

#[cfg(unix)]
fn inode(at: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(at)
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> u64 {
    0
}
