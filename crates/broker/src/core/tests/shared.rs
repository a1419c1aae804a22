//! Shared subscriptions: one copy for each group.

use std::ops::ControlFlow;

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
