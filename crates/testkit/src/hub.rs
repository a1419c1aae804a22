//! The workers of one broker, and the mail between them.

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use mqttstack_broker::core::{Core, Directory, Outlet, Settings, WorkerId, WorkerMessage};
use mqttstack_limits::{Instant, Limits};

use crate::Chance;

/// The workers of a broker: cores that share a directory and write letters to one another.
#[derive(Debug)]
pub struct Hub {
    pub(crate) cores: Vec<Core>,
    directory: Directory,
    pub(crate) limits: Arc<Limits>,
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
    pub fn new(workers: u8, limits: Limits, delay: Range<Duration>, mut chance: Chance) -> Self {
        let directory = Directory::new(chance.next());
        let core = |index| {
            let mut numbers = u128::from(index) << 64;
            let unguessable = move || {
                numbers += 1;
                numbers
            };
            let worker = WorkerId::new(index);
            Core::new(Settings::new(worker, directory.clone(), unguessable))
        };
        Self {
            cores: (0..workers).map(core).collect(),
            directory: directory.clone(),
            limits: Arc::new(limits),
            delay,
            chance,
            mail: BTreeMap::new(),
            letters: 0,
            last: BTreeMap::new(),
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
