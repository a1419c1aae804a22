//! The books after a crash of the broker: they go on with what its store has kept, if that is what
//! was promised.

use std::{collections::BTreeMap, time::Duration};

use mqttstack_limits::Instant;
use mqttstack_session::journal::{RecordedPresence, SessionRecord};

use super::{
    World,
    comings::Consequence,
    settings::{client_id, index_of},
};
use crate::{Contents, Granted, Restored};

impl World {
    /// The broker has begun anew.
    pub(super) fn on_crashed(&mut self, restored: &Restored, now: Instant) -> Result<(), String> {
        self.note(|| "the broker crashes".into());
        self.report.crashes += 1;
        self.comings.on_crash();
        self.promises.on_crash();
        self.recover_retained(restored, now)?;
        let records = restored.recovered.sessions.iter();
        let records: BTreeMap<&str, &SessionRecord> = records
            .map(|(_, record)| (&*record.client_id, record))
            .collect();
        for index in 0..self.settings.clients {
            let client_id = client_id(index);
            let found = records.get(&*client_id).copied();
            match (found, restored.contents.get(&client_id)) {
                (Some(record), Some(contents)) => {
                    self.recover_session(index, record, contents, now)?;
                }
                _ => self.lose_session(client_id)?,
            }
        }
        let sessions = restored.contents.iter();
        let sessions = sessions
            .filter_map(|(client_id, contents)| Some((index_of(client_id)?, contents)))
            .collect();
        let promises = &self.promises;
        let is_strict = !self.settings.is_tight();
        // An unanswered clean CONNECT may have ended a session that is back now, and what came then went
        // to whoever else was in the group, or to nobody.
        let is_kept = |index, reason| promises.is_kept_in(&client_id(index), reason);
        self.accounts
            .on_groups_recovered(&sessions, now, is_strict, is_kept)?;
        self.promises.on_recovered();
        Ok(())
    }

    fn recover_retained(&mut self, restored: &Restored, now: Instant) -> Result<(), String> {
        let found = restored.recovered.retained.iter();
        let found: BTreeMap<_, _> = found
            .map(|(message, expires_at)| {
                let payload = String::from_utf8_lossy(message.payload()).into_owned();
                let it = (payload, message.qos(), *expires_at);
                (message.topic().to_owned(), it)
            })
            .collect();
        let brief = found.iter();
        let brief = brief.map(|(topic, (payload, _, at))| (topic.clone(), (payload.clone(), *at)));
        self.promises.on_retained_recovered(&brief.collect(), now)?;
        self.model.set_retained(found);
        Ok(())
    }

    fn lose_session(&mut self, client_id: String) -> Result<(), String> {
        if self.promises.was_told(&client_id) == Some(true) {
            return Err(format!("a crash has ended the session of {client_id}"));
        }
        if self.model.has_session(&client_id) {
            self.on_consequence(Consequence {
                client_id,
                ends_session: true,
                // What it had for its groups may be lost with it: nobody was told that it was there.
                is_vague: true,
                ..Consequence::default()
            });
        }
        Ok(())
    }

    fn recover_session(
        &mut self,
        index: usize,
        record: &SessionRecord,
        contents: &Contents,
        now: Instant,
    ) -> Result<(), String> {
        let client_id = client_id(index);
        let told = self.promises.was_told(&client_id);
        if told == Some(false) {
            return Err(format!("a crash brings back a session of {client_id}"));
        }
        self.note(|| format!("client {index} has {contents:?} left"));
        let filters: BTreeMap<String, Granted> = record
            .subscriptions
            .iter()
            .map(|(filter, it)| {
                let (options, id) = (it.options, it.subscription_id);
                (filter.to_string(), Granted { options, id })
            })
            .collect();
        self.promises.on_filters_recovered(&client_id, &filters)?;
        self.model.set_session(&client_id, filters);
        for (payload, is_accepted) in &contents.unanswered {
            let was_accepted =
                self.accounts.has_taken(index, payload) && self.promises.is_accepted(payload);
            if told == Some(true) && !is_accepted && was_accepted {
                return Err(format!(
                    "a crash has the broker forget that it took {payload}"
                ));
            }
        }
        let mut accepted = contents.accepted.iter();
        let stale = accepted.find(|id| self.promises.was_completed(&client_id, **id));
        if let Some(id) = stale.filter(|_| told == Some(true)) {
            return Err(format!(
                "a crash has the broker take what {client_id} sends next as {id} for a repeat"
            ));
        }
        self.accounts
            .on_taken_recovered(index, &contents.unanswered);
        let promises = &self.promises;
        let is_strict = told == Some(true) && !self.settings.is_tight();
        self.accounts
            .on_session_recovered(index, contents, now, is_strict, |it| promises.is_kept(it))?;
        let will = record.will.as_deref().cloned();
        let (expires_at, will_at) = match record.presence {
            RecordedPresence::Away {
                expires_at,
                will_at,
            } => (expires_at, will_at.unwrap_or(now)),
            RecordedPresence::Connected {
                session_expiry_interval,
            } => {
                let expires_at = match session_expiry_interval {
                    u32::MAX => Instant::NEVER,
                    seconds => now + Duration::from_secs(seconds.into()),
                };
                let delay = will.as_ref();
                let delay = delay.and_then(|will| will.properties.will_delay_interval());
                let delay = Duration::from_secs(delay.unwrap_or(0).into());
                (expires_at, expires_at.min(now + delay))
            }
        };
        let will = will.map(|will| (will, will_at));
        self.comings.on_restored(&client_id, expires_at, will);
        Ok(())
    }
}
