//! SUBSCRIBE and UNSUBSCRIBE requests, which outlive the connection they were sent on.

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};

use mqttstack_codec::{Properties, Shared, SubscribeFilters, UnsubscribeFilters};
use mqttstack_session::{PublishToken, client};

/// Why a SUBSCRIBE or UNSUBSCRIBE was not taken, or not sent; nothing has changed.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// Too many requests are unfinished.
    #[error("{maximum} requests are unfinished")]
    TooManyRequests {
        /// How many may be.
        maximum: usize,
    },
    /// The client has too many subscriptions.
    #[error("more than {maximum} subscriptions")]
    TooManySubscriptions {
        /// How many it may have.
        maximum: u32,
    },
    /// It cannot be sent.
    #[error(transparent)]
    Session(#[from] client::RequestError),
}

/// What a request asks for.
#[derive(Clone, Debug)]
pub(super) enum Body {
    Subscribe(SubscribeFilters<Shared>, Properties<Shared>),
    Unsubscribe(UnsubscribeFilters<Shared>, Properties<Shared>),
}

/// A request that has not been answered.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The operation; `None` if the client subscribes again by itself.
    pub(super) operation: Option<u64>,
    pub(super) body: Body,
}

/// The requests that have not been answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    last: u64,
    /// Wait for a connection, in their order.
    waiting: VecDeque<Request>,
    /// Wait for an answer, in their order.
    sent: BTreeMap<PublishToken, Request>,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.waiting.len().saturating_add(self.sent.len())
    }

    /// Returns how many filters are being subscribed to.
    pub(super) fn filters(&self) -> usize {
        let all = self.waiting.iter().chain(self.sent.values());
        all.map(|request| match &request.body {
            Body::Subscribe(filters, _) => filters.len(),
            Body::Unsubscribe(..) => 0,
        })
        .sum()
    }

    /// Names a new operation.
    pub(super) fn next_operation(&mut self) -> u64 {
        self.last = self.last.saturating_add(1);
        self.last
    }

    pub(super) fn wait(&mut self, request: Request) {
        self.waiting.push_back(request);
    }

    pub(super) fn sent(&mut self, token: PublishToken, request: Request) {
        self.sent.insert(token, request);
    }

    pub(super) fn take_waiting(&mut self) -> VecDeque<Request> {
        core::mem::take(&mut self.waiting)
    }

    /// A request was answered.
    pub(super) fn answered(&mut self, token: PublishToken) -> Option<Request> {
        self.sent.remove(&token)
    }

    /// The connection is over: what was not answered waits for the next one, in its order. The
    /// client's own requests are made anew then.
    pub(super) fn connection_ended(&mut self) {
        let sent = core::mem::take(&mut self.sent);
        for request in sent.into_values().rev() {
            if request.operation.is_some() {
                self.waiting.push_front(request);
            }
        }
    }

    /// Gives everything up and returns the operations.
    pub(super) fn cancel(&mut self) -> Vec<u64> {
        self.connection_ended();
        self.take_waiting()
            .into_iter()
            .filter_map(|request| request.operation)
            .collect()
    }
}
