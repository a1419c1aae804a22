//! What a worker is made of.

use std::{fmt, time::Duration};

use mqttstack_limits::BrokerLimits;

use super::{Access, AllowAll, Directory, Durability, WorkerId};

/// What a core is made of.
#[non_exhaustive]
pub struct Settings {
    /// Which of the workers it is.
    pub worker: WorkerId,
    /// What all clients together may use.
    pub limits: BrokerLimits,
    /// What the workers share.
    pub directory: Directory,
    /// Who may do what.
    pub access: Box<dyn Access>,
    /// Gives a number that nobody can guess, for each Client Identifier that the broker chooses.
    pub unguessable: Box<dyn FnMut() -> u128 + Send>,
    /// How often the first worker publishes the state of the broker below `$SYS`, once
    /// [`Core::start_status`](super::Core::start_status) was called; zero is never.
    pub status_interval: Duration,
    /// Whether 3.x clients may say that they are bridges (bit 0x80 of the protocol level), and get
    /// No Local and Retain As Published for it. A claim that anyone can make.
    pub accept_bridges: bool,
    /// When a message counts as safe.
    pub durability: Durability,
}

impl Settings {
    /// Creates the settings of a worker that lets everybody do everything, within the limits that
    /// are the defaults.
    #[must_use]
    pub fn new(
        worker: WorkerId,
        directory: Directory,
        unguessable: impl FnMut() -> u128 + Send + 'static,
    ) -> Self {
        Self {
            worker,
            limits: BrokerLimits::default(),
            directory,
            access: Box::new(AllowAll),
            unguessable: Box::new(unguessable),
            status_interval: Duration::ZERO,
            accept_bridges: false,
            durability: Durability::Memory,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("worker", &self.worker)
            .field("limits", &self.limits)
            .field("accept_bridges", &self.accept_bridges)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}
