//! The driver: moves bytes between the core and a transport, and outcomes to those who wait.

mod dispatch;
#[cfg(test)]
mod tests;

use core::{fmt, mem, time::Duration};
use std::{boxed::Box, collections::BTreeMap, io, string::String, sync::Arc, vec};

use mqttstack_codec::{Properties, ReasonCode, Shared as SharedStorage};
use mqttstack_limits::Instant;
use mqttstack_transport::{Events, Poller, Stream, TokenMap, TransportError, Waker};

use super::{
    builder::{AuthHandler, EventHandler},
    clock::Clock,
    error::{ConnectError, OperationError},
    link::{Broken, CLOSE_TIMEOUT, Link, READ_BYTES},
    opening::{Attempt, Opener},
    pending::{Published, ShutdownReport, Slot, Subscribed, Unsubscribed},
    shared::{Control, Shared},
};
use crate::core::{ClientCore, OperationId, TransportRequest};

/// While connected, messages are taken from their publishers only up to these; the publishers wait.
const QUEUED_MESSAGES_MAX: usize = 512;
const QUEUED_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// A connection came or went.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// The server has accepted the connection.
    Connected {
        /// Whether it resumed the session.
        session_present: bool,
        /// The properties of CONNACK.
        properties: Properties<SharedStorage>,
    },
    /// An attempt failed, or the connection is over.
    Disconnected {
        /// Why.
        error: ConnectError,
        /// Whether there was a connection.
        was_connected: bool,
        /// When the next attempt is made; `None` if there is none.
        retry_after: Option<Duration>,
    },
    /// After a reconnect, the server refused a filter that it had granted before.
    SubscriptionLost {
        /// The filter.
        filter: String,
        /// Why; `None` if the request could not even be sent.
        reason_code: Option<ReasonCode>,
    },
}

/// What a [`Driver::step`] came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Step {
    /// Call again.
    Running,
    /// The client has ended.
    Ended,
}

/// Drives a client: does all of its input and output.
///
/// Either [`run`](Self::run) it on a thread, as [`Builder::spawn`](super::Builder::spawn) does, or
/// call [`step`](Self::step) in a loop. Dropping it ends the client without a DISCONNECT, so that
/// the server publishes the will.
pub struct Driver {
    parts: Parts,
    shared: Arc<Shared>,
}

/// What the driver has to itself.
pub(super) struct Parts {
    core: ClientCore,
    clock: Clock,
    poller: Poller,
    events: Events,
    tokens: TokenMap<()>,
    opener: Opener,
    attempt: Option<Attempt>,
    link: Option<Link>,
    scratch: Box<[u8]>,
    waiters: BTreeMap<OperationId, Waiter>,
    open_error: Option<ConnectError>,
    shutdown: Option<Shutdown>,
    /// A disconnect was asked for, or is the consequence of what was.
    is_ending: bool,
    on_event: Option<EventHandler>,
    on_auth: Option<AuthHandler>,
}

struct Shutdown {
    deadline: Instant,
    slot: Option<Arc<Slot<ShutdownReport>>>,
    report: Option<ShutdownReport>,
}

/// Who waits for the outcome of an operation.
enum Waiter {
    Publish(Arc<Slot<Published>>),
    Subscribe(Arc<Slot<Subscribed>>),
    Unsubscribe(Arc<Slot<Unsubscribed>>),
}

impl Parts {
    pub(super) fn into_driver(self, shared: Arc<Shared>) -> Driver {
        Driver {
            parts: self,
            shared,
        }
    }
}

impl Driver {
    pub(super) fn prepare(
        core: ClientCore,
        opener: Opener,
        on_event: Option<EventHandler>,
        on_auth: Option<AuthHandler>,
    ) -> io::Result<(Parts, Waker, Clock)> {
        let poller = Poller::new()?;
        let waker = poller.waker();
        let clock = Clock::new();
        let mut core = core;
        core.connect(clock.now());
        let parts = Parts {
            core,
            clock,
            poller,
            events: Events::with_capacity(16),
            tokens: TokenMap::new(1),
            opener,
            attempt: None,
            link: None,
            scratch: vec![0; READ_BYTES].into(),
            waiters: BTreeMap::new(),
            open_error: None,
            shutdown: None,
            is_ending: false,
            on_event,
            on_auth,
        };
        Ok((parts, waker, clock))
    }

    /// Drives the client until it ends.
    pub fn run(&mut self) {
        while self.step(None) == Step::Running {}
    }

    /// Does what there is to do, waiting for something to happen at most for `timeout`; `None` is
    /// as long as it takes.
    pub fn step(&mut self, timeout: Option<Duration>) -> Step {
        if self.shared.lock().has_ended {
            return Step::Ended;
        }
        self.shared.enter_driver_thread();
        self.turn();
        if self.has_finished() {
            self.finish();
            return Step::Ended;
        }
        self.shared.fall_asleep();
        let wait = self.time_to_wait(timeout);
        // The poller fails only when the system does; then there is nothing to drive with.
        let failed = self
            .parts
            .poller
            .wait(&mut self.parts.events, wait)
            .is_err();
        self.shared.awake();
        if failed {
            self.finish();
            return Step::Ended;
        }
        for event in self.parts.events.iter() {
            if let Some(link) = &mut self.parts.link
                && link.token == event.token
            {
                link.on_event(event.is_readable, event.is_writable);
            }
        }
        self.turn();
        Step::Running
    }

    /// Does everything that can be done without waiting.
    fn turn(&mut self) {
        let now = self.parts.clock.now();
        self.check_dropped();
        self.take_submissions(now);
        self.check_attempt(now);
        self.read(now);
        self.parts.core.handle_timeout(now);
        self.pump(now);
        // Answers may have made room for more.
        self.take_submissions(now);
        self.pump(now);
        self.check_shutdown(now);
        self.pump(now);
        self.close(now);
    }

    fn time_to_wait(&self, timeout: Option<Duration>) -> Option<Duration> {
        let parts = &self.parts;
        let now = parts.clock.now();
        if self.has_work() {
            return Some(Duration::ZERO);
        }
        let link = parts.link.as_ref();
        let closing = link.and_then(|link| link.closing);
        let opening = link.filter(|link| link.is_opening());
        let opening = opening.map(|link| link.opening_until);
        let shutdown = match &parts.shutdown {
            Some(shutdown) if !parts.is_ending => Some(shutdown.deadline),
            _ => None,
        };
        let at = [parts.core.poll_timeout(), opening, closing, shutdown]
            .into_iter()
            .flatten()
            .min();
        let until = at.filter(|at| *at != Instant::NEVER).map(|at| at - now);
        match (until, timeout) {
            (Some(until), Some(timeout)) => Some(until.min(timeout)),
            (until, timeout) => until.or(timeout),
        }
    }

    /// Returns whether the link is to be read from: not while it opens or closes, nor while the
    /// application has more to do than it should.
    fn is_reading(&self) -> bool {
        self.parts.link.as_ref().is_some_and(Link::is_flowing) && !self.is_inbox_full()
    }

    fn is_inbox_full(&self) -> bool {
        self.shared.lock().is_inbox_full(&self.shared.inbox_limits)
    }

    fn may_take_publishes(&self) -> bool {
        let core = &self.parts.core;
        if !core.is_connected() {
            return true;
        }
        let status = core.queue_status();
        status.queued_messages == 0
            || (status.queued_messages < QUEUED_MESSAGES_MAX
                && status.queued_bytes < QUEUED_BYTES_MAX)
    }

    /// Returns whether there is something to do without waiting.
    ///
    /// This is asked after falling asleep: what is left for the driver before that is seen here, and
    /// what is left later wakes it.
    fn has_work(&self) -> bool {
        let link = self.parts.link.as_ref().filter(|link| link.is_flowing());
        let takes_publishes = self.may_take_publishes();
        let mut state = self.shared.lock();
        let is_full = state.is_inbox_full(&self.shared.inbox_limits);
        state.waits_for_inbox = link.is_some() && is_full;
        (link.is_some_and(|link| link.may_read) && !is_full)
            || !state.controls.is_empty()
            || !state.acknowledgements.is_empty()
            || (takes_publishes && !state.publishes.is_empty())
            || state.is_abandoned()
    }

    /// When nobody can submit and nobody receives, the client disconnects.
    fn check_dropped(&mut self) {
        let mut state = self.shared.lock();
        if state.is_abandoned() {
            state.is_ending = true;
            // What was handed over is delivered, as long as the connection lasts.
            let slot = Slot::new();
            state
                .controls
                .push_back(Control::Shutdown(CLOSE_TIMEOUT, slot));
        }
    }

    fn take_submissions(&mut self, now: Instant) {
        let mut state = self.shared.lock();
        let acknowledgements = mem::take(&mut state.acknowledgements);
        let controls = mem::take(&mut state.controls);
        drop(state);
        for (receipt, reason_code) in acknowledgements {
            self.parts.core.acknowledge(receipt, reason_code);
        }
        for control in controls {
            self.take_control(control, now);
        }
        let mut has_taken = false;
        while self.may_take_publishes() {
            let Some((message, slot)) = self.shared.lock().take_submitted() else {
                break;
            };
            has_taken = true;
            match self.parts.core.publish(message, now) {
                Ok(operation) => {
                    self.parts.waiters.insert(operation, Waiter::Publish(slot));
                }
                Err(error) => slot.complete(Err(error.into())),
            }
        }
        if has_taken {
            self.shared.changed.notify_all();
        }
    }

    fn take_control(&mut self, control: Control, now: Instant) {
        let parts = &mut self.parts;
        match control {
            Control::Subscribe(filters, properties, slot) => {
                match parts.core.subscribe(filters, properties) {
                    Ok(operation) => {
                        parts.waiters.insert(operation, Waiter::Subscribe(slot));
                    }
                    Err(error) => slot.complete(Err(error.into())),
                }
            }
            Control::Unsubscribe(filters, properties, slot) => {
                match parts.core.unsubscribe(filters, properties) {
                    Ok(operation) => {
                        parts.waiters.insert(operation, Waiter::Unsubscribe(slot));
                    }
                    Err(error) => slot.complete(Err(error.into())),
                }
            }
            Control::Disconnect(reason_code) => {
                parts.is_ending = true;
                parts.core.disconnect(reason_code, now);
            }
            Control::Shutdown(timeout, slot) => {
                let deadline = now + timeout;
                match &mut parts.shutdown {
                    // The first one counts; the second waits with it.
                    Some(shutdown) if shutdown.slot.is_some() => {
                        shutdown.deadline = shutdown.deadline.min(deadline);
                        slot.complete(Err(OperationError::Cancelled));
                    }
                    shutdown => {
                        *shutdown = Some(Shutdown {
                            deadline,
                            slot: Some(slot),
                            report: None,
                        });
                    }
                }
            }
        }
    }

    /// Disconnects once everything is delivered, or the time is up.
    fn check_shutdown(&mut self, now: Instant) {
        let parts = &mut self.parts;
        let Some(shutdown) = &mut parts.shutdown else {
            return;
        };
        if parts.is_ending {
            return;
        }
        let status = parts.core.queue_status();
        let report = ShutdownReport {
            unsent: status.queued_messages + self.shared.lock().publishes.len(),
            unacknowledged: status
                .inflight
                .saturating_sub(parts.core.unfinished_requests()),
            unanswered: parts.core.unfinished_requests(),
        };
        // Acknowledgements of received messages have to leave as well.
        let is_done =
            report.is_complete() && !(parts.core.is_connected() && parts.core.has_output());
        if is_done || shutdown.deadline <= now {
            shutdown.report = Some(report);
            parts.is_ending = true;
            parts.core.disconnect(ReasonCode::Success, now);
        }
    }

    fn check_attempt(&mut self, now: Instant) {
        let parts = &mut self.parts;
        if let Some(result) = parts.attempt.as_ref().and_then(Attempt::poll) {
            parts.attempt = None;
            if let Err(error) = result.and_then(|stream| parts.open_link(stream, now)) {
                parts.open_error = Some(error.into());
                parts.core.handle_closed(now);
            }
        }
        let timeout = parts.core.settings().limits.connect_timeout;
        if let Some(link) = &mut parts.link
            && link.is_opening()
        {
            match link.handshake(timeout, now) {
                Ok(true) => {
                    link.is_announced = true;
                    parts.core.handle_connected(now);
                }
                Ok(false) => {}
                Err(broken) => self.drop_link(Some(broken), now),
            }
        }
    }

    fn read(&mut self, now: Instant) {
        let is_reading = self.is_reading();
        let parts = &mut self.parts;
        if !parts.core.is_connected() || is_reading {
            parts.core.set_reading(true, now);
        }
        let Some(link) = &mut parts.link else { return };
        if !is_reading {
            if link.is_flowing() {
                parts.core.set_reading(false, now);
            }
            return;
        }
        let (messages, bytes) = self.shared.lock().inbox_room(&self.shared.inbox_limits);
        parts.core.set_room(messages, bytes);
        if link.may_read
            && let Err(broken) = link.read(&mut parts.core, &mut parts.scratch, now)
        {
            self.drop_link(Some(broken), now);
        }
    }

    /// Moves everything between the core, the link and the application.
    fn pump(&mut self, now: Instant) {
        loop {
            let is_busy = self.write(now);
            let mut has_news = false;
            while let Some(event) = self.parts.core.poll_event() {
                has_news = true;
                self.on_event(event, now);
            }
            while let Some(request) = self.parts.core.poll_transport() {
                has_news = true;
                self.on_transport_request(request, now);
            }
            if !is_busy && !has_news {
                return;
            }
        }
    }

    /// Fills the output queue and writes it; returns whether the core gave anything.
    fn write(&mut self, now: Instant) -> bool {
        let parts = &mut self.parts;
        let maximum = usize::try_from(parts.core.settings().limits.output_bytes_max);
        let maximum = maximum.unwrap_or(usize::MAX).max(1);
        let Some(link) = &mut parts.link else {
            // Nothing that is still to be said can be.
            while parts.core.poll_output(now).is_some() {}
            return false;
        };
        let mut is_busy = false;
        while link.output.len() < maximum {
            let Some(output) = parts.core.poll_output(now) else {
                break;
            };
            is_busy = true;
            link.output.push(output.bytes);
            if let Some(payload) = output.payload {
                link.output.push_shared(payload);
            }
        }
        match link.write(now) {
            Ok(true) => parts.core.handle_written(now),
            Ok(false) => {}
            Err(broken) => {
                // What the server had to say before it closed may explain it.
                let told = if link.is_flowing() {
                    link.read(&mut parts.core, &mut parts.scratch, now)
                } else {
                    Ok(())
                };
                let broken = match told {
                    Ok(()) => broken,
                    Err(told) => told.or(broken),
                };
                self.drop_link(Some(broken), now);
                return true;
            }
        }
        is_busy
    }

    fn on_transport_request(&mut self, request: TransportRequest, now: Instant) {
        let parts = &mut self.parts;
        match request {
            TransportRequest::Open => match Attempt::start(&parts.opener, parts.poller.waker()) {
                Ok(attempt) => parts.attempt = Some(attempt),
                Err(error) => {
                    parts.open_error = Some(error.into());
                    parts.core.handle_closed(now);
                }
            },
            TransportRequest::Close => match &mut parts.link {
                Some(link) => {
                    link.closing = Some(now + CLOSE_TIMEOUT);
                    link.may_read = true;
                }
                None => {
                    parts.attempt = None;
                    parts.core.handle_closed(now);
                }
            },
        }
    }

    /// Takes the close of a link further.
    fn close(&mut self, now: Instant) {
        let Some(link) = &mut self.parts.link else {
            return;
        };
        match link.close(&mut self.parts.scratch, now) {
            Ok(false) => {}
            Ok(true) => self.drop_link(None, now),
            Err(broken) => self.drop_link(Some(broken), now),
        }
    }

    fn drop_link(&mut self, broken: Option<Broken>, now: Instant) {
        let parts = &mut self.parts;
        if let Some(mut link) = parts.link.take() {
            let _ = parts.poller.deregister(link.source());
            parts.tokens.remove(link.token);
        }
        parts.open_error = broken.and_then(Broken::into_error);
        parts.core.handle_closed(now);
        self.pump(now);
    }

    fn has_finished(&self) -> bool {
        self.parts.core.is_stopped() && self.parts.link.is_none()
    }
}

impl Parts {
    fn open_link(&mut self, stream: Box<dyn Stream>, now: Instant) -> Result<(), TransportError> {
        // There is one link at a time, so there is always room.
        let Ok(token) = self.tokens.insert(()) else {
            return Err(TransportError::Closed);
        };
        let opening_until = now + self.core.settings().limits.connect_timeout;
        let mut link = Link::new(stream, token, opening_until);
        self.poller.register(token, link.source())?;
        self.link = Some(link);
        Ok(())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.finish();
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}
