//! Shared subscriptions: one copy for each group.

use std::ops::ControlFlow;

use mqttstack_limits::Overflow;
use mqttstack_topic::{Match, TopicName};

use super::*;

fn heard_by(net: &mut Net, members: &[Who]) -> Vec<usize> {
    members.iter().map(|who| net.hear(*who).len()).collect()
}

#[test]
fn each_message_goes_to_one_member_in_turn() {
    // v5 MQTT-4.8.2-1, v5 MQTT-4.8.2-2, v5 MQTT-4.8.2-3
    for workers in [1, 3] {
        let mut net = Net::workers(workers);
        let publisher = net.join_v5("p");
        let members: Vec<Who> = (0..3)
            .map(|n| net.join_at(n % usize::from(workers), clean(V5, &format!("m{n}"))))
            .collect();
        let granted = [0, 1, 2];
        for (who, qos) in members.iter().zip(granted) {
            net.subscribe(*who, "$share/g/t/#", qos);
        }
        // Those who are not of the group get their own.
        let alone = net.join_v5("alone");
        net.subscribe(alone, "t/#", 0);
        let other_group = net.join_v5("other");
        net.subscribe(other_group, "$share/h/t/#", 0);
        for n in 0..30 {
            net.say(publisher, "t/a", &n.to_string(), 2);
        }
        for (who, qos) in members.iter().zip(granted) {
            let heard = net.hear(*who);
            assert_eq!(heard.len(), 10, "{workers} workers");
            assert!(heard.iter().all(|line| line.ends_with(&format!("q{qos}"))));
        }
        assert_eq!(heard_by(&mut net, &[alone, other_group]), [30, 30]);
    }
}

#[test]
fn a_member_of_several_groups_gets_a_copy_for_each_and_its_own() {
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    let member = net.join_v5("m");
    net.subscribe_with(member, "$share/g/t", options(1), Some(1));
    net.subscribe_with(member, "$share/h/t", options(2), Some(2));
    net.subscribe_with(member, "t", options(0), Some(3));
    net.subscribe_with(member, "#", options(0), Some(4));
    net.say(publisher, "t", "x", 2);
    let mut heard = net.hear(member);
    heard.sort();
    assert_eq!(heard.len(), 3, "{heard:?}");
    assert!(heard[0].starts_with("t=x q0 {"), "{heard:?}");
    assert!(
        heard[0].contains('3') && heard[0].contains('4'),
        "{heard:?}"
    );
    assert_eq!(heard[1], "t=x q1 {subscription identifier: 1}");
    assert_eq!(heard[2], "t=x q2 {subscription identifier: 2}");
}

#[test]
fn a_member_that_subscribes_again_has_no_more_weight() {
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    let (one, two) = (net.join_v5("1"), net.join_v5("2"));
    for _ in 0..3 {
        net.subscribe(one, "$share/g/t", 1);
    }
    net.subscribe(two, "$share/g/t", 1);
    for _ in 0..10 {
        net.say(publisher, "t", "x", 1);
    }
    assert_eq!(heard_by(&mut net, &[one, two]), [5, 5]);
}

#[test]
fn a_group_gets_no_retained_messages_at_subscribe() {
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    net.publish(publisher, retained("t", "kept", 1));
    let member = net.join_v5("m");
    net.subscribe(member, "$share/g/t", 1);
    net.expect(member, &[]);
    net.publish(publisher, retained("t", "live", 1));
    net.expect(member, &["t=live q1"]);
}

#[test]
fn unsubscribing_with_the_full_filter_leaves_the_group() {
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    let (one, two) = (net.join_v5("1"), net.join_v5("2"));
    net.subscribe(one, "$share/g/t", 1);
    net.subscribe(two, "$share/g/t", 1);
    net.unsubscribe(one, &["t", "$share/g/t"]);
    net.expect(
        one,
        &["UNSUBACK id=2 no subscription existed (0x11), success (0x00)"],
    );
    for _ in 0..4 {
        net.say(publisher, "t", "x", 1);
    }
    assert_eq!(heard_by(&mut net, &[one, two]), [0, 4]);
}

#[test]
fn members_that_are_away_get_something_only_if_all_are() {
    for workers in [1, 2] {
        let mut net = Net::workers(workers);
        let elsewhere = usize::from(workers) - 1;
        let publisher = net.join_v5("p");
        let here = net.join(lasting(V5, "here", 100));
        let there = net.join_at(elsewhere, lasting(V5, "there", 100));
        net.subscribe(here, "$share/g/t", 1);
        net.subscribe(there, "$share/g/t", 1);
        net.cut(there);
        for _ in 0..4 {
            net.say(publisher, "t", "x", 1);
        }
        assert_eq!(heard_by(&mut net, &[here]), [4]);
        net.cut(here);
        for _ in 0..4 {
            net.say(publisher, "t", "y", 1);
        }
        let here = net.join(lasting(V5, "here", 100));
        let there = net.join_at(elsewhere, lasting(V5, "there", 100));
        let counts = heard_by(&mut net, &[here, there]);
        assert_eq!(counts.iter().sum::<usize>(), 4, "{counts:?}");
        for _ in 0..4 {
            net.say(publisher, "t", "z", 1);
        }
        assert_eq!(heard_by(&mut net, &[here, there]), [2, 2]);
    }
}

#[test]
fn qos_2_stays_with_the_member_that_has_it() {
    // v5 MQTT-4.8.2-4, v5 MQTT-4.8.2-5
    for ends in [false, true] {
        let mut net = Net::new();
        let publisher = net.join_v5("p");
        let chosen = net.join(lasting(V5, "chosen", 10));
        net.subscribe(chosen, "$share/g/t", 2);
        net.stop_answering(chosen);
        net.say(publisher, "t", "x", 2);
        net.expect(chosen, &["t=x q2 id=1"]);
        let other = net.join_v5("other");
        net.subscribe(other, "$share/g/t", 2);
        net.cut(chosen);
        net.expect(other, &[]);
        if ends {
            net.pass(seconds(11));
            net.expect(other, &[]);
        } else {
            let chosen = net.join(lasting(V5, "chosen", 10));
            net.expect(chosen, &["t=x q2 dup"]);
        }
        net.expect(other, &[]);
    }
}

#[test]
fn what_the_chosen_member_refuses_is_discarded() {
    // v5 MQTT-4.8.2-6
    for qos in [1, 2] {
        let mut net = Net::new();
        let publisher = net.join_v5("p");
        let chosen = net.join(lasting(V5, "chosen", 10));
        net.subscribe(chosen, "$share/g/t", 2);
        net.stop_answering(chosen);
        net.say(publisher, "t", "x", qos);
        let other = net.join_v5("other");
        net.subscribe(other, "$share/g/t", 2);
        let refusal = Ack::with_reason(packet_id(1), ReasonCode::ImplementationSpecificError);
        net.send(
            chosen,
            match qos {
                1 => Packet::PubAck(refusal),
                _ => Packet::PubRec(refusal),
            },
        );
        net.cut(chosen);
        net.pass(seconds(11));
        net.expect(other, &[]);
    }
}

#[test]
fn a_message_for_a_member_that_has_just_gone_goes_to_another() {
    let mut net = Net::workers(2);
    let publisher = net.join_v5("p");
    let going = net.join_at(1, clean(V5, "going"));
    net.subscribe(going, "$share/g/t", 1);
    net.holds_worker_messages = true;
    net.say(publisher, "t", "x", 1);
    let staying = net.join(clean(V5, "staying"));
    net.subscribe(staying, "$share/g/t", 1);
    net.cut(going);
    net.release_worker_messages();
    net.expect(staying, &["t=x q1"]);
}

/// How many members of the groups of the topic `t` are away.
fn away_count(net: &Net) -> usize {
    let index = net.cores[0].directory().subscriptions.read();
    let mut count = 0;
    let _ = index.lookup(&TopicName::new("t").unwrap(), |found| {
        if let Match::Group(group) = found {
            count += group.away_count();
        }
        ControlFlow::Continue(())
    });
    count
}

#[test]
fn the_members_of_a_group_are_counted_where_they_live() {
    let mut net = Net::workers(2);
    let member = net.join(lasting(V5, "m", 10));
    net.subscribe(member, "$share/g/t", 1);
    net.cut(member);
    assert_eq!(away_count(&net), 1);
    let member = net.join_at(1, lasting(V5, "m", 10));
    assert_eq!(away_count(&net), 0);
    net.cut(member);
    assert_eq!(away_count(&net), 1);
    net.pass(seconds(10));
    assert_eq!(away_count(&net), 0);
    assert_eq!(net.cores[0].directory().subscription_count(), 0);
}

/// How the session of a member ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// It was to end with its connection.
    WithConnection,
    /// Its client stays away for too long.
    Expired,
    /// Its client comes back, here or elsewhere, and wants none of it.
    CleanStart,
    /// Its client leaves the group, says goodbye and has no answer for what it has.
    AfterUnsubscribe,
}

#[test]
fn what_a_lost_member_has_not_acknowledged_goes_to_another() {
    // v5 U-32
    use End::{AfterUnsubscribe, CleanStart, Expired, WithConnection};
    for end in [WithConnection, Expired, CleanStart, AfterUnsubscribe] {
        for (workers, is_durable) in [(1, false), (2, false), (1, true), (2, true)] {
            let mut net = match is_durable {
                false => Net::workers(workers),
                true => Net::durable(workers),
            };
            let elsewhere = usize::from(workers) - 1;
            let publisher = net.join_v5("p");
            let lost = net.join_at(
                elsewhere,
                match end {
                    WithConnection => clean(V5, "lost"),
                    Expired | CleanStart | AfterUnsubscribe => lasting(V5, "lost", 10),
                },
            );
            net.subscribe_with(lost, "$share/g/t/+", options(2), Some(5));
            net.stop_answering(lost);
            for (topic, qos) in [("t/1", 1), ("t/2", 0), ("t/3", 2), ("t/4", 1)] {
                net.say(publisher, topic, "x", qos);
            }
            assert_eq!(net.hear(lost).len(), 4);
            // The topic of the message decides, and the group: not just any that it matches.
            let stranger = net.join_v5("stranger");
            net.subscribe(stranger, "$share/other/#", 2);
            let heir = net.join(lasting(V5, "heir", 100));
            net.subscribe_with(heir, "$share/g/t/+", options(2), Some(6));
            match end {
                WithConnection => net.cut(lost),
                Expired => {
                    net.cut(lost);
                    net.expect(heir, &[]);
                    net.pass(seconds(11));
                }
                CleanStart => {
                    net.cut(lost);
                    net.expect(heir, &[]);
                    net.join(clean(V5, "lost"));
                }
                AfterUnsubscribe => {
                    net.unsubscribe(lost, &["$share/g/t/+"]);
                    net.cut(lost);
                    net.pass(seconds(11));
                }
            }
            // v5 MQTT-4.8.2-5: the QoS 2 message has been sent to the one that is lost.
            assert_eq!(
                net.hear(heir),
                [
                    "t/1=x q1 {subscription identifier: 6}",
                    "t/4=x q1 {subscription identifier: 6}"
                ],
                "{end:?}, {workers} workers, durable: {is_durable}"
            );
            net.expect(stranger, &[]);
        }
    }
}

#[test]
fn what_waits_for_a_lost_member_goes_to_another_as_long_as_there_is_one() {
    // v5 U-32
    let mut net = Net::workers(2);
    let publisher = net.join_v5("p");
    let first = net.join(lasting(V5, "first", 10));
    net.subscribe(first, "$share/g/t", 2);
    net.cut(first);
    for (payload, qos) in [("1", 1), ("2", 2), ("3", 1)] {
        net.say(publisher, "t", payload, qos);
    }
    // Its heir is away, too, and so is the next.
    let second = net.join_at(1, lasting(V5, "second", 20));
    net.subscribe(second, "$share/g/t", 2);
    net.cut(second);
    net.pass(seconds(11));
    let third = net.join(lasting(V5, "third", 20));
    net.subscribe(third, "$share/g/t", 1);
    net.stop_answering(third);
    net.pass(seconds(10));
    // At the QoS that each was granted (v5 MQTT-4.8.2-3).
    net.expect(third, &["t=1 q1 id=1", "t=2 q1 id=2", "t=3 q1 id=3"]);
    // There is nobody left: what was in the session goes with it.
    net.cut(third);
    net.pass(seconds(21));
    let late = net.join_v5("late");
    net.subscribe(late, "$share/g/t", 2);
    net.expect(late, &[]);
    assert_eq!(net.cores[0].directory().session_count(), 2);
}

#[test]
fn a_message_that_has_expired_is_not_handed_over() {
    // v5 U-32
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    let lost = net.join(lasting(V5, "lost", 10));
    net.subscribe(lost, "$share/g/t", 1);
    net.cut(lost);
    for (payload, expiry) in [("short", 5), ("long", 50)] {
        let mut publish = message("t", payload, 1);
        publish.properties = Properties::builder()
            .message_expiry_interval(expiry)
            .build()
            .expect("valid");
        net.publish(publisher, publish);
    }
    let heir = net.join_v5("heir");
    net.subscribe(heir, "$share/g/t", 1);
    net.pass(seconds(11));
    net.expect(heir, &["t=long q1 {message expiry interval: 40s}"]);
}

#[test]
fn a_full_queue_does_not_fall_through_the_group() {
    // v5 U-32
    let mut net = Net::planned(Plan {
        limits: Limits {
            queue_messages_max: 2,
            overflow: Overflow::EndSession,
            ..Limits::default()
        },
        ..Plan::default()
    });
    let publisher = net.join_v5("p");
    let members = ["a", "b", "c"].map(|name| {
        let member = net.join(lasting(V5, name, 100));
        net.subscribe(member, "$share/g/t", 1);
        member
    });
    for member in members {
        net.cut(member);
    }
    // Two each, and one too many for the first.
    for n in 0..7 {
        net.say(publisher, "t", &n.to_string(), 1);
    }
    let rejoined = ["a", "b", "c"].map(|name| net.join(lasting(V5, name, 100)));
    assert_eq!(heard_by(&mut net, &rejoined), [0, 2, 2]);
}

#[test]
fn a_restart_does_not_forget_whose_messages_wait() {
    // v5 U-32
    for is_cut_first in [false, true] {
        let mut net = Net::durable(2);
        let publisher = net.join_v5("p");
        let lost = net.join(lasting(V5, "lost", 10));
        net.subscribe(lost, "$share/g/t", 1);
        net.stop_answering(lost);
        if is_cut_first {
            net.cut(lost);
        }
        net.say(publisher, "t", "x", 1);
        let heir = net.join_at(1, lasting(V5, "heir", 1_000));
        net.subscribe(heir, "$share/g/t", 1);
        net.cut(heir);
        let mut net = net.crash();
        net.pass(seconds(11));
        let heir = net.join_at(1, lasting(V5, "heir", 1_000));
        net.expect(heir, &["t=x q1"]);
        // It has been handed over in the store as well.
        let mut net = net.crash();
        let heir = net.join(lasting(V5, "heir", 1_000));
        net.expect(heir, &[]);
    }
}

#[test]
fn a_group_of_the_same_tag_inherits_nothing_that_it_does_not_match() {
    // v5 U-32. The tags of these two are the same: the hash is public, such names can be found.
    let [ours, theirs] = ["$share/g/0057525OcYqcnYU", "$share/g/0175857m1NQ0peQ"];
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    let lost = net.join(lasting(V5, "lost", 10));
    net.subscribe(lost, ours, 1);
    net.cut(lost);
    net.say(publisher, "0057525OcYqcnYU", "x", 1);
    let stranger = net.join_v5("stranger");
    net.subscribe(stranger, theirs, 1);
    let heir = net.join_v5("heir");
    net.subscribe(heir, ours, 1);
    net.pass(seconds(11));
    net.expect(heir, &["0057525OcYqcnYU=x q1"]);
    net.expect(stranger, &[]);
}

#[test]
fn nobody_is_kept_from_an_inheritance_by_groups_of_the_same_tag() {
    // v5 U-32. The hash behind the tags is public: as many names as one likes have the same.
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    let names = names_of_one_tag(65);
    let (ours, theirs) = names.split_last().expect("65");
    let stranger = net.join_v5("stranger");
    for name in theirs {
        net.subscribe(stranger, name, 1);
    }
    let lost = net.join(lasting(V5, "lost", 10));
    net.subscribe(lost, ours, 1);
    let topic = &ours["$share/g/".len()..];
    let index = net.cores[0].directory().subscriptions.read();
    let _ = index.lookup(&TopicName::new(topic).unwrap(), |found| {
        if let Match::Group(group) = found {
            assert_eq!(index.tagged(group.tag()).count(), 65);
        }
        ControlFlow::Continue(())
    });
    drop(index);
    net.cut(lost);
    net.say(publisher, topic, "x", 1);
    let heir = net.join_v5("heir");
    net.subscribe(heir, ours, 1);
    net.pass(seconds(11));
    assert_eq!(net.hear(heir).len(), 1);
    net.expect(stranger, &[]);
}

/// Makes shared filters that have the same tag: what the second word does to the state of the hash,
/// the third undoes.
fn names_of_one_tag(count: usize) -> Vec<String> {
    let scramble = |seed: u64| {
        let word = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    };
    let start = scramble(0);
    let factor = u128::from(scramble(start) | 1);
    let fold = |word: u64| {
        let product = u128::from(word) * factor;
        let half = |shift| u64::try_from(product >> shift & u128::from(u64::MAX)).expect("masked");
        half(0) ^ half(64)
    };
    let word = |text: &[u8]| u64::from_le_bytes(text.try_into().expect("8 bytes"));
    let first = fold(start ^ 24 ^ word(b"$share/g"));
    let is_fit = |byte: &u8| byte.is_ascii_graphic() && !b"+#$/".contains(byte);
    let mut state = None;
    (0_u32..)
        .filter_map(|number| {
            let middle = format!("/{number:07}");
            let second = fold(first ^ word(middle.as_bytes()));
            let state = *state.get_or_insert(second ^ word(b"abcdefgh"));
            let last = (state ^ second).to_le_bytes();
            last.iter()
                .all(is_fit)
                .then(|| format!("$share/g{middle}{}", String::from_utf8_lossy(&last)))
        })
        .take(count)
        .collect()
}

#[test]
fn an_inheritance_ends_no_session_that_has_no_room_for_it() {
    // v5 U-32
    for workers in [1, 2] {
        let mut net = Net::planned(Plan {
            workers,
            limits: Limits {
                queue_messages_max: 2,
                overflow: Overflow::EndSession,
                ..Limits::default()
            },
            ..Plan::default()
        });
        let elsewhere = usize::from(workers) - 1;
        let publisher = net.join_v5("p");
        let members = [("lost", 0, 10), ("full", elsewhere, 100), ("roomy", 0, 100)];
        let members = members.map(|(name, core, expiry)| {
            let member = net.join_at(core, lasting(V5, name, expiry));
            net.subscribe(member, "$share/g/t", 1);
            member
        });
        for member in members {
            net.cut(member);
        }
        for n in 0..5 {
            net.say(publisher, "t", &n.to_string(), 1);
        }
        net.pass(seconds(11));
        let full = net.join_at(elsewhere, lasting(V5, "full", 100));
        net.expect(full, &["t=1 q1", "t=4 q1"]);
        let roomy = net.join(lasting(V5, "roomy", 100));
        net.expect(roomy, &["t=2 q1", "t=0 q1"]);
        // For the other one nobody has room.
        let metrics = net.cores[0].directory().metrics();
        assert_eq!(metrics.messages_dropped, 1, "{workers} workers");
        assert_eq!(metrics.sessions_dropped, 0);
    }
}

#[test]
fn members_that_end_together_leave_nothing_to_one_another() {
    // v5 U-32
    let mut net = Net::durable(1);
    let publisher = net.join_v5("p");
    let names: Vec<String> = (0..10).map(|n| format!("m{n}")).collect();
    let members: Vec<Who> = names
        .iter()
        .map(|name| {
            let member = net.join(lasting(V5, name, 10));
            net.subscribe(member, "$share/g/t", 1);
            member
        })
        .collect();
    for member in members {
        net.cut(member);
    }
    for n in 0..100 {
        net.say(publisher, "t", &n.to_string(), 1);
    }
    let heir = net.join(lasting(V5, "heir", 1_000));
    net.subscribe(heir, "$share/g/t", 1);
    net.cut(heir);
    net.holds_store = true;
    net.pass(seconds(10));
    let written: usize = net.unstored[0].iter().map(|(_, unit)| unit.len()).sum();
    // Each session ends, and each message goes to one heir.
    assert_eq!(written, 10 + 100);
    net.holds_store = false;
    net.sync();
    let heir = net.join(lasting(V5, "heir", 1_000));
    assert_eq!(net.hear(heir).len(), 100);
}

#[test]
fn a_broker_that_stops_hands_on_only_what_is_stored() {
    // v5 U-32
    for is_durable in [false, true] {
        let mut net = match is_durable {
            false => Net::new(),
            true => Net::durable(1),
        };
        let publisher = net.join_v5("p");
        let heir = net.join(lasting(V5, "heir", 1_000));
        net.subscribe(heir, "$share/g/t", 1);
        net.cut(heir);
        let lost = net.join_v5("lost");
        net.subscribe(lost, "$share/g/t", 1);
        net.stop_answering(lost);
        for _ in 0..3 {
            net.say(publisher, "t", "x", 1);
        }
        let now = net.now;
        net.cores[0].shut_down(now);
        let waiting = net.cores[0].queue_status("heir").expect("it is away");
        let expected = if is_durable { 3 } else { 0 };
        assert_eq!(waiting.queued_messages, expected);
    }
}
