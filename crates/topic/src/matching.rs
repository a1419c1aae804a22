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
    // No name is empty, so what is below an empty first level has a second one.
    let narrow = if narrow == "/#" { "/+/#" } else { narrow };
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

#[cfg(test)]
mod tests {
    use alloc::{format, string::String, vec, vec::Vec};

    use super::*;

    /// All texts of one to so many of these levels.
    fn texts_of(levels: &[&str], depth: usize) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        let mut last = vec![String::new()];
        for count in 0..depth {
            last = last
                .iter()
                .flat_map(|stem| {
                    levels.iter().map(move |level| match count {
                        0 => String::from(*level),
                        _ => format!("{stem}/{level}"),
                    })
                })
                .collect();
            all.extend(last.iter().cloned());
        }
        all
    }

    #[test]
    fn a_filter_covers_another_exactly_if_no_name_tells_them_apart() {
        let filters = texts_of(&["", "a", "+", "$x", "#"], 3);
        let filters: Vec<_> = filters
            .iter()
            .filter_map(|text| TopicFilter::new(text).ok())
            .collect();
        // One level that no filter names, and one level more than any filter has.
        let names = texts_of(&["", "a", "b", "$x"], 4);
        let names: Vec<_> = names
            .iter()
            .filter_map(|text| TopicName::new(text).ok())
            .collect();
        let matched: Vec<Vec<bool>> = filters
            .iter()
            .map(|filter| names.iter().map(|name| matches(filter, name)).collect())
            .collect();
        assert!(filters.len() > 100, "{}", filters.len());
        for (wide, by_wide) in filters.iter().zip(&matched) {
            for (narrow, by_narrow) in filters.iter().zip(&matched) {
                let expected = by_narrow
                    .iter()
                    .zip(by_wide)
                    .all(|(narrow, wide)| *wide || !*narrow);
                assert_eq!(wide.covers(narrow), expected, "{wide} over {narrow}");
            }
        }
    }

    fn check(filter: &str, name: &str, expected: bool) {
        let filter = TopicFilter::new(filter).unwrap();
        let name = TopicName::new(name).unwrap();
        assert_eq!(matches(&filter, &name), expected, "{filter} and {name}");
    }

    #[test]
    fn a_hash_matches_its_parent_and_everything_below() {
        // v5 MQTT-4.7.1-1, v3.1.1 MQTT-4.7.1-2, v5 MQTT-3.3.2-3, v3.1.1 MQTT-3.3.2-3
        for name in [
            "sport/tennis/player1",
            "sport/tennis/player1/ranking",
            "sport/tennis/player1/score/wimbledon",
            "sport/tennis/player1/",
        ] {
            check("sport/tennis/player1/#", name, true);
            check("#", name, true);
        }
        check("sport/tennis/player1/#", "sport/tennis/player10", false);
        check("sport/tennis/player1/#", "sport/tennis", false);
        for (name, expected) in [
            ("sport", true),
            ("sport/", true),
            ("sport/a/b", true),
            ("sports", false),
        ] {
            check("sport/#", name, expected);
        }
        check("#", "/", true);
        check("/#", "/", true);
        check("/#", "/a/b", true);
        check("/#", "a", false);
        check("+/#", "a", true);
        check("a/+/#", "a", false);
        check("a/+/#", "a/b", true);
        check("a/+/#", "a/b/c", true);
    }

    #[test]
    fn a_plus_matches_one_level_even_an_empty_one() {
        // v5 MQTT-4.7.1-2, v3.1.1 MQTT-4.7.1-3
        for (filter, name, expected) in [
            ("+", "a", true),
            ("+", "finance", true),
            ("+", "/finance", false),
            ("+", "a/b", false),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("/+", "finance", false),
            ("+/+", "a/b/c", false),
            ("sport/+", "sport/", true),
            ("sport/+", "sport", false),
            ("sport/+", "sport/a/b", false),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("+/monitor/Clients", "a/monitor/Clients", true),
            ("a/+/b", "a//b", true),
            ("a/+/b", "a/x/b", true),
            ("a/+/b", "a/b", false),
            ("a/+", "a/", true),
            ("+/", "/", true),
            ("+/", "x/", true),
            ("+/", "x", false),
            ("+/tennis/#", "a/tennis", true),
            ("+/tennis/#", "a/tennis/b", true),
            ("+/+/+", "//", true),
        ] {
            check(filter, name, expected);
        }
    }

    #[test]
    fn a_leading_wildcard_leaves_dollar_names_alone() {
        // v5 MQTT-4.7.2-1, v3.1.1 MQTT-4.7.2-1
        for (filter, name, expected) in [
            ("#", "$SYS/monitor/Clients", false),
            ("#", "$", false),
            ("+", "$x", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("+/tennis/#", "$a/tennis", false),
            ("$SYS/#", "$SYS/monitor/Clients", true),
            ("$SYS/#", "$SYS", true),
            ("$SYS/#", "SYS/x", false),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            ("$SYS/monitor/+", "$SYS/monitor", false),
            ("$SYS/+/#", "$SYS/a/b", true),
            ("+/+", "a/$b", true),
            ("#", "a/$SYS", true),
            ("$share/g/#", "$SYS/x", false),
            ("$share/g/$SYS/#", "$SYS/x", true),
        ] {
            check(filter, name, expected);
        }
    }

    #[test]
    fn literal_levels_match_byte_for_byte() {
        // v5 MQTT-4.7.3-4, v3.1.1 MQTT-4.7.3-4, X311-4.7.3-a
        for (filter, name, expected) in [
            ("ACCOUNTS", "ACCOUNTS", true),
            ("ACCOUNTS", "Accounts", false),
            ("a//b", "a//b", true),
            ("a//b", "a/b", false),
            ("a", "a/", false),
            ("/a", "a", false),
            ("a b", "a b", true),
            ("a", "a ", false),
            ("%61", "a", false),
            // U+00E9, and e with a combining accent.
            ("\u{e9}", "\u{e9}", true),
            ("\u{e9}", "e\u{301}", false),
            // U+FEFF is never skipped, U+FFFD stands for nothing else.
            ("\u{feff}a", "\u{feff}a", true),
            ("\u{feff}a", "a", false),
            ("\u{fffd}", "x", false),
            ("a/b", "a/b/", false),
            ("a/b/c", "a/b", false),
            ("sport/tennis/player1", "sport/tennis/player2", false),
        ] {
            check(filter, name, expected);
        }
    }

    #[test]
    fn a_shared_filter_matches_by_its_filter_alone() {
        // v5 MQTT-4.8.2-2
        check("$share/g/a/+", "a/b", true);
        check("$share/g//finance", "/finance", true);
        check("$share/g//finance", "finance", false);
        check("$share/g/a", "$share/g/a", false);
    }
}
