//! What the examples share: what their client does, and a server of one client to do it with.

use std::sync::Arc;

use mqttstack_session::{
    DeliveryOptions, Message, SubscriptionIds, client,
    codec::{
        Connect, Decoder, Disconnect, PacketRef, Properties, ProtocolVersion, QoS, ReasonCode,
        Sender, Shared, SubscribeFilters, Subscription,
    },
    limits::{Instant, Limits},
    server::{self, Acceptance},
};

/// An error of whatever kind ends an example.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The version that the examples speak.
pub const VERSION: ProtocolVersion = ProtocolVersion::V5;
const TOPIC: &str = "cellar/temperature";

/// Returns the CONNECT of the client.
#[must_use]
pub fn connect() -> Connect<Shared> {
    Connect {
        keep_alive: 30,
        ..Connect::new(VERSION, "thermometer")
    }
}

/// What the client does: it subscribes, publishes, gets its own message back, and goes. Returns
/// false once the connection is over.
///
/// # Errors
///
/// It came otherwise.
pub fn on_event(
    session: &mut client::Session,
    event: client::Event,
    now: Instant,
) -> Result<bool, Error> {
    match event {
        client::Event::Connected(_) => {
            let wanted = Subscription::new(TOPIC, QoS::AtLeastOnce);
            let filters = SubscribeFilters::new([wanted])?;
            session.subscribe(filters, Properties::empty())?;
        }
        client::Event::Completed {
            outcome: client::Outcome::Subscribed { .. },
            ..
        } => {
            let message = Message::builder(TOPIC, "12.5").qos(QoS::ExactlyOnce);
            session.publish(message.build()?, now)?;
        }
        client::Event::MessageReceived {
            message, packet_id, ..
        } => {
            println!(
                "{}: {}",
                message.topic(),
                String::from_utf8_lossy(message.payload())
            );
            if let Some(packet_id) = packet_id {
                session.acknowledge(packet_id, ReasonCode::Success);
            }
            session.disconnect(Disconnect::new(ReasonCode::Success));
        }
        client::Event::Ended(client::EndCause::ClientDisconnected) => return Ok(false),
        client::Event::Ended(cause) => {
            return Err(format!("the connection ended: {cause:?}").into());
        }
        client::Event::Completed { .. } | client::Event::AuthReceived(_) => {}
        // There may be more in a later version.
        _ => {}
    }
    Ok(true)
}

/// Hands the whole packets at the front of `unread` to `handle`, and takes them out.
///
/// # Errors
///
/// They are no packets, or `handle` wants no more.
pub fn read_packets(
    unread: &mut Vec<u8>,
    decoder: Decoder,
    mut handle: impl FnMut(PacketRef<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut taken = 0;
    while let Some((packet, len)) = decoder.decode_ref(unread.get(taken..).unwrap_or_default())? {
        handle(packet)?;
        taken += len;
    }
    unread.drain(..taken);
    Ok(())
}

/// A server of one client, which gets back what it publishes.
pub struct Echo {
    session: server::Session,
    unread: Vec<u8>,
    scratch: Vec<u8>,
}

impl Echo {
    /// Begins with a transport that has just been opened.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            session: server::Session::new(Arc::new(Limits::default()), now),
            unread: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Returns whether the connection is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.session.is_ended()
    }

    /// Handles what the client has sent, and returns the answer.
    ///
    /// # Errors
    ///
    /// It is not MQTT.
    pub fn handle(&mut self, bytes: &[u8], now: Instant) -> Result<Vec<u8>, Error> {
        self.unread.extend_from_slice(bytes);
        let decoder = Decoder::new().with_sender(Sender::Client);
        let session = &mut self.session;
        read_packets(&mut self.unread, decoder.with_version(VERSION), |packet| {
            session.handle_packet(packet, now)?;
            while let Some(event) = session.poll_event() {
                answer(session, event, now)?;
            }
            Ok(())
        })?;
        let mut output = Vec::new();
        while let Some(packet) = self.session.poll_packet(now) {
            let payload = packet.encode(VERSION, &mut self.scratch, &mut output)?;
            output.extend_from_slice(payload.map_or(&[], |payload| payload));
        }
        Ok(output)
    }
}

fn answer(session: &mut server::Session, event: server::Event, now: Instant) -> Result<(), Error> {
    match event {
        server::Event::ConnectRequested(_) => session.accept(Acceptance::default(), now)?,
        server::Event::SubscribeRequested(subscribe) => {
            let granted = subscribe.filters.iter().map(|_| ReasonCode::GrantedQoS1);
            session.suback(subscribe.packet_id, granted);
        }
        server::Event::MessageReceived { message, packet_id } => {
            let options = DeliveryOptions {
                qos: QoS::AtLeastOnce,
                retain: false,
                subscription_ids: SubscriptionIds::None,
                group: None,
            };
            session.publish(message, options, now)?;
            if let Some(packet_id) = packet_id {
                session.acknowledge(packet_id, ReasonCode::Success);
            }
        }
        server::Event::UnsubscribeRequested(_)
        | server::Event::AuthReceived(_)
        | server::Event::Ended(_) => {}
        // There may be more in a later version.
        _ => {}
    }
    Ok(())
}
