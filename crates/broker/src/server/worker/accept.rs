//! How connections come in: from a listener's queue to a transport whose layers are open.

use std::{net::IpAddr, sync::Arc};

use mqttstack_limits::Instant;
use mqttstack_transport::{Handshake, Retry, Stream, Token};

use super::{ListenerSource, Source, Worker};
use crate::core::{ConnectionId, Peer};
use crate::server::{
    link::{Link, LinkPhase},
    listener::Terms,
    log, peer,
    permit::{NoRoom, PendingPermit, Permit},
    waiting::Place,
};

/// How many connections are accepted before those that are open have their turn.
const ACCEPT_BUDGET: usize = 256;

impl Worker {
    pub(super) fn accept(&mut self, token: Token, now: Instant) {
        for _ in 0..ACCEPT_BUDGET {
            let Some(Source::Listener(source)) = self.sources.get_mut(token) else {
                return;
            };
            let ListenerSource {
                listener, terms, ..
            } = &mut **source;
            match listener.accept() {
                Ok(Some(stream)) => {
                    let terms = Arc::clone(terms);
                    self.add_link(stream, terms, now);
                }
                Ok(None) => return,
                Err(error) => {
                    self.accept_log.error(&terms.name, &error, now);
                    match error.retry() {
                        Retry::Now => {}
                        Retry::After(pause) => {
                            self.deadlines.insert((now + pause, token));
                            return;
                        }
                        Retry::Never => {
                            // A broker that is deaf to some of its clients is worse than one that
                            // ends, and is started again.
                            let failure = log::deaf(&terms.name, &error);
                            self.failure.get_or_insert(failure);
                            self.sources.remove(token);
                            return;
                        }
                    }
                }
            }
        }
        if let Some(Source::Listener(source)) = self.sources.get_mut(token)
            && !std::mem::replace(&mut source.is_ready, true)
        {
            self.ready.push_back(token);
        }
    }

    fn add_link(&mut self, stream: Box<dyn Stream>, terms: Arc<Terms>, now: Instant) {
        let address = &stream.peer().address;
        let peer = peer::describe(stream.peer(), &terms.name);
        // Whom a proxy speaks for is not known yet: the client is counted once it is.
        let is_counted = !terms.is_proxy(address);
        let counted = match self.count_pending(address.ip().filter(|_| is_counted)) {
            Ok(counted) => counted,
            Err(TooManyPending) => return self.stranger_log.too_many_pending(&peer, now),
        };
        // Last: nobody gives way to one that is refused anyway.
        let Some((id, token, permit)) = self.enter(&terms, &peer, now) else {
            return self.stranger_log.no_room(&peer, now);
        };
        let mut link = Link::new(stream, id, terms, permit);
        if let Err(error) = self.poller.register(token, link.stream.source()) {
            tracing::warn!(%peer, %error, "cannot watch the connection");
            return self.core.handle_closed(id, now);
        }
        link.place = Some(self.waiting.enter(token, &link.terms, counted));
        if self.sources.insert(Source::Link(link)).is_err() {
            debug_assert!(false, "the place was free");
            return self.core.handle_closed(id, now);
        }
        self.open(token, now);
        self.read(token, now);
    }

    /// Lets a connection in, whoever has to give way for it.
    fn enter(
        &mut self,
        terms: &Terms,
        peer: &Arc<Peer>,
        now: Instant,
    ) -> Option<(ConnectionId, Token, Permit)> {
        loop {
            let permit = self.make_room(terms, now)?;
            let token = self.sources.next_token()?;
            let limits = Arc::clone(&terms.limits);
            let opened = self
                .core
                .handle_opened(token.to_u64(), Arc::clone(peer), limits, now);
            if let Some(id) = opened {
                return Some((id, token, permit));
            }
            // Another worker may have taken the last place meanwhile: then one of ours gives way.
            // Ends: with each turn fewer wait here, and below its share a worker is not crowded.
            if !self.core.is_crowded() || self.waiting.oldest().is_none() {
                return None;
            }
        }
    }

    /// Takes room for a connection. Where there is none, those that were not accepted for the
    /// longest time give way: whoever opens connections and says nothing keeps nobody out.
    fn make_room(&mut self, terms: &Terms, now: Instant) -> Option<Permit> {
        if self.core.is_shut() {
            return None;
        }
        loop {
            let permit = terms.gate.as_ref().unwrap_or(&self.gate).enter();
            let is_crowded = self.core.is_crowded() || self.waiting.is_full();
            let oldest = match &permit {
                Err(NoRoom::OfListener) => self.oldest_waiting(Some(terms)),
                Err(NoRoom::OfAll) => self.oldest_waiting(None),
                Ok(_) if is_crowded => self.oldest_waiting(None),
                Ok(_) => None,
            };
            match oldest.and_then(|oldest| self.remove_link(oldest)) {
                Some(link) => {
                    self.stranger_log
                        .displaced(&link.stream.peer().address, now);
                    self.core.handle_displaced(link.id, now);
                }
                None => return permit.ok(),
            }
        }
    }

    /// Returns the link that has waited longest, among all or among those of a listener.
    fn oldest_waiting(&mut self, of: Option<&Terms>) -> Option<Token> {
        loop {
            let token = match of {
                Some(terms) => self.waiting.oldest_of(terms)?,
                None => self.waiting.oldest()?,
            };
            let Some(Source::Link(link)) = self.sources.get_mut(token) else {
                return None;
            };
            // It may have been accepted in this very turn, and keeps its place until it is written to.
            match link.place.take_if(|_| self.core.is_accepted(link.id)) {
                Some(place) => self.waiting.leave(&place),
                None => return Some(token),
            }
        }
    }

    /// Counts a connection among those of its address that have not been accepted. The machine
    /// itself is not counted: a proxy on it stands for many.
    fn count_pending(
        &self,
        address: Option<IpAddr>,
    ) -> Result<Option<PendingPermit>, TooManyPending> {
        match address.filter(|address| !address.to_canonical().is_loopback()) {
            Some(address) => match self.pending.enter(address) {
                Some(permit) => Ok(Some(permit)),
                None => Err(TooManyPending),
            },
            None => Ok(None),
        }
    }

    /// Takes the opening of a transport further.
    pub(super) fn open(&mut self, token: Token, now: Instant) {
        let Some(Source::Link(link)) = self.sources.get_mut(token) else {
            return;
        };
        let had_layers_to_open = !link.stream.is_established();
        match link.stream.handshake() {
            Ok(Handshake::Complete) => {
                link.phase = LinkPhase::Open;
                // What came along with the last bytes of the opening is announced by no event.
                link.is_readable |= link.stream.has_buffered_input();
                if had_layers_to_open {
                    self.on_more_known(token, now);
                }
            }
            Ok(Handshake::Pending) => {
                let is_named = peer::is_named_by_proxy(link.stream.peer());
                if is_named
                    && let Some(place) = &mut link.place
                    && !std::mem::replace(&mut place.is_named, true)
                {
                    self.on_more_known(token, now);
                }
            }
            Err(error) => {
                let address = &link.stream.peer().address;
                self.stranger_log.handshake_failed(address, &error, now);
                self.fail(token, now);
            }
        }
    }

    /// The layers have learnt more of the client: whom a proxy speaks for, or all they can.
    fn on_more_known(&mut self, token: Token, now: Instant) {
        let Some(Source::Link(link)) = self.sources.get(token) else {
            return;
        };
        let is_counted = link.place.as_deref().is_some_and(Place::is_counted);
        let id = link.id;
        let peer = peer::describe(link.stream.peer(), &link.terms.name);
        if !is_counted {
            // Not if it came from a proxy; by now it is known for whom that speaks.
            let Ok(counted) = self.count_pending(peer.ip) else {
                self.stranger_log.too_many_pending(&peer, now);
                return self.drop_link(token, now);
            };
            if let Some(Source::Link(link)) = self.sources.get_mut(token)
                && let Some(place) = &mut link.place
            {
                place.counted = counted;
            }
        }
        self.core.handle_peer(id, peer);
    }
}

/// As many connections of one address as allowed wait to be accepted.
struct TooManyPending;
