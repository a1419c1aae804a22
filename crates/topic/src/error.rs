//! Why a text is not a topic name or a topic filter.

/// Why a text is not a topic name or a topic filter.
///
/// Offsets count bytes from the start of the text.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TopicError {
    /// The text has no character.
    #[error("a topic has at least one character")]
    Empty,
    /// The text is longer than the limit, which the standard caps at 65,535 bytes.
    #[error("topic of {bytes} bytes exceeds the limit of {bytes_max}")]
    TooLong {
        /// The length of the text in bytes.
        bytes: usize,
        /// The limit.
        bytes_max: u16,
    },
    /// The text has more levels than the limit.
    #[error("topic of {levels} levels exceeds the limit of {levels_max}")]
    TooManyLevels {
        /// The number of levels.
        levels: usize,
        /// The limit.
        levels_max: u8,
    },
    /// The text contains U+0000.
    #[error("U+0000 at byte {offset}")]
    NullCharacter {
        /// Where it stands.
        offset: usize,
    },
    /// A control character or a non-character, which the limits refuse.
    #[error("character U+{:04X} at byte {offset} is refused by policy", u32::from(*.character))]
    RefusedCharacter {
        /// The character.
        character: char,
        /// Where it stands.
        offset: usize,
    },
    /// A topic name contains `+` or `#`.
    #[error("wildcard {wildcard:?} at byte {offset} of a topic name")]
    WildcardInName {
        /// Which wildcard.
        wildcard: char,
        /// Where it stands.
        offset: usize,
    },
    /// A `+` shares its level with other characters.
    #[error("`+` at byte {offset} does not fill its level")]
    SingleLevelWildcardMisplaced {
        /// Where it stands.
        offset: usize,
    },
    /// A `#` shares its level with other characters, or another level follows it.
    #[error("`#` at byte {offset} does not fill the last level")]
    MultiLevelWildcardMisplaced {
        /// Where it stands.
        offset: usize,
    },
    /// `$share/` is followed by an empty group name.
    #[error("shared subscription without a group name")]
    ShareNameEmpty,
    /// The group name of a shared subscription contains `+` or `#`.
    #[error("wildcard {wildcard:?} at byte {offset} of a group name")]
    WildcardInShareName {
        /// Which wildcard.
        wildcard: char,
        /// Where it stands.
        offset: usize,
    },
    /// `$share/{group}` is not followed by `/` and a filter.
    #[error("shared subscription without a topic filter")]
    ShareFilterEmpty,
}
