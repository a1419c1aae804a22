//! The workers of one broker, and the mail between them.

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use mqttstack_broker::core::{
    Core, Directory, Durability, Outlet, Settings, WorkerId, WorkerMessage,
};
use mqttstack_limits::{Instant, Limits};
use mqttstack_session::journal::Recovered;

use crate::Chance;

/// The workers of a broker: cores that share a directory and write letters to one another.
#[derive(Debug)]
pub struct Hub {
    pub(crate) cores: Vec<Core>,
    directory: Directory,
    pub(crate) limits: Arc<Limits>,
    durability: Durability,
    delay: Range<Duration>,
    chance: Chance,
    /// Letters by arrival, then in the order in which they were sent.
    mail: BTreeMap<(Instant, u64), (WorkerId, WorkerMessage)>,
    letters: u64,
    /// When the last letter of one worker to another arrives: they keep their order.
    last: BTreeMap<(WorkerId, WorkerId), Instant>,
}

impl Hub {
    /// Creates a broker of so many workers, whose mail takes `delay`.
    #[must_use]
    pub fn new(
        workers: u8,
        limits: Limits,
        durability: Durability,
        delay: Range<Duration>,
        mut chance: Chance,
    ) -> Self {
        let (directory, cores) = begin(workers, durability, &mut chance);
        Self {
            cores,
            directory,
            limits: Arc::new(limits),
            durability,
            delay,
            chance,
            mail: BTreeMap::new(),
            letters: 0,
            last: BTreeMap::new(),
        }
    }

    /// The broker begins anew with what its store has kept: sessions are dealt out to the workers,
    /// letters are gone.
    pub(crate) fn restart(&mut self, recovered: &Recovered, now: Instant) {
        let workers = u8::try_from(self.cores.len()).unwrap_or(u8::MAX);
        (self.directory, self.cores) = begin(workers, self.durability, &mut self.chance);
        self.mail.clear();
        self.last.clear();
        for (message, _) in &recovered.retained {
            if let Some(core) = self.cores.first_mut() {
                core.restore_retained(message, now);
            }
        }
        for (number, record) in &recovered.sessions {
            let worker = self.chance.index(self.cores.len());
            if let Some(core) = self.cores.get_mut(worker) {
                core.restore(*number, record.clone(), Arc::clone(&self.limits), now);
            }
        }
    }

    /// Returns what the workers share.
    #[must_use]
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Returns the workers.
    #[must_use]
    pub fn cores(&self) -> &[Core] {
        &self.cores
    }

    /// Returns whether no letter is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.mail.is_empty()
    }

    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.mail.keys().next().map(|(at, _)| *at)
    }

    pub(crate) fn post(
        &mut self,
        from: WorkerId,
        to: WorkerId,
        message: WorkerMessage,
        now: Instant,
    ) {
        let last = self.last.entry((from, to)).or_insert(now);
        *last = (now + self.chance.between(&self.delay)).max(*last);
        self.letters += 1;
        self.mail.insert((*last, self.letters), (to, message));
    }

    pub(crate) fn deliver_mail(&mut self, now: Instant) {
        if let Some((_, (to, message))) = self.mail.pop_first()
            && let Some(core) = self.cores.get_mut(usize::from(to.index()))
        {
            core.handle_worker_message(message, now);
        }
    }
}

fn begin(workers: u8, durability: Durability, chance: &mut Chance) -> (Directory, Vec<Core>) {
    let directory = Directory::new(chance.next());
    let core = |index| {
        let mut numbers = u128::from(index) << 64;
        let unguessable = move || {
            numbers += 1;
            numbers
        };
        let worker = WorkerId::new(index);
        let mut settings = Settings::new(worker, directory.clone(), unguessable);
        settings.durability = durability;
        Core::new(settings)
    };
    let cores = (0..workers).map(core).collect();
    (directory, cores)
}

/// Where a core puts what one connection sends.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) waiting: usize,
    pub(crate) bytes: BytesMut,
}

impl Outlet for Output {
    fn waiting(&self) -> usize {
        self.waiting + self.bytes.len()
    }

    fn buffer(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    fn append_shared(&mut self, payload: Bytes) {
        self.bytes.extend_from_slice(&payload);
    }
}
