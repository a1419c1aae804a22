//! Topic aliases: a number in place of a topic, for one direction of one connection.

use alloc::{boxed::Box, vec::Vec};

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
    topics: Vec<Option<Box<str>>>,
    maximum: u16,
}

impl InboundAliases {
    pub(crate) fn new(maximum: u16) -> Self {
        Self {
            topics: Vec::new(),
            maximum,
        }
    }

    /// Returns the topic of a PUBLISH, from its own field or from what its alias stands for.
    pub(crate) fn resolve<'a>(
        &'a mut self,
        topic: &'a str,
        alias: Option<u16>,
    ) -> Result<&'a str, ProtocolError> {
        let Some(alias) = alias else { return Ok(topic) };
        let maximum = self.maximum;
        if alias == 0 || alias > maximum {
            return Err(ProtocolError::TopicAliasInvalid { alias, maximum });
        }
        let index = usize::from(alias).saturating_sub(1);
        if topic.is_empty() {
            let known = self.topics.get(index).and_then(Option::as_deref);
            return known.ok_or(ProtocolError::TopicAliasUnknown { alias });
        }
        if self.topics.len() <= index {
            self.topics.resize(index.saturating_add(1), None);
        }
        if let Some(slot) = self.topics.get_mut(index)
            && slot.as_deref() != Some(topic)
        {
            *slot = Some(topic.into());
        }
        Ok(topic)
    }
}

/// The numbers that this side uses for topics it sends often: the least recently used one is given
/// to the next topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct OutboundAliases {
    /// By alias, less one: the topic and when it was last used.
    entries: Vec<(Box<str>, u64)>,
    maximum: usize,
    uses: u64,
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
            entries: Vec::new(),
            maximum: maximum.into(),
            uses: 0,
        }
    }

    /// Returns whether the peer takes aliases, and we use them.
    pub(crate) const fn is_in_use(&self) -> bool {
        self.maximum > 0
    }

    /// Returns the alias for `topic`, or `None` if none may be used.
    pub(crate) fn assign(&mut self, topic: &str) -> Option<AliasUse> {
        if self.maximum == 0 {
            return None;
        }
        self.uses = self.uses.saturating_add(1);
        let uses = self.uses;
        if let Some(index) = self.entries.iter().position(|(known, _)| **known == *topic) {
            if let Some((_, last_use)) = self.entries.get_mut(index) {
                *last_use = uses;
            }
            return Some(AliasUse {
                alias: alias_of(index),
                known: true,
            });
        }
        if self.entries.len() < self.maximum {
            self.entries.push((topic.into(), uses));
            return Some(AliasUse {
                alias: alias_of(self.entries.len().saturating_sub(1)),
                known: fault::is_on(Fault::UnknownAlias),
            });
        }
        let (index, entry) = self
            .entries
            .iter_mut()
            .enumerate()
            .min_by_key(|(_, (_, last_use))| *last_use)?;
        *entry = (topic.into(), uses);
        Some(AliasUse {
            alias: alias_of(index),
            known: false,
        })
    }
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
        assert_eq!(aliases.resolve("a", Some(2)), Ok("a"));
        assert_eq!(aliases.resolve("", Some(2)), Ok("a"));
        assert_eq!(aliases.resolve("b", Some(2)), Ok("b"));
        assert_eq!(aliases.resolve("", Some(2)), Ok("b"));
        assert_eq!(aliases.resolve("c", None), Ok("c"));
    }

    #[test]
    fn aliases_out_of_range_or_unknown_are_refused() {
        // v5 MQTT-3.3.2-8, v5 MQTT-3.3.2-9, v5 U-20, v5 U-21
        let mut aliases = InboundAliases::new(2);
        for alias in [0, 3, u16::MAX] {
            let expected = ProtocolError::TopicAliasInvalid { alias, maximum: 2 };
            assert_eq!(aliases.resolve("a", Some(alias)), Err(expected));
        }
        let expected = ProtocolError::TopicAliasUnknown { alias: 1 };
        assert_eq!(aliases.resolve("", Some(1)), Err(expected));
    }

    #[test]
    fn the_least_recently_used_alias_is_given_away() {
        // v5 MQTT-3.3.2-11
        let mut aliases = OutboundAliases::new(2);
        assert_eq!(
            aliases.assign("a"),
            Some(AliasUse {
                alias: 1,
                known: false
            })
        );
        assert_eq!(
            aliases.assign("b"),
            Some(AliasUse {
                alias: 2,
                known: false
            })
        );
        assert_eq!(
            aliases.assign("a"),
            Some(AliasUse {
                alias: 1,
                known: true
            })
        );
        assert_eq!(
            aliases.assign("c"),
            Some(AliasUse {
                alias: 2,
                known: false
            })
        );
        assert_eq!(
            aliases.assign("b"),
            Some(AliasUse {
                alias: 1,
                known: false
            })
        );
        assert_eq!(
            aliases.assign("c"),
            Some(AliasUse {
                alias: 2,
                known: true
            })
        );
    }

    #[test]
    fn no_alias_is_used_when_the_peer_allows_none() {
        // v5 MQTT-3.1.2-27, v5 MQTT-3.2.2-18
        assert_eq!(OutboundAliases::new(0).assign("a"), None);
    }
}
