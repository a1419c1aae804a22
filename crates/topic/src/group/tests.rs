use alloc::{collections::BTreeMap, vec::Vec};
use core::ops::ControlFlow;

use super::*;
use crate::{Match, SubscriptionIndex, TopicName};

type Index = SubscriptionIndex<u64, ()>;

const READY: Availability = Availability::Ready { in_flight: 0 };

fn filter() -> TopicFilter<'static> {
    TopicFilter::new("$share/g/a").unwrap()
}

/// A group of the keys 0, 1, ... .
fn group_of(len: u64) -> Index {
    let mut index = Index::new(1);
    for key in 0..len {
        index.insert(&filter(), key, ());
    }
    index
}

fn group(index: &Index) -> SharedGroup<'_, u64, ()> {
    let mut group = None;
    let _ = index.lookup(&TopicName::new("a").unwrap(), |found| {
        if let Match::Group(found) = found {
            group = Some(found);
        }
        ControlFlow::Continue(())
    });
    group.unwrap()
}

fn choose(
    index: &Index,
    choice: Choice,
    availability: impl Fn(u64) -> Availability,
) -> Option<u64> {
    group(index)
        .choose(choice, |key, ()| availability(*key))
        .map(|(key, _)| key)
}

#[test]
fn round_robin_takes_turns_and_passes_over_those_who_are_away() {
    let mut index = group_of(4);
    let turns = |index: &Index, count| -> Vec<_> {
        let away = |key| {
            if key == 2 {
                Availability::Unavailable
            } else {
                READY
            }
        };
        (0..count)
            .filter_map(|_| choose(index, Choice::RoundRobin, away))
            .collect()
    };
    assert_eq!(turns(&index, 7), [0, 1, 3, 0, 1, 3, 0]);
    // The last member takes the place of one that leaves; the turn goes on from there.
    index.remove(&filter(), &0);
    assert_eq!(turns(&index, 4), [1, 3, 1, 3]);
}

#[test]
fn least_in_flight_prefers_the_idle_and_takes_turns_among_equals() {
    let index = group_of(4);
    let load = |in_flight: [u32; 4]| {
        choose(&index, Choice::LeastInFlight, |key| Availability::Ready {
            in_flight: in_flight[usize::try_from(key).unwrap()],
        })
    };
    assert_eq!(load([3, 1, 2, 1]), Some(1));
    assert_eq!(load([3, 1, 2, 1]), Some(3));
    assert_eq!(load([3, 1, 2, 0]), Some(3));
    assert_eq!(load([0, 0, 0, 0]), Some(0));
    assert_eq!(load([0, 0, 0, 0]), Some(1));
    let index = group_of(1_000);
    let mut looked_at = 0;
    let chosen = group(&index).choose(Choice::LeastInFlight, |_, ()| {
        looked_at += 1;
        READY
    });
    assert!(chosen.is_some() && looked_at == LOOK_MAX);
}

#[test]
fn a_hash_sticks_to_its_member() {
    const HASHES: u64 = 4_000;
    let deal = |index: &Index, availability: fn(u64) -> Availability| -> Vec<_> {
        let deal = |hash| choose(index, Choice::Sticky(hash), availability).unwrap();
        (0..HASHES).map(deal).collect()
    };
    let mut index = group_of(10);
    let before = deal(&index, |_| READY);
    assert_eq!(deal(&index, |_| READY), before);
    let mut shares = BTreeMap::new();
    for key in &before {
        *shares.entry(*key).or_insert(0_u64) += 1;
    }
    assert!(shares.len() == 10 && shares.values().all(|share| (300..500).contains(share)));
    // While one is away, its hashes spread over the others and nobody else's move.
    let without_7 = deal(&index, |key| {
        if key == 7 {
            Availability::Unavailable
        } else {
            READY
        }
    });
    let mut heirs = BTreeMap::new();
    for (before, after) in before.iter().zip(&without_7) {
        assert!(*before == 7 || before == after);
        if *before == 7 {
            *heirs.entry(*after).or_insert(0) += 1;
        }
    }
    assert!(heirs.len() == 9 && !heirs.contains_key(&7));
    // One more member draws its share and moves nothing else.
    index.insert(&filter(), 10, ());
    let after = deal(&index, |_| READY);
    let moved = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| before != after);
    let moved: Vec<_> = moved.map(|(_, after)| *after).collect();
    assert!(moved.iter().all(|key| *key == 10) && (300..500).contains(&moved.len()));
}

#[test]
fn random_draws_reach_everyone_and_repeat_with_their_seed() {
    let index = group_of(5);
    let draw = |seed| choose(&index, Choice::Random(seed), |_| READY).unwrap();
    let mut shares = [0; 5];
    for seed in 0..5_000 {
        assert_eq!(draw(seed), draw(seed));
        shares[usize::try_from(draw(seed)).unwrap()] += 1;
    }
    assert!(
        shares.iter().all(|share| (800..1_200).contains(share)),
        "{shares:?}"
    );
}

#[test]
fn a_session_that_queues_is_chosen_only_if_nobody_is_ready() {
    let index = group_of(3);
    let queueing = |queued| Availability::Queueing { queued };
    for choice in [
        Choice::RoundRobin,
        Choice::LeastInFlight,
        Choice::Sticky(5),
        Choice::Random(5),
    ] {
        let only_2_ready = |key| if key == 2 { READY } else { queueing(0) };
        assert_eq!(choose(&index, choice, only_2_ready), Some(2), "{choice:?}");
        let queues = |key| queueing([4, 1, 9][usize::try_from(key).unwrap()]);
        assert_eq!(choose(&index, choice, queues), Some(1), "{choice:?}");
        assert_eq!(
            choose(&index, choice, |_| Availability::Unavailable),
            None,
            "{choice:?}"
        );
    }
}

#[test]
fn a_choice_asks_a_bounded_number_of_members() {
    const MEMBERS: u64 = 10_000;
    let choices = [
        Choice::RoundRobin,
        Choice::LeastInFlight,
        Choice::Sticky(5),
        Choice::Random(5),
    ];
    let asked_for = |index: &Index, choice, availability: fn(u64) -> Availability| {
        let mut asked = 0;
        let chosen = group(index).choose(choice, |key, ()| {
            asked += 1;
            availability(*key)
        });
        assert!(asked <= 2 * LOOK_MAX + STICKY_TRIES, "{choice:?}: {asked}");
        chosen.map(|(key, _)| key)
    };
    let mut index = group_of(MEMBERS);
    for key in 0..MEMBERS {
        index.set_away(&key, true);
    }
    assert_eq!(group(&index).away_count(), 10_000);
    for choice in choices {
        // All are away.
        let chosen = asked_for(&index, choice, |_| READY);
        assert!(chosen.is_some(), "{choice:?}");
        assert_eq!(
            asked_for(&index, choice, |_| Availability::Unavailable),
            None
        );
        // Nobody is marked, and all queue.
        let busy = group_of(MEMBERS);
        assert!(asked_for(&busy, choice, |_| Availability::Queueing { queued: 1 }).is_some());
    }
    // One is back, wherever the turn is.
    for back in [0, 77, MEMBERS - 1] {
        index.set_away(&back, false);
        for choice in choices {
            for _ in 0..3 {
                assert_eq!(
                    asked_for(&index, choice, |_| READY),
                    Some(back),
                    "{choice:?}"
                );
            }
        }
        index.set_away(&back, true);
    }
}

#[test]
fn members_who_are_away_take_turns_too() {
    let mut index = group_of(4);
    for key in 0..4 {
        index.set_away(&key, true);
    }
    let turns = |index: &Index| -> Vec<_> {
        (0..4)
            .filter_map(|_| choose(index, Choice::RoundRobin, |_| READY))
            .collect()
    };
    assert_eq!(turns(&index), [0, 1, 2, 3]);
    index.set_away(&1, false);
    index.set_away(&3, false);
    assert_eq!(turns(&index), [1, 3, 1, 3]);
    let but_those = |key| match key {
        1 | 3 => Availability::Unavailable,
        _ => READY,
    };
    let heirs: Vec<_> = (0..4)
        .filter_map(|_| choose(&index, Choice::RoundRobin, but_those))
        .collect();
    assert_eq!(heirs, [0, 2, 0, 2]);
}

#[test]
fn a_mark_goes_with_its_member() {
    let mut index = group_of(5);
    index.set_away(&4, true);
    index.set_away(&1, true);
    // The last takes the place of the one that leaves, and stays away.
    index.remove(&filter(), &1);
    assert_eq!(group(&index).away_count(), 1);
    let all_ready = |index: &Index| -> Vec<_> {
        (0..6)
            .filter_map(|_| choose(index, Choice::RoundRobin, |_| READY))
            .collect()
    };
    assert_eq!(all_ready(&index), [0, 2, 3, 0, 2, 3]);
    // Subscribing again changes nothing; one that comes anew is here.
    index.insert(&filter(), 4, ());
    assert_eq!(group(&index).away_count(), 1);
    index.remove_all(&4);
    index.insert(&filter(), 4, ());
    assert_eq!(group(&index).away_count(), 0);
    // Nobody else is marked, and nothing is left of a group that ends.
    index.set_away(&99, true);
    assert_eq!(group(&index).away_count(), 0);
}

#[test]
fn a_message_of_a_lost_member_is_handed_to_another() {
    // v5 U-32
    let mut index = group_of(2);
    let (id, tag) = (group(&index).id(), group(&index).tag());
    let heir = |index: &Index| {
        let group = index.tagged(tag).next()?;
        group
            .choose(Choice::RoundRobin, |_, ()| READY)
            .map(|(key, ())| key)
    };
    index.remove_all(&0);
    assert!(index.group(id).is_some());
    assert_eq!(heir(&index), Some(1));
    index.remove_all(&1);
    assert_eq!(heir(&index), None, "its last member is gone");
    assert!(index.group(id).is_none());
    index.insert(&filter(), 2, ());
    assert!(
        index.group(id).is_none(),
        "a group that forms anew has another id"
    );
    assert_eq!(heir(&index), Some(2), "and the tag of its filter");
    assert_eq!(index.tagged(tag).count(), 1);
}

#[test]
fn a_key_leaves_its_groups_and_keeps_its_other_filters() {
    let mut index = Index::new(1);
    let shared = ["$share/g/a", "$share/g/b/+", "$share/h/a"];
    for text in shared.into_iter().chain(["a", "b/+"]) {
        for key in [1, 2] {
            index.insert(&TopicFilter::new(text).unwrap(), key, ());
        }
    }
    let groups = |index: &Index, key| index.groups_of(&key).count();
    assert_eq!((groups(&index, 1), groups(&index, 3)), (3, 0));
    assert_eq!(index.leave_groups(&1), 3);
    assert_eq!(index.leave_groups(&1), 0);
    let kept: BTreeMap<_, _> = index.filters_of(&1).collect();
    assert_eq!(kept.len(), 2);
    assert!(kept.keys().all(|filter| filter.shared_group().is_none()));
    assert_eq!((groups(&index, 1), groups(&index, 2)), (0, 3));
    assert_eq!((index.len(), index.group_count()), (7, 3));
    index.remove_all(&1);
    index.remove_all(&2);
    assert!(index.is_empty());
}

#[test]
fn a_tag_follows_from_the_filter_alone_and_for_ever() {
    // They are in stores: these numbers may never change.
    let cases = [
        ("$share/g/a", 1_939_323_815),
        ("$share/h/a", 3_056_782_156),
        ("$share/workers/jobs/+/urgent/#", 1_868_384_638),
    ];
    for (text, number) in cases {
        for seed in [1, 2] {
            let mut index = Index::new(seed);
            index.insert(&TopicFilter::new(text).unwrap(), 1, ());
            let tag = GroupTag::new(NonZeroU32::new(number).unwrap());
            assert_eq!(GroupTag::of(&TopicFilter::new(text).unwrap()), tag);
            let found: Vec<_> = index.tagged(tag).map(|group| group.filter()).collect();
            assert_eq!(found, [TopicFilter::new(text).unwrap()]);
        }
    }
}

#[test]
fn a_group_tells_who_it_is() {
    let index = group_of(3);
    let group = group(&index);
    assert_eq!(group.filter(), filter());
    assert_eq!(
        group.shared(),
        SharedFilter {
            group: "g",
            filter: "a"
        }
    );
    assert_eq!(group.len(), 3);
    assert_eq!(
        group.members().map(|(key, ())| key).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert_eq!(group.get(&1), Some(&()));
    assert_eq!(group.get(&3), None);
}
