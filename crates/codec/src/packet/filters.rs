//! The filters that SUBSCRIBE and UNSUBSCRIBE carry, kept as their bytes.

use crate::decode::primitive::{self, Fault, Parsed};
use crate::decode::{Parser, Source};
use crate::encode::Writer;
use crate::text::{self, FilterKind};
use crate::{Borrowed, SliceSink};
use crate::{
    DecodeError, DefaultStorage, EncodeError, PacketType, ProtocolVersion, Sink, Storage,
    Subscription, SubscriptionOptions,
};

/// The filters of a SUBSCRIBE with their options, kept as their encoded bytes; at least one.
///
/// # Examples
///
/// ```
/// use mqttstack_codec::{QoS, SubscribeFilters, Subscription};
///
/// let filters = SubscribeFilters::new([
///     Subscription::new("a/+", QoS::AtLeastOnce),
///     Subscription::new("$share/g/b", QoS::ExactlyOnce),
/// ])?;
/// assert_eq!(filters.iter().nth(1).map(|entry| entry.filter), Some("$share/g/b"));
/// assert!(SubscribeFilters::new([Subscription::new("a/#/b", QoS::AtMostOnce)]).is_err());
/// # Ok::<(), mqttstack_codec::EncodeError>(())
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct SubscribeFilters<S: Storage = DefaultStorage> {
    encoded: S::Bytes,
    facts: Facts,
}

/// The filters of an UNSUBSCRIBE, kept as their encoded bytes; at least one.
#[derive(Clone, Eq, PartialEq)]
pub struct UnsubscribeFilters<S: Storage = DefaultStorage> {
    encoded: S::Bytes,
    facts: Facts,
}

/// What is known of a list of filters without reading it again.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Facts {
    count: u32,
    /// Some entry has options that only MQTT 5.0 knows.
    needs_v5: bool,
    /// Some filter begins with `$share/` and goes on as no MQTT 5.0 filter may.
    has_ill_formed_share: bool,
}

impl Facts {
    /// Checks filters up to the end of a packet, each with its options in a SUBSCRIBE.
    fn parse<'a>(
        parser: Parser<impl Source<'a>>,
        packet_type: PacketType,
        input: &'a [u8],
    ) -> Result<Self, nom::Err<Fault>> {
        let version = parser.decoder.version;
        let mut facts = Self::default();
        let mut rest = input;
        while !rest.is_empty() {
            let (after, filter) = primitive::field(rest)?;
            let (after, options) = if packet_type == PacketType::Subscribe {
                primitive::byte(after)?
            } else {
                (after, 0)
            };
            let kind = check_filter(filter, version)?;
            check_options(options, kind, version)?;
            parser.check_policy(filter)?;
            facts.add(kind, options);
            rest = after;
        }
        Ok(facts.of_some(packet_type)?)
    }

    /// Refuses a list without entries.
    fn of_some(self, packet_type: PacketType) -> Result<Self, DecodeError> {
        if self.count == 0 {
            return Err(DecodeError::EmptyList { packet_type });
        }
        Ok(self)
    }

    fn add(&mut self, kind: FilterKind, options: u8) {
        self.count = self.count.saturating_add(1);
        self.needs_v5 |= options > QOS_MAX;
        self.has_ill_formed_share |= kind == FilterKind::IllFormedShared;
    }

    fn len(self) -> usize {
        usize::try_from(self.count).unwrap_or(usize::MAX)
    }

    fn check_version(self, version: ProtocolVersion) -> Result<(), EncodeError> {
        if version.has_properties() {
            if self.has_ill_formed_share {
                return Err(DecodeError::InvalidSharedFilter.into());
            }
        } else if self.needs_v5 {
            return Err(EncodeError::SubscriptionOptionsNotInVersion);
        }
        Ok(())
    }
}

/// The largest options byte of MQTT 3.x: QoS 2.
const QOS_MAX: u8 = 2;

impl<S: Storage> SubscribeFilters<S> {
    /// Returns how many filters there are: at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.facts.len()
    }

    /// Returns the filters with their options, in their order.
    #[must_use]
    pub fn iter(&self) -> SubscribeFiltersIter<'_> {
        SubscribeFiltersIter {
            rest: self.as_bytes(),
        }
    }

    /// Returns the encoded list.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.encoded.as_ref()
    }

    /// Returns the same list, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> SubscribeFilters<Borrowed<'_>> {
        SubscribeFilters {
            encoded: self.encoded.as_ref(),
            facts: self.facts,
        }
    }

    /// Returns the same list, to be kept; copies it if it is borrowed.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn to_shared(&self) -> SubscribeFilters<crate::Shared> {
        SubscribeFilters {
            encoded: S::share_bytes(&self.encoded),
            facts: self.facts,
        }
    }

    pub(crate) fn check_version(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        self.facts.check_version(version)
    }

    /// Parses all that is left of a SUBSCRIBE.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.8.3-1, v5 MQTT-3.8.3-2; v3.1.1 MQTT-3.8.3-1, v3.1.1 MQTT-3.8.3-3; V31-sub-empty.
    pub(crate) fn parse<'a, I>(parser: Parser<I>, input: &'a [u8]) -> Parsed<'a, Self>
    where
        I: Source<'a, Storage = S>,
    {
        let facts = Facts::parse(parser, PacketType::Subscribe, input)?;
        Ok((
            &[],
            Self {
                encoded: parser.source.bytes(input),
                facts,
            },
        ))
    }
}

impl<S: Storage> UnsubscribeFilters<S> {
    /// Returns how many filters there are: at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.facts.len()
    }

    /// Returns the filters in their order.
    #[must_use]
    pub fn iter(&self) -> UnsubscribeFiltersIter<'_> {
        UnsubscribeFiltersIter {
            rest: self.as_bytes(),
        }
    }

    /// Returns the encoded list.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.encoded.as_ref()
    }

    /// Returns the same list, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> UnsubscribeFilters<Borrowed<'_>> {
        UnsubscribeFilters {
            encoded: self.encoded.as_ref(),
            facts: self.facts,
        }
    }

    /// Returns the same list, to be kept; copies it if it is borrowed.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn to_shared(&self) -> UnsubscribeFilters<crate::Shared> {
        UnsubscribeFilters {
            encoded: S::share_bytes(&self.encoded),
            facts: self.facts,
        }
    }

    pub(crate) fn check_version(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        self.facts.check_version(version)
    }

    /// Parses all that is left of an UNSUBSCRIBE.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.10.3-1, v5 MQTT-3.10.3-2; v3.1.1 MQTT-3.10.3-1, v3.1.1 MQTT-3.10.3-2.
    pub(crate) fn parse<'a, I>(parser: Parser<I>, input: &'a [u8]) -> Parsed<'a, Self>
    where
        I: Source<'a, Storage = S>,
    {
        let facts = Facts::parse(parser, PacketType::Unsubscribe, input)?;
        Ok((
            &[],
            Self {
                encoded: parser.source.bytes(input),
                facts,
            },
        ))
    }
}

#[cfg(feature = "alloc")]
impl SubscribeFilters<crate::Shared> {
    /// Creates the list.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]: a filter is ill-formed or too long, a shared subscription has No Local,
    /// or there is no entry.
    pub fn new<'e>(
        entries: impl IntoIterator<Item = Subscription<'e>>,
    ) -> Result<Self, EncodeError> {
        let mut encoded = alloc::vec::Vec::new();
        let facts = write_subscriptions(&mut encoded, entries)?;
        Ok(Self {
            encoded: encoded.into(),
            facts,
        })
    }
}

impl<'b> SubscribeFilters<Borrowed<'b>> {
    /// Creates the list in a buffer; needs no allocator.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]: a filter is ill-formed or too long, a shared subscription has No Local,
    /// there is no entry, or the buffer is too small.
    pub fn new_in<'e>(
        buffer: &'b mut [u8],
        entries: impl IntoIterator<Item = Subscription<'e>>,
    ) -> Result<Self, EncodeError> {
        let mut out = SliceSink::new(buffer);
        let facts = write_subscriptions(&mut out, entries)?;
        Ok(Self {
            encoded: out.into_written(),
            facts,
        })
    }
}

#[cfg(feature = "alloc")]
impl UnsubscribeFilters<crate::Shared> {
    /// Creates the list.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]: a filter is ill-formed or too long, or there is none.
    pub fn new<'e>(filters: impl IntoIterator<Item = &'e str>) -> Result<Self, EncodeError> {
        let mut encoded = alloc::vec::Vec::new();
        let facts = write_filters(&mut encoded, filters)?;
        Ok(Self {
            encoded: encoded.into(),
            facts,
        })
    }
}

impl<'b> UnsubscribeFilters<Borrowed<'b>> {
    /// Creates the list in a buffer; needs no allocator.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]: a filter is ill-formed or too long, there is none, or the buffer is too
    /// small.
    pub fn new_in<'e>(
        buffer: &'b mut [u8],
        filters: impl IntoIterator<Item = &'e str>,
    ) -> Result<Self, EncodeError> {
        let mut out = SliceSink::new(buffer);
        let facts = write_filters(&mut out, filters)?;
        Ok(Self {
            encoded: out.into_written(),
            facts,
        })
    }
}

/// The filters of a SUBSCRIBE, one by one.
#[derive(Clone, Debug)]
pub struct SubscribeFiltersIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for SubscribeFiltersIter<'a> {
    type Item = Subscription<'a>;

    fn next(&mut self) -> Option<Subscription<'a>> {
        let (rest, filter) = primitive::field(self.rest).ok()?;
        let (rest, options) = primitive::byte(rest).ok()?;
        self.rest = rest;
        Some(Subscription {
            filter: core::str::from_utf8(filter).ok()?,
            options: SubscriptionOptions::from_u8(options)?,
        })
    }
}

/// The filters of an UNSUBSCRIBE, one by one.
#[derive(Clone, Debug)]
pub struct UnsubscribeFiltersIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for UnsubscribeFiltersIter<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (rest, filter) = primitive::field(self.rest).ok()?;
        self.rest = rest;
        core::str::from_utf8(filter).ok()
    }
}

impl<'a, S: Storage> IntoIterator for &'a SubscribeFilters<S> {
    type Item = Subscription<'a>;
    type IntoIter = SubscribeFiltersIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, S: Storage> IntoIterator for &'a UnsubscribeFilters<S> {
    type Item = &'a str;
    type IntoIter = UnsubscribeFiltersIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Checks a filter by the rules of the version: only 5.0 knows shared subscriptions, so that in
/// 3.x an ill-formed one is an ordinary filter.
fn check_filter(filter: &[u8], version: ProtocolVersion) -> Result<FilterKind, DecodeError> {
    match text::check_topic_filter(filter)? {
        FilterKind::IllFormedShared if version.has_properties() => {
            Err(DecodeError::InvalidSharedFilter)
        }
        kind @ (FilterKind::Plain | FilterKind::Shared | FilterKind::IllFormedShared) => Ok(kind),
    }
}

/// Checks the byte that follows a filter.
///
/// # Specification
///
/// v5 MQTT-3.8.3-4, v5 MQTT-3.8.3-5, v5 U-25; v3.1.1 MQTT-3.8.3-4.
fn check_options(
    options: u8,
    kind: FilterKind,
    version: ProtocolVersion,
) -> Result<(), DecodeError> {
    if options <= QOS_MAX {
        return Ok(());
    }
    let reserved = if version.has_properties() {
        SubscriptionOptions::RESERVED
    } else {
        !0b0000_0011
    };
    if options & reserved != 0 {
        return Err(DecodeError::ReservedSubscriptionOptions { options });
    }
    match SubscriptionOptions::from_u8(options) {
        None => Err(DecodeError::InvalidSubscriptionOptions { options }),
        Some(parsed) if parsed.no_local && kind == FilterKind::Shared => {
            Err(DecodeError::NoLocalOnShared)
        }
        Some(_) => Ok(()),
    }
}

fn write_subscriptions<'e>(
    out: &mut impl Sink,
    entries: impl IntoIterator<Item = Subscription<'e>>,
) -> Result<Facts, EncodeError> {
    let mut facts = Facts::default();
    for entry in entries {
        let filter = entry.filter.as_bytes();
        let kind = text::check_topic_filter(filter)?;
        let options = entry.options.as_u8();
        check_options(options, kind, ProtocolVersion::V5)?;
        write_entry(out, filter, &[options])?;
        facts.add(kind, options);
    }
    Ok(facts.of_some(PacketType::Subscribe)?)
}

fn write_filters<'e>(
    out: &mut impl Sink,
    filters: impl IntoIterator<Item = &'e str>,
) -> Result<Facts, EncodeError> {
    let mut facts = Facts::default();
    for filter in filters {
        let kind = text::check_topic_filter(filter.as_bytes())?;
        write_entry(out, filter.as_bytes(), &[])?;
        facts.add(kind, 0);
    }
    Ok(facts.of_some(PacketType::Unsubscribe)?)
}

fn write_entry(out: &mut impl Sink, filter: &[u8], options: &[u8]) -> Result<(), EncodeError> {
    if filter.len() > usize::from(u16::MAX) {
        return Err(EncodeError::FieldTooLong {
            length: filter.len(),
        });
    }
    let length = filter.len().saturating_add(options.len()).saturating_add(2);
    out.reserve(length)?;
    let mut writer = Writer::new(out.claim(length));
    writer.field(filter);
    writer.bytes(options);
    writer.finish();
    Ok(())
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use alloc::vec::Vec;

    use crate::decode::primitive::work;
    use crate::{Decoder, Packet, PacketId, Properties, QoS, Subscribe, Unsubscribe};

    use super::*;

    /// Returns how many fields are read of a packet, to decode it and to walk through its filters,
    /// of which it has as many.
    fn work(packet: &Packet, count: usize) -> (usize, usize) {
        let mut bytes = Vec::new();
        packet
            .encode(ProtocolVersion::V311, &mut bytes)
            .expect("legal");
        let decoder = Decoder::new().with_version(ProtocolVersion::V311);
        work::take_fields();
        let (packet, _) = decoder.decode_ref(&bytes).expect("legal").expect("whole");
        let to_decode = work::take_fields();
        let walked = if let Packet::Subscribe(subscribe) = &packet {
            subscribe.filters.iter().count()
        } else if let Packet::Unsubscribe(unsubscribe) = &packet {
            unsubscribe.filters.iter().count()
        } else {
            0
        };
        assert_eq!(walked, count);
        (to_decode, work::take_fields())
    }

    #[test]
    fn a_hundred_thousand_filters_take_linear_work() {
        for count in [25_000, 100_000] {
            let entries = core::iter::repeat_n(Subscription::new("a/b", QoS::AtMostOnce), count);
            let subscribe = Packet::Subscribe(Subscribe {
                packet_id: PacketId::MIN,
                properties: Properties::empty(),
                filters: SubscribeFilters::new(entries).expect("legal"),
            });
            let filters = core::iter::repeat_n("a/b", count);
            let unsubscribe = Packet::Unsubscribe(Unsubscribe {
                packet_id: PacketId::MIN,
                properties: Properties::empty(),
                filters: UnsubscribeFilters::new(filters).expect("legal"),
            });
            // The end of the list is looked at as well.
            assert_eq!(work(&subscribe, count), (count, count + 1));
            assert_eq!(work(&unsubscribe, count), (count, count + 1));
        }
    }
}
