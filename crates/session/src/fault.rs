//! Deliberate faults, to prove that the simulator finds them.
//!
//! A build with `--cfg mqttstack_faults` can switch one of them on; in every other build
//! [`is_on`] is false at compile time, and costs nothing.

/// Something that this stack would do wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Fault {
    /// The identifier of a QoS 2 message is free once PUBREC has come.
    FreeAtPubrec = 1,
    /// Received QoS 2 messages are forgotten with the connection.
    ForgetReceived,
    /// A repeat of a QoS 2 message is delivered.
    DeliverRepeat,
    /// What is sent again does not say so.
    NoDup,
    /// What is in flight is not sent again.
    NoResend,
    /// The Receive Maximum of the peer is ignored.
    IgnoreReceiveMaximum,
    /// New messages go before those that wait.
    NewestFirst,
    /// No queue is ever full.
    QueueWithoutLimit,
    /// Messages do not expire while they wait.
    SendExpired,
    /// A topic alias is used before the peer has heard of it.
    UnknownAlias,
    /// What topic aliases stand for outlives the connection.
    KeepAliases,
    /// A client that says good-bye leaves its will.
    WillAfterGoodbye,
    /// A will is published although its client has come back.
    WillAfterReturn,
    /// No Local is ignored.
    IgnoreNoLocal,
    /// The QoS of a delivery is the one granted, whatever that of the message.
    RaiseQos,
    /// The RETAIN flag is passed on.
    PassRetainOn,
    /// A retained message is not replaced.
    KeepOldRetained,
    /// Two members of a shared group get a message.
    ShareTwice,
    /// A clean start resumes the session.
    ResumeCleanStart,
    /// Sessions do not expire.
    SessionForEver,
    /// A second connection of a client leaves the first one be.
    TwoOwners,
    /// A message of QoS 2 is sent before it is stored that it is in flight.
    EarlyPublish,
    /// A publisher is answered at QoS 1 before what it sent is stored.
    EarlyPuback,
    /// PUBREC is sent before it is stored that the message was accepted.
    EarlyPubrec,
    /// PUBREL is sent before it is stored that the message was taken.
    EarlyPubrel,
    /// PUBCOMP is sent before it is stored that the identifier was released.
    EarlyPubcomp,
    /// PUBACK is sent as soon as a message is acknowledged, whichever came before it.
    PubackOutOfTurn,
    /// PUBREC is sent as soon as a message is acknowledged, whichever came before it.
    PubrecOutOfTurn,
    /// The last PUBREL that waits for the store is sent first.
    PubrelOutOfTurn,
    /// What a lost member of a shared group has not acknowledged is lost with it.
    ForgetLost,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 30] = [
        Self::FreeAtPubrec,
        Self::ForgetReceived,
        Self::DeliverRepeat,
        Self::NoDup,
        Self::NoResend,
        Self::IgnoreReceiveMaximum,
        Self::NewestFirst,
        Self::QueueWithoutLimit,
        Self::SendExpired,
        Self::UnknownAlias,
        Self::KeepAliases,
        Self::WillAfterGoodbye,
        Self::WillAfterReturn,
        Self::IgnoreNoLocal,
        Self::RaiseQos,
        Self::PassRetainOn,
        Self::KeepOldRetained,
        Self::ShareTwice,
        Self::ResumeCleanStart,
        Self::SessionForEver,
        Self::TwoOwners,
        Self::EarlyPublish,
        Self::EarlyPuback,
        Self::EarlyPubrec,
        Self::EarlyPubrel,
        Self::EarlyPubcomp,
        Self::PubackOutOfTurn,
        Self::PubrecOutOfTurn,
        Self::PubrelOutOfTurn,
        Self::ForgetLost,
    ];
}

/// Returns whether a fault is switched on.
#[cfg(not(mqttstack_faults))]
#[must_use]
pub const fn is_on(_: Fault) -> bool {
    false
}

#[cfg(mqttstack_faults)]
pub use self::switch::{inject, is_on};

#[cfg(mqttstack_faults)]
mod switch {
    use core::sync::atomic::{AtomicU8, Ordering};

    use super::Fault;

    static ON: AtomicU8 = AtomicU8::new(0);

    /// Switches one fault on for the whole process, or all off.
    pub fn inject(fault: Option<Fault>) {
        ON.store(fault.map_or(0, |fault| fault as u8), Ordering::Relaxed);
    }

    /// Returns whether a fault is switched on.
    #[must_use]
    pub fn is_on(fault: Fault) -> bool {
        ON.load(Ordering::Relaxed) == fault as u8
    }
}
