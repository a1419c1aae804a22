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
    text_matches(filter.filter().as_bytes(), name.as_str().as_bytes())
}

/// [`matches`] for texts that were checked before.
pub(crate) fn text_matches(filter: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'$') && matches!(filter.first(), Some(b'+' | b'#')) {
        return false;
    }
    let (mut filter, mut name) = (filter, name);
    loop {
        (filter, name) = without_common_prefix(filter, name);
        // A name has no wildcard, so one stands where the texts differ; and as it fills its
        // level, the name is at the start of a level too.
        match filter {
            [] => return name.is_empty(),
            [b'#', ..] => return true,
            [b'+', rest @ ..] => {
                filter = rest;
                name = after_level(name);
            }
            [b'/', b'#'] => return name.is_empty(),
            [..] => return false,
        }
    }
}

fn without_common_prefix<'a>(left: &'a [u8], right: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    let words = left.as_chunks::<8>().0.iter().zip(right.as_chunks::<8>().0);
    let equal_words = words.take_while(|(left, right)| left == right).count();
    let (_, left) = left.split_at(equal_words.saturating_mul(8));
    let (_, right) = right.split_at(equal_words.saturating_mul(8));
    let equal = left
        .iter()
        .zip(right)
        .take_while(|(left, right)| left == right)
        .count();
    (left.split_at(equal).1, right.split_at(equal).1)
}

fn after_level(name: &[u8]) -> &[u8] {
    let end = name
        .iter()
        .position(|&byte| byte == b'/')
        .unwrap_or(name.len());
    name.split_at(end).1
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
