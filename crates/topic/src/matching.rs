//! Does this filter match this name?

use crate::{TopicFilter, TopicName};

/// Does the filter match the name?
///
/// `+` matches one level, empty ones included; `#` matches its parent and everything below; a
/// filter that begins with a wildcard does not match a name that begins with `$`; every other
/// level matches byte for byte. Of a shared filter only the part after the group name counts.
/// One pass over both texts: no allocation, no recursion.
///
/// # Examples
///
/// ```
/// use mqttstack_topic::{TopicFilter, TopicName, matches};
///
/// let filter = TopicFilter::new("sport/+/player1/#")?;
/// assert!(matches(&filter, &TopicName::new("sport/tennis/player1")?));
/// assert!(!matches(&filter, &TopicName::new("sport/tennis/player2")?));
/// # Ok::<(), mqttstack_topic::TopicError>(())
/// ```
///
/// # Specification
///
/// v5 MQTT-4.7.1-1, v5 MQTT-4.7.1-2, v5 MQTT-4.7.2-1, v5 MQTT-4.7.3-4; v3.1.1 MQTT-4.7.1-2,
/// v3.1.1 MQTT-4.7.1-3, v3.1.1 MQTT-4.7.2-1, v3.1.1 MQTT-4.7.3-4.
#[must_use]
pub fn matches(filter: &TopicFilter<'_>, name: &TopicName<'_>) -> bool {
    text_matches(filter.filter(), name.as_str())
}

/// [`matches`] for texts that were checked before.
pub(crate) fn text_matches(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut names = name.split('/');
    for level in filter.split('/') {
        match level {
            "#" => return true,
            "+" => {
                if names.next().is_none() {
                    return false;
                }
            }
            literal => {
                if names.next() != Some(literal) {
                    return false;
                }
            }
        }
    }
    names.next().is_none()
}

/// Does `wide` match every name that `narrow` matches? Both are the matched part of a filter.
pub(crate) fn covers(wide: &str, narrow: &str) -> bool {
    if narrow.starts_with('$') && wide.starts_with(['+', '#']) {
        return false;
    }
    if wide == "+/#" && narrow == "#" {
        return true; // Every name has a first level, so these two are one.
    }
    let mut narrows = narrow.split('/');
    for level in wide.split('/') {
        match (level, narrows.next()) {
            ("#", _) => return true,
            (_, None | Some("#")) => return false,
            ("+", Some(_)) => {}
            (literal, Some(other)) => {
                if literal != other {
                    return false;
                }
            }
        }
    }
    narrows.next().is_none()
}
