//! The answers of the subscription index for the busiest topics, for as long as nobody subscribes or
//! unsubscribes.

use mqttstack_topic::{GroupId, TopicLimits};

use super::{directory::Granted, keys::SessionKey};

/// How many places a topic has to choose from.
const WAYS: usize = 4;
/// How many sets of places there are at first, and at most: enough for some 16,000 topics, of which
/// few find theirs taken.
const SETS_MIN: usize = 16;
const SETS_MAX: usize = 8 * 1024;
/// How many matches all topics together are kept with: about a megabyte and a half where topics have
/// several. All places take some 3.5 megabytes more, and the names of topics that are longer than
/// `INLINE_BYTES_MAX` up to 8: a worker has at most 13 megabytes of it.
const MATCHES_MAX: usize = 64 * 1024;
/// Longer topics are looked up each time.
const TOPIC_BYTES_MAX: usize = 256;
/// Topics of so many bytes lie in their place: one wait for memory instead of two.
const INLINE_BYTES_MAX: usize = 46;
/// After so many new topics it is looked at whether keeping them pays; enough for as many topics as
/// there is room for to come around.
const TRIAL: u32 = 32 * 1024;
/// If it does not, so many messages are looked up without it: topics that never come again must not
/// cost more than the lookup.
const PAUSE: u32 = 64 * 1024;

/// What a topic matches.
#[derive(Clone, Copy, Debug)]
pub(super) enum Matched {
    Subscriber(SessionKey, Granted),
    Group(GroupId),
}

/// A topic with what it matches.
#[derive(Debug)]
struct Answer {
    hash: u64,
    /// The version of the index that gave it; with any other it is nobody's.
    version: u64,
    /// The limits that the topic was found to keep.
    limits: TopicLimits,
    topic: Topic,
    matches: Matches,
}

#[derive(Debug)]
enum Topic {
    Inline {
        len: u8,
        bytes: [u8; INLINE_BYTES_MAX],
    },
    Boxed(Box<[u8]>),
}

#[derive(Debug)]
enum Matches {
    One(Matched),
    Others(Box<[Matched]>),
}

/// Topics with what they match, at one version of the index. A topic has its place in one of four,
/// by a hash that nobody has to be kept from guessing: who finds topics that share theirs has them
/// looked up each time.
#[derive(Debug, Default)]
pub(super) struct MatchCache {
    version: u64,
    /// Sets of places, a power of two of them.
    places: Vec<Option<Answer>>,
    /// How many there are in all places.
    matches: usize,
    /// Since the last trial began.
    hits: u32,
    misses: u32,
    /// How many messages are still looked up without the cache.
    pause: u32,
    /// What `hits` and `misses` were at the last rest.
    rested_at: (u32, u32),
}

impl MatchCache {
    /// Returns what a topic matches at this version of the index, if that is known.
    pub(super) fn get(
        &mut self,
        version: u64,
        topic: &[u8],
        limits: TopicLimits,
    ) -> Option<&[Matched]> {
        if self.pause > 0 {
            self.pause -= 1;
            return None;
        }
        self.version = version;
        let hash = hash(topic);
        let set = self.places.get(self.range(hash))?;
        let answer = ways(hash)
            .filter_map(|way| set.get(way)?.as_ref())
            .find(|answer| {
                answer.hash == hash && answer.version == version && answer.topic.bytes() == topic
            })?;
        if answer.limits != limits {
            return None;
        }
        self.hits = self.hits.saturating_add(1);
        Some(answer.matches.as_slice())
    }

    /// Returns whether an answer for this topic would be kept.
    pub(super) fn wants(&self, topic: &[u8]) -> bool {
        self.pause == 0 && topic.len() <= TOPIC_BYTES_MAX
    }

    /// Keeps the answer that was found at a version of the index.
    pub(super) fn insert(
        &mut self,
        version: u64,
        topic: &[u8],
        limits: TopicLimits,
        matches: &[Matched],
    ) {
        if !self.wants(topic) || version != self.version || matches.len() > MATCHES_MAX {
            return;
        }
        self.misses = self.misses.saturating_add(1);
        if self.misses >= TRIAL {
            let pays = self.hits >= self.misses;
            (self.hits, self.misses) = (0, 0);
            if !pays {
                self.clear();
                self.pause = PAUSE;
                return;
            }
        }
        if self.matches.saturating_add(matches.len()) > MATCHES_MAX {
            self.clear();
        }
        self.place(Answer {
            hash: hash(topic),
            version,
            limits,
            topic: Topic::new(topic),
            matches: Matches::new(matches),
        });
    }

    /// Gives the memory back if nobody has looked for anything since the last call.
    pub(super) fn rest(&mut self) {
        let now = (self.hits, self.misses);
        if std::mem::replace(&mut self.rested_at, now) == now {
            self.clear();
        }
    }

    /// Returns whether there is memory to be given back.
    pub(super) const fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Puts an answer into the best of its places, and makes more of them where that would cost one
    /// that holds.
    fn place(&mut self, answer: Answer) {
        let (hash, version) = (answer.hash, self.version);
        let is_free = |place: &Option<Answer>| {
            place
                .as_ref()
                .is_none_or(|it| it.version != version || it.hash == hash)
        };
        let has_room = |set: &[Option<Answer>]| set.iter().any(is_free);
        while !self.set(hash).is_some_and(has_room) && self.grow() {}
        let added = answer.matches.as_slice().len();
        let range = self.range(hash);
        let Some(set) = self.places.get_mut(range) else {
            return;
        };
        // Where all are taken, chance decides who goes: each of a set has its own that it tries first.
        let is_free_way = |way: &usize| set.get(*way).is_some_and(is_free);
        let way = ways(hash)
            .find(is_free_way)
            .or_else(|| ways(hash).next())
            .unwrap_or_default();
        if let Some(place) = set.get_mut(way) {
            let replaced = place.replace(answer);
            let removed = replaced.map_or(0, |old| old.matches.as_slice().len());
            self.matches = self.matches.saturating_add(added).saturating_sub(removed);
        }
    }

    /// Makes twice as many places, if there may be more.
    fn grow(&mut self) -> bool {
        let sets = self.places.len() / WAYS;
        if sets >= SETS_MAX {
            return false;
        }
        let more = sets.saturating_mul(2).max(SETS_MIN).saturating_mul(WAYS);
        let places = std::iter::repeat_with(|| None).take(more).collect();
        let answers = std::mem::replace(&mut self.places, places);
        self.matches = 0;
        let version = self.version;
        for answer in answers.into_iter().flatten() {
            if answer.version == version {
                self.place(answer);
            }
        }
        true
    }

    /// Returns the places that a topic may have.
    fn set(&self, hash: u64) -> Option<&[Option<Answer>]> {
        self.places
            .get(self.range(hash))
            .filter(|set| !set.is_empty())
    }

    fn range(&self, hash: u64) -> std::ops::Range<usize> {
        let sets = self.places.len() / WAYS;
        let number = usize::try_from(hash >> 32).unwrap_or_default();
        let first = (number & sets.saturating_sub(1)).saturating_mul(WAYS);
        first..first.saturating_add(WAYS).min(self.places.len())
    }

    fn clear(&mut self) {
        self.places = Vec::new();
        self.matches = 0;
    }
}

impl Topic {
    fn new(topic: &[u8]) -> Self {
        let mut bytes = [0; INLINE_BYTES_MAX];
        match (bytes.get_mut(..topic.len()), u8::try_from(topic.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(topic);
                Self::Inline { len, bytes }
            }
            _ => Self::Boxed(topic.into()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Boxed(bytes) => bytes,
        }
    }
}

impl Matches {
    fn new(matches: &[Matched]) -> Self {
        match matches {
            [only] => Self::One(*only),
            others => Self::Others(others.into()),
        }
    }

    fn as_slice(&self) -> &[Matched] {
        match self {
            Self::One(only) => std::slice::from_ref(only),
            Self::Others(others) => others,
        }
    }
}

/// Returns the order in which the places of a set are tried: most topics are in the first.
fn ways(hash: u64) -> impl Iterator<Item = usize> {
    let first = usize::from(hash.to_le_bytes()[0]);
    (0..WAYS).map(move |way| (first + way) % WAYS)
}

/// Mixes the bytes of a topic, eight at a time.
fn hash(topic: &[u8]) -> u64 {
    /// 2^64 divided by the golden ratio.
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |state: u64, word: [u8; 8]| {
        (state.rotate_left(26) ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR)
    };
    let (words, rest) = topic.as_chunks::<8>();
    let state = words.iter().copied().fold(FACTOR, mix);
    let mut last = [0; 8];
    for (place, byte) in last.iter_mut().zip(rest) {
        *place = *byte;
    }
    let state = mix(state, last) ^ u64::try_from(topic.len()).unwrap_or_default();
    // The low bits of a product know only the low bits of its factors.
    (state ^ state >> 32).wrapping_mul(FACTOR)
}

#[cfg(test)]
mod tests {
    use mqttstack_topic::CharacterPolicy;

    use super::*;

    const LIMITS: TopicLimits = TopicLimits::DEFAULT;

    fn topic(number: u32) -> [u8; 4] {
        number.to_be_bytes()
    }

    #[test]
    fn an_answer_holds_for_its_version_and_its_limits() {
        let mut cache = MatchCache::default();
        cache.insert(0, b"a", LIMITS, &[]);
        assert!(cache.get(0, b"a", LIMITS).is_some());
        assert!(cache.get(0, b"b", LIMITS).is_none());
        let strict = TopicLimits {
            levels_max: 1,
            bytes_max: u16::MAX,
            characters: CharacterPolicy::Accept,
        };
        assert!(cache.get(0, b"a", strict).is_none());
        assert!(cache.get(1, b"a", LIMITS).is_none());
        // What was found before the change is no answer after it.
        cache.insert(0, b"a", LIMITS, &[]);
        assert!(cache.get(1, b"a", LIMITS).is_none());
    }

    #[test]
    fn topics_that_never_come_again_are_not_kept() {
        let mut cache = MatchCache::default();
        for number in 0..TRIAL {
            assert!(cache.get(0, &topic(number), LIMITS).is_none());
            cache.insert(0, &topic(number), LIMITS, &[]);
        }
        assert!(cache.places.is_empty() && !cache.wants(b"a"));
        for _ in 0..PAUSE {
            assert!(cache.get(0, b"a", LIMITS).is_none());
        }
        cache.insert(0, b"a", LIMITS, &[]);
        assert!(cache.get(0, b"a", LIMITS).is_some());
    }

    #[test]
    fn a_cache_that_nobody_asks_is_given_back() {
        let mut cache = MatchCache::default();
        cache.insert(0, b"a", LIMITS, &[]);
        cache.rest();
        assert!(cache.get(0, b"a", LIMITS).is_some());
        cache.rest();
        assert!(!cache.is_empty(), "it was asked meanwhile");
        cache.rest();
        assert!(cache.is_empty() && cache.get(0, b"a", LIMITS).is_none());
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut cache = MatchCache::default();
        for number in 0..50_000 {
            // Often enough for each to pay.
            for _ in 0..3 {
                if cache.get(0, &topic(number), LIMITS).is_none() {
                    cache.insert(0, &topic(number), LIMITS, &[]);
                }
            }
            assert!(cache.places.len() <= SETS_MAX * WAYS);
        }
        cache.insert(0, &[b'a'; TOPIC_BYTES_MAX + 1], LIMITS, &[]);
        assert!(cache.get(0, &[b'a'; TOPIC_BYTES_MAX + 1], LIMITS).is_none());
    }

    fn subscriber(number: u64) -> Matched {
        let options = mqttstack_codec::SubscriptionOptions::default();
        let granted = Granted::new(&options, mqttstack_codec::QoS::AtMostOnce, None);
        let key = SessionKey::new(u32::try_from(number).expect("small"), 0);
        Matched::Subscriber(key, granted)
    }

    #[test]
    fn each_topic_has_the_answer_that_was_kept_for_it_while_places_become_more() {
        let mut cache = MatchCache::default();
        let topics: Vec<String> = (0..10_000)
            .map(|number: usize| format!("{}/{number}", "level/".repeat(number % 12)))
            .collect();
        let mut known = 0;
        for version in [3, 4] {
            for (number, topic) in (0..).zip(&topics) {
                let matches: Vec<Matched> = (number..number + number % 3).map(subscriber).collect();
                assert!(cache.get(version, topic.as_bytes(), LIMITS).is_none());
                cache.insert(version, topic.as_bytes(), LIMITS, &matches);
            }
            for (number, topic) in (0_u32..).zip(&topics) {
                let Some(matches) = cache.get(version, topic.as_bytes(), LIMITS) else {
                    continue;
                };
                known += 1;
                assert_eq!(u32::try_from(matches.len()).expect("few"), number % 3);
                for (matched, expected) in matches.iter().zip(number..) {
                    let named = SessionKey::new(expected, 0);
                    assert!(matches!(matched, Matched::Subscriber(key, _) if *key == named));
                }
            }
        }
        assert!(known > 19_000, "{known} of 20,000");
        let held: usize = cache
            .places
            .iter()
            .flatten()
            .map(|it| it.matches.as_slice().len())
            .sum();
        assert_eq!(held, cache.matches);
    }
}
