//! What a store gives back when a broker begins.

use std::{sync::Arc, time::Duration};

use mqttstack_codec::QoS;
use mqttstack_limits::{Instant, Limits};
use mqttstack_session::{
    Message,
    journal::{Change, RecordedPresence, SessionNumber, SessionRecord},
};
use mqttstack_topic::{CharacterPolicy, TopicFilter, TopicLimits, TopicName};

use super::{
    Core,
    directory::{Granted, Lookup},
    session_table::{Absent, Entry, Presence},
    timers::Timer,
};

/// What was in force when it was stored still is.
const STORED_BEFORE: TopicLimits = TopicLimits {
    levels_max: u8::MAX,
    bytes_max: u16::MAX,
    characters: CharacterPolicy::Accept,
};

impl Core {
    /// Takes over a session from the store, before the first client is let in. Its client counts as
    /// away since `now` if it was here when the broker stopped; `limits` bound its queue until it
    /// comes back. Returns false if its client has a session already.
    ///
    /// What is to be written about it comes from
    /// [`poll_store_operation`](Self::poll_store_operation), under its old number.
    pub fn restore(
        &mut self,
        number: SessionNumber,
        record: SessionRecord,
        limits: Arc<Limits>,
        now: Instant,
    ) -> bool {
        let SessionRecord {
            client_id,
            identity,
            mut state,
            subscriptions,
            presence,
            will,
            ..
        } = record;
        let Lookup::Entered(key) = self
            .directory
            .find_or_enter(&client_id, u32::MAX, self.worker)
        else {
            return false;
        };
        let delay = (will.as_ref()).and_then(|will| will.properties.will_delay_interval());
        let (expires_at, will_at) = match presence {
            RecordedPresence::Away {
                expires_at,
                will_at,
            } => (expires_at, will_at.unwrap_or(now)),
            RecordedPresence::Connected {
                session_expiry_interval,
            } => {
                let expires_at = super::end::expires_at(session_expiry_interval, now);
                let delay = Duration::from_secs(delay.unwrap_or(0).into());
                (expires_at, expires_at.min(now + delay))
            }
        };
        let will = will.map(|will| (*will, will_at));
        self.timers.schedule(Timer::SessionExpiry(key), expires_at);
        if will.is_some() {
            self.timers.schedule(Timer::Will(key), will_at);
        }
        self.directory.note_session_number(number);
        if self.journal.is_kept() {
            state.keep_journal();
        }
        let absent = Absent {
            state,
            limits,
            expires_at,
            will,
        };
        let presence = Presence::Absent(Box::new(absent));
        let name = self.directory.name_of(&client_id);
        let mut entry = Entry::new(key, name, identity, presence);
        entry.number = self.journal.is_kept().then_some(number);
        for (text, recorded) in subscriptions {
            let Ok(filter) = TopicFilter::before_v5(&text, STORED_BEFORE) else {
                continue;
            };
            let options = &recorded.options;
            let qos = options.qos.min(QoS::ExactlyOnce);
            let mut granted = Granted::new(options, qos, recorded.subscription_id);
            granted.lasts = true;
            let mut index = self.directory.subscriptions.write();
            if index.insert(&filter, key, granted).is_none() {
                entry.filters.add(&filter);
            }
        }
        if entry.filters.shared_count > 0 {
            self.directory.set_member_absent(key, true);
        }
        self.sessions.insert(entry);
        self.count_session(key);
        self.write_change(key, || Change::Keyed { key: key.as_u64() });
        true
    }

    /// Takes over a retained message from the store, before the first client is let in.
    pub fn restore_retained(&mut self, message: &Message, now: Instant) {
        let Ok(topic) = TopicName::with_limits(message.topic(), STORED_BEFORE) else {
            return;
        };
        let mut retained = self.directory.retained.write();
        let mut before = retained.counted_bytes();
        // What the limits do not allow any more is gone.
        let _ = retained.store(&topic, message, &self.limits, now);
        let (after, next) = (retained.counted_bytes(), retained.next_deadline());
        drop(retained);
        self.memory.recount(&mut before, after);
        self.schedule_retained_expiry(next);
    }
}
