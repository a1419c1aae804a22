//! What both roles check of every packet, beyond its form.

use mqttstack_codec::{Packet, Properties, PropertyId, Storage};
use mqttstack_limits::Limits;

use crate::ProtocolError;

/// Checks what holds for the properties of every packet.
pub(crate) fn check_properties<S: Storage>(
    properties: &Properties<S>,
    limits: &Limits,
) -> Result<(), ProtocolError> {
    if !properties.contains(PropertyId::UserProperty) {
        return Ok(());
    }
    let maximum = limits.user_properties_max;
    let allowed = usize::try_from(maximum).unwrap_or(usize::MAX);
    if properties.user_properties().nth(allowed).is_some() {
        return Err(ProtocolError::TooManyUserProperties { maximum });
    }
    Ok(())
}

/// Returns the error for a packet that may not come from this side, or not at this time.
pub(crate) const fn unexpected<S: Storage>(packet: &Packet<S>) -> ProtocolError {
    ProtocolError::UnexpectedPacket {
        packet_type: packet.packet_type(),
    }
}
