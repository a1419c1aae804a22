//! Messages that wait for a client: full queues, and the bytes in flight.

use mqttstack_codec::QoS;
use mqttstack_limits::Overflow;

use super::*;

fn options(qos: QoS) -> DeliveryOptions {
    DeliveryOptions {
        qos,
        retain: false,
        subscription_ids: SubscriptionIds::None,
        group: None,
    }
}

#[test]
fn a_full_queue_sheds_by_its_policy() {
    let (qos0, qos1) = (options(QoS::AtMostOnce), options(QoS::AtLeastOnce));
    let new = || message("a=x");
    for (overflow, taken) in [
        (Overflow::DropOldest, Ok(())),
        (
            Overflow::DropNewest,
            Err(PublishError::QueueFull { messages: 2 }),
        ),
        (Overflow::EndSession, Err(PublishError::SessionMustEnd)),
    ] {
        let limits = Limits {
            queue_messages_max: 2,
            overflow,
            ..quiet()
        };
        let mut session = connected(&limits);
        for options in [&qos1, &qos0] {
            assert!(session.publish(new(), options.clone(), at(0.0)).is_ok());
        }
        // QoS 0 goes first, whatever the policy.
        assert!(session.publish(new(), qos1.clone(), at(0.0)).is_ok());
        assert_eq!(session.queue_status().dropped, 1);
        let result = session.publish(new(), qos1.clone(), at(0.0));
        assert_eq!(result.map(|_| ()), taken, "{overflow:?}");
        let full = Err(PublishError::QueueFull { messages: 2 });
        assert_eq!(
            session.publish(new(), qos0.clone(), at(0.0)).map(|_| ()),
            full
        );
        assert_eq!(session.queue_status().queued_messages, 2);
    }
    // v3.1.1 MQTT-3.1.2-5
    let mut state = SessionState::new();
    let away = state.enqueue(new(), qos0, &quiet(), at(0.0));
    assert_eq!(away, Err(PublishError::NotConnected));
}

#[test]
fn the_bytes_in_flight_hold_back_what_needs_an_acknowledgement() {
    let limits = Limits {
        inflight_bytes_max: 8,
        ..quiet()
    };
    check_connected(
        limits.clone(),
        "id=c session=9",
        "! publish q1 a=1234
         < PUBLISH q1 #1 a=1234
         ! publish q2 a=12
         < PUBLISH q2 #2 a=12
         ! publish q1 a=3
         ! publish a=0
         < PUBLISH a=0
         > PUBREC #2
         < PUBREL #2
         < PUBLISH q1 #3 a=3
         ! publish q1 a=12345678
         > PUBACK #3
         ! reopen
         > CONNECT id=c session=9
         * connect
         ! resume
         < CONNACK present
         < PUBREL #2
         < PUBLISH q1 #1 dup a=1234
         > PUBACK #1
         < PUBLISH q1 #4 a=12345678
         ! publish q1 a=5
         > PUBACK #4
         < PUBLISH q1 #5 a=5
         > PUBCOMP #2
         > PUBACK #5",
    );
    // A refusal, and a message that is skipped, give their bytes back as well.
    check_connected(
        limits,
        "id=c psize=12",
        "! publish q2 a=1234
         < PUBLISH q2 #1 a=1234
         ! publish q2 a=2
         < PUBLISH q2 #2 a=2
         ! publish q1 a=123456
         ! publish q1 a=4
         > PUBREC #1 87
         > PUBREC #2 87
         < PUBLISH q1 #4 a=4
         ! publish q1 a=1234
         < PUBLISH q1 #5 a=1234",
    );
}

#[test]
fn what_has_expired_makes_room_first() {
    // v5 MQTT-3.3.2-5
    for overflow in [
        Overflow::DropOldest,
        Overflow::DropNewest,
        Overflow::EndSession,
    ] {
        let limits = Limits {
            queue_messages_max: 4,
            overflow,
            ..quiet()
        };
        let mut state = SessionState::new();
        let mut enqueue = |words: &str, now| {
            let result = state.enqueue(message(words), options(QoS::AtLeastOnce), &limits, now);
            let status = state.queue_status();
            (result.is_ok(), status.queued_messages, status.expired)
        };
        // The message that stays stands before those that expire.
        assert_eq!(enqueue("q1 a=1", at(0.0)), (true, 1, 0));
        for queued in 2..5 {
            let taken = enqueue("q1 a=x expiry=10", at(0.0));
            assert_eq!(taken, (true, queued, 0));
        }
        assert_eq!(enqueue("q1 a=2", at(10.0)), (true, 2, 3), "{overflow:?}");
        assert_eq!(state.queue_status().dropped, 0, "{overflow:?}");
    }
}

#[test]
fn a_full_queue_is_not_searched_for_every_message() {
    let limits = Limits {
        queue_messages_max: 320,
        overflow: Overflow::DropNewest,
        ..quiet()
    };
    let mut state = SessionState::new();
    let mut enqueue = |words: &str, now| {
        let result = state.enqueue(message(words), options(QoS::AtLeastOnce), &limits, now);
        (result.is_ok(), state.queue_status().expired)
    };
    assert_eq!(enqueue("q1 a=1", at(0.0)), (true, 0));
    // The last to come is the first to expire, after 100 seconds.
    for n in 1..320 {
        let words = format!("q1 a=x expiry={}", 419 - n);
        assert_eq!(enqueue(&words, at(0.0)), (true, 0));
    }
    assert_eq!(enqueue("q1 a=2", at(100.0)), (true, 1));
    // From now on one expires each second, and one comes: 320 / 16 of them pay for a search.
    for n in 1..20 {
        assert_eq!(enqueue("q1 a=3", at(100.0 + f64::from(n))), (false, 1));
    }
    assert_eq!(enqueue("q1 a=3", at(120.0)), (true, 21));
}

#[test]
fn a_message_larger_than_the_queue_displaces_nothing() {
    let full = Err(PublishError::QueueFull { messages: 2 });
    for (overflow, qos1) in [
        (Overflow::DropOldest, full),
        (Overflow::DropNewest, full),
        (Overflow::EndSession, Err(PublishError::SessionMustEnd)),
    ] {
        let limits = Limits {
            queue_bytes_max: 8,
            overflow,
            ..quiet()
        };
        let mut session = connected(&limits);
        let mut publish = |words: &str| {
            let message = message(words);
            let options = options(message.qos());
            let result = session.publish(message, options, at(0.0)).map(|_| ());
            (result, session.queue_status().queued_messages)
        };
        assert_eq!(publish("q1 a=1"), (Ok(()), 1), "{overflow:?}");
        assert_eq!(publish("a=2"), (Ok(()), 2), "{overflow:?}");
        // Not even QoS 0 gives way.
        assert_eq!(publish("q1 a=12345678"), (qos1, 2), "{overflow:?}");
        assert_eq!(publish("a=12345678"), (full, 2), "{overflow:?}");
        assert_eq!(publish("q2 a=3456"), (Ok(()), 2), "QoS 0 gave way");
        while session.poll_packet(at(0.0)).is_some() {}
        let large = message("q1 a=12345678");
        let taken = session.publish(large, options(QoS::AtLeastOnce), at(0.0));
        assert!(taken.is_ok(), "an empty queue takes any size");
    }
}
