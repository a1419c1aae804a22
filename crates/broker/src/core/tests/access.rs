//! What the program around the broker decides, at once or later, and what it hears of.

use std::cell::RefCell;

use super::{
    super::{
        Authentication, Authorization, Client, ConnectRequest, Peer, PublishRequest,
        SubscribeRequest, WillRequest,
    },
    *,
};

thread_local! {
    /// Questions that wait for an answer.
    static TICKETS: RefCell<Vec<Ticket>> = const { RefCell::new(Vec::new()) };
    /// What an [`Access`] has heard of.
    static HEARD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn note(ticket: Ticket) {
    TICKETS.with_borrow_mut(|tickets| tickets.push(ticket));
}

/// Returns the oldest question that waits.
pub(super) fn take_ticket() -> Ticket {
    TICKETS.with_borrow_mut(|tickets| tickets.remove(0))
}

fn hear(line: String) {
    HEARD.with_borrow_mut(|heard| heard.push(line));
}

fn take_heard() -> Vec<String> {
    HEARD.take()
}

/// Takes its time over what begins with `ask/`, and forbids what begins with `no/`.
struct Ponderous;

impl Ponderous {
    fn judge(topic: &str, ticket: Ticket) -> Authorization {
        if topic.starts_with("ask/") {
            note(ticket);
            return Authorization::Deferred;
        }
        if topic.starts_with("no/") {
            return Authorization::Deny(ReasonCode::QuotaExceeded);
        }
        Authorization::Allow
    }
}

impl Access for Ponderous {
    fn authenticate(&mut self, request: &ConnectRequest<'_>) -> Authentication {
        let identity = request.connect.username.as_deref().map(Into::into);
        Authentication::Accept { identity }
    }

    fn authorize_publish(&mut self, request: &PublishRequest<'_>) -> Authorization {
        Self::judge(request.message.topic(), request.ticket)
    }

    fn authorize_will(&mut self, request: &WillRequest<'_>) -> Authorization {
        Self::judge(&request.will.topic, request.ticket)
    }

    fn authorize_subscribe(&mut self, request: &SubscribeRequest<'_>) -> Authorization {
        Self::judge(request.filter, request.ticket)
    }

    fn on_connect(&mut self, client: &Client<'_>, peer: &Peer, session_present: bool) {
        let who = client.identity.unwrap_or("nobody");
        hear(format!(
            "{} is {who} at {peer}, {session_present}",
            client.client_id
        ));
    }

    fn on_disconnect(&mut self, client: &Client<'_>, _: &mqttstack_session::server::EndCause) {
        hear(format!("{} is gone", client.client_id));
    }

    fn on_publish(&mut self, client: &Client<'_>, message: &mqttstack_session::Message) {
        hear(format!("{} says {}", client.client_id, message.topic()));
    }
}

fn ponderous() -> Net {
    Net::planned(Plan {
        access: || Box::new(Ponderous),
        ..Plan::default()
    })
}

#[test]
fn a_message_waits_for_its_permission_and_everything_behind_it() {
    // v5 MQTT-4.6.0-6
    for qos in 0..=2 {
        let mut net = ponderous();
        let reader = net.join_v5("r");
        net.subscribe(reader, "#", 0);
        let other = net.join_v5("o");
        let client = net.join_v5("c");
        net.say(client, "a", "1", qos);
        net.say(client, "ask/b", "2", qos);
        net.say(client, "c", "3", qos);
        net.say(other, "d", "4", qos);
        assert!(net.is_paused(client));
        net.expect(reader, &["a=1 q0", "d=4 q0"]);
        net.answer(take_ticket(), Authorization::Allow);
        net.expect(reader, &["ask/b=2 q0", "c=3 q0"]);
        net.expect(client, &[]);
        assert!(!net.is_paused(client));
    }
}

#[test]
fn a_message_that_is_forbidden_goes_no_further() {
    // v3.1.1 MQTT-3.3.5-2
    for version in [V5, V311] {
        let mut net = ponderous();
        let reader = net.join_v5("r");
        net.subscribe(reader, "#", 0);
        let client = net.join(clean(version, "c"));
        net.say(client, "no/a", "1", 1);
        net.say(client, "ask/a", "2", 1);
        net.answer(
            take_ticket(),
            Authorization::Deny(ReasonCode::QuotaExceeded),
        );
        net.say(client, "ask/b", "3", 2);
        // A code that is no refusal is one all the same.
        net.answer(take_ticket(), Authorization::Deny(ReasonCode::Success));
        net.say(client, "ask/c", "4", 1);
        let wrong = Authentication::Accept { identity: None };
        net.answer(take_ticket(), wrong);
        net.expect(reader, &[]);
        let expected: &[&str] = match version {
            V5 => &[
                "PUBACK id=1 quota exceeded (0x97)",
                "PUBACK id=2 quota exceeded (0x97)",
                "PUBREC id=3 not authorized (0x87)",
                "PUBACK id=4 not authorized (0x87)",
            ],
            V311 | V31 => &[],
        };
        net.expect(client, expected);
    }
}

#[test]
fn an_answer_is_taken_once_and_only_for_its_own_question() {
    let mut net = ponderous();
    let reader = net.join_v5("r");
    net.subscribe(reader, "#", 0);
    let client = net.join_v5("c");
    net.say(client, "ask/a", "1", 0);
    let first = take_ticket();
    net.answer(first, Authorization::Deferred);
    net.expect(reader, &[]);
    net.answer(first, Authorization::Deny(ReasonCode::NotAuthorized));
    net.say(client, "ask/b", "2", 0);
    net.answer(first, Authorization::Allow);
    net.expect(reader, &[]);
    net.answer(take_ticket(), Authorization::Allow);
    net.expect(reader, &["ask/b=2 q0"]);
}

#[test]
fn what_nobody_decides_in_time_is_refused() {
    let mut net = ponderous();
    let reader = net.join_v5("r");
    net.subscribe(reader, "#", 0);
    let client = net.join_v5("c");
    net.say(client, "ask/a", "1", 1);
    net.say(client, "b", "2", 1);
    net.pass(seconds(10));
    net.expect(client, &["PUBACK id=1 not authorized (0x87)"]);
    net.expect(reader, &["b=2 q0"]);
    net.answer(take_ticket(), Authorization::Allow);
    net.expect(reader, &[]);
    net.ask(client, &[("ask/x", options(1)), ("y", options(1))], None);
    net.pass(seconds(10));
    net.expect(
        client,
        &["SUBACK id=3 not authorized (0x87), granted QoS 1 (0x01)"],
    );
    take_ticket();
}

#[test]
fn a_message_whose_sender_leaves_before_it_is_decided_comes_again() {
    // v5 MQTT-4.4.0-1, v5 MQTT-4.3.3-10; v3.1.1 MQTT-4.4.0-1
    let mut net = ponderous();
    let reader = net.join_v5("r");
    net.subscribe(reader, "#", 0);
    let client = net.join(lasting(V5, "c", 100));
    let mut publish = message("ask/a", "1", 2);
    net.send(client, Packet::Publish(publish.clone()));
    net.cut(client);
    net.answer(take_ticket(), Authorization::Allow);
    net.expect(reader, &[]);
    let client = net.join(lasting(V5, "c", 100));
    publish.delivery = publish.delivery.with_dup(true);
    net.send(client, Packet::Publish(publish.clone()));
    net.answer(take_ticket(), Authorization::Allow);
    net.expect(reader, &["ask/a=1 q0"]);
    // What was decided is not decided again.
    net.send(client, Packet::Publish(publish));
    net.expect(reader, &[]);
}

#[test]
fn each_filter_of_a_subscribe_is_asked_for_and_answered_in_any_order() {
    // v5 MQTT-3.8.4-6, v5 MQTT-3.8.4-5; v3.1.1 MQTT-3.8.4-5
    let mut net = ponderous();
    let client = net.join_v5("c");
    let filters = ["ask/1", "no/2", "ask/3", "4", "$share/g/ask/5"];
    let asked = filters.map(|filter| (filter, options(1)));
    net.ask(client, &asked, None);
    let tickets = [(); 3].map(|()| take_ticket());
    net.answer(tickets[2], Authorization::Allow);
    net.answer(tickets[2], Authorization::Deny(ReasonCode::NotAuthorized));
    net.answer(tickets[0], Authorization::Deny(ReasonCode::NotAuthorized));
    net.expect(client, &[]);
    net.answer(tickets[1], Authorization::Allow);
    net.expect(
        client,
        &[
            "SUBACK id=1 not authorized (0x87), quota exceeded (0x97), granted QoS 1 (0x01), \
           granted QoS 1 (0x01), granted QoS 1 (0x01)",
        ],
    );
    assert_eq!(net.cores[0].directory().subscription_count(), 3);
}

#[test]
fn a_will_is_decided_before_its_client_is_let_in() {
    let will = |topic: &str| {
        let mut connect = with_will(clean(V5, "c"), 0);
        if let Some(will) = &mut connect.will {
            will.topic = topic.into();
        }
        connect
    };
    let mut net = ponderous();
    let refused = net.dial(will("no/w"));
    net.expect_end(refused, &["CONNACK quota exceeded (0x97)"]);
    let refused = net.dial(will("ask/w"));
    net.expect(refused, &[]);
    net.answer(
        take_ticket(),
        Authorization::Deny(ReasonCode::NotAuthorized),
    );
    net.expect_end(refused, &["CONNACK not authorized (0x87)"]);
    let client = net.dial(will("ask/w"));
    net.answer(take_ticket(), Authorization::Allow);
    assert!(net.hear(client)[0].starts_with("CONNACK success"));
    assert_eq!(net.cores[0].session_count(), 1);
}

#[test]
fn the_program_hears_who_comes_what_they_say_and_who_goes() {
    let mut net = ponderous();
    let mut connect = with_will(lasting(V5, "c", 100), 0);
    connect.username = Some("alice".into());
    let client = net.join(connect.clone());
    net.say(client, "a", "1", 1);
    net.say(client, "no/b", "2", 1);
    net.cut(client);
    let client = net.join(connect);
    net.leave(client);
    let refused = net.dial(named_will());
    net.hear(refused);
    assert_eq!(
        take_heard(),
        [
            "c is alice at test, false",
            "c says a",
            "c is gone",
            "c says will/c",
            "c is alice at test, true",
            "c is gone",
        ]
    );
}

/// Of a client that is not let in.
fn named_will() -> Connect<Shared> {
    let mut connect = with_will(clean(V5, "x"), 0);
    if let Some(will) = &mut connect.will {
        will.topic = "no/w".into();
    }
    connect
}
