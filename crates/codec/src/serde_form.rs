//! Packets as JSON: the form that `mqttstack inspect` writes and reads.
//!
//! Lossless: properties keep their order, and bytes that are no text are written as hex.

mod bytes;
mod packet;
mod property;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Packet, Storage};
use packet::PacketForm;

impl<S: Storage> Serialize for Packet<S> {
    fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        PacketForm::of(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Packet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        PacketForm::deserialize(deserializer)?
            .packet()
            .map_err(de::Error::custom)
    }
}
