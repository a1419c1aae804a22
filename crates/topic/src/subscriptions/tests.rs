#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows fails"
)]

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::ops::ControlFlow;

use proptest::prelude::*;

use super::*;
use crate::hash;

type Index = SubscriptionIndex<u64, u32>;

fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::new(text).unwrap()
}

fn name(text: &str) -> TopicName<'_> {
    TopicName::new(text).unwrap()
}

/// What a lookup finds: keys and values, then the members of groups under the group's text.
type Found = (Vec<(u64, u32)>, BTreeMap<String, BTreeSet<(u64, u32)>>);

fn lookup(index: &Index, topic: &str) -> Found {
    let mut found = Found::default();
    let _ = index.lookup(&name(topic), |matched| {
        match matched {
            Match::Subscriber { key, value } => found.0.push((key, *value)),
            Match::Group(group) => {
                let members = group.members().map(|(key, value)| (key, *value)).collect();
                let old = found.1.insert(group.filter().as_str().to_string(), members);
                assert!(old.is_none(), "a group was visited twice");
            }
        }
        ControlFlow::Continue(())
    });
    found
}

/// Every subscription in a list, matched one by one.
#[derive(Debug, Default)]
struct Model(BTreeMap<(String, u64), u32>);

impl Model {
    fn lookup(&self, topic: &str) -> Found {
        let mut found = Found::default();
        for ((text, key), value) in &self.0 {
            let filter = filter(text);
            if !naive_match(filter.filter(), topic) {
                continue;
            }
            if filter.shared_group().is_some() {
                found
                    .1
                    .entry(text.clone())
                    .or_default()
                    .insert((*key, *value));
            } else {
                found.0.push((*key, *value));
            }
        }
        found.0.sort_unstable();
        found
    }
}

/// The matching rules as the standard tells them, level by level.
fn naive_match(filter: &str, topic: &str) -> bool {
    fn levels_match(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) => true,
            ([], []) => true,
            (["+", filter @ ..], [_, topic @ ..]) => levels_match(filter, topic),
            ([f, filter @ ..], [t, topic @ ..]) => f == t && levels_match(filter, topic),
            _ => false,
        }
    }
    let filter: Vec<_> = filter.split('/').collect();
    let topic: Vec<_> = topic.split('/').collect();
    if topic[0].starts_with('$') && matches!(filter[0], "+" | "#") {
        return false;
    }
    levels_match(&filter, &topic)
}

#[derive(Clone, Debug)]
enum Op {
    Insert(String, u64, u32),
    Remove(String, u64),
    RemoveAll(u64),
    RemoveSome(u64, usize),
}

fn level() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c", "", "$x", "long-level-name", "é"])
}

fn topic() -> impl Strategy<Value = String> {
    prop::collection::vec(level(), 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("at least one character", |text| !text.is_empty())
}

fn filter_text() -> impl Strategy<Value = String> {
    let level = prop_oneof![3 => level(), 2 => Just("+")];
    let levels = prop::collection::vec(level, 0..5);
    let group = prop_oneof![4 => Just(""), 1 => Just("$share/g/"), 1 => Just("$share/h/")];
    (group, levels, any::<bool>())
        .prop_map(|(group, mut levels, multi)| {
            if multi {
                levels.push("#");
            }
            (group, levels.join("/"))
        })
        .prop_filter("at least one character", |(_, text)| !text.is_empty())
        .prop_map(|(group, text)| format!("{group}{text}"))
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..40_u64;
    prop_oneof![
        6 => (filter_text(), key.clone(), any::<u32>()).prop_map(|(f, k, v)| Op::Insert(f, k, v)),
        2 => (filter_text(), key.clone()).prop_map(|(f, k)| Op::Remove(f, k)),
        1 => key.clone().prop_map(Op::RemoveAll),
        1 => (key, 0..3_usize).prop_map(|(k, n)| Op::RemoveSome(k, n)),
    ]
}

fn agree(index: &mut Index, ops: &[Op], topics: &[String]) {
    let mut model = Model::default();
    for op in ops {
        match op {
            Op::Insert(text, key, value) => {
                let old = model.0.insert((text.clone(), *key), *value);
                assert_eq!(index.insert(&filter(text), *key, *value), old);
            }
            Op::Remove(text, key) => {
                let old = model.0.remove(&(text.clone(), *key));
                assert_eq!(index.remove(&filter(text), key), old);
            }
            Op::RemoveAll(key) => {
                let before = model.0.len();
                model.0.retain(|(_, other), _| other != key);
                assert_eq!(index.remove_all(key), before - model.0.len());
            }
            Op::RemoveSome(key, count_max) => {
                let count = index.remove_some(key, *count_max);
                let left: Vec<_> = index
                    .filters_of(key)
                    .map(|(filter, _)| filter.as_str().to_string())
                    .collect();
                let before = model.0.len();
                model
                    .0
                    .retain(|(text, other), _| other != key || left.contains(text));
                assert_eq!(before - model.0.len(), count);
                assert!(count == *count_max || left.is_empty());
            }
        }
    }
    assert_eq!(index.len(), model.0.len());
    for topic in topics {
        let mut found = lookup(index, topic);
        found.0.sort_unstable();
        assert_eq!(found, model.lookup(topic), "topic {topic:?}");
    }
    let keys: BTreeSet<_> = model.0.keys().map(|(_, key)| *key).collect();
    assert_eq!(index.key_count(), keys.len());
    for key in keys {
        let mut held: Vec<_> = index
            .filters_of(&key)
            .map(|(filter, value)| (filter.as_str().to_string(), *value))
            .collect();
        held.sort_unstable();
        let owned = model.0.iter().filter(|((_, other), _)| *other == key);
        let owned: Vec<_> = owned
            .map(|((text, _), value)| (text.clone(), *value))
            .collect();
        assert_eq!(held, owned);
    }
}

proptest! {
    // v5 MQTT-3.3.2-3, v3.1.1 MQTT-3.3.2-3
    #[test]
    fn the_index_agrees_with_a_list_of_subscriptions(
        ops in prop::collection::vec(op(), 1..200),
        topics in prop::collection::vec(topic(), 1..20),
        seed: u64,
    ) {
        agree(&mut Index::new(seed), &ops, &topics);
    }

    #[test]
    fn the_index_agrees_with_a_list_even_if_all_hashes_collide(
        ops in prop::collection::vec(op(), 1..200),
        topics in prop::collection::vec(topic(), 1..20),
    ) {
        agree(&mut Index::with_hash(hash::KeyedHash::WEAK), &ops, &topics);
    }
}

/// Subscribes key 1, 2, ... to the filters.
fn index_of(filters: &[&str]) -> Index {
    let mut index = Index::new(3);
    for (key, text) in (1..).zip(filters) {
        index.insert(&filter(text), key, 0);
    }
    index
}

fn keys(index: &Index, topic: &str) -> Vec<u64> {
    lookup(index, topic)
        .0
        .into_iter()
        .map(|(key, _)| key)
        .collect()
}

#[test]
fn a_name_finds_the_filters_that_match_it() {
    // v5 MQTT-4.7.1-1, v5 MQTT-4.7.1-2, v5 MQTT-4.7.3-4, v5 MQTT-3.3.2-3; v3.1.1 MQTT-4.7.1-2,
    // v3.1.1 MQTT-4.7.1-3, v3.1.1 MQTT-4.7.3-4, v3.1.1 MQTT-3.3.2-3, X311-3.8.3-a
    let index = index_of(&[
        "a/b", "a/+", "a/#", "+/b", "#", "a/b/#", "a", "A/b", "a/b/", "+/+/+",
    ]);
    for (topic, expected) in [
        ("a/b", &[5, 3, 6, 2, 4, 1][..]),
        ("a", &[5, 3, 7]),
        ("a/", &[5, 3, 2]),
        ("a/b/", &[5, 3, 6, 10, 9]),
        ("A/b", &[5, 4, 8]),
        ("/b", &[5, 4]),
        ("b", &[5]),
    ] {
        assert_eq!(keys(&index, topic), expected, "{topic}");
    }
}

#[test]
fn a_leading_wildcard_leaves_dollar_names_alone() {
    // v5 MQTT-4.7.2-1, v3.1.1 MQTT-4.7.2-1
    let index = index_of(&["#", "+/x", "+/#", "$SYS/#", "$SYS/+", "$SYS/x"]);
    assert_eq!(keys(&index, "$SYS/x"), [4, 5, 6]);
    assert_eq!(keys(&index, "$SYS"), [4]);
    assert_eq!(keys(&index, "a/x"), [1, 3, 2]);
}

#[test]
fn subscribing_again_replaces_the_value_and_says_so() {
    let mut index = Index::new(3);
    for text in ["a/b", "a/+", "$share/g/a/b"] {
        let filter = filter(text);
        assert_eq!(index.insert(&filter, 1, 10), None, "{text}");
        assert_eq!(index.insert(&filter, 1, 11), Some(10), "{text}");
        assert_eq!(index.get(&filter, &1), Some(&11));
        assert_eq!(index.get(&filter, &2), None);
    }
    assert_eq!(index.len(), 3);
    assert_eq!(index.remove(&filter("$share/h/a/b"), &1), None);
    assert_eq!(index.remove(&filter("$share/g/a/b"), &2), None);
    assert_eq!(index.remove(&filter("$share/g/a/b"), &1), Some(11));
    assert_eq!(index.group_count(), 0);
    assert_eq!(index.len(), 2);
}

#[test]
fn equal_calls_give_an_equal_order() {
    let build = |seed| {
        let mut index = Index::new(seed);
        for key in 0..200 {
            index.insert(&filter("a/b"), key, 0);
            index.insert(&filter(if key % 2 == 0 { "a/+" } else { "+/b" }), key, 0);
        }
        for key in (0..200).step_by(3) {
            index.remove(&filter("a/b"), &key);
        }
        keys(&index, "a/b")
    };
    assert_eq!(build(1), build(1));
    assert_eq!(build(1), build(2), "the seed is not seen");
}

#[test]
fn a_visitor_ends_the_lookup() {
    let index = index_of(&["a", "a", "a", "+", "#"]);
    for stop_after in 1..=5 {
        let mut visited = 0;
        let flow = index.lookup(&name("a"), |_| {
            visited += 1;
            if visited == stop_after {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert_eq!((visited, flow), (stop_after, ControlFlow::Break(())));
    }
}

#[test]
fn an_index_that_is_emptied_keeps_no_memory() {
    for churn in 0..2 {
        let mut index = Index::new(3);
        let texts: Vec<_> = (0..3_000)
            .map(|number| match number % 4 {
                0 => format!("a/{number}/a/topic/too/long/to/be/kept/in/place"),
                1 => format!("a/{number}/+"),
                2 => format!("+/{}/#", number % 50),
                _ => format!("$share/{}/a/{}", number % 9, number % 100),
            })
            .collect();
        for (key, text) in (0..).zip(&texts) {
            index.insert(&filter(text), key % 70, 0);
            index.insert(&filter("hot"), key, 0);
        }
        for (key, text) in (0..).zip(&texts) {
            if churn == 0 {
                index.remove(&filter(text), &(key % 70));
                index.remove(&filter("hot"), &key);
            } else {
                index.remove_all(&key);
            }
        }
        assert!(index.is_empty());
        (index.groups_made, index.version) = (0, 0);
        assert_eq!(format!("{index:?}"), format!("{:?}", Index::new(3)));
    }
}

#[test]
fn the_deepest_topics_are_looked_up() {
    let deepest = crate::TopicLimits {
        levels_max: 255,
        ..crate::TopicLimits::DEFAULT
    };
    let mut index = Index::new(3);
    let slashes = "/".repeat(254);
    let pluses = format!("{}+", "+/".repeat(254));
    let multi = format!("{}#", "+/".repeat(254));
    for (key, text) in (1..).zip([&slashes, &pluses, &multi]) {
        index.insert(&TopicFilter::with_limits(text, deepest).unwrap(), key, 0);
    }
    let mut found = Vec::new();
    let topic = TopicName::with_limits(&slashes, deepest).unwrap();
    let _ = index.lookup(&topic, |matched| {
        if let Match::Subscriber { key, .. } = matched {
            found.push(key);
        }
        ControlFlow::Continue(())
    });
    assert_eq!(found, [3, 2, 1]);
}

#[test]
fn hostile_filters_cost_a_visit_for_each_of_their_levels_at_most() {
    // 2^10 filters of which every prefix matches "a/a/...", and none is matched by it.
    let mut index = Index::new(3);
    let depth = 10_usize;
    for bits in 0..1_u64 << depth {
        let level = |bit: usize| if bits >> bit & 1 == 0 { "a/" } else { "+/" };
        let levels: String = (0..depth).map(level).collect();
        index.insert(&filter(&format!("{levels}z")), bits, 0);
    }
    let visited = |index: &Index, topic: &str| {
        let mut steps = 0;
        let flow = index.lookup_counting(&name(topic), &mut steps, |_| ControlFlow::Break(()));
        assert_eq!(flow, ControlFlow::Continue(()), "nothing matches");
        steps
    };
    assert!(visited(&index, "a/a/a/a/a/a/a/a/a/a/a") <= 1 << (depth + 1));
    assert_eq!(visited(&index, "b/b/b/b/b/b/b/b/b/b/b"), depth + 1);
    assert_eq!(visited(&index, "a"), 3);
    // However many filters there are elsewhere, a name does not meet them.
    for number in 0..5_000 {
        index.insert(&filter(&format!("elsewhere/{number}/+/#")), 1, 0);
    }
    assert!(visited(&index, "b/b/b/b/b/b/b/b/b/b/b") <= depth + 1);
}

#[test]
fn a_group_is_one_match_beside_all_others() {
    // v5 MQTT-4.8.2-1, v5 MQTT-4.8.2-2
    let mut index = index_of(&["a/b", "+/b"]);
    for (text, key) in [
        ("$share/g/a/b", 1),
        ("$share/g/a/b", 2),
        ("$share/h/a/b", 1),
        ("$share/g/+/b", 3),
        ("$share/g/a/#", 4),
        ("$share/g/none", 5),
    ] {
        index.insert(&filter(text), key, 9);
    }
    let (plain, groups) = lookup(&index, "a/b");
    assert_eq!(plain, [(2, 0), (1, 0)]);
    let groups: Vec<_> = groups
        .iter()
        .map(|(text, members)| (text.as_str(), members.len()))
        .collect();
    assert_eq!(
        groups,
        [
            ("$share/g/+/b", 1),
            ("$share/g/a/#", 1),
            ("$share/g/a/b", 2),
            ("$share/h/a/b", 1)
        ]
    );
    assert_eq!(index.group_count(), 5);
    let filters: Vec<_> = index
        .filters_of(&1)
        .map(|(filter, _)| filter.as_str())
        .collect();
    assert_eq!(filters, ["a/b", "$share/g/a/b", "$share/h/a/b"]);
}

#[test]
fn many_groups_of_one_filter_come_and_go() {
    let mut index = Index::new(3);
    for number in 0..2_000_u64 {
        index.insert(&filter(&format!("$share/g{number}/a")), number, 0);
    }
    for number in (0..2_000_u64).filter(|number| number % 3 != 0) {
        index.remove(&filter(&format!("$share/g{number}/a")), &number);
    }
    let (_, groups) = lookup(&index, "a");
    assert_eq!(groups.len(), 667);
    assert!(
        groups
            .values()
            .all(|members| members.iter().all(|(key, _)| key % 3 == 0))
    );
}

#[test]
#[cfg(target_pointer_width = "64")]
fn a_filter_with_one_subscriber_is_a_cache_line() {
    assert_eq!(size_of::<Filter<u64, [u32; 3]>>(), 64);
    assert_eq!(
        size_of::<Option<Filter<u64, [u32; 3]>>>(),
        64,
        "in its arena too"
    );
}
