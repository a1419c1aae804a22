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
