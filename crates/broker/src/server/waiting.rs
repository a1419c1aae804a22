//! The links of a worker that have not been accepted, oldest first: those give way when there is no
//! room for another.

use std::{
    collections::BTreeMap,
    ptr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use mqttstack_transport::Token;

use super::{listener::Terms, permit::PendingPermit};

/// How many links wait in all workers. Those are among them that the core is done with, such as one
/// whose handshake failed: until its peer has read why, it holds memory and a descriptor.
#[derive(Debug)]
pub(super) struct WaitingRoom {
    taken: AtomicU32,
    maximum: u32,
    /// How many a worker may have whatever the others have: only its own can give way to its own.
    part: u32,
}

/// Who waits, by age.
#[derive(Debug)]
pub(super) struct Waiting {
    room: Arc<WaitingRoom>,
    begun: u64,
    all: BTreeMap<Age, Token>,
    /// Those of listeners that take only so many connections, by listener and age.
    of_listeners: BTreeMap<(ListenerKey, Age), Token>,
}

/// The place of one link, which leaves when it is accepted or gone.
#[derive(Debug)]
pub(super) struct Place {
    age: Age,
    listener: Option<ListenerKey>,
    /// Its share of what one address may have waiting.
    pub(super) counted: Option<PendingPermit>,
    /// Whether it is known whom the proxy that opened it speaks for.
    pub(super) is_named: bool,
    /// Whether it has sent anything.
    pub(super) has_begun: bool,
}

/// When a link came, as a number: the lower, the earlier.
type Age = u64;
/// Where the terms of a listener are; its links keep them there.
type ListenerKey = usize;

impl WaitingRoom {
    pub(super) fn new(maximum: u32, workers: u8) -> Arc<Self> {
        Arc::new(Self {
            taken: AtomicU32::new(0),
            maximum,
            part: maximum.div_ceil(u32::from(workers.max(1))),
        })
    }
}

impl Waiting {
    pub(super) fn new(room: Arc<WaitingRoom>) -> Self {
        Self {
            room,
            begun: 0,
            all: BTreeMap::new(),
            of_listeners: BTreeMap::new(),
        }
    }

    /// Gives a link that has just come its place.
    pub(super) fn enter(
        &mut self,
        token: Token,
        terms: &Arc<Terms>,
        counted: Option<PendingPermit>,
    ) -> Box<Place> {
        let age = self.begun;
        self.begun = self.begun.wrapping_add(1);
        self.all.insert(age, token);
        self.room.taken.fetch_add(1, Ordering::Relaxed);
        let listener = terms.gate.as_ref().map(|_| key(terms));
        if let Some(listener) = listener {
            self.of_listeners.insert((listener, age), token);
        }
        Box::new(Place {
            age,
            listener,
            counted,
            is_named: false,
            has_begun: false,
        })
    }

    /// A link waits no longer.
    pub(super) fn leave(&mut self, place: &Place) {
        if self.all.remove(&place.age).is_some() {
            self.room.taken.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(listener) = place.listener {
            self.of_listeners.remove(&(listener, place.age));
        }
    }

    /// Returns whether one of these has to give way before another may come.
    pub(super) fn is_full(&self) -> bool {
        let own = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        let taken = self.room.taken.load(Ordering::Relaxed);
        taken >= self.room.maximum && own >= self.room.part
    }

    /// Returns the link that has waited longest.
    pub(super) fn oldest(&self) -> Option<Token> {
        self.all.first_key_value().map(|(_, token)| *token)
    }

    /// Returns the link of a listener that has waited longest, if the listener takes only so many.
    pub(super) fn oldest_of(&self, terms: &Terms) -> Option<Token> {
        let of_listener = (key(terms), 0)..=(key(terms), Age::MAX);
        let mut waiting = self.of_listeners.range(of_listener);
        waiting.next().map(|(_, token)| *token)
    }
}

impl Place {
    /// Returns whether it counts among those of its address.
    pub(super) fn is_counted(&self) -> bool {
        self.counted.is_some()
    }
}

fn key(terms: &Terms) -> ListenerKey {
    ptr::from_ref(terms).addr()
}
