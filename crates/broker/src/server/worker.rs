//! A worker: one thread that runs a core over its own sockets.

mod accept;
mod read;

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mqttstack_limits::Instant;
use mqttstack_transport::{Event, Events, Listener, Poller, SpareBuffer, Token, TokenMap};

use super::{
    clock::Clock,
    link::{Link, LinkPhase},
    listener::{Opened, Terms},
    log::{self, AcceptLog, StrangerLog},
    mail::{Colleague, Inbox, Mail},
    permit::{Gate, PendingByAddress},
    resolver::Answers,
    waiting::{Waiting, WaitingRoom},
};
use crate::core::{Core, Drained};

/// How many bytes one read takes.
const READ_BYTES: usize = 128 * 1024;
/// After so many bytes of large packets, what came of them is written before more is read: it is still
/// in the caches, and so is its memory when the next packets take it.
const IN_PLACE_FLUSH_BYTES: usize = 256 * 1024;
/// How many bytes are written to one connection before the others have their turn.
const WRITE_BUDGET_BYTES: usize = 1024 * 1024;
/// How long the last bytes of a connection may take, and how long its peer's end is awaited.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for room in the inbox of another worker.
const CONGESTION_PAUSE: Duration = Duration::from_millis(1);
/// How often memory is given back that has not been needed meanwhile.
const REST_INTERVAL: Duration = Duration::from_secs(5);
/// How long connections may take to end when the broker shuts down.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the peers' ends are awaited once everything is written.
const SHUTDOWN_LINGER: Duration = Duration::from_millis(250);

/// What a worker is made of.
pub(super) struct Parts {
    pub(super) core: Core,
    pub(super) poller: Poller,
    pub(super) clock: Clock,
    pub(super) listeners: Vec<Opened>,
    pub(super) gate: Arc<Gate>,
    pub(super) pending: Arc<PendingByAddress>,
    pub(super) waiting_room: Arc<WaitingRoom>,
    pub(super) inbox: Inbox,
    pub(super) answers: Answers,
    /// All workers, by number.
    pub(super) peers: Vec<Colleague>,
    pub(super) stop: Arc<AtomicBool>,
}

/// A thread's event loop.
pub(super) struct Worker {
    core: Core,
    poller: Poller,
    clock: Clock,
    mail: Mail,
    /// What the program around the broker answers later.
    answers: Answers,
    /// Counts the transports of all workers.
    gate: Arc<Gate>,
    /// Counts those of each address that have not been accepted, for all workers.
    pending: Arc<PendingByAddress>,
    /// Its links that have not been accepted, those that are being refused among them.
    waiting: Waiting,
    stop: Arc<AtomicBool>,
    sources: TokenMap<Source>,
    /// Sources that were left before they would block.
    ready: VecDeque<Token>,
    /// When links that are closing, and listeners that had to wait, are looked at again. A link has
    /// one entry here, which stays until its time even when the link is gone before: at most as many
    /// as close in the time that closing takes.
    deadlines: BTreeSet<(Instant, Token)>,
    /// When memory is given back that has not been needed; `None` when there is none.
    rest_at: Option<Instant>,
    /// When the worker is done, whatever is still open.
    done_at: Option<Instant>,
    /// Whether, in a shutdown, every last packet has been written.
    is_written: bool,
    /// What makes it pointless to go on.
    failure: Option<io::Error>,
    accept_log: AcceptLog,
    stranger_log: StrangerLog,
    buffer: Box<[u8]>,
    /// Memory for large packets that may follow the one that is being read; empty between reads.
    ahead: Vec<Box<[u8]>>,
    /// How many bytes of large packets have been read since the last flush.
    unflushed: usize,
    /// Memory for output, used in turn.
    spare: SpareBuffer,
}

enum Source {
    Listener(Box<ListenerSource>),
    Link(Link),
}

struct ListenerSource {
    listener: Box<dyn Listener>,
    terms: Arc<Terms>,
    is_ready: bool,
}

impl Worker {
    pub(super) fn new(parts: Parts) -> io::Result<Self> {
        // The gate is what bounds them, for all workers together.
        let mut sources = TokenMap::new(TokenMap::<Source>::LEN_MAX);
        for Opened { listener, terms } in parts.listeners {
            let source = Source::Listener(Box::new(ListenerSource {
                listener,
                terms,
                is_ready: false,
            }));
            let Ok(token) = sources.insert(source) else {
                continue;
            };
            if let Some(Source::Listener(source)) = sources.get_mut(token) {
                parts
                    .poller
                    .register_readable(token, source.listener.source())?;
            }
        }
        Ok(Self {
            core: parts.core,
            poller: parts.poller,
            clock: parts.clock,
            mail: Mail::new(parts.inbox, &parts.peers),
            answers: parts.answers,
            gate: parts.gate,
            pending: parts.pending,
            waiting: Waiting::new(parts.waiting_room),
            stop: parts.stop,
            sources,
            ready: VecDeque::new(),
            deadlines: BTreeSet::new(),
            rest_at: None,
            done_at: None,
            is_written: false,
            failure: None,
            accept_log: AcceptLog::default(),
            stranger_log: StrangerLog::default(),
            buffer: vec![0; READ_BYTES].into(),
            ahead: Vec::new(),
            unflushed: 0,
            spare: SpareBuffer::default(),
        })
    }

    /// Runs until the broker is told to stop and the connections have ended.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::new();
        loop {
            self.poller.wait(&mut events, self.time_to_sleep())?;
            let now = self.clock.now();
            if self.stop.load(Ordering::Acquire) && self.done_at.is_none() {
                self.begin_shutdown(now);
            }
            self.answers.deliver(&mut self.core, now);
            self.mail.begin_turn();
            while let Some(message) = self.mail.receive() {
                self.core.handle_worker_message(message, now);
            }
            let left_over = self.ready.len();
            for event in events.iter() {
                self.on_event(event, now);
                self.flush_large(now);
            }
            for _ in 0..left_over {
                let Some(token) = self.ready.pop_front() else {
                    break;
                };
                self.on_ready(token, now);
                self.flush_large(now);
            }
            self.core.handle_timeout(now);
            self.on_deadlines(now);
            self.flush(now);
            self.pass_on(now);
            self.rest(now);
            self.stranger_log.handle_timeout(now);
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            self.shorten_shutdown(now);
            if self.is_done(now) {
                self.stranger_log.finish();
                return Ok(());
            }
        }
    }

    fn time_to_sleep(&self) -> Option<Duration> {
        /// What makes up for a clock that is finer than the system's sleep: a poll that ends a
        /// moment too early would spin.
        const ROUND_UP: Duration = Duration::from_micros(999);
        if self.mail.is_congested() {
            return Some(CONGESTION_PAUSE);
        }
        if !self.ready.is_empty() || self.mail.has_more() {
            return Some(Duration::ZERO);
        }
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let to_tell = self.stranger_log.poll_timeout();
        let core = self.core.poll_timeout();
        let next = [core, deadline, to_tell, self.rest_at, self.done_at]
            .into_iter()
            .flatten()
            .min()?;
        let sleep = next - self.clock.now();
        Some(if sleep.is_zero() {
            sleep
        } else {
            sleep.saturating_add(ROUND_UP)
        })
    }

    /// Gives memory back at intervals, as long as there is some to be given back.
    fn rest(&mut self, now: Instant) {
        let rest_at = *self.rest_at.get_or_insert(now + REST_INTERVAL);
        if now < rest_at {
            return;
        }
        if self.ready.is_empty() {
            self.ready = VecDeque::new();
        }
        self.rest_at = self.core.rest().then_some(now + REST_INTERVAL);
    }

    fn begin_shutdown(&mut self, now: Instant) {
        let is_listener = |source: &Source| matches!(source, Source::Listener(_));
        let listeners: Vec<Token> = self
            .sources
            .iter()
            .filter_map(|(token, source)| is_listener(source).then_some(token))
            .collect();
        for token in listeners {
            self.sources.remove(token);
        }
        self.done_at = Some(now + SHUTDOWN_TIMEOUT);
        self.core.shut_down(now);
    }

    /// When everything is written, there is little left to wait for.
    fn shorten_shutdown(&mut self, now: Instant) {
        let Some(done_at) = self.done_at.filter(|_| !self.is_written) else {
            return;
        };
        self.is_written = self.sources.iter().all(|(_, source)| match source {
            Source::Link(link) => link.phase == LinkPhase::Lingering,
            Source::Listener(_) => true,
        });
        if self.is_written {
            self.done_at = Some(done_at.min(now + SHUTDOWN_LINGER));
        }
    }

    fn is_done(&self, now: Instant) -> bool {
        self.done_at
            .is_some_and(|at| at <= now || self.sources.is_empty())
    }

    fn on_event(&mut self, event: Event, now: Instant) {
        let token = event.token;
        match self.sources.get_mut(token) {
            Some(Source::Listener(_)) => self.accept(token, now),
            Some(Source::Link(link)) => {
                link.is_readable |= event.is_readable;
                link.is_ending |= event.is_ending;
                if link.phase == LinkPhase::Opening {
                    self.open(token, now);
                }
                if event.is_writable {
                    self.on_writable(token, now);
                }
                self.read(token, now);
            }
            None => {}
        }
    }

    /// Comes back to a source that was left before it would block.
    fn on_ready(&mut self, token: Token, now: Instant) {
        match self.sources.get_mut(token) {
            Some(Source::Listener(source)) => {
                source.is_ready = false;
                self.accept(token, now);
            }
            Some(Source::Link(link)) => {
                link.is_ready = false;
                if std::mem::take(&mut link.has_more) {
                    self.write(token, now);
                }
                self.read(token, now);
            }
            None => {}
        }
    }

    fn on_deadlines(&mut self, now: Instant) {
        while let Some((at, token)) = self.deadlines.first().copied() {
            if at > now {
                return;
            }
            self.deadlines.pop_first();
            match self.sources.get(token) {
                Some(Source::Listener(_)) => self.accept(token, now),
                Some(Source::Link(link)) => match link.phase {
                    LinkPhase::Flushing | LinkPhase::Lingering if link.until <= now => {
                        self.remove_link(token);
                    }
                    LinkPhase::Opening
                    | LinkPhase::Open
                    | LinkPhase::Flushing
                    | LinkPhase::Lingering => {}
                },
                None => {}
            }
        }
    }

    fn on_writable(&mut self, token: Token, now: Instant) {
        let Some(Source::Link(link)) = self.sources.get_mut(token) else {
            return;
        };
        if link.has_output() {
            self.write(token, now);
        }
    }

    /// The peer will send nothing more: it gets what is ready for it, and that is the end.
    fn on_peer_end(&mut self, token: Token, now: Instant) {
        let Some(Source::Link(link)) = self.sources.get_mut(token) else {
            return;
        };
        if link.phase == LinkPhase::Open {
            let _ = self
                .core
                .drain(link.id, now, &mut link.outlet(&mut self.spare));
            // Whether the peer still takes it changes nothing any more.
            let _ = link.flush();
        }
        self.drop_link(token, now);
    }

    fn drop_link(&mut self, token: Token, now: Instant) {
        if let Some(link) = self.remove_link(token) {
            self.core.handle_closed(link.id, now);
        }
    }

    /// Takes a link out of everything that knows of it here.
    fn remove_link(&mut self, token: Token) -> Option<Link> {
        let Some(Source::Link(mut link)) = self.sources.remove(token) else {
            return None;
        };
        if let Some(place) = link.place.take() {
            self.waiting.leave(&place);
        }
        Some(link)
    }

    /// Writes what large packets came to before the turn ends.
    fn flush_large(&mut self, now: Instant) {
        if self.unflushed >= IN_PLACE_FLUSH_BYTES {
            self.flush(now);
        }
    }

    /// Writes once for each connection that has something to send.
    fn flush(&mut self, now: Instant) {
        self.unflushed = 0;
        while let Some((_, handle)) = self.core.poll_dirty() {
            self.write(Token::from_u64(handle), now);
        }
    }

    /// Encodes and writes until there is nothing left, the transport takes no more, or the budget
    /// is spent.
    fn write(&mut self, token: Token, now: Instant) {
        let mut budget = WRITE_BUDGET_BYTES;
        loop {
            let Some(Source::Link(link)) = self.sources.get_mut(token) else {
                return;
            };
            if let Some(place) = link.place.take_if(|_| self.core.is_accepted(link.id)) {
                self.waiting.leave(&place);
                // From now on the core is asked.
                link.stream.forget_peer();
            }
            let drained = match link.phase {
                LinkPhase::Open => self
                    .core
                    .drain(link.id, now, &mut link.outlet(&mut self.spare)),
                // A peer that never got to speak has nothing to be told.
                LinkPhase::Opening if self.core.is_over(link.id) => {
                    return self.drop_link(token, now);
                }
                LinkPhase::Opening | LinkPhase::Lingering => return,
                LinkPhase::Flushing => Drained::Close,
            };
            let Ok(progress) = link.flush_some(budget, &mut self.spare) else {
                return self.drop_link(token, now);
            };
            budget = budget.saturating_sub(progress.written);
            let id = link.id;
            self.core.handle_output(id, link.output_len());
            // An event follows when there is room.
            let is_blocked = progress.is_blocked;
            let is_spent = budget == 0 && (drained == Drained::Full || link.has_output());
            if !is_blocked && (is_spent || drained == Drained::More) {
                self.come_back(token);
            }
            match drained {
                Drained::Close => return self.close(token, is_blocked || is_spent, now),
                Drained::Empty | Drained::More if !is_blocked => return self.resume(token),
                Drained::Full if !is_blocked && !is_spent => self.core.handle_writable(id, now),
                Drained::Empty | Drained::More | Drained::Full => return,
            }
        }
    }

    /// Goes on writing to a connection when the others have had their turn.
    fn come_back(&mut self, token: Token) {
        let Some(Source::Link(link)) = self.sources.get_mut(token) else {
            return;
        };
        link.has_more = true;
        if !std::mem::replace(&mut link.is_ready, true) {
            self.ready.push_back(token);
        }
    }

    /// Goes on reading from a connection that was paused.
    fn resume(&mut self, token: Token) {
        let Some(Source::Link(link)) = self.sources.get_mut(token) else {
            return;
        };
        let may_read = link.is_readable && !link.is_ready && !self.core.is_paused(link.id);
        if may_read && link.phase == LinkPhase::Open {
            link.is_ready = true;
            self.ready.push_back(token);
        }
    }

    /// Ends a connection that the core is done with: what is left is written, then the end is
    /// announced, then the peer's end is awaited.
    fn close(&mut self, token: Token, is_unwritten: bool, now: Instant) {
        let Some(Source::Link(link)) = self.sources.get_mut(token) else {
            return;
        };
        // Who has said good-bye waits for nothing.
        if self.core.has_left(link.id) && link.stream.is_bare() && !is_unwritten {
            return self.drop_link(token, now);
        }
        match link.phase {
            LinkPhase::Opening | LinkPhase::Open => {
                link.until = now + CLOSE_TIMEOUT;
                link.phase = LinkPhase::Flushing;
                self.deadlines.insert((link.until, token));
                self.core.handle_closed(link.id, now);
            }
            // Nothing moves the deadline: it is all that ends a link whose peer stays.
            LinkPhase::Flushing | LinkPhase::Lingering => {}
        }
        if is_unwritten {
            return;
        }
        match link.stream.shutdown() {
            Ok(()) => {
                link.phase = LinkPhase::Lingering;
                if !std::mem::replace(&mut link.is_ready, true) {
                    self.ready.push_back(token);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => {
                self.remove_link(token);
            }
        }
    }

    /// Ends a connection whose peer broke the rules of a layer: the layer has an answer for it, an
    /// alert, a status or a close frame, and no reset is to overtake that.
    fn fail(&mut self, token: Token, now: Instant) {
        if let Some(Source::Link(link)) = self.sources.get_mut(token) {
            link.has_failed = true;
            self.close(token, false, now);
        }
    }

    /// Hands messages to other workers, and notices to the log.
    fn pass_on(&mut self, now: Instant) {
        while let Some((worker, message)) = self.core.poll_worker_message() {
            self.mail.send(worker, message);
        }
        self.mail.deliver();
        while let Some(notice) = self.core.poll_notice() {
            log::notice(&notice, &mut self.stranger_log, now);
        }
    }
}
