//! What outlives a connection.

use super::*;

fn retry_after(events: &[Event]) -> Option<Option<Duration>> {
    events.iter().find_map(|event| match event {
        Event::Ended { retry_after, .. } | Event::OpenFailed { retry_after } => Some(*retry_after),
        _ => None,
    })
}

/// Closes the transport as the client asks, and returns when it tries again.
fn closed(rig: &mut Rig) -> Option<Duration> {
    let _ = rig.sent();
    let retry = retry_after(&rig.events()).unwrap();
    assert_eq!(rig.client.poll_transport(), Some(TransportRequest::Close));
    rig.cut();
    retry
}

#[test]
fn a_lost_connection_is_tried_again_with_growing_delays() {
    let mut rig = Rig::connected(settings());
    rig.cut();
    let mut last = retry_after(&rig.events()).unwrap().unwrap();
    assert!(last <= Duration::from_secs(1));
    for attempt in 1..=8 {
        rig.pass(60);
        assert_eq!(
            rig.client.poll_transport(),
            Some(TransportRequest::Open),
            "{attempt}"
        );
        rig.cut();
        let next = retry_after(&rig.events()).unwrap().unwrap();
        assert!(next >= last / 2 && next <= Duration::from_secs(60));
        last = next;
    }
    assert!(last >= Duration::from_secs(30));
    // A connection that lasts makes the delays begin anew; one that does not, does not.
    rig.reopen();
    rig.accept();
    rig.pass(1);
    rig.cut();
    assert!(retry_after(&rig.events()).unwrap().unwrap() >= Duration::from_secs(30));
    rig.reopen();
    rig.accept();
    rig.pass(10);
    rig.cut();
    assert!(retry_after(&rig.events()).unwrap().unwrap() <= Duration::from_secs(1));
}

#[test]
fn connect_does_not_wait_for_the_delay() {
    let mut rig = Rig::connected(settings());
    rig.cut();
    assert_eq!(rig.client.poll_transport(), None);
    rig.client.connect(rig.now);
    rig.open();
}

#[test]
fn the_session_begins_anew_as_often_as_the_settings_say() {
    for (clean_start, expected) in [
        (CleanStart::Always, [true, true]),
        (CleanStart::FirstOnly, [true, false]),
        (CleanStart::Never, [false, false]),
    ] {
        let mut own = settings();
        own.clean_start = clean_start;
        let mut rig = Rig::new(own);
        let first = rig.open().clean_start;
        rig.accept();
        rig.cut();
        assert_eq!(
            [first, rig.reopen().clean_start],
            expected,
            "{clean_start:?}"
        );
    }
}

#[test]
fn an_attempt_that_failed_does_not_count_as_the_first() {
    let mut own = settings();
    own.clean_start = CleanStart::FirstOnly;
    let mut rig = Rig::new(own);
    assert!(rig.open().clean_start);
    rig.cut();
    assert!(rig.reopen().clean_start);
}

#[test]
fn an_assigned_client_identifier_is_kept() {
    let mut own = Settings::new("");
    own.clean_start = CleanStart::FirstOnly;
    let mut rig = Rig::new(own);
    rig.open();
    let properties = Properties::builder()
        .assigned_client_identifier("given")
        .build()
        .unwrap();
    rig.accept_with(ConnAck {
        properties,
        ..ConnAck::new(false, ReasonCode::Success)
    });
    rig.cut();
    assert_eq!(rig.reopen().client_id, "given");
}

#[test]
fn subscriptions_are_made_again_as_the_policy_says() {
    for (policy, session_present, expected) in [
        (Resubscribe::Never, false, false),
        (Resubscribe::IfSessionLost, false, true),
        (Resubscribe::IfSessionLost, true, false),
        (Resubscribe::Always, true, true),
        (Resubscribe::Always, false, true),
    ] {
        let mut own = settings();
        own.clean_start = CleanStart::FirstOnly;
        own.resubscribe = policy;
        let mut rig = Rig::connected(own);
        for filter in ["a", "b"] {
            rig.subscribe(filter);
            rig.grant(ReasonCode::GrantedQoS1);
        }
        rig.subscribe("refused");
        rig.grant(ReasonCode::NotAuthorized);
        let unwanted = UnsubscribeFilters::new(["b"]).unwrap();
        rig.client
            .unsubscribe(unwanted, Properties::empty())
            .unwrap();
        rig.release();
        rig.cut();
        rig.reopen();
        rig.accept_with(ConnAck::new(session_present, ReasonCode::Success));
        if expected {
            assert_eq!(rig.grant(ReasonCode::GrantedQoS1), ["a"], "{policy:?}");
        } else {
            assert_eq!(rig.sent(), [], "{policy:?}");
        }
    }
}

#[test]
fn a_subscription_that_is_not_granted_again_is_reported() {
    let mut rig = Rig::connected(settings());
    rig.subscribe("a");
    rig.grant(ReasonCode::GrantedQoS1);
    rig.cut();
    rig.reopen();
    rig.accept_with(ConnAck::new(false, ReasonCode::Success));
    rig.events();
    rig.grant(ReasonCode::NotAuthorized);
    let reason_code = Some(ReasonCode::NotAuthorized);
    assert_eq!(
        rig.events(),
        [Event::SubscriptionLost {
            filter: "a".into(),
            reason_code
        }]
    );
    // It is not asked for a third time.
    rig.cut();
    rig.reopen();
    rig.accept_with(ConnAck::new(false, ReasonCode::Success));
    assert_eq!(rig.sent(), []);
}

#[test]
fn a_request_without_an_answer_is_made_again_and_answered_once() {
    let mut rig = Rig::new(settings());
    let operation = rig.subscribe("a"); // Before there is a connection.
    rig.open();
    rig.accept();
    assert_eq!(rig.sent().len(), 1);
    rig.cut();
    rig.reopen();
    assert!(
        rig.events()
            .iter()
            .all(|event| !matches!(event, Event::Completed { .. }))
    );
    rig.accept();
    rig.grant(ReasonCode::GrantedQoS1);
    let events = rig.events();
    let [
        Event::Completed {
            operation: of,
            outcome: Outcome::Subscribed { .. },
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(*of, operation);
}

#[test]
fn requests_without_an_answer_are_cancelled_when_the_client_stops() {
    let mut rig = Rig::connected(settings());
    let operation = rig.subscribe("a");
    rig.client.disconnect(ReasonCode::Success, rig.now);
    let outcome = Outcome::Cancelled;
    assert!(
        rig.events()
            .contains(&Event::Completed { operation, outcome })
    );
}

#[test]
fn a_refusal_that_would_be_repeated_ends_the_attempts_until_a_server_has_accepted() {
    for (reason_code, is_final) in [
        (ReasonCode::BadUserNameOrPassword, true),
        (ReasonCode::NotAuthorized, true),
        (ReasonCode::UnsupportedProtocolVersion, true),
        (ReasonCode::ServerUnavailable, false),
        (ReasonCode::ServerBusy, false),
    ] {
        let mut rig = Rig::new(settings());
        rig.open();
        rig.accept_with(ConnAck::new(false, reason_code));
        assert_eq!(closed(&mut rig).is_none(), is_final, "{reason_code}");
        assert_eq!(rig.client.is_stopped(), is_final);

        let mut rig = Rig::connected(settings());
        rig.cut();
        rig.reopen();
        rig.events();
        rig.accept_with(ConnAck::new(false, reason_code));
        assert!(closed(&mut rig).is_some(), "{reason_code}");
    }
}

#[test]
fn a_session_that_another_client_took_over_is_left_to_it() {
    for (reason_code, is_final) in [
        (ReasonCode::SessionTakenOver, true),
        (ReasonCode::ServerShuttingDown, false),
    ] {
        let mut rig = Rig::connected(settings());
        rig.receive(Packet::Disconnect(Disconnect::new(reason_code)));
        assert_eq!(closed(&mut rig).is_none(), is_final, "{reason_code}");
    }
}

#[test]
fn the_policy_never_makes_one_attempt() {
    let mut own = settings();
    own.reconnect = ReconnectPolicy::NEVER;
    let mut rig = Rig::connected(own);
    rig.cut();
    assert_eq!(retry_after(&rig.events()), Some(None));
    assert!(rig.client.is_stopped());
    // But a caller may ask again.
    rig.client.connect(rig.now);
    rig.open();
}

#[test]
fn a_bridge_goes_without_the_bit_where_it_is_refused() {
    // BRG-fallback
    for is_silent in [false, true] {
        let mut own = settings();
        own.version = ProtocolVersion::V311;
        own.bridge = true;
        let mut rig = Rig::new(own);
        assert!(rig.open().bridge);
        let retry = if is_silent {
            rig.cut();
            retry_after(&rig.events()).unwrap()
        } else {
            rig.accept_with(ConnAck::new(false, ReasonCode::UnsupportedProtocolVersion));
            closed(&mut rig)
        };
        assert_eq!(retry, Some(Duration::ZERO));
        rig.pass(0);
        assert!(!rig.open().bridge);
        rig.accept();
        // And remembers that.
        rig.cut();
        assert!(!rig.reopen().bridge);
    }
}

#[test]
fn a_connection_that_is_not_wanted_any_more_is_not_opened() {
    let mut rig = Rig::new(settings());
    assert_eq!(rig.client.poll_transport(), Some(TransportRequest::Open));
    rig.client.disconnect(ReasonCode::Success, rig.now);
    assert_eq!(rig.client.poll_transport(), Some(TransportRequest::Close));
    rig.cut();
    assert!(rig.client.is_stopped());
    assert_eq!(rig.client.poll_timeout(), None);
}

#[test]
fn the_state_of_a_session_can_be_taken_up_by_another_client() {
    let mut own = settings();
    own.clean_start = CleanStart::Never;
    let mut rig = Rig::connected(own.clone());
    rig.publish(message(QoS::AtLeastOnce));
    let sent = rig.sent();
    let state = rig.client.detach();
    let mut client = ClientCore::resume(own, Some(state), 2).unwrap();
    client.connect(rig.now);
    let mut rig = Rig {
        client,
        now: rig.now,
        version: rig.version,
    };
    rig.open();
    rig.accept_with(ConnAck::new(true, ReasonCode::Success));
    let again = rig.sent();
    let ([Packet::Publish(first)], [Packet::Publish(second)]) = (&sent[..], &again[..]) else {
        panic!("{again:?}")
    };
    assert!(second.dup() && first.packet_id() == second.packet_id());
}
