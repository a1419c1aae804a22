//! What waits for the store, and what comes back from it.

use super::*;

/// A core whose store does nothing until it is told to.
fn slow(workers: u8) -> Net {
    Net::durable(workers)
}

#[test]
fn without_durability_nothing_is_written() {
    let mut net = Net::workers(2);
    let who = net.join(lasting(V5, "c", 100));
    net.subscribe(who, "t", 2);
    net.say(who, "t", "x", 2);
    assert_eq!(net.cores[0].poll_store_operation(), None);
    assert_eq!(net.image, StoreImage::new());
}

#[test]
fn sessions_that_end_with_their_connection_are_not_written() {
    let mut net = slow(1);
    net.holds_store = true;
    let who = net.join(clean(V5, "c"));
    net.subscribe(who, "t", 2);
    net.say(who, "t", "x", 2);
    net.expect(who, &["t=x q2"]);
    assert!(net.unstored[0].is_empty());
}

#[test]
fn connack_of_a_session_that_lasts_waits_until_it_is_stored() {
    let mut net = slow(1);
    net.holds_store = true;
    let who = net.open(0);
    net.send(who, Packet::Connect(lasting(V5, "c", 100)));
    net.expect(who, &[]);
    net.sync();
    assert_eq!(net.hear(who).len(), 1);
    // So does that of one that is resumed: its will is promised.
    net.cut(who);
    let who = net.open(0);
    net.send(who, Packet::Connect(lasting(V5, "c", 100)));
    net.expect(who, &[]);
    net.sync();
    assert_eq!(net.hear(who).len(), 1);
}

#[test]
fn connack_of_a_session_that_has_begun_for_somebody_else_waits_until_it_is_stored() {
    // v5 MQTT-3.2.2-2: the first was never told, and a crash would end the session of the second.
    let mut net = slow(1);
    net.holds_store = true;
    let first = net.dial(lasting(V5, "c", 100));
    net.expect(first, &[]);
    let second = net.dial(lasting(V5, "c", 100));
    net.expect(second, &[]);
    net.sync();
    let heard = net.hear(second);
    assert!(heard[0].starts_with("CONNACK success"), "{heard:?}");
}

#[test]
fn connack_waits_until_it_is_stored_that_a_lasting_session_is_over() {
    // v5 MQTT-3.1.2-4, v3.1.1 MQTT-3.1.2-6: a crash must not bring back what is discarded. A clean
    // start, and a session that is resumed to end with its connection.
    let resumed = |expiry| lasting(V5, "c", expiry);
    for connect in [clean(V5, "c"), resumed(0)] {
        let mut net = slow(1);
        let who = net.join(resumed(100));
        net.subscribe(who, "t", 1);
        net.cut(who);
        net.holds_store = true;
        let who = net.open(0);
        net.send(who, Packet::Connect(connect));
        net.expect(who, &[]);
        net.sync();
        let heard = net.hear(who);
        assert!(heard[0].starts_with("CONNACK success"), "{heard:?}");
        let mut net = net.crash();
        let who = net.join(resumed(100));
        net.say(who, "t", "x", 1);
        net.expect(who, &[]);
    }
}

#[test]
fn suback_and_unsuback_wait_until_the_subscription_is_stored() {
    // v5 MQTT-3.8.4-1, v5 MQTT-3.10.4-4
    let mut net = slow(1);
    let who = net.join(lasting(V5, "c", 100));
    net.holds_store = true;
    net.ask(who, &[("t", options(1))], None);
    net.expect(who, &[]);
    net.sync();
    assert!(net.hear(who)[0].starts_with("SUBACK"));
    net.unsubscribe(who, &["t"]);
    net.expect(who, &[]);
    net.sync();
    assert!(net.hear(who)[0].starts_with("UNSUBACK"));
    net.unsubscribe(who, &["t"]);
    assert!(
        net.hear(who)[0].starts_with("UNSUBACK"),
        "there is nothing to store"
    );
}

#[test]
fn puback_and_pubrec_wait_for_the_queues_that_hold_the_message() {
    // v5 MQTT-4.3.2-4, v5 MQTT-4.3.3-8: acknowledging takes ownership.
    let mut net = slow(1);
    let subscriber = net.join(lasting(V5, "s", 100));
    net.subscribe(subscriber, "t", 2);
    net.cut(subscriber);
    let passing = net.join(clean(V5, "p1"));
    let lasting = net.join(lasting(V5, "p2", 100));
    net.holds_store = true;
    for publisher in [passing, lasting] {
        net.stop_answering(publisher);
        net.say(publisher, "t", "1", 1);
        net.say(publisher, "t", "2", 2);
        net.expect(publisher, &[]);
    }
    net.sync();
    for publisher in [passing, lasting] {
        let heard = net.hear(publisher);
        assert!(heard[0].starts_with("PUBACK"), "{heard:?}");
        assert!(heard[1].starts_with("PUBREC"), "{heard:?}");
    }
}

#[test]
fn a_message_that_nobody_keeps_is_acknowledged_at_once() {
    let mut net = slow(1);
    let subscriber = net.join(clean(V5, "s"));
    net.subscribe(subscriber, "t", 2);
    let publisher = net.join(clean(V5, "p"));
    net.stop_answering(publisher);
    net.holds_store = true;
    net.say(publisher, "t", "1", 1);
    assert!(net.hear(publisher)[0].starts_with("PUBACK"));
    net.expect(subscriber, &["t=1 q1"]);
}

#[test]
fn a_retained_message_is_acknowledged_when_it_is_stored() {
    let mut net = slow(1);
    let publisher = net.join(clean(V5, "p"));
    net.stop_answering(publisher);
    net.holds_store = true;
    net.publish(publisher, retained("t", "x", 1));
    net.expect(publisher, &[]);
    net.sync();
    assert_eq!(net.hear(publisher).len(), 1);
}

#[test]
fn a_message_for_another_worker_is_stored_before_it_is_sent_and_acknowledged() {
    let mut net = slow(2);
    let subscriber = net.join_at(1, lasting(V5, "s", 100));
    net.subscribe(subscriber, "t", 1);
    let publisher = net.join(clean(V5, "p"));
    net.stop_answering(publisher);
    net.holds_store = true;
    net.say(publisher, "t", "1", 1);
    net.expect(publisher, &[]);
    net.expect(subscriber, &[]);
    assert!(net.sync_unit(0));
    net.pump();
    assert_eq!(net.hear(publisher).len(), 1, "the parcel is safe");
    // QoS 1 is sent on before it is stored where it has arrived.
    net.expect(subscriber, &["t=1 q1"]);
    assert!(!net.unstored[1].is_empty());
}

#[test]
fn sessions_come_back_with_all_they_had() {
    let mut net = slow(2);
    let subscriber = net.join_at(1, lasting(V5, "s", 100));
    net.subscribe_with(subscriber, "t/#", options(2), Some(7));
    net.subscribe(subscriber, "gone", 1);
    net.unsubscribe(subscriber, &["gone"]);
    net.hear(subscriber);
    net.stop_answering(subscriber);
    let publisher = net.join(clean(V5, "p"));
    net.say(publisher, "t/in-flight", "1", 2);
    net.cut(subscriber);
    net.say(publisher, "t/queued", "2", 1);
    net.publish(publisher, retained("kept", "3", 1));
    net.publish(publisher, retained("dropped", "3", 1));
    net.publish(publisher, retained("dropped", "", 1));
    let mut net = net.crash();
    assert_eq!(net.cores[0].directory().subscription_count(), 1);
    assert_eq!(net.cores[0].directory().retained_count().0, 1);
    let publisher = net.join(clean(V5, "p"));
    net.say(publisher, "t/later", "4", 2);
    net.say(publisher, "gone", "5", 2);
    let subscriber = net.join_at(0, lasting(V5, "s", 100));
    let ids = " {subscription identifier: 7}";
    let lines = ["t/in-flight=1 q2 dup", "t/queued=2 q1", "t/later=4 q2"];
    assert_eq!(
        net.hear(subscriber),
        lines.map(|line| format!("{line}{ids}"))
    );
    // And again, to see that it goes on being written.
    net.say(publisher, "t/last", "6", 1);
    net.hear(subscriber);
    net.cut(subscriber);
    let mut net = net.crash();
    let subscriber = net.join_at(1, lasting(V5, "s", 100));
    net.expect(subscriber, &[]);
}

#[test]
fn a_session_ends_in_its_time_although_the_broker_was_away() {
    let mut net = slow(1);
    let here = net.join(lasting(V5, "here", 10));
    let away = net.join(lasting(V5, "away", 10));
    net.cut(away);
    net.pass(seconds(5));
    assert!(!net.is_closed(here));
    // A second passes meanwhile.
    let mut net = net.crash();
    assert_eq!(net.cores[0].session_count(), 2);
    net.pass(seconds(4));
    assert_eq!(net.cores[0].session_count(), 1);
    net.pass(seconds(6));
    assert_eq!(net.cores[0].session_count(), 0);
    let net = net.crash();
    assert_eq!(net.cores[0].session_count(), 0);
}

#[test]
fn the_will_of_a_client_that_was_connected_is_published() {
    let mut net = slow(1);
    let watcher = net.join(lasting(V5, "w", 100));
    net.subscribe(watcher, "will/#", 1);
    net.join(with_will(lasting(V5, "at-once", 100), 0));
    net.join(with_will(lasting(V5, "later", 100), 10));
    let left = net.join(with_will(lasting(V5, "left", 100), 0));
    net.leave(left);
    let mut net = net.crash();
    let watcher = net.join(lasting(V5, "w", 100));
    net.pass(seconds(1));
    net.expect(watcher, &["will/at-once=gone q1"]);
    let mut net = net.crash();
    let watcher = net.join(lasting(V5, "w", 100));
    net.pass(seconds(10));
    net.expect(watcher, &["will/later=gone q1"]);
}

#[test]
fn a_clean_start_leaves_nothing_behind() {
    // v5 MQTT-3.1.2-4
    let mut net = slow(2);
    let who = net.join(lasting(V5, "c", 100));
    net.subscribe(who, "t", 1);
    net.cut(who);
    net.join_at(1, clean(V5, "c"));
    let net = net.crash();
    assert_eq!(net.cores[0].directory().session_count(), 0);
    assert_eq!(net.cores[0].directory().subscription_count(), 0);
}

#[test]
fn a_session_moves_only_when_it_is_stored() {
    let mut net = slow(2);
    let publisher = net.join(clean(V5, "p"));
    let who = net.join(lasting(V5, "c", 100));
    net.subscribe(who, "t", 1);
    net.cut(who);
    net.holds_store = true;
    net.say(publisher, "t", "1", 1);
    let who = net.open(1);
    net.send(who, Packet::Connect(lasting(V5, "c", 100)));
    net.expect(who, &[]);
    net.sync();
    let heard = net.hear(who);
    assert!(heard[0].starts_with("CONNACK"), "{heard:?}");
    assert_eq!(heard[1], "t=1 q1");
    net.sync();
    let net = net.crash();
    assert_eq!(net.cores[0].directory().session_count(), 1);
}

#[test]
fn a_client_that_does_not_want_its_session_kept_any_longer_has_it_struck_out() {
    let mut net = slow(1);
    let who = net.join(lasting(V5, "c", 100));
    net.subscribe(who, "t", 1);
    net.cut(who);
    let mut connect = lasting(V5, "c", 0);
    connect.properties = Properties::empty();
    net.join(connect);
    let net = net.crash();
    assert_eq!(net.cores[0].directory().session_count(), 0);
}

#[test]
fn a_store_that_does_not_answer_stops_the_readers() {
    let mut net = slow(1);
    let publisher = net.join(clean(V5, "p"));
    net.holds_store = true;
    let mut said = 0;
    while !net.is_paused(publisher) {
        net.publish(publisher, retained("t", "x", 0));
        said += 1;
        assert!(said < 100_000, "nothing stops it");
    }
    net.sync();
    assert!(!net.is_paused(publisher) && !net.is_closed(publisher));
}

#[test]
fn what_waits_for_the_store_is_not_overtaken_by_a_client_that_begins_anew_elsewhere() {
    // v5 MQTT-4.6.0-6, v3.1.1 MQTT-4.6.0-6; seeds 2050327 and 2069650 of the simulator found it.
    for qos in [1, 2] {
        let mut net = slow(2);
        let watcher = net.join_at(1, lasting(V5, "w", 100));
        net.subscribe(watcher, "t", 1);
        net.holds_store = true;
        let client = net.join_at(0, clean(V5, "c"));
        net.stop_answering(client);
        net.say(client, "t", "old", qos);
        net.cut(client);
        let client = net.dial_at(1, clean(V5, "c"));
        net.say(client, "t", "new", qos);
        net.expect(watcher, &[]);
        net.sync();
        net.expect(watcher, &["t=old q1", "t=new q1"]);
    }
}

#[test]
fn a_publisher_that_goes_to_another_worker_keeps_its_order_over_a_crash() {
    // v5 MQTT-4.6.0-6; v3.1.1 MQTT-4.6.0-6: the store of the subscriber's worker is the slowest.
    let publishers: [fn() -> Connect<Shared>; 2] = [|| lasting(V5, "p", 100), || clean(V5, "p")];
    for (first, second) in [(1, 2), (2, 1)] {
        for publisher in publishers {
            let mut net = Net::durable(3);
            let subscriber = net.join_at(0, lasting(V5, "s", 100));
            net.subscribe(subscriber, "t", 1);
            net.cut(subscriber);
            net.holds_store = true;
            for (core, payload) in [(first, "1"), (second, "2")] {
                let who = net.dial_at(core, publisher());
                net.sync_only(&[1, 2]);
                net.say(who, "t", payload, 1);
                net.sync_only(&[1, 2]);
            }
            let mut net = net.crash();
            let subscriber = net.join(lasting(V5, "s", 100));
            let heard = net.hear(subscriber);
            assert_eq!(
                heard.first().map(String::as_str),
                Some("t=1 q1"),
                "{heard:?}"
            );
        }
    }
}
