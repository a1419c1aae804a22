//! A session goes from one worker to another, because its client has connected there.

use mqttstack_codec::ReasonCode;
use mqttstack_limits::Instant;

use super::{
    Core,
    keys::{ConnectionId, SessionKey, WorkerId},
    locations::Location,
    message::{HandOver, HandOverOutcome, MovedSession, TakeOver, WorkerMessage},
    moves::Complete,
    session_table::{Absent, Entry, Presence},
    timers::Timer,
};

impl Core {
    /// A connection wants a session that another worker has, or that is on its way here.
    ///
    /// Of several that want the same session only the last one waits: it would take the place of
    /// those before it at once.
    pub(super) fn ask_for_session(&mut self, owner: WorkerId, request: TakeOver, now: Instant) {
        let (key, id) = (request.session, request.connection);
        if let Some(earlier) = self.moves.want(key, id)
            && earlier != id
            && self.is_waiting(earlier)
        {
            self.refuse(earlier, ReasonCode::ServerBusy, now);
        }
        if owner == self.worker {
            self.moves.queue(request);
        } else {
            self.send_letter(owner, WorkerMessage::TakeOver(Box::new(request)));
        }
    }

    fn is_waiting(&self, id: ConnectionId) -> bool {
        self.connection(id)
            .is_some_and(|connection| connection.admission.is_some())
    }

    /// A client of this worker has connected to another one.
    pub(super) fn on_take_over(&mut self, request: TakeOver, now: Instant) {
        let key = request.session;
        let is_echo = self.give_up_name(&request.client_id, Some(key));
        let location = self.directory.locations.of(key);
        let is_here = self.sessions.get(key).is_some();
        let is_coming = !is_here && location.is_some_and(|it| it.worker == self.worker);
        if is_coming || self.moves.is_arriving(key) {
            return self.moves.queue(request);
        }
        let TakeOver {
            from,
            connection,
            client_id,
            identity,
            clean_start,
            ..
        } = request;
        let outcome = if is_echo {
            HandOverOutcome::Moved(None)
        } else if !is_here {
            HandOverOutcome::NotHere
        } else if !self.may_take_over(key, identity.as_deref()) {
            HandOverOutcome::Refused(ReasonCode::NotAuthorized)
        } else {
            self.end_taken_over(key, now);
            if clean_start {
                self.end_absent(key, now);
            }
            // The move waits for what is under way, whether the session is still there or not.
            self.give_up_name(&client_id, Some(key));
            HandOverOutcome::Moved(self.take_out(key, from).map(Box::new))
        };
        let has_moved = matches!(outcome, HandOverOutcome::Moved(_));
        let answer = HandOver {
            from: self.worker,
            connection,
            session: key,
            client_id,
            outcome,
        };
        self.send_letter(from, WorkerMessage::HandOver(Box::new(answer)));
        if has_moved {
            self.tell_of_move(key, from);
        }
    }

    /// Asks the other workers to say when they have nothing more under way to a session.
    fn tell_of_move(&mut self, session: SessionKey, to: WorkerId) {
        let from = self.worker;
        let mut count: usize = 0;
        for worker in self.directory.other_workers(from) {
            count = count.saturating_add(1);
            self.send_letter(worker, WorkerMessage::Moved { session, from });
        }
        self.moves.depart(session, to, count);
    }

    /// Takes a session whose client is away out of this worker. It stays in the directory, so that
    /// nobody else begins one, and in the index, so that nothing is lost to it.
    fn take_out(&mut self, key: SessionKey, to: WorkerId) -> Option<MovedSession> {
        let mut entry = self.sessions.remove(key)?;
        self.uncount_session(&mut entry);
        let Presence::Absent(absent) = entry.presence else {
            return None;
        };
        self.cancel_timers(key, &absent);
        let location = Location {
            worker: to,
            entry: None,
        };
        self.directory.locations.set(key, location);
        Some(MovedSession {
            state: absent.state,
            number: entry.number,
            identity: entry.identity,
            filters: entry.filters,
            drops: entry.drops,
            owed: entry.owed,
            expires_at: absent.expires_at,
            will: absent.will,
            limits: absent.limits,
        })
    }

    /// Another worker has answered a request for a session.
    pub(super) fn on_hand_over(&mut self, answer: HandOver, now: Instant) {
        let HandOver {
            from,
            connection: id,
            session: key,
            client_id,
            outcome,
        } = answer;
        self.moves.note_answered(key, id);
        match outcome {
            HandOverOutcome::Refused(reason) => self.refuse(id, reason, now),
            // It ended meanwhile, or another worker has it now: that is known at once.
            HandOverOutcome::NotHere => self.find_session(id, now),
            HandOverOutcome::Moved(moved) => {
                let awaited = self.directory.other_workers(from).collect();
                self.moves.arrive(key, id, awaited);
                match moved {
                    Some(moved) => self.adopt(id, key, &client_id, *moved, now),
                    None => {
                        // What its client published there may still be under way.
                        self.find_session(id, now);
                        if let Some(connection) = self.connection_mut(id) {
                            connection.is_moving = true;
                        }
                    }
                }
            }
        }
        self.go_on(id, now);
    }

    /// Makes a session of another worker one of this worker's.
    fn adopt(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        client_id: &str,
        moved: MovedSession,
        now: Instant,
    ) {
        let MovedSession {
            mut state,
            number,
            identity,
            filters,
            drops,
            owed,
            expires_at,
            will,
            limits,
        } = moved;
        // It left only when everything about it was stored.
        state.handle_stored(state.recorded());
        self.timers.schedule(Timer::SessionExpiry(key), expires_at);
        if let Some((_, due)) = &will {
            self.timers.schedule(Timer::Will(key), *due);
        }
        // Its client is away until it has its answer: it may not have waited for its session.
        let absent = Absent {
            state,
            limits,
            expires_at,
            will,
        };
        let presence = Presence::Absent(Box::new(absent));
        let name = self.directory.name_of(client_id);
        let mut entry = Entry::new(key, name, identity, presence);
        entry.filters = filters;
        entry.drops = drops;
        entry.owed = owed;
        entry.is_arriving = true;
        entry.number = number;
        self.sessions.insert(entry);
        self.count_session(key);
        self.resume(id, key, now);
        // Somebody else here may have asked for it on its way.
        if let Some(own) = self.moves.take_own_request(key, self.worker) {
            self.moves.note_answered(key, own.connection);
            self.find_session(own.connection, now);
            self.go_on(own.connection, now);
        }
    }

    /// A session has gone from one worker to another: everything that goes to its old place from here
    /// has been sent.
    pub(super) fn on_moved(&mut self, session: SessionKey, from: WorkerId) {
        let worker = self.worker;
        self.send_letter(from, WorkerMessage::Passed { session, worker });
    }

    /// Everything that a worker sent to the old place of a session is behind us: pass that on, or take
    /// what comes from there directly.
    pub(super) fn on_passed(&mut self, session: SessionKey, worker: WorkerId, now: Instant) {
        if let Some(to) = self.moves.pass(session) {
            return self.send_letter(to, WorkerMessage::Passed { session, worker });
        }
        let arrived = self.moves.note_arrived(session, worker);
        for (message, target) in arrived.held {
            let parcel = target.held_as.map(|number| self.own_parcel(number));
            self.unpack(parcel);
            self.deliver(message, target, worker, now);
            self.unpack(None);
            self.write_taken(parcel);
        }
        if let Some(complete) = arrived.complete {
            self.on_arrived(session, complete, now);
        }
    }

    /// A session has wholly arrived: its client may speak, and the next who wants it may have it.
    fn on_arrived(&mut self, key: SessionKey, complete: Complete, now: Instant) {
        if let Some(entry) = self.sessions.get_mut(key) {
            entry.is_arriving = false;
            entry.drops.miss(complete.lost);
            self.tell_drops(key, now);
        }
        let present = self.connection_of(key);
        for id in [complete.connection, present].into_iter().flatten() {
            if let Some(connection) = self.connection_mut(id)
                && std::mem::take(&mut connection.is_moving)
            {
                self.go_on(id, now);
                // The driver may read on.
                self.mark_dirty(id);
            }
        }
        for request in complete.next {
            if request.from == self.worker {
                self.moves.note_answered(key, request.connection);
                self.find_session(request.connection, now);
                self.go_on(request.connection, now);
            } else {
                self.on_take_over(request, now);
            }
        }
    }
}
