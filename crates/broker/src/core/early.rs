//! Messages at QoS 0 that are encoded as soon as they arrive: where nothing waits ahead of them they
//! need no place in a queue, and their memory goes to the next message while it is in the caches.

use std::num::NonZeroU8;

use bytes::BytesMut;
use mqttstack_session::{DeliveryOptions, Message};

use super::connection::Connection;

/// How many connections have early output at a time; messages for the others wait in their queues.
const PLACES_MAX: usize = 255;
/// How many bytes of topics, properties and payloads a connection may have of it.
const EARLY_BYTES_MAX: usize = 16 * 1024;
/// How many bytes of memory each place keeps for the next connection.
const KEPT_BYTES_MAX: usize = 8 * 1024;

/// What connections get before anything else when the turn ends.
#[derive(Debug, Default)]
pub(super) struct EarlyOutputs {
    places: Vec<EarlyOutput>,
    free: Vec<PlaceNumber>,
}

/// Names a place; counts from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct PlaceNumber(NonZeroU8);

/// Encoded messages of one connection.
#[derive(Debug, Default)]
pub(super) struct EarlyOutput {
    pub(super) bytes: BytesMut,
    pub(super) messages: u64,
}

impl EarlyOutputs {
    /// Encodes a message for a connection, if it would be the next that leaves; returns whether it
    /// has been.
    pub(super) fn encode(
        &mut self,
        connection: &mut Connection,
        message: &Message,
        options: &DeliveryOptions,
        scratch: &mut Vec<u8>,
    ) -> bool {
        let bytes_max = usize::try_from(connection.limits().output_bytes_max).unwrap_or(usize::MAX);
        let Some(number) = connection.early.or_else(|| self.begin()) else {
            return false;
        };
        connection.early = Some(number);
        let Some(place) = self.place_mut(number) else {
            return false;
        };
        let len = place.bytes.len().saturating_add(message.size());
        let waiting = connection.output_bytes;
        let has_room = len <= EARLY_BYTES_MAX && len.saturating_add(waiting) <= bytes_max;
        let session = &connection.session;
        let is_encoded =
            has_room && session.encode_at_once(message, options, scratch, &mut place.bytes);
        if is_encoded {
            place.messages = place.messages.saturating_add(1);
        } else if place.messages == 0 {
            connection.early = None;
            self.free.push(number);
        }
        is_encoded
    }

    /// Hands out what a connection has, and frees its place.
    pub(super) fn take(&mut self, number: PlaceNumber, use_it: impl FnOnce(&EarlyOutput)) {
        if let Some(place) = self.place_mut(number) {
            use_it(place);
            place.messages = 0;
            place.bytes.clear();
            if place.bytes.capacity() > KEPT_BYTES_MAX {
                place.bytes = BytesMut::new();
            }
            self.free.push(number);
        }
    }

    /// Lets go of the memory, if nobody has anything there.
    pub(super) fn rest(&mut self) {
        if self.free.len() == self.places.len() {
            *self = Self::default();
        }
    }

    fn begin(&mut self) -> Option<PlaceNumber> {
        self.free.pop().or_else(|| {
            let number = self
                .places
                .len()
                .checked_add(1)
                .filter(|it| *it <= PLACES_MAX)?;
            let number = NonZeroU8::new(u8::try_from(number).ok()?)?;
            self.places.push(EarlyOutput::default());
            Some(PlaceNumber(number))
        })
    }

    fn place_mut(&mut self, PlaceNumber(number): PlaceNumber) -> Option<&mut EarlyOutput> {
        self.places
            .get_mut(usize::from(number.get()).checked_sub(1)?)
    }
}
