//! What each step has shown, entered into the books and held against them.

use std::time::Duration;

use mqttstack_broker::core::Notice;
use mqttstack_broker::session::{ProtocolError, server};
use mqttstack_client::core::CleanStart;
use mqttstack_client::session::client;
use mqttstack_codec::{Packet, ProtocolVersion, ReasonCode};
use mqttstack_limits::{Instant, Limits, Overflow};

use super::{
    World,
    comings::Consequence,
    promises::Reason,
    settings::{client_id, index_of},
};
use crate::{Copy, Delivery, Granted, LinkId, Observation, Publication, Station, model::Routed};

/// How certain it is that a message was published.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Certainty {
    /// For the first time.
    First,
    /// Once more.
    Again,
    /// It may not have been.
    Vague,
}

impl World {
    /// Enters what the step has shown into the books.
    pub(super) fn check(&mut self) -> Result<(), String> {
        for (at, observation) in self.network.take_observations() {
            self.at = at;
            match observation {
                Observation::Handled {
                    station,
                    link,
                    packet,
                } => self.on_handled(station, link, &packet, at),
                Observation::Sent {
                    station,
                    link,
                    is_first,
                    packet,
                } => self.on_sent(station, link, &packet, is_first, at)?,
                Observation::Arrived { station, packet } => {
                    self.note(|| format!("client {station} handles {}", brief(&packet)));
                    if let Packet::ConnAck(connack) = &*packet
                        && station < self.settings.clients
                        && !connack.reason_code.is_error()
                    {
                        self.on_connack(station, connack.session_present);
                    }
                }
                Observation::Noticed(notice) => self.on_notice(&notice, at)?,
                Observation::Rings => {
                    for consequence in self.comings.on_rings(at) {
                        self.on_consequence(consequence);
                    }
                }
                Observation::Crashed(restored) => self.on_crashed(&restored, at)?,
            }
        }
        self.at = self.network.now();
        for station in 0..self.seen.len() {
            self.check_client(station)?;
        }
        self.check_queues()?;
        match self.network.faults().first() {
            Some(fault) => Err(fault.clone()),
            None => Ok(()),
        }
    }

    fn on_sent(
        &mut self,
        station: usize,
        link: LinkId,
        packet: &Packet,
        is_first: bool,
        at: Instant,
    ) -> Result<(), String> {
        self.note(|| format!("broker sends client {station} {}", brief(packet)));
        self.promises.on_sent(link, packet);
        let Some(index) = self.books_of(station) else {
            return Ok(());
        };
        if let Packet::Publish(publish) = packet {
            let version = self.network.stations()[station].core.settings().version;
            let has_properties = version == ProtocolVersion::V5;
            let books = &mut self.accounts;
            for client_id in self.comings.vague_ends() {
                books.may_hand_on(index_of(client_id));
            }
            return books.on_sent(index, link, publish, is_first, (at, has_properties));
        }
        if let Packet::PubComp(ack) = packet {
            self.promises.on_pubcomp(&client_id(index), ack.packet_id);
        }
        if let Packet::ConnAck(connack) = packet
            && !connack.reason_code.is_error()
            && let Some(lasts) = self.comings.lasts(link)
        {
            self.promises.on_connack(link, &client_id(index), lasts);
        }
        Ok(())
    }

    /// Returns the client whose books a station goes by; a thief never gets anything.
    fn books_of(&self, station: usize) -> Option<usize> {
        index_of(self.network.stations()[station].core.client_id())
    }

    fn check_client(&mut self, station: usize) -> Result<(), String> {
        let it = &self.network.stations()[station];
        if let Some(client::EndCause::Protocol(error)) = it.last_end()
            && !is_silence(error)
        {
            return Err(format!(
                "client {station} was told what it must not be: {error}"
            ));
        }
        let seen = self.seen[station];
        let deliveries = it.deliveries().get(seen.deliveries..).unwrap_or_default();
        let deliveries: Vec<Delivery> = deliveries.to_vec();
        let limits = &it.core.settings().limits;
        let has_small_queue = limits.queue_messages_max < Limits::default().queue_messages_max;
        for operation in it.completed().get(seen.completed..).unwrap_or_default() {
            let Some(outcome) = it.outcome(*operation) else {
                continue;
            };
            let has_seen = |payload: &str| self.accounts.has_seen(payload);
            self.operations.on_completed(
                station,
                *operation,
                outcome,
                has_small_queue,
                has_seen,
            )?;
        }
        self.seen[station].completed = it.completed().len();
        self.seen[station].deliveries += deliveries.len();
        for delivery in deliveries {
            self.note(|| format!("client {station} gets {delivery:?}"));
            if station >= self.settings.clients {
                return Err(format!("thief {station} gets {delivery:?}"));
            }
            self.report.delivered += 1;
            self.stamp(station, &delivery);
            self.accounts.on_delivered(station, delivery)?;
        }
        for delivery in self.network.take_refused(station) {
            self.accounts.on_refused(station, delivery);
        }
        Ok(())
    }

    /// No queue is longer than its limit, no more is in flight than is allowed.
    fn check_queues(&self) -> Result<(), String> {
        let limits = &self.settings.limits;
        for index in 0..self.settings.clients {
            let Some(status) = self.network.queue_status(&client_id(index)) else {
                continue;
            };
            let messages_max = usize::try_from(limits.queue_messages_max).unwrap_or(usize::MAX);
            let is_one = status.queued_messages <= 1;
            let is_within = status.queued_messages <= messages_max
                && (is_one || status.queued_bytes <= limits.queue_bytes_max)
                && status.inflight <= limits.inflight_max.into();
            if !is_within {
                return Err(format!("client {index} has {status:?} of {limits:?}"));
            }
        }
        Ok(())
    }

    fn on_handled(&mut self, station: usize, link: LinkId, packet: &Packet, now: Instant) {
        self.note(|| format!("broker handles of client {station} {}", brief(packet)));
        let Some(index) = self.books_of(station) else {
            return;
        };
        let client_id = client_id(index);
        match packet {
            Packet::Connect(connect) => {
                self.promises.on_connect(link, &client_id);
                let consequence = self.comings.on_connect(link, connect);
                if self.settings.workers > 1 {
                    self.on_consequence(consequence);
                    if connect.clean_start && self.model.has_session(&client_id) {
                        self.promises.on_cleaning(&client_id);
                    }
                }
            }
            Packet::Publish(publish) => {
                let payload = String::from_utf8_lossy(&publish.payload);
                let topic = self.accounts.resolve(index, link, publish);
                let published = self.accounts.on_published(index, &payload, publish.qos());
                let packet_id = publish.packet_id();
                if let mqttstack_codec::Delivery::ExactlyOnce { packet_id, .. } = publish.delivery {
                    self.promises.on_identifier_taken(&client_id, packet_id);
                }
                let reason =
                    (self.promises).on_published(link, packet_id, &payload, published.is_some());
                let Some(is_first) = published else { return };
                self.report.published += 1;
                let interval = publish.properties.message_expiry_interval();
                let expires_at = interval.map_or(Instant::NEVER, |seconds| {
                    now + Duration::from_secs(seconds.into())
                });
                if interval.is_some() {
                    self.accounts.note_deadline(&payload, expires_at);
                }
                let publication = Publication {
                    publisher: &client_id,
                    topic: &topic,
                    payload: &payload,
                    qos: publish.qos(),
                    retain: publish.retain,
                    expires_at,
                };
                let certainty = match is_first {
                    true => Certainty::First,
                    false => Certainty::Again,
                };
                self.publish(&publication, certainty, reason);
            }
            Packet::Subscribe(subscribe) => {
                let reason = self.promises.on_asked(link, Some(subscribe.packet_id));
                let id = subscribe.properties.subscription_identifiers().next();
                for asked in subscribe.filters.iter() {
                    let options = asked.options;
                    let granted = Granted { options, id };
                    self.promises
                        .on_filter(&client_id, asked.filter, Some(granted), reason);
                    let copies = self.model.subscribe(&client_id, asked.filter, granted, now);
                    for copy in copies {
                        let required_for = self.is_kept(index, &copy).then_some(reason);
                        self.accounts.owe(index, copy, false, required_for);
                    }
                    self.accounts.on_member(index, asked.filter, granted);
                }
                if self.settings.workers > 1 {
                    for consequence in self.comings.vague_wills() {
                        self.on_consequence(consequence);
                    }
                }
            }
            Packet::Unsubscribe(unsubscribe) => {
                let reason = self.promises.on_asked(link, Some(unsubscribe.packet_id));
                let before = self.vague_wills_for(&client_id);
                for filter in unsubscribe.filters.iter() {
                    self.promises.on_filter(&client_id, filter, None, reason);
                    self.model.unsubscribe(&client_id, filter);
                    if filter.starts_with("$share") {
                        self.accounts.forgive_groups();
                    }
                }
                // Whoever drops one of several subscriptions gets what comes from now on by the rest.
                let mut copies = self.vague_wills_for(&client_id);
                copies.retain(|copy| !before.contains(copy));
                for copy in copies {
                    self.accounts.owe(index, copy, false, None);
                }
            }
            Packet::ConnAck(_)
            | Packet::PubAck(_)
            | Packet::PubRec(_)
            | Packet::PubRel(_)
            | Packet::PubComp(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingReq
            | Packet::PingResp
            | Packet::Disconnect(_)
            | Packet::Auth(_) => {}
        }
    }

    /// Enters what is owed for a message.
    fn publish(&mut self, publication: &Publication<'_>, certainty: Certainty, reason: Reason) {
        let Publication { payload, topic, .. } = *publication;
        if publication.retain {
            self.accounts.note_retained(payload);
            let it = (payload.to_owned(), publication.expires_at);
            let it = Some(it).filter(|_| !payload.is_empty());
            self.promises.on_retained(topic, it, reason);
        }
        let Routed { copies, groups } = self.model.publish(publication);
        // What is published again may expire sooner.
        let is_certain = match certainty {
            Certainty::First => true,
            Certainty::Again => publication.expires_at == Instant::NEVER,
            Certainty::Vague => false,
        };
        for (reader, copy) in copies {
            let Some(index) = index_of(&reader) else {
                continue;
            };
            let is_required =
                is_certain && !self.comings.is_uncertain(&reader) && self.is_kept(index, &copy);
            let is_first = certainty == Certainty::First;
            let required_for = is_required.then_some(reason);
            self.accounts.owe(index, copy, is_first, required_for);
        }
        let is_required = groups.iter().flatten().all(|(reader, copy)| {
            let index = index_of(reader).unwrap_or_default();
            !self.comings.is_uncertain(reader) && self.is_kept(index, copy)
        });
        let required_for = (is_certain && is_required).then_some(reason);
        self.accounts.owe_groups(publication, &groups, required_for);
    }

    /// Returns the copies that a client would get now of the wills that may be published at any moment.
    fn vague_wills_for(&self, client_id: &str) -> Vec<Copy> {
        if self.settings.workers == 1 {
            return Vec::new();
        }
        let wills = self.comings.vague_wills().into_iter();
        let copies = wills.filter_map(|consequence| {
            let will = consequence.will?;
            let payload = String::from_utf8_lossy(&will.payload);
            self.model.copy_of(
                client_id,
                &Publication {
                    publisher: &consequence.client_id,
                    topic: &will.topic,
                    payload: &payload,
                    qos: will.qos,
                    retain: will.retain,
                    expires_at: Instant::NEVER,
                },
            )
        });
        copies.collect()
    }

    /// Returns whether a copy is to arrive, if it does not expire.
    fn is_kept(&self, index: usize, copy: &Copy) -> bool {
        let is_small = fits(&self.network.stations()[index], copy);
        // Retained messages wait in the store, and may be gone before a queue has room for them.
        let is_queued = !(copy.retain && self.settings.is_tight());
        is_small && is_queued
    }

    /// Returns how large a packet a client takes, at most.
    fn packet_size_max(&self, index: usize) -> u32 {
        let station = &self.network.stations()[index];
        station.core.settings().limits.packet_size_max
    }

    /// Returns whether messages for a client may be dropped: it has a small queue, or takes small
    /// packets only.
    fn may_miss(&self, client_id: &str) -> bool {
        let ample = Limits::default().packet_size_max;
        let is_small = |index| self.packet_size_max(index) < ample;
        self.settings.is_tight() || index_of(client_id).is_some_and(is_small)
    }

    fn on_notice(&mut self, notice: &Notice, now: Instant) -> Result<(), String> {
        self.note(|| format!("broker notes {notice:?}"));
        match notice {
            Notice::Connected {
                client_id,
                session_present,
                peer,
                ..
            } => {
                let Some(link) =
                    LinkId::of_peer(&peer.address).filter(|_| index_of(client_id).is_some())
                else {
                    return Ok(());
                };
                let has_session = self.model.has_session(client_id);
                let mut consequence =
                    self.comings
                        .on_connected(link, *session_present, has_session)?;
                if !self.comings.may_be_cleaned(client_id) {
                    self.promises.on_cleaned(client_id);
                }
                consequence.is_vague |= self.settings.workers > 1;
                self.on_consequence(consequence);
                self.model.begin_session(client_id, *session_present);
                if let Some(index) = index_of(client_id).filter(|_| !session_present) {
                    self.accounts.on_new_session(index);
                }
                self.report.connections += 1;
                self.report.sessions += u64::from(!session_present);
                Ok(())
            }
            Notice::Ended {
                peer,
                client_id,
                cause,
            } => {
                if !self.is_expected_end(cause) {
                    return Err(format!("the connection of {client_id:?} ended: {cause:?}"));
                }
                let Some(link) = LinkId::of_peer(&peer.address) else {
                    return Ok(());
                };
                self.promises.on_ended(link);
                let leaves_will = !matches!(
                    cause,
                    server::EndCause::ClientDisconnected(ReasonCode::Success)
                );
                let has_session = client_id
                    .as_deref()
                    .is_none_or(|id| self.model.has_session(id));
                let consequence = self.comings.on_ended(link, leaves_will, has_session, now);
                self.on_consequence(consequence);
                Ok(())
            }
            Notice::SessionDropped { client_id, .. } if self.may_overflow() => {
                let consequence = self.comings.on_dropped(client_id);
                self.on_consequence(consequence);
                Ok(())
            }
            Notice::MessagesDropped { client_id, .. } if self.may_miss(client_id) => Ok(()),
            Notice::SessionDropped { .. } | Notice::MessagesDropped { .. } => {
                Err(format!("nobody wanted {notice:?}"))
            }
            // What may be added later is not known to be expected.
            _ => Err(format!("unknown {notice:?}")),
        }
    }

    /// A CONNACK of 3.1 does not say whether the session is a new one: whoever asks for an old one
    /// believes to have got it.
    fn on_connack(&mut self, index: usize, session_present: bool) {
        let settings = self.network.stations()[index].core.settings();
        let is_mute = settings.version == ProtocolVersion::V31;
        let believes = is_mute && settings.clean_start != CleanStart::Always;
        self.accounts.on_connack(index, session_present || believes);
    }

    fn may_overflow(&self) -> bool {
        self.settings.is_tight() && self.settings.limits.overflow == Overflow::EndSession
    }

    fn is_expected_end(&self, cause: &server::EndCause) -> bool {
        match cause {
            server::EndCause::ClientDisconnected(_) | server::EndCause::TransportClosed => true,
            server::EndCause::Protocol(error) => is_silence(error),
            server::EndCause::Refused(reason) => *reason == ReasonCode::ServerBusy,
            server::EndCause::ServerDisconnected(ReasonCode::QuotaExceeded) => self.may_overflow(),
            server::EndCause::ServerDisconnected(reason) => *reason == ReasonCode::SessionTakenOver,
            _ => false,
        }
    }

    /// A session is over, a will is published.
    pub(super) fn on_consequence(&mut self, consequence: Consequence) {
        let Consequence {
            client_id,
            ends_session,
            will,
            is_vague,
        } = consequence;
        if ends_session && let Some(index) = index_of(&client_id) {
            self.note(|| format!("the session of client {index} is over"));
            let is_certain = !is_vague && !self.settings.is_tight();
            let model = &self.model;
            let has_heirs = |topic: &str| is_certain && model.has_heirs(&client_id, topic);
            let stations = self.network.stations();
            let is_sent = |holder: usize, copy: &Copy| fits(&stations[holder], copy);
            self.accounts.forgive(index, has_heirs, is_sent);
            self.model.end_session(&client_id);
            self.promises.on_session_over(&client_id);
        }
        let Some(will) = will else { return };
        self.report.wills += 1;
        let payload = String::from_utf8_lossy(&will.payload);
        let publication = Publication {
            publisher: &client_id,
            topic: &will.topic,
            payload: &payload,
            qos: will.qos,
            retain: will.retain,
            expires_at: Instant::NEVER,
        };
        let certainty = match is_vague {
            true => Certainty::Vague,
            false => Certainty::Again,
        };
        let reason = self.promises.unasked();
        self.publish(&publication, certainty, reason);
    }

    fn stamp(&mut self, index: usize, delivery: &Delivery) {
        let now = self.network.now().as_micros().to_be_bytes();
        let text = delivery.payload.bytes().chain(delivery.topic.bytes());
        for byte in text
            .chain(now)
            .chain([u8::try_from(index).unwrap_or(u8::MAX)])
        {
            // FNV-1a.
            self.report.fingerprint =
                (self.report.fingerprint ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
}

/// Returns whether a copy is no larger than a client takes.
fn fits(station: &Station, copy: &Copy) -> bool {
    let size_max = station.core.settings().limits.packet_size_max;
    u32::try_from(copy.payload.len()).is_ok_and(|size| size < size_max)
}

/// Returns whether somebody only waited too long, which in a rough world is nobody's fault.
fn is_silence(error: &ProtocolError) -> bool {
    matches!(
        error,
        ProtocolError::KeepAliveTimeout { .. }
            | ProtocolError::ConnectTimeout { .. }
            | ProtocolError::PacketTimeout { .. }
    )
}

/// Returns what matters of a packet, in one line.
fn brief(packet: &Packet) -> String {
    let name = packet.packet_type().name();
    match packet {
        Packet::Connect(connect) => {
            format!("{name} {} clean {}", connect.version, connect.clean_start)
        }
        Packet::Publish(publish) => {
            let (delivery, retain) = (publish.delivery, publish.retain);
            let payload: String = String::from_utf8_lossy(&publish.payload)
                .chars()
                .take(20)
                .collect();
            format!(
                "{name} {delivery:?} {} {payload:?} {retain}",
                &*publish.topic
            )
        }
        Packet::Subscribe(subscribe) => {
            let filters: Vec<_> = subscribe.filters.iter().collect();
            format!("{name} {filters:?}")
        }
        Packet::Unsubscribe(unsubscribe) => {
            let filters: Vec<_> = unsubscribe.filters.iter().collect();
            format!("{name} {filters:?}")
        }
        Packet::Disconnect(disconnect) => format!("{name} {:?}", disconnect.reason_code),
        Packet::ConnAck(connack) => format!("{name} {:?}", connack.session_present),
        Packet::PubAck(_)
        | Packet::PubRec(_)
        | Packet::PubRel(_)
        | Packet::PubComp(_)
        | Packet::SubAck(_)
        | Packet::UnsubAck(_)
        | Packet::PingReq
        | Packet::PingResp
        | Packet::Auth(_) => match packet.packet_id() {
            Some(id) => format!("{name} {id}"),
            None => name.into(),
        },
    }
}
