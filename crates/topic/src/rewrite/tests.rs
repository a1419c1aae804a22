use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use proptest::prelude::*;

use super::*;

const BOUND: [(&str, &str); 3] = [("org", "acme"), ("id", "d7"), ("type", "pump")];

/// Shapes like those of the platform profiles.
const PROFILE: [(&str, &str); 4] = [
    (
        "iot-2/evt/+/fmt/+",
        "iot-2/{org}/type/{type}/id/{id}/evt/{1}/fmt/{2}",
    ),
    ("iot-2/cmd/#", "iot-2/{org}/type/{type}/id/{id}/cmd/{#}"),
    ("$SYS/own", "$SYS/{org}-{id}/own"),
    ("swap/+/+", "swapped/{2}/by-{org}/{1}"),
];

fn forward(rewrite: &TopicRewrite, text: &str) -> Option<String> {
    let mut buffer = "left over".to_string();
    let name = TopicName::new(text).unwrap();
    let there = rewrite.name(&name, &BOUND, &mut buffer).unwrap();
    there.map(|name| name.as_str().to_string())
}

fn back(rewrite: &TopicRewrite, text: &str) -> Option<String> {
    let mut buffer = String::new();
    let name = TopicName::new(text).unwrap();
    let back = rewrite.name_back(&name, &BOUND, &mut buffer).unwrap();
    back.map(|name| name.as_str().to_string())
}

#[test]
fn a_name_is_told_in_the_words_of_the_template_and_back() {
    let rewrite = TopicRewrite::reversible(&PROFILE).unwrap();
    for (here, there) in [
        (
            "iot-2/evt/temp/fmt/json",
            "iot-2/acme/type/pump/id/d7/evt/temp/fmt/json",
        ),
        ("iot-2/evt//fmt/", "iot-2/acme/type/pump/id/d7/evt//fmt/"),
        ("iot-2/cmd", "iot-2/acme/type/pump/id/d7/cmd"),
        ("iot-2/cmd/", "iot-2/acme/type/pump/id/d7/cmd/"),
        ("iot-2/cmd/a/b/c", "iot-2/acme/type/pump/id/d7/cmd/a/b/c"),
        ("$SYS/own", "$SYS/acme-d7/own"),
        ("swap/a/$b", "swapped/$b/by-acme/a"),
    ] {
        assert_eq!(forward(&rewrite, here).as_deref(), Some(there));
        assert_eq!(back(&rewrite, there).as_deref(), Some(here));
    }
    for other in [
        "iot-2",
        "iot-2/evt/temp/fmt",
        "iot-2/evt/a/fmt/b/c",
        "$SYS/owns",
        "iot-2/cmds",
    ] {
        assert_eq!(forward(&rewrite, other), None, "{other}");
    }
    for other in [
        "iot-2/other/type/pump/id/d7/cmd",
        "swapped/b/by-acme2/a",
        "$SYS/acme-d8/own",
    ] {
        assert_eq!(back(&rewrite, other), None, "{other}");
    }
}

#[test]
fn a_tenant_keeps_to_its_own_space() {
    // v5 MQTT-4.7.2-1: a rule that begins with a wildcard leaves $ names alone, both ways.
    let rewrite = TopicRewrite::reversible(&[("#", "tenant/{org}/{#}")]).unwrap();
    assert_eq!(forward(&rewrite, "a/b").as_deref(), Some("tenant/acme/a/b"));
    assert_eq!(forward(&rewrite, "/").as_deref(), Some("tenant/acme//"));
    assert_eq!(forward(&rewrite, "$SYS/x"), None);
    assert_eq!(back(&rewrite, "tenant/acme/a").as_deref(), Some("a"));
    assert_eq!(back(&rewrite, "tenant/acme/$SYS/x"), None);
    assert_eq!(back(&rewrite, "tenant/acme"), None);
    assert_eq!(back(&rewrite, "tenant/other/a"), None);
    let swap = TopicRewrite::reversible(&[("+/+", "{2}/{1}")]).unwrap();
    assert_eq!(forward(&swap, "a/b").as_deref(), Some("b/a"));
    assert_eq!(forward(&swap, "a/$SYS"), None);
    assert_eq!(back(&swap, "a/$SYS"), None);
}

#[test]
fn a_filter_is_translated_within_one_rule() {
    let rewrite = TopicRewrite::new(&[
        ("iot-2/evt/+/fmt/+", "iot-2/{org}/evt/{1}/fmt/{2}"),
        ("iot-2/cmd/#", "iot-2/{org}/cmd/{#}"),
        ("twice/+", "twice/{1}/{1}"),
        ("+/x", "x/{1}"),
    ])
    .unwrap();
    for (here, there) in [
        ("iot-2/evt/+/fmt/+", Some("iot-2/acme/evt/+/fmt/+")),
        ("iot-2/evt/a/fmt/+", Some("iot-2/acme/evt/a/fmt/+")),
        (
            "$share/g/iot-2/evt/+/fmt/json",
            Some("$share/g/iot-2/acme/evt/+/fmt/json"),
        ),
        ("iot-2/cmd/#", Some("iot-2/acme/cmd/#")),
        ("iot-2/cmd/+/b/#", Some("iot-2/acme/cmd/+/b/#")),
        ("iot-2/cmd", Some("iot-2/acme/cmd")),
        ("twice/a", Some("twice/a/a")),
        ("+/x", Some("x/+")),
        ("twice/+", None),
        ("iot-2/#", None),
        ("iot-2/evt/#", None),
        ("iot-2/+/a/fmt/b", None),
        ("#", None),
    ] {
        let mut buffer = String::new();
        let filter = TopicFilter::new(here).unwrap();
        let result = rewrite.filter(&filter, &BOUND, &mut buffer).unwrap();
        assert_eq!(result.map(TopicFilter::as_str), there, "{here}");
        let is_shared = result.is_some_and(|filter| filter.shared_group().is_some());
        assert_eq!(
            is_shared,
            there.is_some_and(|there| there.starts_with("$share"))
        );
    }
}

#[test]
fn the_first_rule_that_fits_is_applied() {
    let rewrite =
        TopicRewrite::new(&[("a/b", "one"), ("a/+", "two/{1}"), ("#", "all/{#}")]).unwrap();
    for (here, there) in [("a/b", "one"), ("a/c", "two/c"), ("a/b/c", "all/a/b/c")] {
        assert_eq!(forward(&rewrite, here).as_deref(), Some(there));
    }
    assert_eq!(
        back(&rewrite, "one"),
        None,
        "these rules were not declared reversible"
    );
}

#[test]
fn rules_that_make_no_sense_are_refused() {
    use RewriteError::*;
    let deep = "a/".repeat(TopicRewrite::LEVELS_MAX);
    for (rules, error) in [
        (&[("a+", "b")][..], WildcardMisplaced { rule: 0 }),
        (&[("a/#/b", "b")], WildcardMisplaced { rule: 0 }),
        (&[("a", "b"), ("a", "b/+")], WildcardMisplaced { rule: 1 }),
        (&[("+", "b/x{1}")], PlaceholderIllFormed { rule: 0 }),
        (&[("+", "b/{")], PlaceholderIllFormed { rule: 0 }),
        (&[("+", "b/}")], PlaceholderIllFormed { rule: 0 }),
        (&[("+", "b/{}")], PlaceholderIllFormed { rule: 0 }),
        (&[("+", "b/{0}")], PlaceholderIllFormed { rule: 0 }),
        (&[("#", "b/{#}/c")], PlaceholderIllFormed { rule: 0 }),
        (&[("+", "b/{2}")], NotCaptured { rule: 0 }),
        (&[("+", "b/{#}")], NotCaptured { rule: 0 }),
        (&[("a", &deep)], TooManyLevels { rule: 0 }),
    ] {
        assert_eq!(TopicRewrite::new(rules).err(), Some(error), "{rules:?}");
    }
}

#[test]
fn rules_that_lose_something_are_not_reversible() {
    use RewriteError::*;
    for (rules, error) in [
        (&[("+/+", "a/{1}")][..], NotReversible { rule: 0 }),
        (&[("+", "a/{1}/{1}")], NotReversible { rule: 0 }),
        (&[("#", "a")], NotReversible { rule: 0 }),
        (&[("a", "x"), ("b", "x")], Overlap { rule: 0, other: 1 }),
        (&[("a", "x"), ("a", "y")], Overlap { rule: 0, other: 1 }),
        (
            &[("a/+", "x/{1}"), ("b", "x/b")],
            Overlap { rule: 0, other: 1 },
        ),
        (
            &[("a/#", "x/{#}"), ("b", "x")],
            Overlap { rule: 0, other: 1 },
        ),
        (
            &[("a", "x/{id}"), ("b", "x/b")],
            Overlap { rule: 0, other: 1 },
        ),
        (
            &[("a", "x/{id}-1"), ("b", "x/y{org}")],
            Overlap { rule: 0, other: 1 },
        ),
    ] {
        assert_eq!(
            TopicRewrite::reversible(rules).err(),
            Some(error),
            "{rules:?}"
        );
    }
    for rules in [
        &[("a", "x/y{id}"), ("b", "x/z{id}")][..],
        &[("a", "x/{id}1"), ("b", "x/{id}2")],
        &[("a/+", "x/{1}"), ("a/+/b", "x/{1}/b")],
        &[("a/#", "x/{#}"), ("b/#", "y/{#}")],
    ] {
        assert!(TopicRewrite::reversible(rules).is_ok(), "{rules:?}");
    }
}

#[test]
fn values_cannot_reach_out_of_their_level() {
    let rewrite = TopicRewrite::new(&[("a/#", "{org}/{#}")]).unwrap();
    let name = TopicName::new("a/b").unwrap();
    let mut buffer = String::new();
    for value in ["", "a/b", "+", "#", "x#", "a\0"] {
        let result = rewrite.name(&name, &[("org", value)], &mut buffer);
        assert_eq!(
            result,
            Err(RewriteError::NotALevel { rule: 0 }),
            "{value:?}"
        );
    }
    let result = rewrite.name(&name, &[("other", "x")], &mut buffer);
    assert_eq!(result, Err(RewriteError::Unbound { rule: 0 }));
    for value in [".*", "%u", "{id}", "x$", "a b"] {
        let result = rewrite.name(&name, &[("org", value)], &mut buffer).unwrap();
        assert_eq!(result.map(TopicName::as_str), Some(&*format!("{value}/b")));
    }
}

#[test]
fn a_result_that_is_too_long_is_refused() {
    let rewrite = TopicRewrite::new(&[("#", "tenant/{#}")]).unwrap();
    let name = "x".repeat(65_530);
    let name = TopicName::new(&name).unwrap();
    let error = TopicError::TooLong {
        bytes: 65_537,
        bytes_max: 65_535,
    };
    let mut buffer = String::new();
    let result = rewrite.name(&name, &[], &mut buffer);
    assert_eq!(result, Err(RewriteError::Topic(error)));
}

/// A side of a rule over a small alphabet, as levels; `true` for a capture.
fn side() -> impl Strategy<Value = Vec<Option<&'static str>>> {
    let level = prop::sample::select(vec![
        Some("a"),
        Some("b"),
        Some("{id}"),
        Some("$"),
        None,
        None,
    ]);
    prop::collection::vec(level, 1..4)
}

/// A filter, and a template with the same captures in some order.
fn rule() -> impl Strategy<Value = (String, String)> {
    (
        side(),
        prop::collection::vec(prop::sample::select(vec!["a", "c", "{org}"]), 0..3),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(from, extra, is_turned, has_rest)| {
            let filter: Vec<_> = from.iter().map(|level| level.unwrap_or("+")).collect();
            let captures = from.iter().filter(|level| level.is_none()).count();
            let mut template: Vec<_> = (1..=captures)
                .map(|number| format!("{{{number}}}"))
                .collect();
            if is_turned {
                template.reverse();
            }
            for (place, level) in extra.iter().enumerate() {
                template.insert(place.min(template.len()), (*level).to_string());
            }
            if template.is_empty() {
                template.push("t".to_string());
            }
            let tail = |rest| if has_rest { rest } else { "" };
            (
                format!("{}{}", filter.join("/"), tail("/#")),
                format!("{}{}", template.join("/"), tail("/{#}")),
            )
        })
}

proptest! {
    #[test]
    fn what_is_declared_reversible_is(
        rules in prop::collection::vec(rule(), 1..4),
        names in prop::collection::vec("(a|b|d7|\\$|acme|c)(/(a|b|d7|acme|c|\\$)?){0,4}", 1..100),
    ) {
        let rules: Vec<_> = rules.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
        let Ok(rewrite) = TopicRewrite::reversible(&rules) else { return Ok(()) };
        for name in &names {
            if let Some(there) = forward(&rewrite, name) {
                prop_assert_eq!(back(&rewrite, &there), Some(name.clone()));
            }
            if let Some(here) = back(&rewrite, name) {
                prop_assert_eq!(forward(&rewrite, &here), Some(name.clone()));
            }
        }
    }

    #[test]
    fn a_translated_filter_matches_the_translated_names(
        rule in rule(),
        picks in prop::collection::vec(prop::sample::select(vec!["+", "+", "a", "b"]), 8),
        names in prop::collection::vec("(a|b|d7|\\$)(/(a|b|d7|\\$)){0,3}", 1..100),
    ) {
        let rewrite = TopicRewrite::new(&[(&rule.0, &rule.1)]).unwrap();
        let mut picks = picks.into_iter();
        let levels = rule.0.split('/').map(|level| match level {
            "+" => picks.next().unwrap_or("+"),
            "{id}" => "d7",
            other => other,
        });
        let filter = levels.collect::<Vec<_>>().join("/");
        let filter = TopicFilter::new(&filter).unwrap();
        let mut buffer = String::new();
        let Some(there) = rewrite.filter(&filter, &BOUND, &mut buffer).unwrap() else {
            return Ok(());
        };
        for text in &names {
            let name = TopicName::new(text).unwrap();
            if let Some(name_there) = forward(&rewrite, text) {
                let name_there = TopicName::new(&name_there).unwrap();
                prop_assert_eq!(filter.matches(&name), there.matches(&name_there));
            }
        }
    }
}

#[test]
fn a_value_at_the_start_reaches_no_topic_of_the_server() {
    let rewrite = TopicRewrite::reversible(&[("{who}/#", "at/{who}/{#}")]).unwrap();
    let back = TopicRewrite::reversible(&[("at/{who}/#", "{who}/{#}")]).unwrap();
    let mut buffer = String::new();
    let mut translate = |rewrite: &TopicRewrite, name: &str, who: &str| {
        let name = TopicName::new(name).unwrap();
        let result = rewrite.name(&name, &[("who", who)], &mut buffer);
        result.unwrap().map(|name| String::from(name.as_str()))
    };
    for (who, expected) in [("me", true), ("$SYS", false)] {
        let (inside, outside) = (format!("{who}/a"), format!("at/{who}/a"));
        let there = translate(&rewrite, &inside, who);
        assert_eq!(there, expected.then(|| outside.clone()));
        assert_eq!(translate(&back, &outside, who), expected.then_some(inside));
    }
    // Text that spells the `$` out is the word of whoever wrote the rule.
    let spelled = TopicRewrite::new(&[("a", "$x{who}")]).unwrap();
    assert_eq!(translate(&spelled, "a", "$y"), Some("$x$y".into()));
}

#[test]
fn a_number_of_a_capture_is_digits_alone() {
    for number in ["{+1}", "{0}", "{2}"] {
        assert!(
            TopicRewrite::new(&[("a/+", &format!("b/{number}"))]).is_err(),
            "{number}"
        );
    }
    assert!(TopicRewrite::new(&[("a/+", "b/{01}")]).is_ok());
}
