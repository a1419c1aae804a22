//! Packets in the log of firmware: the line that `Display` writes.

use crate::{Packet, Property, Storage};

impl<S: Storage> defmt::Format for Packet<S> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}", defmt::Display2Format(self));
    }
}

impl defmt::Format for Property<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}", defmt::Display2Format(self));
    }
}
