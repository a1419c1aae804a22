//! The client without I/O: bytes and time in, bytes and events out.
//!
//! [`ClientCore`] joins the codec and the session, and adds what outlives a connection: when to try
//! again, which subscriptions to make anew, which requests still want an answer. Its owner moves
//! bytes between it and a transport. `std` and its clock are not needed.

#![warn(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod event;
mod input;
mod lifecycle;
mod reconnect;
mod requests;
mod settings;
mod subscriptions;
#[cfg(test)]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it expects"
)]
mod tests;

use alloc::{collections::VecDeque, vec::Vec};

use mqttstack_codec::{
    Auth, Connect, DecodeError, Decoder, Disconnect, Packet, Properties, ProtocolVersion,
    ReasonCode, Sender, Shared, SubscribeFilters, UnsubscribeFilters,
};
use mqttstack_limits::{Instant, PROTOCOL_PACKET_SIZE_MAX};
use mqttstack_session::{
    Message, PublishError, QueueStatus, SessionState,
    client::{self, Session},
};

pub use self::{
    event::{Event, OperationId, Outcome, Output, Receipt, TransportRequest},
    reconnect::ReconnectPolicy,
    requests::RequestError,
    settings::{CleanStart, Resubscribe, Settings, SettingsError},
};
use self::{
    event::{Kind, ReceiptScope},
    input::{Partial, Progress},
    reconnect::Backoff,
    requests::{Body, Request, Requests},
    subscriptions::Subscriptions,
};

/// About how many bytes one [`ClientCore::poll_output`] hands out, large payloads apart.
const OUTPUT_BYTES: usize = 64 * 1024;

/// A client without I/O.
///
/// After each `handle_*` and each verb, do what [`poll_transport`](Self::poll_transport) asks, write
/// what [`poll_output`](Self::poll_output) gives, take what [`poll_event`](Self::poll_event) tells,
/// all to `None`; then read [`poll_timeout`](Self::poll_timeout). An early or repeated
/// [`handle_timeout`](Self::handle_timeout) is harmless. The same settings, seed and calls give the
/// same bytes.
///
/// ```
/// use mqttstack_client::core::{ClientCore, Event, Settings, TransportRequest};
/// use mqttstack_client::limits::Instant;
///
/// let now = Instant::EPOCH;
/// let mut client = ClientCore::new(Settings::new("sensor-7"), 1)?;
/// client.connect(now);
/// assert_eq!(client.poll_transport(), Some(TransportRequest::Open));
/// client.handle_connected(now);
/// let output = client.poll_output(now).unwrap();
/// assert_eq!(output.bytes[0], 0x10, "CONNECT is the first packet");
/// client.handle_input(&[0x20, 3, 0, 0, 0], now); // CONNACK
/// assert!(matches!(client.poll_event(), Some(Event::Connected(_))));
/// # Ok::<(), mqttstack_client::core::SettingsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientCore {
    settings: Settings,
    session: Session,
    phase: Phase,
    decoder: Decoder,
    partial: Partial,
    output: Vec<u8>,
    scratch: Vec<u8>,
    events: VecDeque<Event>,
    transport: VecDeque<TransportRequest>,
    backoff: Backoff,
    requests: Requests,
    subscriptions: Subscriptions,
    reading: Reading,
    room: Option<Room>,
    /// How many connections were begun.
    connections: u64,
    /// Whether a server has ever accepted this client.
    was_accepted: bool,
    /// When the present connection was accepted, and its Keep Alive in seconds.
    accepted: Option<(Instant, u16)>,
    /// A server has refused the bridge bit.
    bridge_refused: bool,
}

/// Where the client stands between connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// No connection is wanted.
    Stopped,
    /// The next attempt is made then.
    Waiting { until: Instant },
    /// The owner opens a transport.
    Opening,
    /// The transport is open.
    Open,
    /// The session has ended; the owner closes the transport. Then comes the next attempt, if any.
    Closing { retry_at: Option<Instant> },
}

/// Whether the owner reads from the transport.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reading {
    Active,
    /// It does not, so that answers to pings are not seen; pings are sent nevertheless.
    Paused {
        ping_at: Instant,
        ping_now: bool,
    },
    /// It does again; answers may still be under way.
    Resumed {
        until: Instant,
    },
}

/// How much more the owner has room for.
#[derive(Clone, Copy, Debug)]
struct Room {
    messages: usize,
    bytes: usize,
}

impl ClientCore {
    /// Returns a client that is not connected. `seed` decides the chance in its delays.
    ///
    /// # Errors
    ///
    /// [`SettingsError`]: no connection can be asked for with these settings.
    pub fn new(settings: Settings, seed: u64) -> Result<Self, SettingsError> {
        Self::resume(settings, None, seed)
    }

    /// Returns a client that is not connected and goes on with the state of an earlier one.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn resume(
        settings: Settings,
        state: Option<SessionState>,
        seed: u64,
    ) -> Result<Self, SettingsError> {
        settings.check()?;
        let for_session = client::Settings {
            limits: settings.limits.clone(),
            ping_timeout: settings.ping_timeout,
            lost_session: settings.lost_session,
        };
        let session = match (state, settings.clean_start) {
            (Some(state), _) => Session::resume(for_session, state),
            // The session is taken to have been ours, with nothing in flight.
            (None, CleanStart::Never) => Session::resume(for_session, SessionState::new()),
            (None, CleanStart::Always | CleanStart::FirstOnly) => Session::new(for_session),
        };
        let decoder = Decoder::new()
            .with_version(settings.version)
            .with_packet_size_max(settings.limits.packet_size_max)
            .with_sender(Sender::Server);
        Ok(Self {
            settings,
            session,
            phase: Phase::Stopped,
            decoder,
            partial: Partial::default(),
            output: Vec::new(),
            scratch: Vec::new(),
            events: VecDeque::new(),
            transport: VecDeque::new(),
            backoff: Backoff::new(seed),
            requests: Requests::default(),
            subscriptions: Subscriptions::default(),
            reading: Reading::Active,
            room: None,
            connections: 0,
            was_accepted: false,
            accepted: None,
            bridge_refused: false,
        })
    }

    /// Asks for a connection, at once: also when the next attempt would only be made later.
    pub fn connect(&mut self, _now: Instant) {
        match &mut self.phase {
            Phase::Stopped => {
                self.backoff.reset();
                self.open();
            }
            Phase::Waiting { .. } => self.open(),
            Phase::Closing { retry_at } => *retry_at = Some(retry_at.unwrap_or(Instant::EPOCH)),
            Phase::Opening | Phase::Open => {}
        }
    }

    /// The transport is open.
    pub fn handle_connected(&mut self, now: Instant) {
        if self.phase != Phase::Opening {
            return;
        }
        // The settings were checked when the client was made.
        let Ok(connect) = self.next_connect() else {
            return;
        };
        self.phase = Phase::Open;
        self.connections = self.connections.saturating_add(1);
        self.partial = Partial::None;
        self.session.connect(connect, now);
    }

    /// Handles bytes from the server, cut anywhere, and returns how many were taken: all of them,
    /// unless the owner has [set](Self::set_room) how much it has room for.
    ///
    /// Where the room ends, so does what is taken, behind a whole packet; the owner keeps the rest,
    /// and hands it over again before it reads on.
    pub fn handle_input(&mut self, bytes: &[u8], now: Instant) -> usize {
        let mut rest = bytes;
        if !rest.is_empty() {
            self.session.handle_progress(now);
        }
        while !rest.is_empty() && self.is_open() {
            if !self.has_room() {
                return bytes.len().saturating_sub(rest.len());
            }
            let result = self.take_packet(&mut rest, now);
            self.check_decoded(result, now);
        }
        bytes.len()
    }

    /// Sets how many messages the owner has room for from now on, and how many bytes of topics,
    /// properties and payloads. A message that begins within the bytes is taken whole. Without this
    /// call there is no bound but the bytes that are handed over.
    pub const fn set_room(&mut self, messages: usize, bytes: usize) {
        self.room = Some(Room { messages, bytes });
    }

    /// Returns whether another message would be taken.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.room
            .is_none_or(|room| room.messages > 0 && room.bytes > 0)
    }

    /// Returns where more of a large packet is to be read to, while one is arriving; report
    /// with [`handle_large_input`](Self::handle_large_input). This saves a copy, and is not a must.
    #[must_use]
    pub fn large_input(&mut self) -> Option<&mut [u8]> {
        if self.is_open() {
            self.partial.room()
        } else {
            None
        }
    }

    /// So many bytes were read to where [`large_input`](Self::large_input) said.
    pub fn handle_large_input(&mut self, count: usize, now: Instant) {
        if self.is_open() {
            self.session.handle_progress(now);
            let progress = self.partial.filled(count);
            let result = self.take_progress(progress, now);
            self.check_decoded(result, now);
        }
    }

    /// The transport has taken bytes of what [`poll_output`](Self::poll_output) gave. To report this
    /// keeps a connection alive whose pings wait behind large messages on a slow network.
    pub fn handle_written(&mut self, now: Instant) {
        self.session.handle_progress(now);
    }

    /// The transport is closed, or could not be opened.
    pub fn handle_closed(&mut self, now: Instant) {
        match self.phase {
            Phase::Opening => {
                let retry_after = self.next_attempt(now);
                self.events.push_back(Event::OpenFailed { retry_after });
            }
            Phase::Open => {
                self.session.handle_closed();
                self.drain_session(now);
                self.on_transport_closed();
            }
            Phase::Closing { .. } => self.on_transport_closed(),
            Phase::Stopped | Phase::Waiting { .. } => {}
        }
    }

    /// Handles the passing of time: tries to connect again, pings, gives up on a silent server.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.1.2-20, v5 U-05, v5 U-07; X311-3.2-a, X311-3.1.2.10-a.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Waiting { until } if until <= now => self.open(),
            Phase::Open => {
                if self.may_time_out(now) {
                    // An error is told by `Event::Ended`.
                    let _ = self.session.handle_timeout(now);
                    self.drain_session(now);
                }
            }
            Phase::Waiting { .. } | Phase::Stopped | Phase::Opening | Phase::Closing { .. } => {}
        }
    }

    /// Tells whether the owner reads from the transport. While it does not, because the application
    /// is slow, a missing PINGRESP proves nothing, and pings are sent all the same.
    pub fn set_reading(&mut self, is_reading: bool, now: Instant) {
        self.reading = match (self.reading, is_reading) {
            (Reading::Active | Reading::Resumed { .. }, false) => Reading::Paused {
                ping_at: self.next_ping(now),
                ping_now: false,
            },
            (Reading::Paused { .. }, true) => Reading::Resumed {
                until: now + self.settings.ping_timeout,
            },
            (reading, _) => reading,
        };
    }

    /// Hands a message over for delivery to the server; without a connection it waits for the next
    /// one. Its outcome comes as [`Event::Completed`].
    ///
    /// # Errors
    ///
    /// [`PublishError`]: the message was not taken.
    pub fn publish(&mut self, message: Message, now: Instant) -> Result<OperationId, PublishError> {
        /// Fixed header, length of the topic, Packet Identifier, length of the properties and the
        /// per-hop properties take less than this.
        const OVERHEAD_MAX: u64 = 64;
        let size = u64::try_from(message.size())
            .unwrap_or(u64::MAX)
            .saturating_add(OVERHEAD_MAX);
        if size > u64::from(PROTOCOL_PACKET_SIZE_MAX) {
            return Err(PublishError::PacketTooLarge {
                size,
                maximum: PROTOCOL_PACKET_SIZE_MAX,
            });
        }
        let result = self.session.publish(message, now);
        self.drain_session(now);
        result.map(|token| OperationId(Kind::Publish(token)))
    }

    /// Asks for subscriptions; without a connection the request waits for the next one. What the
    /// server grants is remembered, to be asked for again when a session is lost.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: the request was not taken.
    pub fn subscribe(
        &mut self,
        filters: SubscribeFilters<Shared>,
        properties: Properties<Shared>,
    ) -> Result<OperationId, RequestError> {
        let maximum = self.settings.limits.subscriptions_max;
        let count = self
            .subscriptions
            .len()
            .saturating_add(self.requests.filters());
        let count = count.saturating_add(filters.len());
        if count > usize::try_from(maximum).unwrap_or(usize::MAX) {
            return Err(RequestError::TooManySubscriptions { maximum });
        }
        self.request(Body::Subscribe(filters, properties))
    }

    /// Ends subscriptions; without a connection the request waits for the next one.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: the request was not taken.
    pub fn unsubscribe(
        &mut self,
        filters: UnsubscribeFilters<Shared>,
        properties: Properties<Shared>,
    ) -> Result<OperationId, RequestError> {
        let unwanted = filters.clone();
        let operation = self.request(Body::Unsubscribe(filters, properties))?;
        self.subscriptions.on_unsubscribe(&unwanted);
        Ok(operation)
    }

    /// Acknowledges a received QoS 1 or 2 message, with an error code to refuse it (5.0). The
    /// acknowledgements leave in the order of the messages, whatever the order of the calls.
    pub fn acknowledge(&mut self, receipt: Receipt, reason_code: ReasonCode) {
        let is_good = match receipt.scope {
            ReceiptScope::Connection(connection) => connection == self.connections,
            ReceiptScope::Session(session) => session == self.session.sessions_begun(),
        };
        if is_good {
            self.session.acknowledge(receipt.packet_id, reason_code);
        }
    }

    /// Sends a step of an authentication exchange, or starts a new one (Re-authenticate).
    ///
    /// # Errors
    ///
    /// The packet cannot be expressed; 3.x has none.
    pub fn authenticate(&mut self, auth: Auth<Shared>) -> Result<(), mqttstack_codec::EncodeError> {
        Packet::Auth(auth.clone()).encoded_len(self.settings.version)?;
        self.session.authenticate(auth);
        Ok(())
    }

    /// Ends the connection in good order, and tries no more. What waits in the queue stays there;
    /// requests without an answer are cancelled.
    ///
    /// In 5.0, [`ReasonCode::DisconnectWithWillMessage`] has the will published.
    pub fn disconnect(&mut self, reason_code: ReasonCode, now: Instant) {
        match self.phase {
            Phase::Open if self.session.is_connected() => {
                let reason_code = match self.settings.version {
                    ProtocolVersion::V5 => reason_code,
                    ProtocolVersion::V31 | ProtocolVersion::V311 => ReasonCode::Success,
                };
                self.session.disconnect(Disconnect::new(reason_code));
                self.drain_session(now);
            }
            // Nothing that the server would understand can be sent yet.
            Phase::Open => {
                self.session
                    .disconnect(Disconnect::new(ReasonCode::Success));
                self.session.handle_closed();
                self.drain_session(now);
            }
            Phase::Opening => {
                self.transport.push_back(TransportRequest::Close);
                self.phase = Phase::Closing { retry_at: None };
                self.cancel_requests();
            }
            Phase::Closing { .. } => {
                self.phase = Phase::Closing { retry_at: None };
                self.cancel_requests();
            }
            Phase::Waiting { .. } | Phase::Stopped => {
                self.phase = Phase::Stopped;
                self.cancel_requests();
            }
        }
    }

    /// Returns what the owner of the transport is to do next.
    #[must_use]
    pub fn poll_transport(&mut self) -> Option<TransportRequest> {
        // What is still to be written goes first.
        if self.transport.front() == Some(&TransportRequest::Close) && self.session.has_packet() {
            return None;
        }
        self.transport.pop_front()
    }

    /// Returns the next bytes to write. An owner whose transport is slow calls this only when
    /// little waits for it, so that messages stay where they are counted.
    #[must_use]
    pub fn poll_output(&mut self, now: Instant) -> Option<Output<'_>> {
        self.output.clear();
        if let Reading::Paused { ping_now, .. } = &mut self.reading
            && core::mem::take(ping_now)
        {
            let _ = Packet::<Shared>::PingReq.encode(self.settings.version, &mut self.output);
        }
        let mut payload = None;
        while payload.is_none() && self.output.len() < OUTPUT_BYTES {
            let Some(outgoing) = self.session.poll_packet(now) else {
                break;
            };
            let version = self.settings.version;
            match outgoing.encode(version, &mut self.scratch, &mut self.output) {
                Ok(shared) => payload = shared.cloned(),
                // Every packet was checked when it was asked for.
                Err(error) => debug_assert!(false, "{outgoing:?}: {error}"),
            }
        }
        self.drain_session(now);
        if self.output.is_empty() && payload.is_none() {
            return None;
        }
        Some(Output {
            bytes: &self.output,
            payload,
        })
    }

    /// Returns whether [`poll_output`](Self::poll_output) may have something.
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.session.has_packet()
    }

    /// Returns what has happened.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) has to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (self.phase, self.reading) {
            (Phase::Waiting { until }, _) => Some(until),
            (Phase::Open, Reading::Paused { ping_at, .. }) if self.session.is_connected() => {
                Some(ping_at)
            }
            (Phase::Open, Reading::Resumed { until }) if self.session.is_connected() => {
                self.session.poll_timeout().map(|at| at.max(until))
            }
            (Phase::Open, _) => self.session.poll_timeout(),
            (Phase::Stopped | Phase::Opening | Phase::Closing { .. }, _) => None,
        }
    }

    /// Returns whether the server has accepted the connection and it is not over.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.session.is_connected()
    }

    /// Returns whether there is no connection, and none will be tried for.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.phase == Phase::Stopped
    }

    /// Returns what the server said it can do, while connected.
    #[must_use]
    pub fn server(&self) -> Option<client::ServerCapabilities> {
        self.session.server()
    }

    /// Returns how many messages wait, and how many are in flight.
    #[must_use]
    pub fn queue_status(&self) -> QueueStatus {
        self.session.queue_status()
    }

    /// Returns how many SUBSCRIBE and UNSUBSCRIBE requests want an answer.
    #[must_use]
    pub fn unfinished_requests(&self) -> usize {
        self.requests.len()
    }

    /// Returns the Client Identifier: the one that the server has assigned, if it has.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.settings.client_id
    }

    /// Returns the settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes the state of the session out, to be resumed later.
    #[must_use]
    pub fn detach(self) -> SessionState {
        self.session.detach()
    }

    fn next_connect(&self) -> Result<Connect<Shared>, mqttstack_codec::PropertyError> {
        let clean_start = match self.settings.clean_start {
            CleanStart::Always => true,
            CleanStart::FirstOnly => !self.was_accepted,
            CleanStart::Never => false,
        };
        self.settings
            .connect(clean_start, self.settings.bridge && !self.bridge_refused)
    }

    /// Takes one packet, or the beginning of one, off the front of `bytes`.
    fn take_packet(&mut self, bytes: &mut &[u8], now: Instant) -> Result<(), DecodeError> {
        if !self.partial.is_none() {
            let progress = self.partial.add(bytes, self.decoder)?;
            return self.take_progress(progress, now);
        }
        match self.decoder.decode_ref(bytes)? {
            Some((packet, len)) => {
                *bytes = bytes.get(len..).unwrap_or_default();
                // An error is told by `Event::Ended`.
                let _ = self.session.handle_packet(packet, now);
            }
            None => {
                let begun = core::mem::take(bytes);
                self.partial.begin(begun, self.decoder)?;
            }
        }
        Ok(())
    }

    fn take_progress(&mut self, progress: Progress, now: Instant) -> Result<(), DecodeError> {
        match progress {
            Progress::Pending => {}
            Progress::Small(packet) => {
                if let Some((packet, _)) = self.decoder.decode_ref(&packet)? {
                    let _ = self.session.handle_packet(packet, now);
                }
            }
            Progress::Large(mut packet) => {
                if let Some(packet) = self.decoder.decode_bytes(&mut packet)? {
                    let _ = self.session.handle_packet(packet, now);
                }
            }
        }
        Ok(())
    }

    fn check_decoded(&mut self, result: Result<(), DecodeError>, now: Instant) {
        if let Err(error) = result {
            self.session.handle_decode_error(error);
        }
        self.drain_session(now);
    }

    fn request(&mut self, body: Body) -> Result<OperationId, RequestError> {
        let maximum = self.settings.requests_max;
        if self.requests.len() >= maximum {
            return Err(RequestError::TooManyRequests { maximum });
        }
        let operation = self.requests.next_operation();
        let request = Request {
            operation: Some(operation),
            body,
        };
        if self.session.is_connected() {
            self.send_request(request)?;
        } else {
            self.requests.wait(request);
        }
        Ok(OperationId(Kind::Request(operation)))
    }

    fn send_request(&mut self, request: Request) -> Result<(), client::RequestError> {
        let token = match request.body.clone() {
            Body::Subscribe(filters, properties) => self.session.subscribe(filters, properties),
            Body::Unsubscribe(filters, properties) => self.session.unsubscribe(filters, properties),
        }?;
        self.requests.sent(token, request);
        Ok(())
    }

    fn is_open(&self) -> bool {
        self.phase == Phase::Open && !self.session.is_ended()
    }
}
