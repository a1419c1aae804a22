//! A client connects while its session is in use, or was left: on one worker and across two.

use super::{
    super::Authentication,
    connect::{judged, named},
    *,
};

const TAKEN_OVER: &str = "DISCONNECT session taken over (0x8E)";

/// Runs with both connections on one worker, then on two.
fn here_and_there(check: impl Fn(&mut Net, usize)) {
    for there in [0, 1] {
        let mut net = Net::workers(2);
        check(&mut net, there);
        assert_eq!(net.cores[0].directory().pending_count(), 0);
    }
}

#[test]
fn the_older_connection_ends_and_its_session_goes_on() {
    // v5 MQTT-3.1.4-3; v3.1.1 MQTT-3.1.4-2; V31-takeover
    here_and_there(|net, there| {
        for (version, told) in [(V5, &[TAKEN_OVER][..]), (V311, &[]), (V31, &[])] {
            let publisher = net.join_v5("p");
            let old = net.join(lasting(version, "c", 100));
            net.subscribe(old, "t/+", 2);
            net.stop_answering(old);
            net.say(publisher, "t/a", "in flight", 1);
            let new = net.dial_at(there, lasting(version, "c", 100));
            let heard = net.hear(old);
            assert_eq!(heard[1..], *told);
            assert!(net.is_closed(old));
            let heard = net.hear(new);
            assert_eq!(heard[0].contains("session-present"), version != V31);
            assert_eq!(heard[1..], ["t/a=in flight q1 dup"]);
            net.say(publisher, "t/b", "live", 2);
            net.expect(new, &["t/b=live q2"]);
            assert_eq!(net.cores[0].directory().subscription_count(), 1);
            // It may leave and come back to where it was.
            let back = net.join(lasting(version, "c", 100));
            net.say(publisher, "t/c", "back", 1);
            net.expect(back, &["t/c=back q1"]);
            net.unsubscribe(back, &["t/+"]);
            net.leave(back);
            let last = net.join(clean(version, "c"));
            net.leave(last);
            net.leave(publisher);
        }
    });
}

#[test]
fn clean_start_ends_the_older_session() {
    // v5 MQTT-3.1.2-4, v5 MQTT-3.2.2-2
    here_and_there(|net, there| {
        let publisher = net.join_v5("p");
        let old = net.join(lasting(V5, "c", 100));
        net.subscribe(old, "t", 1);
        let new = net.dial_at(there, clean(V5, "c"));
        net.expect_end(old, &[TAKEN_OVER]);
        let connack = net.hear(new);
        assert!(!connack[0].contains("session-present"), "{connack:?}");
        net.say(publisher, "t", "x", 1);
        net.expect(new, &[]);
        let directory = net.cores[0].directory();
        assert_eq!(
            (directory.session_count(), directory.subscription_count()),
            (2, 0)
        );
    });
}

#[test]
fn a_session_that_was_left_is_found_with_all_it_holds() {
    here_and_there(|net, there| {
        let publisher = net.join_v5("p");
        let old = net.join(lasting(V5, "c", 100));
        net.subscribe_with(old, "t", options(2), Some(9));
        net.stop_answering(old);
        net.say(publisher, "t", "in flight", 2);
        net.cut(old);
        net.say(publisher, "t", "queued", 1);
        let new = net.dial_at(there, lasting(V5, "c", 100));
        assert_eq!(
            net.hear(new)[1..],
            [
                "t=in flight q2 dup {subscription identifier: 9}",
                "t=queued q1 {subscription identifier: 9}",
            ]
        );
        // Its expiry is that of the new connection.
        net.cut(new);
        net.pass(seconds(99));
        assert_eq!(
            net.cores[there].session_count(),
            1 + usize::from(there == 0)
        );
        net.pass(seconds(1));
        let directory = net.cores[0].directory();
        assert_eq!(
            (directory.session_count(), directory.subscription_count()),
            (1, 0)
        );
    });
}

#[test]
fn qos_2_that_was_received_before_the_move_is_not_delivered_again() {
    here_and_there(|net, there| {
        let watcher = net.join_v5("w");
        net.subscribe(watcher, "t", 2);
        let old = net.join(lasting(V5, "c", 100));
        net.stop_answering(old);
        net.send(old, Packet::Publish(message("t", "x", 2)));
        net.expect(watcher, &["t=x q2"]);
        let new = net.join_at(there, lasting(V5, "c", 100));
        let mut repeat = message("t", "x", 2);
        repeat.delivery = repeat.delivery.with_dup(true);
        net.send(new, Packet::Publish(repeat));
        net.expect(watcher, &[]);
    });
}

#[test]
fn nobody_of_another_identity_takes_a_session_over() {
    // A4
    for there in [0, 1] {
        for clean_start in [false, true] {
            let mut net = Net::planned(judged());
            let owner = net.join(named(lasting(V5, "c", 100), "alice"));
            net.subscribe(owner, "t", 1);
            let mut connect = named(lasting(V5, "c", 100), "mallory");
            connect.clean_start = clean_start;
            let thief = net.dial_at(there, connect.clone());
            net.expect_end(thief, &["CONNACK not authorized (0x87)"]);
            net.say(owner, "t", "mine", 0);
            net.expect(owner, &["t=mine q0"]);
            // Nor while it is away.
            net.cut(owner);
            let thief = net.dial_at(there, connect);
            net.expect_end(thief, &["CONNACK not authorized (0x87)"]);
            let owner = net.dial_at(there, named(lasting(V5, "c", 100), "alice"));
            assert!(net.hear(owner)[0].contains("session-present"));
        }
    }
}

#[test]
fn a_takeover_waits_for_the_authentication_of_who_takes() {
    let mut net = Net::planned(judged());
    let old = net.join(named(lasting(V5, "c", 100), "alice"));
    let new = net.dial_at(1, named(lasting(V5, "c", 100), "later"));
    assert!(!net.is_closed(old));
    let answer = Authentication::Accept {
        identity: Some("alice".into()),
    };
    net.answer(access::take_ticket(), answer);
    net.expect_end(old, &[TAKEN_OVER]);
    assert!(net.hear(new)[0].contains("session-present"));
}

#[test]
fn what_is_published_while_a_session_moves_is_not_lost() {
    // v5 MQTT-4.5.0-1
    let mut net = Net::workers(3);
    let publishers = [0, 1, 2].map(|core| net.join_at(core, clean(V5, &format!("p{core}"))));
    let old = net.join_at(0, lasting(V5, "c", 100));
    net.subscribe(old, "t", 1);
    net.holds_worker_messages = true;
    let new = net.dial_at(1, lasting(V5, "c", 100));
    net.release_one_worker_message();
    net.expect_end(old, &[TAKEN_OVER]);
    // The session is under way; what others send goes to its old place.
    for publisher in publishers {
        net.say(publisher, "t", "meanwhile", 1);
    }
    net.release_worker_messages();
    let heard = net.hear(new);
    let connack = heard.iter().position(|line| line.starts_with("CONNACK"));
    assert_eq!(connack, Some(0));
    assert_eq!(heard[1..], ["t=meanwhile q1"; 3]);
}

#[test]
fn a_message_that_goes_by_the_old_place_is_not_overtaken() {
    // v5 MQTT-4.6.0-6, v5 MQTT-4.5.0-1; v3.1.1 MQTT-4.6.0-6
    let mut net = Net::workers(3);
    let publisher = net.join_at(2, clean(V5, "p"));
    let old = net.join_at(0, lasting(V5, "c", 100));
    net.subscribe(old, "t", 1);
    // The first message is slow on its way to worker 0; the session leaves there meanwhile.
    net.holds_worker_messages = true;
    net.say(publisher, "t", "first", 1);
    let first = net.on_the_way.pop_front().expect("a delivery");
    let new = net.dial_at(1, lasting(V5, "c", 100));
    net.release_one_worker_message();
    // The second goes straight to worker 1, and arrives even before the session.
    net.say(publisher, "t", "second", 1);
    let second = net.on_the_way.pop_back().expect("a delivery");
    net.on_the_way.push_front(second);
    net.release_one_worker_message();
    // The session comes, and a third message behind it.
    net.release_one_worker_message();
    net.say(publisher, "t", "third", 1);
    let third = net.on_the_way.pop_back().expect("a delivery");
    net.on_the_way.push_front(third);
    net.release_one_worker_message();
    assert!(net.hear(new)[0].contains("session-present"));
    // Somebody who wants the session now waits until all is in order.
    let further = net.dial_at(2, lasting(V5, "c", 100));
    net.expect(further, &[]);
    net.on_the_way.push_front(first);
    net.release_worker_messages();
    // What had not been sent when it was taken over goes along.
    net.expect_end(new, &["t=first q1", TAKEN_OVER]);
    let heard = net.hear(further);
    assert!(heard[0].contains("session-present"), "{heard:?}");
    assert_eq!(heard[1..], ["t=second q1", "t=third q1"]);
    assert_eq!(net.cores[0].directory().subscription_count(), 1);
}

#[test]
fn a_client_that_moves_does_not_overtake_itself() {
    // v5 MQTT-4.6.0-6; v3.1.1 MQTT-4.6.0-6
    for connect in [lasting(V5, "p", 100), clean(V5, "p")] {
        let mut net = Net::workers(3);
        let reader = net.join_at(2, clean(V5, "r"));
        net.subscribe(reader, "t", 0);
        let old = net.join_at(0, connect.clone());
        net.holds_worker_messages = true;
        net.say(old, "t", "first", 0);
        let first = net.on_the_way.pop_front().expect("a delivery");
        let new = net.dial_at(1, connect);
        net.release_one_worker_message();
        net.release_one_worker_message();
        assert!(net.hear(new)[0].contains("CONNACK success"));
        assert!(net.is_paused(new));
        net.say(new, "t", "second", 0);
        net.on_the_way.push_front(first);
        net.release_worker_messages();
        net.expect(reader, &["t=first q0", "t=second q0"]);
        assert!(!net.is_paused(new));
    }
}

#[test]
fn of_several_connections_that_wait_for_a_session_the_last_one_gets_it() {
    // M1
    let mut net = Net::workers(2);
    net.join_at(0, lasting(V5, "c", 100));
    net.holds_worker_messages = true;
    let waiting = [(); 50].map(|()| net.dial_at(1, lasting(V5, "c", 100)));
    net.release_worker_messages();
    let (last, others) = waiting.split_last().expect("fifty");
    for who in others {
        net.expect_end(*who, &["CONNACK server busy (0x89)"]);
    }
    assert!(net.hear(*last)[0].contains("session-present"));
}

#[test]
fn a_client_that_does_not_wait_for_its_session_finds_it_later() {
    let mut net = Net::workers(2);
    let publisher = net.join_v5("p");
    let old = net.join(lasting(V5, "c", 100));
    net.subscribe(old, "t", 1);
    net.holds_worker_messages = true;
    let impatient = net.dial_at(1, lasting(V5, "c", 100));
    net.cut(impatient);
    net.release_worker_messages();
    net.say(publisher, "t", "x", 1);
    let back = net.dial(lasting(V5, "c", 100));
    let heard = net.hear(back);
    assert!(heard[0].contains("session-present"), "{heard:?}");
    assert_eq!(heard[1..], ["t=x q1"]);
    net.cut(back);
    net.pass(seconds(100));
    assert_eq!(net.cores[0].directory().session_count(), 1);
    assert_eq!(net.cores[0].directory().subscription_count(), 0);
}

#[test]
fn a_will_that_waits_goes_along_with_its_session() {
    // v5 MQTT-3.1.2-8: the connection that asked for the session is gone when it arrives
    let mut net = Net::workers(2);
    let watcher = net.join_v5("w");
    net.subscribe(watcher, "#", 0);
    let old = net.join(with_will(lasting(V5, "c", 100), 10));
    net.cut(old);
    net.holds_worker_messages = true;
    let impatient = net.dial_at(1, lasting(V5, "c", 100));
    net.cut(impatient);
    net.release_worker_messages();
    assert_eq!(net.hear(watcher).len(), 0);
    net.pass(seconds(20));
    assert_eq!(net.hear(watcher).len(), 1);
}

#[test]
fn a_session_that_ends_before_it_can_be_handed_over_begins_anew() {
    let mut net = Net::workers(2);
    let old = net.join(lasting(V5, "c", 100));
    net.holds_worker_messages = true;
    let new = net.dial_at(1, lasting(V5, "c", 100));
    let mut end = Disconnect::new(ReasonCode::Success);
    end.properties = Properties::builder()
        .session_expiry_interval(0)
        .build()
        .expect("valid");
    net.send(old, Packet::Disconnect(end));
    net.release_worker_messages();
    let connack = net.hear(new);
    assert!(connack[0].starts_with("CONNACK success"), "{connack:?}");
    assert!(!connack[0].contains("session-present"), "{connack:?}");
    assert_eq!(net.cores[0].directory().session_count(), 1);
}

#[test]
fn two_that_want_one_session_at_once_do_not_both_get_it() {
    // M1
    let mut net = Net::workers(3);
    let old = net.join(lasting(V5, "c", 100));
    net.holds_worker_messages = true;
    let one = net.dial_at(1, lasting(V5, "c", 100));
    let two = net.dial_at(2, lasting(V5, "c", 100));
    net.release_worker_messages();
    net.expect_end(old, &[TAKEN_OVER]);
    let open: Vec<_> = [one, two]
        .into_iter()
        .filter(|who| !net.is_closed(*who))
        .collect();
    assert_eq!(open.len(), 1);
    assert_eq!(net.cores[0].directory().session_count(), 1);
    // Whoever lost was told to try again, or was taken over.
    for who in [one, two] {
        let heard = net.hear(who).join(" ");
        assert!(
            heard.contains("success") || heard.contains("server busy"),
            "{heard}"
        );
    }
}

#[test]
fn a_connection_that_is_pushed_out_again_and_again_leaves_nothing_behind() {
    // M1, A4
    let mut net = Net::workers(2);
    for round in 0..200 {
        let client = net.join_at(round % 2, lasting(V5, "c", 100));
        net.subscribe(client, "t", 1);
    }
    let directory = net.cores[0].directory();
    assert_eq!(directory.session_count(), 1);
    assert_eq!(directory.subscription_count(), 1);
    assert_eq!(directory.connection_count(), 1);
    assert_eq!(
        net.cores[0].connection_count() + net.cores[1].connection_count(),
        1
    );
}

#[test]
fn a_client_that_takes_no_connack_leaves_the_session_as_it_is() {
    // v5 MQTT-3.1.2-24; M1
    here_and_there(|net, there| {
        let publisher = net.join_v5("p");
        net.subscribe(publisher, "will/#", 1);
        let old = net.join(with_will(lasting(V5, "c", 100), 10));
        net.subscribe(old, "t", 1);
        for round in 0..2 {
            for connect in [lasting(V5, "c", 100), clean(V5, "c")] {
                let refused = net.dial_at(there, taking(connect, 5));
                net.expect_end(refused, &["CONNACK packet too large (0x95)"]);
            }
            if round == 0 {
                assert!(!net.is_closed(old));
                net.cut(old);
                net.say(publisher, "t", "queued", 1);
            }
        }
        let connected = |notice: &&Notice| matches!(notice, Notice::Connected { .. });
        assert_eq!(net.notices.iter().filter(connected).count(), 2);
        net.pass(seconds(10));
        net.expect(publisher, &["will/c=gone q1"]);
        let back = net.dial_at(there, lasting(V5, "c", 100));
        let heard = net.hear(back);
        assert!(heard[0].contains("session-present"), "{heard:?}");
        assert_eq!(heard[1..], ["t=queued q1"]);
    });
}

#[test]
fn a_client_that_does_not_take_the_name_it_is_given_leaves_no_session() {
    // v5 MQTT-3.1.2-24; M1
    here_and_there(|net, there| {
        // The CONNACK without the name just fits.
        let refused = net.dial_at(there, taking(lasting(V5, "", 100), 11));
        net.expect_end(refused, &["CONNACK packet too large (0x95)"]);
        assert_eq!(net.cores[0].directory().session_count(), 0);
        assert_eq!(net.cores[there].session_count(), 0);
    });
}
