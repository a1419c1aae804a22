//! What several workers do together.

use super::*;

#[test]
fn a_message_reaches_subscribers_of_all_workers_with_one_item_for_each() {
    let mut net = Net::workers(4);
    let publisher = net.join_at(2, clean(V5, "p"));
    let subscribers: Vec<Who> = (0..8)
        .map(|n| {
            let who = net.join_at(n % 4, clean(V5, &format!("s{n}")));
            net.subscribe(who, "t/#", 1);
            who
        })
        .collect();
    net.holds_worker_messages = true;
    net.say(publisher, "t/a", "x", 1);
    assert_eq!(net.on_the_way.len(), 3);
    net.release_worker_messages();
    for who in subscribers {
        net.expect(who, &["t/a=x q1"]);
    }
}

#[test]
fn what_a_turn_has_for_a_worker_goes_in_one_letter_and_in_order() {
    let mut net = Net::workers(3);
    let publisher = net.join(clean(V311, "p"));
    let near = net.join_at(1, clean(V311, "n"));
    let far = net.join_at(2, clean(V311, "f"));
    net.subscribe(near, "t/#", 0);
    net.subscribe(near, "+/b", 0);
    net.subscribe(far, "t/b", 0);
    net.holds_worker_messages = true;
    // PUBLISH of QoS 0 to t/a, t/b and t/a again, with the payloads 1, 2 and 3.
    net.send_hex(
        publisher,
        "30060003742F6131 30060003742F6232 30060003742F6133",
    );
    assert_eq!(net.on_the_way.len(), 2, "one for each worker");
    // Memory of letters that have been read is used again, and nothing of them is left in it.
    for _ in 0..3 {
        net.release_worker_messages();
        net.expect(near, &["t/a=1 q0", "t/b=2 q0", "t/a=3 q0"]);
        net.expect(far, &["t/b=2 q0"]);
        net.holds_worker_messages = true;
        net.send_hex(
            publisher,
            "30060003742F6131 30060003742F6232 30060003742F6133",
        );
    }
}

#[test]
fn a_letter_is_only_so_long() {
    let mut net = Net::workers(2);
    let publisher = net.join(clean(V311, "p"));
    let subscriber = net.join_at(1, clean(V311, "s"));
    net.subscribe(subscriber, "t/#", 0);
    net.holds_worker_messages = true;
    net.send_hex(publisher, &"30060003742F6131".repeat(1_300));
    assert_eq!(net.on_the_way.len(), 3);
    net.release_worker_messages();
    net.expect(subscriber, &["t/a=1 q0"; 1_300]);
}

#[test]
fn retained_messages_are_the_same_everywhere() {
    let mut net = Net::workers(2);
    let publisher = net.join(clean(V5, "p"));
    let reader = net.join_at(1, clean(V5, "r"));
    let mut publish = retained("t", "x", 1);
    publish.properties = Properties::builder()
        .message_expiry_interval(10)
        .build()
        .expect("valid");
    net.publish(publisher, publish);
    net.subscribe(reader, "t", 1);
    net.expect(reader, &["t=x q1 retain {message expiry interval: 10s}"]);
    net.pass(seconds(10));
    assert_eq!(net.cores[1].directory().retained_count(), (0, 0));
}

#[test]
fn a_will_reaches_another_worker_in_its_time() {
    let mut net = Net::workers(2);
    let watcher = net.join_at(1, clean(V5, "w"));
    net.subscribe(watcher, "will/#", 1);
    let client = net.join(with_will(lasting(V5, "c", 100), 10));
    net.cut(client);
    net.pass(seconds(9));
    net.expect(watcher, &[]);
    net.pass(seconds(1));
    net.expect(watcher, &["will/c=gone q1"]);
}

#[test]
fn no_local_holds_after_a_move() {
    // v5 MQTT-3.8.3-3
    let mut net = Net::workers(2);
    let client = net.join(lasting(V5, "c", 100));
    let mut options = options(1);
    options.no_local = true;
    net.subscribe_with(client, "t", options, None);
    let client = net.join_at(1, lasting(V5, "c", 100));
    net.say(client, "t", "own", 1);
    let other = net.join(clean(V5, "o"));
    net.say(other, "t", "other", 1);
    net.expect(client, &["t=other q1"]);
}

#[test]
fn connections_are_counted_together() {
    let mut net = Net::planned(Plan {
        workers: 2,
        broker_limits: BrokerLimits {
            connections_max: 3,
            ..BrokerLimits::default()
        },
        ..Plan::default()
    });
    let clients = [0, 1, 1].map(|core| net.open(core));
    assert_eq!(net.try_open(0), None);
    net.cut(clients[2]);
    assert!(net.try_open(0).is_some());
}

#[test]
fn a_client_that_ends_its_session_and_comes_again_elsewhere_does_not_overtake_itself() {
    for has_will in [false, true] {
        let mut net = Net::workers(3);
        let watcher = net.join_at(2, clean(V5, "w"));
        net.subscribe(watcher, "#", 0);
        let connect = if has_will {
            with_will(clean(V5, "c"), 0)
        } else {
            clean(V5, "c")
        };
        let client = net.join_at(0, connect);
        net.holds_worker_messages = true;
        if !has_will {
            net.say(client, "t", "old", 0);
        }
        net.cut(client);
        // It is let in while what it said is still on its way to the third worker.
        let client = net.dial_at(1, clean(V5, "c"));
        net.pass_to(&[0, 1]);
        net.say(client, "t", "new", 0);
        net.pass_all_but_first_from(1);
        let first = if has_will {
            "will/c=gone q0"
        } else {
            "t=old q0"
        };
        net.expect(watcher, &[first, "t=new q0"]);
        // The name is free again: of the two clients there is one session each.
        assert_eq!(net.cores[0].directory().session_count(), 2);
        net.cut(client);
        assert_eq!(net.cores[0].directory().session_count(), 1);
    }
}

#[test]
fn a_name_is_free_at_once_where_the_session_was_and_if_nothing_is_under_way() {
    let mut net = Net::workers(2);
    let watcher = net.join_at(1, clean(V5, "w"));
    net.subscribe(watcher, "t", 0);
    net.holds_worker_messages = true;
    // Nothing was published.
    let client = net.join_at(0, clean(V5, "c"));
    net.cut(client);
    assert_eq!(net.cores[0].directory().session_count(), 1);
    // Something was: the name is kept from others, not from the same worker.
    for payload in ["1", "2", "3"] {
        let client = net.join_at(0, clean(V5, "c"));
        net.say(client, "t", payload, 0);
        net.cut(client);
        assert_eq!(net.cores[0].directory().session_count(), 2);
    }
    net.holds_worker_messages = false;
    net.pump();
    net.expect(watcher, &["t=1 q0", "t=2 q0", "t=3 q0"]);
    assert_eq!(net.cores[0].directory().session_count(), 1);
}

#[test]
fn what_comes_for_a_session_that_keeps_only_its_name_is_not_held() {
    // M1, R2
    let mut net = Net::workers(2);
    let watcher = net.join_at(1, clean(V5, "w"));
    net.subscribe(watcher, "t", 0);
    let client = net.join_at(0, clean(V5, "c"));
    net.subscribe(client, "s", 0);
    net.say(client, "t", "1", 0);
    net.holds_worker_messages = true;
    net.say(watcher, "s", "2", 0);
    net.cut(client);
    let key = net.cores[0].directory().find("c").expect("its name");
    net.holds_worker_messages = false;
    net.pump();
    assert!(!net.cores[0].moves.is_arriving(key));
    assert_eq!(net.cores[0].directory().find("c"), None);
}

#[test]
fn letters_that_wait_for_the_store_are_bounded_by_what_they_bring() {
    let mut net = Net::planned(Plan {
        workers: 2,
        durability: Durability::Stored,
        ..Plan::default()
    });
    let publisher = net.join(clean(V311, "p"));
    let lasting = net.join_at(1, lasting(V5, "l", 1000));
    let far = net.join_at(1, clean(V5, "f"));
    net.subscribe(lasting, "q", 1);
    net.subscribe(far, "t/#", 0);
    net.holds_store = true;
    // Its letter waits for the store, and all that follow wait for it.
    net.say(publisher, "q", "x", 1);
    let id = net.id_of(publisher);
    let turns = (0..200).take_while(|_| {
        net.send_hex(publisher, &"30060003742F6131".repeat(512));
        !net.cores[0].is_paused(id)
    });
    assert!(turns.count() <= 128);
    net.holds_store = false;
    net.sync();
    net.pump();
    assert!(!net.cores[0].is_paused(id));
}
