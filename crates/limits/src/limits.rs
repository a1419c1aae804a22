//! The limits: named numbers with their defaults, their units, and what happens at the edge.

use core::time::Duration;

use mqttstack_codec::QoS;

/// The largest packet that the protocol can express, in bytes: five bytes of fixed header and
/// 268,435,455 of Remaining Length.
pub const PROTOCOL_PACKET_SIZE_MAX: u32 = 268_435_460;

/// What happens to a message when the queue it should wait in is full.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest waiting message makes room; QoS 0 messages go first.
    #[default]
    DropOldest,
    /// The new message is dropped.
    DropNewest,
    /// The session ends: its peer finds Session Present 0 and knows that messages are missing.
    EndSession,
}

/// Keeps a literal of [`Limits`] or [`BrokerLimits`] open for limits that are yet to come: it cannot
/// be made elsewhere, so the literal has to end in `..Default::default()`.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct More(());

/// What one connection and its session may use.
///
/// A server announces in CONNACK, a client in CONNECT, exactly what is enforced here.
///
/// Limits are added in any release; so a literal ends in `..Default::default()`, which takes what it
/// does not name from there:
///
/// ```
/// let limits = mqttstack_limits::Limits {
///     packet_size_max: 64 * 1024,
///     ..Default::default()
/// };
/// assert_eq!(limits.receive_maximum, 1024);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// How long a peer may take to finish its CONNECT (or a server its CONNACK), from the moment
    /// the transport is there: a server counts from its acceptance, so that whatever is opened
    /// first (PROXY protocol, TLS, WebSocket) takes of the same time. Default 10 s; then the
    /// connection is closed.
    pub connect_timeout: Duration,
    /// How long an accepted peer may take for one packet, from its first byte to its last, whatever
    /// the Keep Alive. Default 5 min; then the connection ends (0x97), and with it the memory that
    /// the unfinished packet holds.
    pub packet_timeout: Duration,
    /// How long the program around a broker may take to answer what it answers later: whether a client
    /// may connect, publish or subscribe. Default 10 s; then the answer is no (0x87).
    pub decision_timeout: Duration,
    /// The largest CONNECT that is read, in bytes of the whole packet; applies to every packet of a
    /// peer that has not been accepted yet. Default 131,072, which has room for the largest will
    /// message; a longer one is refused from its header (0x95).
    pub connect_packet_size_max: u32,
    /// The largest packet of an accepted peer, in bytes of the whole packet: the Maximum Packet
    /// Size that is announced. Default is what the protocol can express; a longer packet is refused
    /// from its header (0x95) and the connection ends.
    pub packet_size_max: u32,
    /// The largest application payload, in bytes. Default is what the protocol can express. A
    /// larger message is refused in its acknowledgement (0x97), or dropped at QoS 0.
    pub payload_size_max: u32,
    /// The largest number of User Properties in one packet. Default 1,000; beyond it the
    /// connection ends (0x97).
    pub user_properties_max: u32,
    /// The longest Client Identifier, in bytes. Default 1,024; a longer one is refused (0x85). Never
    /// below 23.
    pub client_id_bytes_max: u16,
    /// The deepest topic name or filter, in levels. Default 128; a deeper one is refused (0x90 or
    /// 0x8F).
    pub topic_levels_max: u8,
    /// Whether control characters and Unicode non-characters are refused in topic names and filters.
    /// Default true; the connection ends (0x81).
    pub refuse_discouraged: bool,
    /// The shortest Keep Alive, in seconds. Default 0; a shorter one that is not 0 is raised (5.0)
    /// or accepted as it is (3.x, where nothing else can be announced).
    pub keep_alive_min: u16,
    /// The longest Keep Alive, in seconds; a longer one, or none (0), is lowered to it (5.0), or
    /// answered with silence after 1.5 times this (3.x). Default 0: any Keep Alive is accepted.
    pub keep_alive_max: u16,
    /// The longest Session Expiry Interval, in seconds; a longer one is lowered to it. Default
    /// `u32::MAX`: sessions may stay for ever.
    pub session_expiry_max: u32,
    /// The Receive Maximum that is announced: how many QoS 1 and 2 messages the peer may send
    /// without an acknowledgement. Default 1,024, at least 1; beyond it the connection ends (0x93).
    pub receive_maximum: u16,
    /// How many QoS 1 and 2 messages are sent without an acknowledgement, if the peer's Receive
    /// Maximum is not smaller. Default 256, at least 1; the rest waits in the queue.
    pub inflight_max: u16,
    /// How many bytes of QoS 1 and 2 messages are kept in flight to be sent again, topics,
    /// properties and payloads counted. Default 67,108,864; the rest waits in the queue. One message
    /// of any size may be in flight.
    pub inflight_bytes_max: u64,
    /// The Topic Alias Maximum that is announced. Default 32; 0 is none.
    pub topic_alias_maximum: u16,
    /// How many topic aliases are used towards the peer, if its Topic Alias Maximum is not smaller.
    /// Default 32; 0 is none.
    pub topic_aliases_used_max: u16,
    /// How many messages wait in the queue of a session. Default 100,000; then those that have
    /// expired go, and `overflow` decides.
    pub queue_messages_max: u32,
    /// How many bytes wait in the queue of a session, topics, properties and payloads counted.
    /// Default 67,108,864; then those that have expired go, and `overflow` decides. A message that
    /// is larger by itself makes nobody give way: an empty queue takes it, any other refuses it, or
    /// ends the session where that is the policy.
    pub queue_bytes_max: u64,
    /// What happens when the queue is full.
    pub overflow: Overflow,
    /// How many encoded bytes may wait for a slow connection. Default 262,144; beyond it the session
    /// hands out nothing more, so that messages stay in the queue, where they are counted.
    pub output_bytes_max: u32,
    /// How many bytes of memory the packets that answer a peer may take before they are sent:
    /// acknowledgements, PINGRESP and the like. Default 1,048,576; beyond it the connection ends
    /// (0x97). The broker stops reading long before.
    pub response_bytes_max: u32,
    /// How many subscriptions a session may have. Default 10,000; a further filter is refused in
    /// its SUBACK (0x97).
    pub subscriptions_max: u32,
    /// How many of them may be shared subscriptions. Default 100: a message is delivered once for
    /// each that it matches, to a session that is in several groups as often. A further one is
    /// refused in its SUBACK (0x97).
    pub shared_subscriptions_max: u32,
    /// How many bytes the filters of all subscriptions of a session may have. Default 4,194,304; a
    /// further filter is refused in its SUBACK (0x97).
    pub filter_bytes_max: u64,
    /// How many filters a SUBSCRIBE or UNSUBSCRIBE may have: what it asks for is done in one go.
    /// Default 1,000; beyond it the connection ends (0x97).
    pub filters_per_packet_max: u32,
    /// The Maximum QoS that is announced. Default 2.
    pub maximum_qos: QoS,
    /// Whether retained messages are available. Default true.
    pub retain_available: bool,
    /// Whether filters may have wildcards. Default true.
    pub wildcard_subscriptions: bool,
    /// Whether `$share` filters are taken as shared subscriptions. Default true.
    pub shared_subscriptions: bool,
    /// Whether Subscription Identifiers are available. Default true.
    pub subscription_identifiers: bool,
    #[doc(hidden)]
    pub more: More,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            decision_timeout: Duration::from_secs(10),
            packet_timeout: Duration::from_secs(5 * 60),
            connect_packet_size_max: 128 * 1024,
            packet_size_max: PROTOCOL_PACKET_SIZE_MAX,
            payload_size_max: PROTOCOL_PACKET_SIZE_MAX,
            user_properties_max: 1_000,
            client_id_bytes_max: 1_024,
            topic_levels_max: 128,
            refuse_discouraged: true,
            keep_alive_min: 0,
            keep_alive_max: 0,
            session_expiry_max: u32::MAX,
            receive_maximum: 1_024,
            inflight_max: 256,
            inflight_bytes_max: 64 * 1024 * 1024,
            topic_alias_maximum: 32,
            topic_aliases_used_max: 32,
            queue_messages_max: 100_000,
            queue_bytes_max: 64 * 1024 * 1024,
            overflow: Overflow::DropOldest,
            output_bytes_max: 256 * 1024,
            response_bytes_max: 1024 * 1024,
            subscriptions_max: 10_000,
            shared_subscriptions_max: 100,
            filter_bytes_max: 4 * 1024 * 1024,
            filters_per_packet_max: 1_000,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            wildcard_subscriptions: true,
            shared_subscriptions: true,
            subscription_identifiers: true,
            more: More(()),
        }
    }
}

/// What all clients of a broker together may use.
///
/// As with [`Limits`], a literal ends in `..Default::default()`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BrokerLimits {
    /// How many connections are open at once. Default 100,000; for a further one, the one that has
    /// waited longest to be accepted gives way, of those that the same worker has; if none of them
    /// waits, it is closed at once, whoever waits elsewhere.
    pub connections_max: u32,
    /// How many connections may be open that have not been accepted yet, or that were refused and
    /// are not gone yet. Default 10,000; for a further one, the one that has waited longest gives
    /// way. Each worker may have its part of them whatever the others have, so that for a while
    /// there may be more, fewer than twice as many.
    pub pending_connections_max: u32,
    /// How many of them may come from one address: an IPv4 address, or the 64 bits of an IPv6
    /// address that name a network. Default 1,000; a further one is closed at once. Peers on the
    /// machine itself are not counted: a proxy there stands for many. Of a proxy that says whom it
    /// speaks for, the client is counted.
    pub pending_connections_per_address_max: u32,
    /// How many sessions are kept, connected or not. Default 1,000,000; a CONNECT that needs a
    /// further one is refused (0x97, or 3 in 3.x).
    pub sessions_max: u32,
    /// How many retained messages are kept. Default 1,000,000; a message to a further
    /// topic reaches those who subscribe, but is not kept (0x97).
    pub retained_messages_max: u32,
    /// How many bytes the retained messages take, topics, properties and payloads counted, and 64 for
    /// each level of a topic and two more, its place in the index. Default 1,073,741,824; a message
    /// beyond it reaches those who subscribe, but is not kept (0x97).
    pub retained_bytes_max: u64,
    /// How many bytes clients may make the broker hold, all together: packets that have begun to
    /// arrive, messages that wait or are in flight, packets on their way out, topics that have an
    /// alias, wills, subscriptions, sessions, connections and retained messages. A message that
    /// several queues share counts in each. Default 4,294,967,296. From 75 % of it QoS 0 messages
    /// for clients that do not keep up are dropped; from 85 % clients that publish are read from in
    /// small portions; from 95 % no new session is begun (0x97, or 3 in 3.x); at 100 % messages and
    /// subscriptions are refused (0x97; a 3.x client that publishes at QoS 1 or 2 is disconnected,
    /// to come again). Each stage ends some per cent below where it begins.
    pub memory_bytes_max: u64,
    #[doc(hidden)]
    pub more: More,
}

impl Default for BrokerLimits {
    fn default() -> Self {
        Self {
            connections_max: 100_000,
            pending_connections_max: 10_000,
            pending_connections_per_address_max: 1_000,
            sessions_max: 1_000_000,
            retained_messages_max: 1_000_000,
            retained_bytes_max: 1024 * 1024 * 1024,
            memory_bytes_max: 4 * 1024 * 1024 * 1024,
            more: More(()),
        }
    }
}
