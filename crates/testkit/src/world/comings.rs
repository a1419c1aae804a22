//! Who is connected, whose session waits, until when, and which wills are to be published.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mqttstack_codec::{Connect, ProtocolVersion, Shared, Will};
use mqttstack_limits::Instant;

use crate::LinkId;

/// The comings and goings of all clients, by Client Identifier.
#[derive(Debug, Default)]
pub(super) struct Comings {
    lives: BTreeMap<String, Life>,
    /// What was asked for on each link.
    terms: BTreeMap<LinkId, Terms>,
}

/// Where a client is.
#[derive(Debug, Default)]
struct Life {
    /// The connection on which it was accepted.
    connection: Option<LinkId>,
    /// Connections that wait for their answer.
    pending: BTreeSet<LinkId>,
    absence: Option<Absence>,
    /// Whether its session may have ended or not, as letters between workers cross.
    is_uncertain: bool,
    /// Whether a clean CONNECT was given up before its answer: its letter to the worker that holds the
    /// session may still be under way.
    has_clean_letter: bool,
}

/// A session without a connection.
#[derive(Debug)]
struct Absence {
    expires_at: Instant,
    will: Option<(Will<Shared>, Instant)>,
}

/// What CONNECT asked for.
#[derive(Clone, Debug)]
struct Terms {
    client_id: String,
    is_clean: bool,
    /// In seconds.
    session_expiry: u32,
    will: Option<Will<Shared>>,
}

/// What follows for everybody else.
#[derive(Debug, Default)]
pub(super) struct Consequence {
    /// The client, if what follows is about one that is known.
    pub(super) client_id: String,
    /// Whether its session is over.
    pub(super) ends_session: bool,
    /// The will that is published, after the session has ended if it does.
    pub(super) will: Option<Will<Shared>>,
    /// Whether the will may also have been published at another moment, or not at all.
    pub(super) is_vague: bool,
}

impl Life {
    /// Returns whether a clean CONNECT may reach the worker that holds the session at any moment.
    fn may_be_cleaned(&self, terms: &BTreeMap<LinkId, Terms>) -> bool {
        let mut pending = self.pending.iter().filter_map(|it| terms.get(it));
        self.has_clean_letter || pending.any(|terms| terms.is_clean)
    }
}

impl Comings {
    /// Returns whether it cannot be known what a session gets.
    pub(super) fn is_uncertain(&self, client_id: &str) -> bool {
        self.lives.get(client_id).is_some_and(|it| it.is_uncertain)
    }

    /// Returns whether a clean CONNECT may reach the worker that holds a session at any moment.
    pub(super) fn may_be_cleaned(&self, client_id: &str) -> bool {
        let life = self.lives.get(client_id);
        life.is_some_and(|it| it.may_be_cleaned(&self.terms))
    }

    /// A worker is about to handle a CONNECT. With several workers, a clean one ends the session
    /// that is there at a moment between this one and that of the answer.
    pub(super) fn on_connect(&mut self, link: LinkId, connect: &Connect<Shared>) -> Consequence {
        let client_id = connect.client_id.to_string();
        let session_expiry = match connect.version {
            ProtocolVersion::V5 => connect.properties.session_expiry_interval().unwrap_or(0),
            ProtocolVersion::V31 | ProtocolVersion::V311 if connect.clean_start => 0,
            ProtocolVersion::V31 | ProtocolVersion::V311 => u32::MAX,
        };
        let terms = Terms {
            client_id: client_id.clone(),
            is_clean: connect.clean_start,
            session_expiry,
            will: connect.will.clone(),
        };
        self.terms.insert(link, terms);
        let life = self.lives.entry(client_id.clone()).or_default();
        life.pending.insert(link);
        life.is_uncertain |= life.pending.len() > 1;
        let absence = life.absence.as_ref().filter(|_| connect.clean_start);
        Consequence {
            client_id,
            will: absence.and_then(|it| Some(it.will.as_ref()?.0.clone())),
            is_vague: true,
            ..Consequence::default()
        }
    }

    /// Returns the clients whose sessions may have ended or not: a clean CONNECT is under way to the
    /// worker that holds the session, or letters have crossed.
    pub(super) fn vague_ends(&self) -> impl Iterator<Item = &str> {
        let vague = (self.lives.iter())
            .filter(|(_, life)| life.is_uncertain || life.may_be_cleaned(&self.terms));
        vague.map(|(client_id, _)| &**client_id)
    }

    /// Returns the wills that may be published at any moment: a clean CONNECT is under way to the
    /// worker that holds the session.
    pub(super) fn vague_wills(&self) -> Vec<Consequence> {
        let wills = self.lives.iter().filter_map(|(client_id, life)| {
            let (will, _) = life.absence.as_ref()?.will.as_ref()?;
            life.may_be_cleaned(&self.terms).then(|| Consequence {
                client_id: client_id.clone(),
                will: Some(will.clone()),
                is_vague: true,
                ..Consequence::default()
            })
        });
        wills.collect()
    }

    /// A client was accepted; `has_session` is whether it had a session before.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.1.4-3, v5 MQTT-3.2.2-2, v5 MQTT-3.2.2-3; v3.1.1 MQTT-3.1.4-2, v3.1.1 MQTT-3.2.2-1,
    /// v3.1.1 MQTT-3.2.2-2.
    pub(super) fn on_connected(
        &mut self,
        link: LinkId,
        session_present: bool,
        has_session: bool,
    ) -> Result<Consequence, String> {
        let Some(terms) = self.terms.get(&link) else {
            return Err(format!("{link:?} is accepted without a CONNECT"));
        };
        let client_id = terms.client_id.clone();
        let life = self.lives.entry(client_id.clone()).or_default();
        life.pending.remove(&link);
        if let Some(other) = life.connection.replace(link) {
            return Err(format!(
                "{client_id} is connected twice, {other:?} {link:?}"
            ));
        }
        let is_resumed = has_session && !terms.is_clean;
        let is_open = life.is_uncertain && !terms.is_clean;
        if session_present != is_resumed && !is_open {
            return Err(format!("{client_id}: Session Present is {session_present}"));
        }
        let was_uncertain = std::mem::replace(&mut life.is_uncertain, !life.pending.is_empty());
        life.has_clean_letter = false; // It was answered before this connection was.
        let absence = life.absence.take().filter(|_| !session_present);
        Ok(Consequence {
            client_id,
            ends_session: !session_present,
            will: absence.and_then(|it| Some(it.will?.0)),
            is_vague: was_uncertain,
        })
    }

    /// A connection is over.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.1.2-8, v5 MQTT-3.1.2-10, v5 MQTT-3.1.3-9; v3.1.1 MQTT-3.1.2-8,
    /// v3.1.1 MQTT-3.1.2-10.
    pub(super) fn on_ended(
        &mut self,
        link: LinkId,
        leaves_will: bool,
        has_session: bool,
        now: Instant,
    ) -> Consequence {
        let Some(terms) = self.terms.remove(&link) else {
            return Consequence::default();
        };
        let life = self.lives.entry(terms.client_id.clone()).or_default();
        if life.pending.remove(&link) {
            // It may have ended the session that was there, and was never answered.
            life.has_clean_letter |= terms.is_clean && has_session;
            life.is_uncertain |= life.has_clean_letter;
        }
        if life.connection != Some(link) {
            return Consequence::default();
        }
        life.connection = None;
        let will = terms.will.filter(|_| leaves_will);
        let mut consequence = Consequence {
            client_id: terms.client_id,
            ..Consequence::default()
        };
        if terms.session_expiry == 0 {
            consequence.ends_session = true;
            consequence.will = will;
            return consequence;
        }
        let expires_at = match terms.session_expiry {
            u32::MAX => Instant::NEVER,
            seconds => now + Duration::from_secs(seconds.into()),
        };
        let delay = will
            .as_ref()
            .and_then(|will| will.properties.will_delay_interval());
        let due = expires_at.min(now + Duration::from_secs(delay.unwrap_or(0).into()));
        let (at_once, later) = if due <= now {
            (will, None)
        } else {
            (None, will)
        };
        // The session ends as soon as the worker hears of a clean one, and its will is due then.
        consequence.is_vague = later.is_some() && life.may_be_cleaned(&self.terms);
        consequence.will = match consequence.is_vague {
            true => later.clone(),
            false => at_once,
        };
        life.absence = Some(Absence {
            expires_at,
            will: later.map(|will| (will, due)),
        });
        consequence
    }

    /// A session was dropped.
    pub(super) fn on_dropped(&mut self, client_id: &str) -> Consequence {
        let life = self.lives.entry(client_id.into()).or_default();
        life.is_uncertain |= !life.pending.is_empty();
        Consequence {
            client_id: client_id.into(),
            ends_session: true,
            will: life.absence.take().and_then(|it| Some(it.will?.0)),
            is_vague: life.is_uncertain,
        }
    }

    /// The broker has stopped without a word: nobody is connected any more.
    pub(super) fn on_crash(&mut self) {
        self.terms.clear();
        for life in self.lives.values_mut() {
            *life = Life::default();
        }
    }

    /// The broker begins anew with the session of this client.
    pub(super) fn on_restored(
        &mut self,
        client_id: &str,
        expires_at: Instant,
        will: Option<(Will<Shared>, Instant)>,
    ) {
        let life = self.lives.entry(client_id.into()).or_default();
        life.absence = Some(Absence { expires_at, will });
    }

    /// Returns whether the session of a connection outlives it; `None` if another connection of the
    /// client is about to take its place.
    pub(super) fn lasts(&self, link: LinkId) -> Option<bool> {
        let terms = self.terms.get(&link)?;
        let life = self.lives.get(&terms.client_id)?;
        let is_sure = life.pending.is_empty() && life.connection == Some(link);
        is_sure.then_some(terms.session_expiry > 0)
    }

    /// Deadlines ring: wills are published, sessions end. While a client is on its way back nobody
    /// knows which comes first.
    pub(super) fn on_rings(&mut self, now: Instant) -> Vec<Consequence> {
        let mut consequences = Vec::new();
        for (client_id, life) in &mut self.lives {
            let Some(absence) = &mut life.absence else {
                continue;
            };
            let will = absence.will.take_if(|(_, due)| *due <= now);
            let is_over = absence.expires_at <= now;
            let is_vague = !life.pending.is_empty() || life.is_uncertain;
            if is_over {
                life.absence = None;
                life.is_uncertain |= is_vague;
            }
            if is_over || will.is_some() {
                consequences.push(Consequence {
                    client_id: client_id.clone(),
                    ends_session: is_over && !is_vague,
                    will: will.map(|(will, _)| will),
                    is_vague,
                });
            }
        }
        consequences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Instant = Instant::from_micros(1_000_000);

    fn connect(session_expiry: u32, will_delay: u32) -> Connect<Shared> {
        use mqttstack_codec::Properties;
        let mut connect = Connect::new(ProtocolVersion::V5, "c0");
        let properties = Properties::builder().session_expiry_interval(session_expiry);
        connect.properties = properties.build().expect("valid");
        let properties = Properties::builder().will_delay_interval(will_delay);
        connect.will = Some(Will {
            qos: mqttstack_codec::QoS::AtMostOnce,
            retain: false,
            properties: properties.build().expect("valid"),
            topic: "t".into(),
            payload: "w".into(),
        });
        connect
    }

    #[test]
    fn a_will_is_published_after_its_delay_or_with_the_session() {
        // v5 MQTT-3.1.2-8; session expiry, delay, when each is published, when the session ends.
        for (session_expiry, delay, published, ended) in [
            (0, 5, 0, 0),
            (9, 0, 0, 9),
            (9, 5, 5, 9),
            (5, 9, 5, 5),
            (u32::MAX, 5, 5, 99),
        ] {
            let mut comings = Comings::default();
            let link = LinkId::of_peer("1").expect("a number");
            comings.on_connect(link, &connect(session_expiry, delay));
            comings.on_connected(link, false, false).expect("is first");
            let mut wills = Vec::new();
            let mut ends = Vec::new();
            let mut note = |at, consequence: Consequence| {
                wills.extend(consequence.will.map(|_| at));
                ends.extend(consequence.ends_session.then_some(at));
            };
            note(0, comings.on_ended(link, true, true, Instant::EPOCH));
            for second in 1..20 {
                let now = Instant::EPOCH + Duration::from_secs(second);
                for consequence in comings.on_rings(now) {
                    note(second, consequence);
                }
            }
            assert_eq!(wills, [published], "{session_expiry} {delay}");
            assert_eq!(ends.first().copied().unwrap_or(99), ended);
        }
    }

    #[test]
    fn a_clean_connect_that_is_given_up_may_still_end_the_session_and_publish_the_will() {
        for (is_clean, is_vague) in [(true, true), (false, false)] {
            let mut comings = Comings::default();
            let [first, second, third] =
                ["1", "2", "3"].map(|peer| LinkId::of_peer(peer).expect("a number"));
            comings.on_connect(first, &connect(9, 5));
            comings.on_connected(first, false, false).expect("is first");
            let mut thief = connect(9, 5);
            thief.clean_start = is_clean;
            comings.on_connect(second, &thief);
            let mut owner = connect(9, 5);
            owner.clean_start = false;
            comings.on_connect(third, &owner);
            comings.on_ended(second, false, true, Instant::EPOCH);
            let over = comings.on_ended(first, true, true, Instant::EPOCH);
            assert_eq!((over.will.is_some(), over.is_vague), (is_vague, is_vague));
            assert_eq!(comings.vague_wills().len(), usize::from(is_vague));
            comings
                .on_connected(third, !is_clean, true)
                .expect("takes over");
            assert!(comings.vague_wills().is_empty());
        }
    }

    #[test]
    fn two_connections_of_one_client_are_found_out() {
        // v5 MQTT-3.1.4-3; v3.1.1 MQTT-3.1.4-2
        let mut comings = Comings::default();
        let [first, second] = ["1", "2"].map(|peer| LinkId::of_peer(peer).expect("a number"));
        comings.on_connect(first, &connect(9, 0));
        assert!(comings.on_connected(first, false, false).is_ok());
        comings.on_connect(second, &connect(9, 0));
        assert!(comings.on_connected(second, true, true).is_err());
        comings.on_ended(first, false, true, SECOND);
    }
}
