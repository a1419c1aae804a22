//! The subscription and the retained index do what lists do, whatever is done to them.

#![no_main]

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use mqttstack_topic::{
    Cursor, Match, RetainedIndex, SubscriptionIndex, TopicFilter, TopicName, matches,
};

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Subscribe(&'a str, u8, u16),
    Unsubscribe(&'a str, u8),
    EndSession(u8),
    Publish(&'a str),
    Retain(&'a str, u16, Option<u8>),
    Clear(&'a str),
    Expire(u8),
    Search(&'a str, u8),
}

fuzz_target!(|input: (u64, Vec<Step<'_>>)| {
    let (seed, steps) = input;
    let mut subscriptions = SubscriptionIndex::new(seed);
    let mut subscribed: BTreeMap<(&str, u8), u16> = BTreeMap::new();
    let mut retained = RetainedIndex::new(seed);
    let mut kept: BTreeMap<&str, (u16, Option<u8>)> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Subscribe(text, key, value) => {
                if let Ok(filter) = TopicFilter::new(text) {
                    let old = subscribed.insert((text, key), value);
                    assert_eq!(subscriptions.insert(&filter, key, value), old);
                }
            }
            Step::Unsubscribe(text, key) => {
                if let Ok(filter) = TopicFilter::new(text) {
                    let old = subscribed.remove(&(text, key));
                    assert_eq!(subscriptions.remove(&filter, &key), old);
                }
            }
            Step::EndSession(key) => {
                let before = subscribed.len();
                subscribed.retain(|(_, other), _| *other != key);
                assert_eq!(subscriptions.remove_all(&key), before - subscribed.len());
            }
            Step::Publish(text) => {
                if let Ok(name) = TopicName::new(text) {
                    let mut found = BTreeSet::new();
                    let _ = subscriptions.lookup(&name, |hit| {
                        match hit {
                            Match::Subscriber { key, value } => {
                                // A key may have several filters that match, and one value for all.
                                found.insert((None, key, *value));
                            }
                            Match::Group(group) => {
                                let text = Some(group.filter().as_str());
                                found.extend(group.members().map(|(key, v)| (text, key, *v)));
                            }
                        }
                        ControlFlow::Continue(())
                    });
                    let expected = subscribed.iter().filter_map(|((text, key), value)| {
                        let filter = TopicFilter::new(text).ok()?;
                        let group = filter.shared_group().map(|_| *text);
                        matches(&filter, &name).then_some((group, *key, *value))
                    });
                    assert_eq!(found, expected.collect());
                }
            }
            Step::Retain(text, value, deadline) => {
                if let Ok(name) = TopicName::new(text) {
                    let old = kept.insert(text, (value, deadline)).map(|(value, _)| value);
                    let replaced = match deadline {
                        Some(deadline) => retained.insert_until(&name, value, deadline.into()),
                        None => retained.insert(&name, value),
                    };
                    assert_eq!(replaced, old);
                }
            }
            Step::Clear(text) => {
                if let Ok(name) = TopicName::new(text) {
                    let old = kept.remove(text).map(|(value, _)| value);
                    assert_eq!(retained.remove(&name), old);
                }
            }
            Step::Expire(now) => {
                retained.expire(now.into(), usize::MAX, |_, _| {});
                kept.retain(|_, (_, deadline)| deadline.is_none_or(|deadline| deadline > now));
            }
            Step::Search(text, count_max) => {
                if let Ok(filter) = TopicFilter::new(text) {
                    let mut found = BTreeMap::new();
                    let mut cursor = Some(Cursor::START);
                    while let Some(at) = cursor {
                        let count_max = usize::from(count_max).max(1);
                        cursor = retained.matching(&filter, at, count_max, |name, value| {
                            assert_eq!(found.insert(name.as_str(), *value), None, "visited twice");
                        });
                    }
                    let expected = kept.iter().filter(|(text, _)| {
                        TopicName::new(text).is_ok_and(|name| matches(&filter, &name))
                    });
                    assert_eq!(
                        found,
                        expected.map(|(text, (value, _))| (*text, *value)).collect()
                    );
                }
            }
        }
    }
    assert_eq!(subscriptions.len(), subscribed.len());
    assert_eq!(retained.len(), kept.len());
});
