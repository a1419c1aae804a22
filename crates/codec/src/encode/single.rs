//! Writes a packet whose type is known where it is written, without what writes the others: firmware
//! links only what it sends.

use super::{Sink, Use as _, Write};
use crate::{
    Ack, Auth, Connect, Disconnect, EncodeError, PacketType, PropertyScope, ProtocolVersion,
    Storage, Subscribe, Unsubscribe,
};

impl<S: Storage> Connect<S> {
    /// Writes the packet in its own version, all of it or nothing, and returns how many bytes that
    /// took.
    ///
    /// # Errors
    ///
    /// [`EncodeError`], as [`Packet::encode`](crate::Packet::encode).
    pub fn encode(&self, out: &mut impl Sink) -> Result<usize, EncodeError> {
        Write(out).run(self, self.version)
    }
}

impl<S: Storage> Ack<S> {
    /// Writes a PUBACK, all of it or nothing, and returns how many bytes that took.
    ///
    /// # Errors
    ///
    /// [`EncodeError`], as [`Packet::encode`](crate::Packet::encode).
    pub fn encode_puback(
        &self,
        version: ProtocolVersion,
        out: &mut impl Sink,
    ) -> Result<usize, EncodeError> {
        Write(out).run(
            &self.body(PacketType::PubAck, PropertyScope::PubAck),
            version,
        )
    }

    /// Writes a PUBREC, all of it or nothing, and returns how many bytes that took.
    ///
    /// # Errors
    ///
    /// [`EncodeError`], as [`Packet::encode`](crate::Packet::encode).
    pub fn encode_pubrec(
        &self,
        version: ProtocolVersion,
        out: &mut impl Sink,
    ) -> Result<usize, EncodeError> {
        Write(out).run(
            &self.body(PacketType::PubRec, PropertyScope::PubRec),
            version,
        )
    }

    /// Writes a PUBREL, all of it or nothing, and returns how many bytes that took.
    ///
    /// # Errors
    ///
    /// [`EncodeError`], as [`Packet::encode`](crate::Packet::encode).
    pub fn encode_pubrel(
        &self,
        version: ProtocolVersion,
        out: &mut impl Sink,
    ) -> Result<usize, EncodeError> {
        Write(out).run(
            &self.body(PacketType::PubRel, PropertyScope::PubRel),
            version,
        )
    }

    /// Writes a PUBCOMP, all of it or nothing, and returns how many bytes that took.
    ///
    /// # Errors
    ///
    /// [`EncodeError`], as [`Packet::encode`](crate::Packet::encode).
    pub fn encode_pubcomp(
        &self,
        version: ProtocolVersion,
        out: &mut impl Sink,
    ) -> Result<usize, EncodeError> {
        Write(out).run(
            &self.body(PacketType::PubComp, PropertyScope::PubComp),
            version,
        )
    }
}

impl<S: Storage> Subscribe<S> {
    /// Writes the packet, all of it or nothing, and returns how many bytes that took.
    ///
    /// # Errors
    ///
    /// [`EncodeError`], as [`Packet::encode`](crate::Packet::encode).
    pub fn encode(
        &self,
        version: ProtocolVersion,
        out: &mut impl Sink,
    ) -> Result<usize, EncodeError> {
        Write(out).run(&self.body(version)?, version)
    }
}

impl<S: Storage> Unsubscribe<S> {
    /// Writes the packet, all of it or nothing, and returns how many bytes that took.
    ///
    /// # Errors
    ///
    /// [`EncodeError`], as [`Packet::encode`](crate::Packet::encode).
    pub fn encode(
        &self,
        version: ProtocolVersion,
        out: &mut impl Sink,
    ) -> Result<usize, EncodeError> {
        Write(out).run(&self.body(version)?, version)
    }
}

impl<S: Storage> Disconnect<S> {
    /// Writes the packet, all of it or nothing, and returns how many bytes that took.
    ///
    /// # Errors
    ///
    /// [`EncodeError`], as [`Packet::encode`](crate::Packet::encode).
    pub fn encode(
        &self,
        version: ProtocolVersion,
        out: &mut impl Sink,
    ) -> Result<usize, EncodeError> {
        Write(out).run(&self.body(), version)
    }
}

impl<S: Storage> Auth<S> {
    /// Writes the packet, all of it or nothing, and returns how many bytes that took.
    ///
    /// # Errors
    ///
    /// [`EncodeError`], as [`Packet::encode`](crate::Packet::encode).
    pub fn encode(&self, out: &mut impl Sink) -> Result<usize, EncodeError> {
        // Only 5.0 has it.
        Write(out).run(&self.body(), ProtocolVersion::V5)
    }
}
