//! How large a topic may be, and which characters it may hold.

/// How large a topic name or filter may be, and which characters it may hold.
///
/// The standard knows no limit on levels. This crate holds each topic to at most 255, so that the
/// depth of a lookup, and with it its stack, is bounded by a type.
///
/// # Specification
///
/// v5 MQTT-4.7.3-3; v3.1.1 MQTT-4.7.3-3, X311-4.7.3-a.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TopicLimits {
    /// The most levels a topic may have, 128 by default. A shared filter counts those after its
    /// group name. A topic with more is refused with [`TooManyLevels`].
    ///
    /// [`TooManyLevels`]: crate::TopicError::TooManyLevels
    pub levels_max: u8,
    /// The most bytes a topic may have, 65,535 by default, `$share/{group}/` included. A longer
    /// one is refused with [`TooLong`].
    ///
    /// [`TooLong`]: crate::TopicError::TooLong
    pub bytes_max: u16,
    /// What happens to control characters and Unicode non-characters; accepted by default.
    pub characters: CharacterPolicy,
}

/// What to do with U+0001 to U+001F, U+007F to U+009F and the Unicode non-characters.
///
/// The standard lets a receiver refuse them; many devices send them. U+0000 is always refused.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum CharacterPolicy {
    /// They are characters like any other.
    #[default]
    Accept,
    /// A topic that has one is refused with [`RefusedCharacter`].
    ///
    /// [`RefusedCharacter`]: crate::TopicError::RefusedCharacter
    Refuse,
}

impl TopicLimits {
    /// 128 levels, 65,535 bytes, every character but U+0000.
    pub const DEFAULT: Self = Self {
        levels_max: 128,
        bytes_max: u16::MAX,
        characters: CharacterPolicy::Accept,
    };
}

impl Default for TopicLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
