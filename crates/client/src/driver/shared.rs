//! What the parts of a client share: submissions one way, messages the other, and who is awake.

use core::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use std::{
    collections::{BTreeMap, VecDeque},
    string::String,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
    vec::Vec,
};

use mqttstack_codec::{
    Properties, ReasonCode, Shared as SharedStorage, SubscribeFilters, UnsubscribeFilters,
};
use mqttstack_session::{Message, SubscriptionIds};
use mqttstack_transport::Waker;

use super::{
    builder::InboxLimits,
    clock::Clock,
    error::ConnectError,
    pending::{Published, ShutdownReport, Slot, Subscribed, Unsubscribed},
};
use crate::core::Receipt;

/// How much may be submitted and not yet taken by the driver.
pub(super) const SUBMITTED_MESSAGES_MAX: usize = 1_024;
const SUBMITTED_BYTES_MAX: usize = 64 * 1024 * 1024;
const CONTROLS_MAX: usize = 1_024;

/// What the driver is asked to do, apart from publishing.
#[derive(Debug)]
pub(super) enum Control {
    Subscribe(
        SubscribeFilters<SharedStorage>,
        Properties<SharedStorage>,
        Arc<Slot<Subscribed>>,
    ),
    Unsubscribe(
        UnsubscribeFilters<SharedStorage>,
        Properties<SharedStorage>,
        Arc<Slot<Unsubscribed>>,
    ),
    Disconnect(ReasonCode),
    Shutdown(Duration, Arc<Slot<ShutdownReport>>),
}

/// A message on its way to the application.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) message: Message,
    pub(super) subscription_ids: SubscriptionIds,
    pub(super) receipt: Option<Receipt>,
}

/// Where the client stands, for those who ask from outside.
#[derive(Clone, Debug, Default)]
pub(super) struct Status {
    pub(super) is_connected: bool,
    pub(super) session_present: bool,
    pub(super) properties: Properties<SharedStorage>,
    pub(super) client_id: String,
    /// How many attempts have failed, and why the last one did or the last connection ended.
    pub(super) failures: u64,
    pub(super) last_error: Option<ConnectError>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) publishes: VecDeque<(Message, Arc<Slot<Published>>)>,
    pub(super) publish_bytes: usize,
    pub(super) controls: VecDeque<Control>,
    pub(super) acknowledgements: Vec<(Receipt, ReasonCode)>,
    pub(super) inbox: VecDeque<Arrived>,
    pub(super) inbox_bytes: usize,
    /// The driver sleeps, or is about to, and does not read because the inbox is full.
    pub(super) waits_for_inbox: bool,
    pub(super) status: Status,
    /// The topic that responses to requests come on, once it is subscribed to.
    pub(super) response_topic: Option<String>,
    pub(super) awaited: BTreeMap<u64, Arc<Slot<Message>>>,
    pub(super) last_correlation: u64,
    pub(super) clients: usize,
    pub(super) inbox_closed: bool,
    /// Nothing more may be submitted.
    pub(super) is_ending: bool,
    /// The driver is gone.
    pub(super) has_ended: bool,
}

/// What the parts of a client share.
pub(super) struct Shared {
    state: Mutex<State>,
    /// Room for submissions, or the status, has changed.
    pub(super) changed: Condvar,
    /// A message has arrived, or none will.
    pub(super) arrived: Condvar,
    waker: Waker,
    pub(super) clock: Clock,
    /// The driver waits, or is about to: wake it.
    is_asleep: AtomicBool,
    driver_thread: Mutex<Option<ThreadId>>,
    pub(super) inbox_limits: InboxLimits,
    pub(super) acknowledges: bool,
    pub(super) has_responses: bool,
    pub(super) response_prefix: String,
}

impl core::fmt::Debug for Shared {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(
        waker: Waker,
        clock: Clock,
        inbox_limits: InboxLimits,
        acknowledges: bool,
        has_responses: bool,
        response_prefix: String,
    ) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            arrived: Condvar::new(),
            waker,
            clock,
            is_asleep: AtomicBool::new(false),
            driver_thread: Mutex::new(None),
            inbox_limits,
            acknowledges,
            has_responses,
            response_prefix,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the driver look at what was left for it.
    pub(super) fn wake(&self) {
        if self.is_asleep.swap(false, Ordering::SeqCst) {
            // It fails only when the system is out of resources; then the driver's timer is left.
            let _ = self.waker.wake();
        }
    }

    /// The driver is about to wait; whatever is left for it from now on wakes it.
    pub(super) fn fall_asleep(&self) {
        self.is_asleep.store(true, Ordering::SeqCst);
    }

    #[cfg(test)]
    pub(super) fn is_asleep(&self) -> bool {
        self.is_asleep.load(Ordering::SeqCst)
    }

    pub(super) fn awake(&self) {
        self.is_asleep.store(false, Ordering::SeqCst);
    }

    /// The calling thread drives the client.
    pub(super) fn enter_driver_thread(&self) {
        let mut thread = self
            .driver_thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *thread = Some(thread::current().id());
    }

    pub(super) fn is_driver_thread(&self) -> bool {
        let thread = self
            .driver_thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *thread == Some(thread::current().id())
    }

    /// Waits for something to change, at most until the deadline; `None` when that has passed.
    pub(super) fn wait<'a>(
        condition: &Condvar,
        guard: MutexGuard<'a, State>,
        deadline: Option<std::time::Instant>,
    ) -> Option<MutexGuard<'a, State>> {
        let left = match deadline {
            None => {
                return Some(
                    condition
                        .wait(guard)
                        .unwrap_or_else(PoisonError::into_inner),
                );
            }
            Some(deadline) => Clock::until(deadline)?,
        };
        let (guard, _) = condition
            .wait_timeout(guard, left)
            .unwrap_or_else(PoisonError::into_inner);
        Some(guard)
    }
}

impl State {
    /// Returns whether a message may be submitted.
    pub(super) fn has_room(&self, message: &Message) -> bool {
        self.publishes.is_empty()
            || (self.publishes.len() < SUBMITTED_MESSAGES_MAX
                && self.publish_bytes.saturating_add(message.size()) <= SUBMITTED_BYTES_MAX)
    }

    pub(super) fn has_room_for_control(&self) -> bool {
        self.controls.len() < CONTROLS_MAX
    }

    pub(super) fn submit(&mut self, message: Message, slot: Arc<Slot<Published>>) {
        self.publish_bytes = self.publish_bytes.saturating_add(message.size());
        self.publishes.push_back((message, slot));
    }

    pub(super) fn take_submitted(&mut self) -> Option<(Message, Arc<Slot<Published>>)> {
        let (message, slot) = self.publishes.pop_front()?;
        self.publish_bytes = self.publish_bytes.saturating_sub(message.size());
        Some((message, slot))
    }

    /// Returns whether nobody can submit and nobody receives, and the driver does not know it yet.
    pub(super) const fn is_abandoned(&self) -> bool {
        self.clients == 0 && self.inbox_closed && !self.is_ending
    }

    pub(super) fn is_inbox_full(&self, limits: &InboxLimits) -> bool {
        let (messages, bytes) = self.inbox_room(limits);
        messages == 0 || bytes == 0
    }

    /// Returns how many more messages, and bytes, the inbox takes.
    pub(super) fn inbox_room(&self, limits: &InboxLimits) -> (usize, usize) {
        (
            limits.messages_max.saturating_sub(self.inbox.len()),
            limits.bytes_max.saturating_sub(self.inbox_bytes),
        )
    }

    /// Returns whether there is again so much room that it is worth waking the driver for: not for
    /// each message anew.
    pub(super) fn is_inbox_half_empty(&self, limits: &InboxLimits) -> bool {
        self.inbox.len() <= limits.messages_max / 2 && self.inbox_bytes <= limits.bytes_max / 2
    }
}
