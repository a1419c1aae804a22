//! The answers of the subscription index for the busiest topics, for as long as nobody subscribes or
//! unsubscribes.

use std::collections::HashMap;

use mqttstack_topic::{GroupId, TopicLimits};

use super::{directory::Granted, keys::SessionKey};

/// How many topics are kept.
const TOPICS_MAX: usize = 16 * 1024;
/// How many matches all topics together are kept with; about a megabyte and a half.
const MATCHES_MAX: usize = 64 * 1024;
/// Longer topics are looked up each time.
const TOPIC_BYTES_MAX: usize = 256;
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

#[derive(Debug)]
struct Answer {
    /// The limits that the topic was found to keep.
    limits: TopicLimits,
    matches: Box<[Matched]>,
}

/// Topics with what they match, at one version of the index. When it is full it begins anew.
#[derive(Debug, Default)]
pub(super) struct MatchCache {
    version: u64,
    answers: HashMap<Box<[u8]>, Answer>,
    matches: usize,
    /// Since the last trial began.
    hits: u32,
    misses: u32,
    /// How many messages are still looked up without the cache.
    pause: u32,
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
        if version != self.version {
            self.clear();
            self.version = version;
        }
        let answer = self.answers.get(topic)?;
        if answer.limits != limits {
            return None;
        }
        self.hits = self.hits.saturating_add(1);
        Some(&answer.matches)
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
        let has_room = self.answers.len() < TOPICS_MAX
            && self.matches.saturating_add(matches.len()) <= MATCHES_MAX;
        if !has_room {
            self.clear();
        }
        let answer = Answer {
            limits,
            matches: matches.into(),
        };
        let added = answer.matches.len();
        let replaced = self.answers.insert(topic.into(), answer);
        let removed = replaced.map_or(0, |old| old.matches.len());
        self.matches = self.matches.saturating_add(added).saturating_sub(removed);
    }

    fn clear(&mut self) {
        self.answers.clear();
        self.matches = 0;
    }
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
        assert!(cache.answers.is_empty() && !cache.wants(b"a"));
        for _ in 0..PAUSE {
            assert!(cache.get(0, b"a", LIMITS).is_none());
        }
        cache.insert(0, b"a", LIMITS, &[]);
        assert!(cache.get(0, b"a", LIMITS).is_some());
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut cache = MatchCache::default();
        for number in 0..3 * u32::try_from(TOPICS_MAX).unwrap() {
            // Often enough for each to pay.
            for _ in 0..3 {
                if cache.get(0, &topic(number), LIMITS).is_none() {
                    cache.insert(0, &topic(number), LIMITS, &[]);
                }
            }
            assert!(cache.answers.len() <= TOPICS_MAX);
        }
        assert!(!cache.answers.is_empty());
        cache.insert(0, &[b'a'; TOPIC_BYTES_MAX + 1], LIMITS, &[]);
        assert!(cache.get(0, &[b'a'; TOPIC_BYTES_MAX + 1], LIMITS).is_none());
    }
}
