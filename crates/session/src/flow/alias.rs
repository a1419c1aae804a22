//! Topic aliases: a number in place of a topic, for one direction of one connection.

use alloc::{boxed::Box, string::String, vec::Vec};

use mqttstack_codec::Utf8Slice;

use crate::{
    ProtocolError,
    fault::{self, Fault},
};

/// The topics that the peer has given numbers.
///
/// Set by the packet that carries topic and alias, even if that message is refused later. Gone with
/// the connection (v5 MQTT-3.3.2-7).
#[derive(Clone, Debug, Default)]
pub(crate) struct InboundAliases {
    maximum: u16,
    /// Made for the first alias.
    known: Option<Box<Known>>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    /// By alias, less one; empty where none is known.
    topics: Vec<String>,
    /// The bytes of the topics.
    bytes: usize,
}

impl InboundAliases {
    pub(crate) const fn new(maximum: u16) -> Self {
        Self {
            maximum,
            known: None,
        }
    }

    /// Returns the topic of a PUBLISH, from its own field or from what its alias stands for.
    pub(crate) fn resolve<'a>(
        &'a mut self,
        topic: Utf8Slice<'a>,
        alias: Option<u16>,
    ) -> Result<Utf8Slice<'a>, ProtocolError> {
        let Some(alias) = alias else { return Ok(topic) };
        let maximum = self.maximum;
        if alias == 0 || alias > maximum {
            return Err(ProtocolError::TopicAliasInvalid { alias, maximum });
        }
        let known = self.known.get_or_insert_default();
        if topic.as_bytes().is_empty() {
            return known
                .get(alias)
                .map(Utf8Slice::from)
                .ok_or(ProtocolError::TopicAliasUnknown { alias });
        }
        known.set(alias, topic);
        Ok(topic)
    }

    /// Returns how much memory the topics take.
    pub(crate) fn bytes(&self) -> usize {
        self.known.as_ref().map_or(0, |known| known.bytes())
    }
}

impl Known {
    fn get(&self, alias: u16) -> Option<&str> {
        let topic = self.topics.get(index_of(alias)).map(String::as_str);
        topic.filter(|topic| !topic.is_empty())
    }

    fn set(&mut self, alias: u16, topic: Utf8Slice<'_>) {
        let index = index_of(alias);
        if self.topics.len() <= index {
            self.topics.resize(index.saturating_add(1), String::new());
        }
        if let Some(slot) = self.topics.get_mut(index)
            && topic != *slot.as_str()
        {
            self.bytes = self.bytes.saturating_sub(slot.capacity());
            set(slot, topic.as_str());
            self.bytes = self.bytes.saturating_add(slot.capacity());
        }
    }

    fn bytes(&self) -> usize {
        let slots = self.topics.capacity().saturating_mul(size_of::<String>());
        let topics = slots.saturating_add(self.bytes);
        size_of::<Self>().saturating_add(topics)
    }
}

/// Returns the place of an alias, which is 1 at least.
const fn index_of(alias: u16) -> usize {
    alias.saturating_sub(1) as usize
}

/// Puts a topic in the place of another: a peer that gives one alias to topic after topic costs no
/// allocation for each. A place that is much too large is given up.
fn set(slot: &mut String, topic: &str) {
    /// So many bytes may be left over.
    const SPARE_MAX: usize = 256;
    slot.clear();
    if slot.capacity() > topic.len().saturating_add(SPARE_MAX) {
        *slot = String::new();
    }
    slot.push_str(topic);
}

/// The numbers that this side uses for topics that it sends often.
///
/// To name a topic costs a few bytes and a copy of it, and pays only if the topic comes again. So
/// a topic gets a number when it comes the second time, and takes that of another only if it has come
/// twice since the other was last used. Topics that take turns, more of them than there are numbers,
/// do not drive each other out.
#[derive(Clone, Debug, Default)]
pub(crate) struct OutboundAliases {
    maximum: u16,
    /// Made for the first message.
    table: Option<Box<Table>>,
}

/// How many topics are remembered that came once.
const SEEN_MAX: usize = 32;
/// For how many messages one of them keeps its place from others.
const PATIENCE: u32 = 256;
/// What an alias takes in a packet: a topic that is no longer saves nothing.
const ALIAS_LEN: usize = 3;

#[derive(Clone, Debug, Default)]
struct Table {
    /// By alias, less one, apart from the entries: these are all that most lookups read.
    fingerprints: Vec<u32>,
    entries: Vec<Entry>,
    /// By their fingerprints: topics without an alias.
    seen: [Seen; SEEN_MAX],
    /// Counts messages; it may begin anew, which makes an odd choice at most.
    uses: u32,
    /// Which entry is the next that may have to go.
    hand: usize,
    /// The bytes of the topics.
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    topic: Box<str>,
    last_use: u32,
}

/// A topic that came at a time; at 0, none did.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    fingerprint: u32,
    at: u32,
}

/// A topic alias to put into a PUBLISH.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct AliasUse {
    pub(crate) alias: u16,
    /// Whether the peer knows the alias: then the topic itself is left out.
    pub(crate) known: bool,
}

impl OutboundAliases {
    pub(crate) fn new(maximum: u16) -> Self {
        Self {
            maximum,
            table: None,
        }
    }

    /// Goes on with the aliases of an earlier connection, of which the peer knows nothing.
    #[cfg(mqttstack_faults)]
    pub(crate) fn keep(&mut self, earlier: Self) {
        self.table = earlier.table;
    }

    /// Returns whether the peer takes aliases, and we use them.
    pub(crate) const fn is_in_use(&self) -> bool {
        self.maximum > 0
    }

    /// Returns the alias for `topic`, or `None` if it has none.
    pub(crate) fn assign(&mut self, topic: &str) -> Option<AliasUse> {
        if self.maximum == 0 || topic.len() <= ALIAS_LEN {
            return None;
        }
        let table = self.table.get_or_insert_default();
        table.assign(topic, self.maximum)
    }

    /// Returns how much memory is taken.
    pub(crate) fn bytes(&self) -> usize {
        let Some(table) = &self.table else { return 0 };
        let slots = table.entries.capacity().saturating_mul(size_of::<Entry>());
        let fingerprints = table
            .fingerprints
            .capacity()
            .saturating_mul(size_of::<u32>());
        size_of::<Table>()
            .saturating_add(slots)
            .saturating_add(fingerprints)
            .saturating_add(table.bytes)
    }
}

impl Table {
    fn assign(&mut self, topic: &str, maximum: u16) -> Option<AliasUse> {
        self.uses = self.uses.wrapping_add(1);
        let fingerprint = fingerprint(topic);
        let known = self.fingerprints.iter().position(|it| *it == fingerprint);
        if let Some(index) = known {
            // Another topic with the same fingerprint goes without.
            let entry = self.entries.get_mut(index);
            let entry = entry.filter(|entry| *entry.topic == *topic)?;
            entry.last_use = self.uses;
            return Some(AliasUse {
                alias: alias_of(index),
                known: true,
            });
        }
        let before = self.meet(fingerprint)?;
        let index = self.place(before, maximum)?;
        self.fill(index, topic, fingerprint);
        self.forget(fingerprint);
        Some(AliasUse {
            alias: alias_of(index),
            known: fault::is_on(Fault::UnknownAlias),
        })
    }

    /// Notes a topic without an alias; returns for how long it has been known, in messages, if it came
    /// before.
    fn meet(&mut self, fingerprint: u32) -> Option<u32> {
        let seen = self.seen.get_mut(place_of(fingerprint))?;
        let age = self.uses.wrapping_sub(seen.at);
        let is_free = seen.at == 0 || age > PATIENCE;
        let is_known = !is_free && seen.fingerprint == fingerprint;
        if is_free || is_known {
            let at = self.uses;
            *seen = Seen { fingerprint, at };
        }
        is_known.then_some(age)
    }

    /// A topic has an alias now: its place among those without is free.
    fn forget(&mut self, fingerprint: u32) {
        if let Some(seen) = self.seen.get_mut(place_of(fingerprint)) {
            *seen = Seen::default();
        }
    }

    /// Returns the place for a topic that has been known so long: a free one, or that of a topic which
    /// has not been used meanwhile. One is looked at for each message that would like to have it.
    fn place(&mut self, known_for: u32, maximum: u16) -> Option<usize> {
        let len = self.entries.len();
        if len < usize::from(maximum) {
            return Some(len);
        }
        let index = self.hand.checked_rem(len)?;
        self.hand = index.saturating_add(1);
        let entry = self.entries.get(index)?;
        (self.uses.wrapping_sub(entry.last_use) > known_for).then_some(index)
    }

    fn fill(&mut self, index: usize, topic: &str, fingerprint: u32) {
        let last_use = self.uses;
        let topic: Box<str> = topic.into();
        self.bytes = self.bytes.saturating_add(topic.len());
        let entry = Entry { topic, last_use };
        match (
            self.entries.get_mut(index),
            self.fingerprints.get_mut(index),
        ) {
            (Some(old), Some(old_fingerprint)) => {
                self.bytes = self.bytes.saturating_sub(old.topic.len());
                *old = entry;
                *old_fingerprint = fingerprint;
            }
            _ => {
                self.entries.push(entry);
                self.fingerprints.push(fingerprint);
            }
        }
    }
}

/// Tells most topics apart. Whoever makes two alike spoils an alias, and nothing else.
fn fingerprint(topic: &str) -> u32 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut state: u64 = 0;
    let mut mix = |word: u64| state = (state.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    let (words, rest) = topic.as_bytes().as_chunks::<8>();
    for word in words {
        mix(u64::from_le_bytes(*word));
    }
    let rest = rest.iter().rev();
    mix(rest.fold(1, |word, byte| word << 8 | u64::from(*byte)));
    u32::try_from(state >> 32).unwrap_or(0)
}

fn place_of(fingerprint: u32) -> usize {
    usize::try_from(fingerprint).unwrap_or(0) % SEEN_MAX
}

fn alias_of(index: usize) -> u16 {
    u16::try_from(index.saturating_add(1)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_stands_for_the_topic_last_set() {
        // v5 MQTT-3.3.2-12, v5 MQTT-3.3.2-10
        let mut aliases = InboundAliases::new(2);
        assert_eq!(aliases.resolve("a".into(), Some(2)), Ok("a".into()));
        assert_eq!(aliases.resolve("".into(), Some(2)), Ok("a".into()));
        assert_eq!(aliases.resolve("b".into(), Some(2)), Ok("b".into()));
        assert_eq!(aliases.resolve("".into(), Some(2)), Ok("b".into()));
        assert_eq!(aliases.resolve("c".into(), None), Ok("c".into()));
    }

    #[test]
    fn aliases_out_of_range_or_unknown_are_refused() {
        // v5 MQTT-3.3.2-8, v5 MQTT-3.3.2-9, v5 U-20, v5 U-21
        let mut aliases = InboundAliases::new(2);
        for alias in [0, 3, u16::MAX] {
            let expected = ProtocolError::TopicAliasInvalid { alias, maximum: 2 };
            assert_eq!(aliases.resolve("a".into(), Some(alias)), Err(expected));
        }
        let expected = ProtocolError::TopicAliasUnknown { alias: 1 };
        assert_eq!(aliases.resolve("".into(), Some(1)), Err(expected));
    }

    /// What comes of a topic that is sent.
    fn sent(aliases: &mut OutboundAliases, topic: &str) -> &'static str {
        match aliases.assign(topic) {
            None => "topic",
            Some(AliasUse { known: false, .. }) => "both",
            Some(AliasUse { known: true, .. }) => "alias",
        }
    }

    #[test]
    fn a_topic_gets_an_alias_when_it_comes_again() {
        // v5 MQTT-3.3.2-11
        let mut aliases = OutboundAliases::new(2);
        let topics = [
            "one/a", "one/b", "one/a", "one/b", "one/a", "one/b", "one/b",
        ];
        let came = topics.map(|topic| sent(&mut aliases, topic));
        let expected = ["topic", "topic", "both", "both", "alias", "alias", "alias"];
        assert_eq!(came, expected);
        let numbers = ["one/a", "one/b"].map(|topic| aliases.assign(topic).map(|it| it.alias));
        assert_eq!(numbers, [Some(1), Some(2)]);
    }

    #[test]
    fn a_topic_that_is_as_short_as_an_alias_gets_none() {
        let mut aliases = OutboundAliases::new(2);
        for _ in 0..3 {
            assert_eq!(aliases.assign("a/b"), None);
        }
        assert_eq!(aliases.bytes(), 0);
    }

    #[test]
    fn topics_that_take_turns_do_not_drive_each_other_out() {
        for (topics, maximum, hits_min) in [(40, 32, 32 * 19), (1_000, 32, 0), (3, 2, 2 * 19)] {
            let mut aliases = OutboundAliases::new(maximum);
            let (mut given, mut hits) = (0, 0);
            for _ in 0..100 {
                for number in 0..topics {
                    match sent(&mut aliases, &alloc::format!("plant/line/{number}")) {
                        "both" => given += 1,
                        "alias" => hits += 1,
                        _ => {}
                    }
                }
            }
            // Each number was given once.
            assert!(given <= maximum, "{topics}: {given}");
            assert!(hits >= hits_min, "{topics}: {hits}");
        }
    }

    #[test]
    fn topics_that_each_come_once_cost_nothing() {
        let mut aliases = OutboundAliases::new(32);
        for number in 0..10_000 {
            assert_eq!(aliases.assign(&alloc::format!("topic/{number}")), None);
        }
        assert_eq!(aliases.bytes(), size_of::<Table>());
    }

    #[test]
    fn new_topics_take_the_aliases_of_those_that_are_no_longer_sent() {
        let mut aliases = OutboundAliases::new(4);
        for round in 0..10 {
            let topic = |number: u32| alloc::format!("round/{round}/{number}");
            for _ in 0..50 {
                for number in 0..4 {
                    sent(&mut aliases, &topic(number));
                }
            }
            // At the end of a round all have one, and those of the round before have none.
            for number in 0..4 {
                assert_eq!(sent(&mut aliases, &topic(number)), "alias", "{round}");
            }
        }
        // Memory is that of four topics.
        assert!(aliases.bytes() < size_of::<Table>() + 4 * 100);
    }

    #[test]
    fn an_alias_for_topic_after_topic_takes_the_memory_of_the_largest_at_most() {
        let mut aliases = InboundAliases::new(4);
        for number in 0..10_000 {
            let topic = alloc::format!("topic/{number}");
            assert_eq!(
                aliases.resolve((&*topic).into(), Some(1)),
                Ok((&*topic).into())
            );
        }
        assert!(aliases.bytes() < 4 * size_of::<String>() + 64);
        let long = "x".repeat(65_535);
        assert_eq!(
            aliases.resolve((&*long).into(), Some(1)),
            Ok((&*long).into())
        );
        assert!(aliases.bytes() >= 65_535);
        assert_eq!(aliases.resolve("a".into(), Some(1)), Ok("a".into()));
        assert!(aliases.bytes() < 1_000);
    }

    #[test]
    fn no_alias_is_used_when_the_peer_allows_none() {
        // v5 MQTT-3.1.2-27, v5 MQTT-3.2.2-18
        assert_eq!(OutboundAliases::new(0).assign("a topic"), None);
    }
}
