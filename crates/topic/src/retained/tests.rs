#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows fails"
)]

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use proptest::prelude::*;

use super::*;

type Index = RetainedIndex<u32>;

fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::new(text).unwrap()
}

fn name(text: &str) -> TopicName<'_> {
    TopicName::new(text).unwrap()
}

fn index_of(names: &[&str]) -> Index {
    let mut index = Index::new(5);
    for (value, text) in (0..).zip(names) {
        index.insert(&name(text), value);
    }
    index
}

/// Everything that matches, in slices of `count_max`.
fn search(index: &Index, text: &str, count_max: usize) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    let mut cursor = Some(Cursor::START);
    while let Some(at) = cursor {
        let before = found.len();
        cursor = index.matching(&filter(text), at, count_max, |name, value| {
            found.push((name.as_str().to_string(), *value));
        });
        assert!(found.len() - before <= count_max, "a slice is too long");
    }
    found
}

fn names_matching(index: &Index, text: &str) -> Vec<String> {
    let mut names: Vec<_> = search(index, text, 2)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn a_filter_finds_the_names_it_matches() {
    // v5 MQTT-4.7.1-1, v5 MQTT-4.7.1-2, v5 MQTT-4.7.2-1, v3.1.1 MQTT-4.7.2-1
    let index = index_of(&[
        "sport",
        "sport/",
        "sport/a",
        "sport/a/b",
        "sports",
        "/",
        "/sport",
        "a//b",
        "$SYS",
        "$SYS/x",
        "$SYS/a/b",
        "a/$x",
    ]);
    for (text, expected) in [
        ("sport", &["sport"][..]),
        ("sport/+", &["sport/", "sport/a"]),
        ("sport/#", &["sport", "sport/", "sport/a", "sport/a/b"]),
        ("+", &["sport", "sports"]),
        ("/+", &["/", "/sport"]),
        ("+/a/b", &["sport/a/b"]),
        ("+/a/#", &["sport/a", "sport/a/b"]),
        ("+//b", &["a//b"]),
        ("+/+", &["/", "/sport", "a/$x", "sport/", "sport/a"]),
        ("$SYS/#", &["$SYS", "$SYS/a/b", "$SYS/x"]),
        ("$SYS/+/b", &["$SYS/a/b"]),
        ("$share/g/sport/+", &["sport/", "sport/a"]),
        ("none", &[]),
        ("none/#", &[]),
        ("sport/a/b/c/#", &[]),
        (
            "#",
            &[
                "/",
                "/sport",
                "a/$x",
                "a//b",
                "sport",
                "sport/",
                "sport/a",
                "sport/a/b",
                "sports",
            ],
        ),
    ] {
        assert_eq!(names_matching(&index, text), expected, "{text}");
    }
}

#[test]
fn a_name_that_is_not_taken_comes_again() {
    let index = index_of(&["a/1", "b", "a/2", "a/3"]);
    for text in ["a/+", "#", "b"] {
        let (mut taken, mut asked) = (Vec::new(), 0_u32);
        let mut cursor = Some(Cursor::START);
        while let Some(at) = cursor {
            cursor = index.matching_while(&filter(text), at, 3, |name, _| {
                asked += 1;
                // Every second time.
                let takes = asked.is_multiple_of(2);
                taken.extend(takes.then(|| name.as_str().to_string()));
                takes
            });
        }
        taken.sort_unstable();
        assert_eq!(taken, names_matching(&index, text), "{text}");
    }
}

#[test]
fn the_last_value_of_a_name_counts() {
    let mut index = index_of(&["a/b"]);
    assert_eq!(index.insert(&name("a/b"), 7), Some(0));
    assert_eq!(index.get(&name("a/b")), Some(&7));
    assert_eq!(index.len(), 1);
    assert_eq!(index.remove(&name("a/b")), Some(7));
    assert_eq!(index.remove(&name("a/b")), None);
    assert!(index.is_empty());
    assert_eq!(search(&index, "#", 9), []);
}

#[test]
fn values_go_at_their_deadline_and_not_before() {
    let mut index = Index::new(5);
    index.insert_until(&name("a"), 1, 30);
    index.insert_until(&name("b"), 2, 10);
    index.insert_until(&name("c"), 3, 10);
    index.insert(&name("d"), 4);
    let mut gone = Vec::new();
    let mut expire = |index: &mut Index, now, count_max| {
        gone.clear();
        index.expire(now, count_max, |name, value| {
            gone.push((name.as_str().to_string(), value))
        });
        gone.clone()
    };
    assert_eq!(index.next_deadline(), Some(10));
    assert_eq!(expire(&mut index, 9, 10), []);
    assert_eq!(expire(&mut index, 10, 1), [("b".to_string(), 2)]);
    assert_eq!(expire(&mut index, 10, 10), [("c".to_string(), 3)]);
    // A new value brings its own deadline, or none.
    index.insert_until(&name("a"), 5, 50);
    assert_eq!(expire(&mut index, 40, 10), []);
    assert_eq!(index.next_deadline(), Some(50));
    index.insert(&name("a"), 6);
    assert_eq!(index.next_deadline(), None);
    assert_eq!(expire(&mut index, u64::MAX, 10), []);
    assert_eq!(index.len(), 2);
}

#[test]
fn a_search_goes_on_while_the_index_changes() {
    let texts: Vec<_> = (0..50).map(|number| format!("a/{number}")).collect();
    let mut index = Index::new(5);
    for text in &texts {
        index.insert(&name(text), 0);
    }
    let mut seen = BTreeMap::new();
    let mut cursor = Some(Cursor::START);
    let mut slice = 0;
    while let Some(at) = cursor {
        cursor = index.matching(&filter("a/+"), at, 7, |name, _| {
            *seen.entry(name.as_str().to_string()).or_insert(0) += 1;
        });
        // Every fifth name goes, and others come.
        index.remove(&name(&texts[slice * 5]));
        index.insert(&name(&format!("a/new{slice}")), 1);
        slice += 1;
    }
    for (number, text) in texts
        .iter()
        .enumerate()
        .filter(|(number, _)| number % 5 != 0)
    {
        assert_eq!(seen.get(text), Some(&1), "{number}");
    }
    assert!(seen.values().all(|&times| times == 1));
}

/// How many steps a search takes from beginning to end, and how many names it finds.
fn steps_and_matches(index: &Index, text: &str) -> (usize, usize) {
    let query = index.postings.query(&filter(text));
    let (mut steps_left, mut matches) = (usize::MAX, 0);
    let next = index
        .postings
        .search(&query, Position::START, &mut steps_left, |at| {
            let entry = at.id().and_then(|id| index.entries.get(id)).unwrap();
            matches += usize::from(filter(text).matches(&entry.name()));
            ControlFlow::Continue(())
        });
    assert_eq!(next, None);
    (usize::MAX - steps_left, matches)
}

#[test]
fn the_work_follows_the_matches_and_not_the_tree() {
    let mut index = Index::new(5);
    for text in ["c/1/x", "d/2/x", "q/r", "a/10001/w", "q/r/s/t"] {
        index.insert(&name(text), 1);
    }
    // However many others there are, the steps are those of the matches.
    let mut filled = 0..0;
    for until in [0, 100, 30_000] {
        filled = filled.end..until;
        for number in filled.clone() {
            index.insert(&name(&format!("a/{number}/y")), 0);
            index.insert(&name(&format!("b{number}/{}/z/deep", number % 7)), 0);
            index.insert(&name(&format!("$SYS/{number}/x")), 0);
            // The same levels elsewhere: place 1 is not place 2.
            index.insert(&name(&format!("e{number}/x/v")), 0);
            index.insert(&name(&format!("e{number}/none/v")), 0);
        }
        for (text, expected) in [
            ("+/+/x", 2),
            ("c/#", 1),
            ("q/#", 2),
            ("+/r", 1),
            ("+/r/#", 2),
            ("+/+/+/t", 1),
            ("none/#", 0),
            ("+/+/none", 0),
            ("a/+/w", 1),
            ("+/+/w", 1),
        ] {
            let (steps, matches) = steps_and_matches(&index, text);
            assert_eq!(matches, expected, "{text}");
            let parts = text
                .split('/')
                .filter(|level| !"+#".contains(level))
                .count();
            // There are names of three depths.
            let depths = if text.ends_with('#') { 3 } else { 1 };
            assert!(
                steps <= matches + parts * depths,
                "{text} of {until}: {steps}"
            );
        }
    }
    for (text, expected, depths) in [
        ("a/#", 30_001, 3),
        ("+/+/y", 30_000, 1),
        ("#", 120_005, 3),
        ("$SYS/#", 30_000, 3),
    ] {
        let (steps, matches) = steps_and_matches(&index, text);
        assert_eq!((matches, steps), (expected, expected + depths), "{text}");
    }
}

#[test]
fn a_search_by_several_parts_is_bounded_by_the_rarest() {
    const NAMES: usize = 3_000;
    let mut index = Index::new(5);
    for number in 0..NAMES {
        // Half have one of the frequent parts, half the other, in turn; a few have the rare one.
        let (second, fourth) = if number % 2 == 0 {
            ("a", "x")
        } else {
            ("y", "b")
        };
        let sixth = if number % 1_000 == 7 { "rare" } else { "often" };
        index.insert(&name(&format!("{number}/{second}/n/{fourth}/n/{sixth}")), 0);
    }
    for (text, parts, rarest) in [
        ("+/a/+/b/#", 2, NAMES / 2),
        ("+/a/+/b/+/rare", 3, 3),
        ("+/a/+/b/+/often", 3, NAMES / 2),
        ("+/y/+/b/+/rare", 3, 3),
        ("+/rare/+/a/+/b", 3, 0),
        ("+/y/n/b/n/rare", 5, 3),
    ] {
        let (steps, _) = steps_and_matches(&index, text);
        assert!(steps <= parts + rarest, "{text}: {steps}");
    }
    // Where nothing of a long list matches, a slice ends all the same, and the next goes on.
    let (mut slices, mut cursor) = (0, Some(Cursor::START));
    while let Some(at) = cursor {
        cursor = index.matching(&filter("+/a/+/b/#"), at, 10, |_, _| {
            unreachable!("none has both")
        });
        slices += 1;
    }
    assert!(slices >= NAMES / 2 / 144, "{slices}");
}

#[test]
fn an_index_that_is_emptied_keeps_no_memory() {
    let mut index = Index::new(5);
    for number in 0..5_000 {
        index.insert_until(&name(&format!("a/{number}")), 0, number);
    }
    assert_eq!(index.expire(u64::MAX, usize::MAX, |_, _| {}), 5_000);
    index.version = 0;
    assert_eq!(format!("{index:?}"), format!("{:?}", Index::new(5)));
}

fn topic() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["a", "b", "c", "", "$x", "é"]);
    prop::collection::vec(level, 1..6)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("at least one character", |text| !text.is_empty())
}

fn filter_text() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["a", "b", "c", "", "$x", "é", "+", "+", "+"]);
    (prop::collection::vec(level, 0..6), any::<bool>())
        .prop_map(|(mut levels, multi)| {
            if multi {
                levels.push("#");
            }
            levels.join("/")
        })
        .prop_filter("at least one character", |text| !text.is_empty())
}

#[derive(Clone, Debug)]
enum Op {
    Insert(String, u32, Option<u64>),
    Remove(String),
    Expire(u64, usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (topic(), any::<u32>(), prop::option::of(0..100_u64))
            .prop_map(|(topic, value, deadline)| Op::Insert(topic, value, deadline)),
        2 => topic().prop_map(Op::Remove),
        1 => (0..100_u64, 0..3_usize).prop_map(|(now, count)| Op::Expire(now, count)),
    ]
}

fn agree(index: &mut Index, ops: &[Op], filters: &[String], count_max: usize) {
    let mut model: BTreeMap<String, (u32, Option<u64>)> = BTreeMap::new();
    for op in ops {
        match op {
            Op::Insert(text, value, deadline) => {
                let old = model.insert(text.clone(), (*value, *deadline));
                let name = name(text);
                let replaced = match deadline {
                    Some(deadline) => index.insert_until(&name, *value, *deadline),
                    None => index.insert(&name, *value),
                };
                assert_eq!(replaced, old.map(|(value, _)| value));
            }
            Op::Remove(text) => {
                let old = model.remove(text).map(|(value, _)| value);
                assert_eq!(index.remove(&name(text)), old);
            }
            Op::Expire(now, count_max) => {
                let mut last = 0;
                let count = index.expire(*now, *count_max, |name, value| {
                    let (stored, deadline) = model.remove(name.as_str()).unwrap();
                    let deadline = deadline.unwrap();
                    assert!(deadline <= *now && deadline >= last && stored == value);
                    last = deadline;
                });
                let is_due =
                    |(_, deadline): &(u32, Option<u64>)| deadline.is_some_and(|at| at <= *now);
                assert!(count == *count_max || !model.values().any(is_due));
            }
        }
    }
    assert_eq!(index.len(), model.len());
    assert_eq!(
        index.next_deadline(),
        model.values().filter_map(|(_, deadline)| *deadline).min()
    );
    for text in filters {
        let mut found = search(index, text, count_max);
        found.sort_unstable();
        let matching = model
            .iter()
            .filter(|(topic, _)| filter(text).matches(&name(topic)));
        let expected: Vec<_> = matching
            .map(|(topic, (value, _))| (topic.clone(), *value))
            .collect();
        assert_eq!(found, expected, "filter {text:?}");
    }
}

proptest! {
    #[test]
    fn the_index_agrees_with_a_list_of_names(
        ops in prop::collection::vec(op(), 1..150),
        filters in prop::collection::vec(filter_text(), 1..20),
        count_max in 1..9_usize,
        seed: u64,
    ) {
        agree(&mut Index::new(seed), &ops, &filters, count_max);
    }

    #[test]
    fn the_index_agrees_with_a_list_even_if_all_hashes_collide(
        ops in prop::collection::vec(op(), 1..150),
        filters in prop::collection::vec(filter_text(), 1..20),
        count_max in 1..9_usize,
    ) {
        agree(&mut Index::with_hash(KeyedHash::WEAK), &ops, &filters, count_max);
    }
}
