//! The block of properties of one packet.

use core::fmt;

use crate::decode::{Borrow, Source};
use crate::{Borrowed, DecodeError, DefaultStorage, PropertyId, PropertyScope, Sender, Storage};

use super::value::{Property, Raw};

/// Stands in the set of identifiers for "more than one Subscription Identifier", which a PUBLISH
/// may have and a SUBSCRIBE may not.
pub(super) const SUBSCRIPTION_IDENTIFIERS: u64 = 1 << 63;

/// The properties of a packet: validated once, then kept as their encoded bytes, so that a
/// forwarded packet re-encodes nothing.
///
/// Typed getters read single values; what is absent is known without looking. User properties
/// and subscription identifiers have iterators. Empty for MQTT 3.x, at no cost.
#[derive(Clone, Eq, PartialEq)]
pub struct Properties<S: Storage = DefaultStorage> {
    /// The properties without their Property Length.
    encoded: S::Bytes,
    /// Which identifiers occur: bit `n` for identifier `n`.
    present: u64,
}

impl Copy for Properties<Borrowed<'_>> {}

/// Which properties occur in a block that was validated.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Presence(u64);

impl<S: Storage> Default for Properties<S> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<S: Storage> Properties<S> {
    /// Returns no properties.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            encoded: S::NO_BYTES,
            present: 0,
        }
    }

    /// Puts together what has been checked.
    pub(super) const fn from_parts(encoded: S::Bytes, present: u64) -> Self {
        Self { encoded, present }
    }

    /// Puts a block together again that was taken apart with [`as_bytes`](Self::as_bytes) and
    /// [`presence`](Self::presence), without validating it again.
    ///
    /// For those who keep many messages in storage of their own. Bytes and presence have to come
    /// from the same block, and nothing looks whether they do: with others, getters find nothing or
    /// something else, and packets are written that a receiver refuses.
    #[must_use]
    pub const fn from_validated(encoded: S::Bytes, presence: Presence) -> Self {
        Self {
            encoded,
            present: presence.0,
        }
    }

    /// Returns which properties occur.
    #[must_use]
    pub const fn presence(&self) -> Presence {
        Presence(self.present)
    }

    /// Returns whether there is no property.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// Returns whether the property occurs.
    #[must_use]
    pub const fn contains(&self, property: PropertyId) -> bool {
        self.present & property.bit() != 0
    }

    /// Returns the properties as they are written, without their Property Length.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.encoded.as_ref()
    }

    /// Returns the same properties, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> Properties<Borrowed<'_>> {
        Properties {
            encoded: self.encoded.as_ref(),
            present: self.present,
        }
    }

    /// Returns the properties one by one, in the order in which they are written.
    #[must_use]
    pub fn iter(&self) -> PropertiesIter<'_> {
        PropertiesIter { rest: self.raw() }
    }

    /// Checks that the properties belong to the scope; their values have been checked already.
    pub(crate) fn check_scope(&self, scope: PropertyScope) -> Result<(), DecodeError> {
        if self.present == 0 {
            return Ok(());
        }
        self.check_scope_of_some(scope)
    }

    fn check_scope_of_some(&self, scope: PropertyScope) -> Result<(), DecodeError> {
        let strangers = self.present & !(scope.allowed() | SUBSCRIPTION_IDENTIFIERS);
        if let Some(property) = first_of(strangers) {
            return Err(DecodeError::PropertyNotAllowed { property, scope });
        }
        let property = PropertyId::SubscriptionIdentifier;
        if self.present & SUBSCRIPTION_IDENTIFIERS != 0 && scope.repeatable() & property.bit() == 0
        {
            return Err(DecodeError::DuplicateProperty { property });
        }
        Ok(())
    }

    /// Checks that two blocks can stand in one PUBLISH, one behind the other.
    pub(crate) fn check_together(&self, other: &Self) -> Result<(), DecodeError> {
        let both = self.present & other.present & !SUBSCRIPTION_IDENTIFIERS;
        match first_of(both & !PropertyScope::Publish.repeatable()) {
            Some(property) => Err(DecodeError::DuplicateProperty { property }),
            None => Ok(()),
        }
    }

    /// Returns the value of a property that occurs once.
    pub(super) fn find(&self, property: PropertyId) -> Option<Raw<'_>> {
        if !self.contains(property) {
            return None;
        }
        self.raw()
            .find_map(|(id, value)| (id == property).then_some(value))
    }

    /// Returns the values of a property, none without a look if it does not occur.
    pub(super) fn find_all(&self, property: PropertyId) -> impl Iterator<Item = Raw<'_>> {
        let walk = if self.contains(property) {
            self.raw()
        } else {
            Walk { rest: &[] }
        };
        walk.filter_map(move |(id, value)| (id == property).then_some(value))
    }

    fn raw(&self) -> Walk<'_> {
        Walk {
            rest: self.encoded.as_ref(),
        }
    }

    /// Validates a block of properties and keeps it.
    #[inline]
    pub(crate) fn decode<'a, I>(
        source: I,
        scope: PropertyScope,
        sender: Sender,
        block: &'a [u8],
    ) -> Result<Self, DecodeError>
    where
        I: Source<'a, Storage = S>,
    {
        if block.is_empty() {
            return Ok(Self::empty());
        }
        let present = validate(scope, sender, block)?;
        Ok(Self {
            encoded: source.bytes(block),
            present,
        })
    }
}

impl<'a> Properties<Borrowed<'a>> {
    /// Validates a block of properties, as [`as_bytes`](Self::as_bytes) wrote it: what a packet from
    /// `sender` may have in `scope`.
    ///
    /// For those who read what they have kept elsewhere, and do not trust it.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], as a packet with this block gives it.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqttstack_codec::{Properties, PropertyScope, Sender};
    ///
    /// let kept = [0x01, 0x01]; // Payload Format Indicator: text
    /// let properties = Properties::from_encoded(&kept, PropertyScope::Publish, Sender::Client)?;
    /// assert_eq!(properties.payload_format_indicator(), Some(true));
    /// # Ok::<(), mqttstack_codec::DecodeError>(())
    /// ```
    pub fn from_encoded(
        block: &'a [u8],
        scope: PropertyScope,
        sender: Sender,
    ) -> Result<Self, DecodeError> {
        Self::decode(Borrow, scope, sender, block)
    }
}

#[cfg(feature = "alloc")]
impl<S: Storage> Properties<S> {
    /// Returns the same properties, to be kept; copies them if they are borrowed.
    #[must_use]
    pub fn to_shared(&self) -> Properties<crate::Shared> {
        Properties {
            encoded: S::share_bytes(&self.encoded),
            present: self.present,
        }
    }

    /// Returns the properties but for some, in the same order and otherwise byte for byte the
    /// same.
    ///
    /// Allocates only if there is something to leave out, or if the properties are borrowed.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqttstack_codec::{Properties, PropertyId};
    ///
    /// let received = Properties::builder().topic_alias(1).content_type("text/plain").build()?;
    /// let forwarded = received.without(&[PropertyId::TopicAlias]);
    /// assert_eq!(forwarded.topic_alias(), None);
    /// assert_eq!(forwarded.content_type(), Some("text/plain"));
    /// # Ok::<(), mqttstack_codec::PropertyError>(())
    /// ```
    #[must_use]
    pub fn without(&self, properties: &[PropertyId]) -> Properties<crate::Shared> {
        let mut left_out = properties
            .iter()
            .fold(0, |set, property| set | property.bit());
        if self.present & left_out == 0 {
            return self.to_shared();
        }
        if left_out & PropertyId::SubscriptionIdentifier.bit() != 0 {
            left_out |= SUBSCRIPTION_IDENTIFIERS;
        }
        let present = self.present & !left_out;
        if present == 0 {
            return Properties::empty();
        }
        let mut encoded = alloc::vec::Vec::with_capacity(self.as_bytes().len());
        let mut walk = self.raw();
        let mut before = walk.rest;
        while let Some((id, _)) = walk.next() {
            let (property, rest) = before
                .split_at_checked(before.len().saturating_sub(walk.rest.len()))
                .unwrap_or_default();
            if id.bit() & left_out == 0 {
                encoded.extend_from_slice(property);
            }
            before = rest;
        }
        Properties {
            encoded: encoded.into(),
            present,
        }
    }
}

impl<S: Storage> fmt::Debug for Properties<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, S: Storage> IntoIterator for &'a Properties<S> {
    type Item = Property<'a>;
    type IntoIter = PropertiesIter<'a>;

    fn into_iter(self) -> PropertiesIter<'a> {
        self.iter()
    }
}

/// The properties of a packet, one by one.
#[derive(Clone)]
pub struct PropertiesIter<'a> {
    rest: Walk<'a>,
}

impl<'a> Iterator for PropertiesIter<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        self.rest
            .next()
            .map(|(id, raw)| Property::from_raw(id, raw))
    }
}

impl fmt::Debug for PropertiesIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// Steps through properties that have been validated; stops at their end.
#[derive(Clone)]
struct Walk<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Walk<'a> {
    type Item = (PropertyId, Raw<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (id, rest) = self.rest.split_first()?;
        let id = PropertyId::from_u8(*id)?;
        let (rest, value) = Raw::parse(id, rest).ok()?;
        self.rest = rest;
        Some((id, value))
    }
}

/// Checks a block of properties and returns the set of identifiers that occur.
///
/// # Specification
///
/// v5 U-02, v5 U-03.
fn validate(scope: PropertyScope, sender: Sender, block: &[u8]) -> Result<u64, DecodeError> {
    let allowed = scope.allowed();
    let repeatable = scope.repeatable();
    let mut present = 0;
    let mut rest = block;
    while let [id, value @ ..] = rest {
        let property = PropertyId::from_u8(*id).ok_or(DecodeError::UnknownProperty { id: *id })?;
        if allowed & property.bit() == 0 {
            return Err(DecodeError::PropertyNotAllowed { property, scope });
        }
        if present & property.bit() != 0 {
            if repeatable & property.bit() == 0 {
                return Err(DecodeError::DuplicateProperty { property });
            }
            if property == PropertyId::SubscriptionIdentifier {
                present |= SUBSCRIPTION_IDENTIFIERS;
            }
        }
        present |= property.bit();
        let (after, raw) = Raw::parse(property, value).map_err(crate::decode::cause)?;
        raw.check(property)?;
        rest = after;
    }
    match first_of(present & scope.of_other_side(sender)) {
        Some(property) => Err(DecodeError::PropertyOfOtherSide { property, scope }),
        None => Ok(present),
    }
}

/// Returns the lowest identifier of a set.
fn first_of(set: u64) -> Option<PropertyId> {
    u8::try_from(set.trailing_zeros())
        .ok()
        .and_then(PropertyId::from_u8)
}
