//! A message on its way to one session: to its queue, or after it to where it has gone.

use std::num::NonZeroU64;

use mqttstack_codec::QoS;
use mqttstack_limits::Instant;
use mqttstack_session::{Message, PublishError};

use super::{
    Core, connection, groups::HandedOn, keys::WorkerId, locations::Location, memory::MemoryStage,
    message::Target, session_table::Presence,
};

impl Core {
    /// Hands a message, which comes straight from the worker `from`, to one session of this worker.
    pub(super) fn deliver(
        &mut self,
        message: Message,
        target: Target,
        from: WorkerId,
        now: Instant,
    ) {
        let location = self.directory.locations.of(target.session);
        self.deliver_at(location, message, target, from, now);
    }

    /// Delivers to a session whose place has just been looked up.
    pub(super) fn deliver_at(
        &mut self,
        location: Option<Location>,
        message: Message,
        mut target: Target,
        from: WorkerId,
        now: Instant,
    ) {
        let key = target.session;
        let Some(entry) = self.sessions.at_mut(key, location) else {
            return self.deliver_elsewhere(&message, target, from, now);
        };
        if entry.is_arriving && self.moves.awaits(key, from) {
            return self.hold(&message, target, from);
        }
        // Who has it by inheritance passes it on if there is no room.
        let copy = (target.handed_on > 0).then(|| message.clone());
        let options = target.take_options();
        let taken = match &mut entry.presence {
            Presence::Connected(id) => {
                let id = *id;
                let Some(connection) = connection::find_mut(&mut self.connections, id) else {
                    return;
                };
                if !connection.is_blocked {
                    if !std::mem::replace(&mut connection.is_dirty, true) {
                        self.dirty.push_back(id);
                    }
                    // What is written down has an order, and waits for the store.
                    let is_fleeting = options.qos == QoS::AtMostOnce && !self.journal.is_kept();
                    let (early, scratch) = (&mut self.early, &mut self.scratch);
                    if is_fleeting && early.encode(connection, &message, &options, scratch) {
                        return self.messages.put(message);
                    }
                    connection.session.publish(message, options, now)
                } else if options.qos == QoS::AtMostOnce
                    && self.memory.stage() >= MemoryStage::Shedding
                {
                    return self.note_shed(key, now);
                } else {
                    // It has no turn of its own until it reads.
                    let taken = connection.session.publish(message, options, now);
                    let dropped = connection.session.queue_status().dropped;
                    self.count_connection(id);
                    self.note_drops(key, dropped, now);
                    taken
                }
            }
            Presence::Absent(absent) => {
                let limits = &absent.limits;
                let is_fleeting = options.qos == QoS::AtMostOnce;
                let taken = absent.state.enqueue(message, options, limits, now);
                let dropped = absent.state.queue_status().dropped;
                if is_fleeting {
                    entry.drops.overlook(dropped);
                } else {
                    self.count_session(key);
                    self.note_drops(key, dropped, now);
                }
                taken
            }
        };
        self.write_down(key);
        if let Err(PublishError::SessionMustEnd) = taken {
            match copy {
                None => self.note_overflow(key),
                Some(message) => self.pass_on(&message, &target, now),
            }
        }
    }

    /// The session that was to get a message is not here: the message follows it, waits for it, or
    /// goes to another member of its group.
    fn deliver_elsewhere(
        &mut self,
        message: &Message,
        target: Target,
        from: WorkerId,
        now: Instant,
    ) {
        let session = target.session;
        let location = self.directory.locations.of(session);
        // One that has an entry here has ended, and keeps only its name.
        let is_coming = location.is_some_and(|it| it.worker == self.worker && it.entry.is_none());
        if let (Some(worker), Some(_)) = (self.moves.destination(session), location) {
            let parcel = self.write_parcel(message, std::slice::from_ref(&target));
            let only = std::iter::once(target);
            return self.send_message(worker, message.clone(), only, parcel);
        }
        if is_coming {
            return self.hold(message, target, from);
        }
        if let Some(group) = target.group {
            let handed_on = HandedOn {
                group,
                by: session,
                times: target.handed_on.saturating_add(1),
            };
            self.hand_on(message, handed_on, now);
        }
    }

    fn hold(&mut self, message: &Message, mut target: Target, from: WorkerId) {
        let parcel = self.write_parcel(message, std::slice::from_ref(&target));
        target.held_as = parcel.and_then(|parcel| NonZeroU64::new(parcel.number));
        // What there is no room for is lost, as in a queue that is full; the log is told when the
        // session is here.
        if !self.moves.hold(from, message.clone(), target) {
            self.counts.messages_dropped.add(1);
            self.write_taken(parcel);
        }
    }
}
