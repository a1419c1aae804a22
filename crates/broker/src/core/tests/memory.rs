//! All that clients make the broker hold, and what happens as it nears the limit.

use super::{
    super::{Authentication, Authorization, ConnectRequest, MemoryStage, SubscribeRequest},
    *,
};

const LIMIT: u64 = 2_000_000;

fn scarce() -> Net {
    Net::planned(Plan {
        limits: Limits {
            output_bytes_max: 10_000,
            ..Limits::default()
        },
        broker_limits: BrokerLimits {
            memory_bytes_max: LIMIT,
            ..BrokerLimits::default()
        },
        ..Plan::default()
    })
}

impl Net {
    fn stage(&self) -> MemoryStage {
        self.cores[0].directory().memory_stage()
    }

    /// Publishes to a client that is away until memory is this short.
    #[track_caller]
    fn fill(&mut self, publisher: Who, stage: MemoryStage) {
        let payload = "x".repeat(20_000);
        for _ in 0..150 {
            if self.stage() >= stage {
                return;
            }
            self.say(publisher, "away", &payload, 1);
            self.pass(Duration::from_millis(100));
        }
        panic!("never {stage:?}");
    }
}

/// A session whose client is away and gets what is published to `away`.
fn leave_one_away(net: &mut Net) {
    let away = net.join(lasting(V5, "away", 1000));
    net.subscribe(away, "away", 1);
    net.cut(away);
}

#[test]
fn qos_0_for_those_who_do_not_keep_up_goes_first() {
    // R3, R5
    let mut net = scarce();
    leave_one_away(&mut net);
    let publisher = net.join_v5("p");
    let (slow, quick) = (net.join_v5("slow"), net.join_v5("quick"));
    for who in [slow, quick] {
        net.subscribe(who, "t", 0);
    }
    net.stop_reading(slow);
    net.say(publisher, "t", &"x".repeat(20_000), 0);
    net.fill(publisher, MemoryStage::Shedding);
    net.hear(quick);
    let before = net.cores[0].directory().memory_bytes();
    for _ in 0..100 {
        net.say(publisher, "t", &"x".repeat(2_000), 0);
    }
    assert_eq!(net.hear(quick).len(), 100);
    let metrics = net.cores[0].directory().metrics();
    assert_eq!(
        (metrics.messages_shed, metrics.memory_shedding_entered),
        (100, 1)
    );
    assert!(net.cores[0].directory().memory_bytes() < before + 100_000);
    // The log hears of it once.
    let told = |notice: &&Notice| matches!(notice, Notice::MessagesDropped { .. });
    assert_eq!(net.notices.iter().filter(told).count(), 1);
}

#[test]
fn those_who_publish_are_slowed_down_and_nobody_else() {
    // R5
    let mut net = scarce();
    leave_one_away(&mut net);
    let publisher = net.join_v5("p");
    net.fill(publisher, MemoryStage::Slowing);
    net.say(publisher, "away", "one", 1);
    assert!(net.is_paused(publisher));
    let reader = net.join_v5("r");
    net.subscribe(reader, "t", 0);
    net.say(publisher, "t", "two", 0);
    net.expect(reader, &[]);
    net.pass(Duration::from_millis(100));
    net.expect(reader, &["t=two q0"]);
    net.pass(Duration::from_millis(100));
    assert!(!net.is_paused(publisher) && !net.is_paused(reader));
}

#[test]
fn no_session_is_begun_when_memory_is_nearly_used_up() {
    // R4, R5
    let mut net = scarce();
    leave_one_away(&mut net);
    let publisher = net.join(lasting(V5, "p", 1000));
    net.fill(publisher, MemoryStage::Refusing);
    for (version, told) in [
        (V5, "CONNACK quota exceeded (0x97)"),
        (V311, "CONNACK server unavailable (0x88)"),
    ] {
        let refused = net.dial(clean(version, "new"));
        net.expect_end(refused, &[told]);
    }
    // Whoever has a session may come for what waits in it: that makes room.
    let away = net.join(lasting(V5, "away", 1000));
    assert!(net.hear(away).len() > 50);
    net.pass(seconds(1));
    assert_eq!(net.stage(), MemoryStage::Calm);
    net.join_v5("new");
}

#[test]
fn nothing_is_taken_when_memory_is_used_up_and_nothing_acknowledged_is_lost() {
    // R5
    let mut net = scarce();
    leave_one_away(&mut net);
    let publisher = net.join_v5("p");
    let old = net.join(clean(V311, "old"));
    let hoarder = net.join_v5("h");
    net.fill(publisher, MemoryStage::Full);
    let held = net.cores[0].directory().memory_bytes();
    net.hear(publisher);
    for _ in 0..50 {
        net.say(publisher, "away", &"y".repeat(20_000), 1);
        net.say(publisher, "away", &"y".repeat(20_000), 0);
    }
    let refused = net.hear(publisher);
    assert_eq!(refused.len(), 50);
    assert!(
        refused
            .iter()
            .all(|line| line.ends_with("quota exceeded (0x97)"))
    );
    net.ask(publisher, &[("more", options(1))], None);
    let suback = net.hear(publisher);
    assert!(suback[0].ends_with("quota exceeded (0x97)"), "{suback:?}");
    // A client of 3.1.1 cannot be told: it keeps its message, and comes again.
    net.say(old, "away", "z", 1);
    net.expect_end(old, &[]);
    // A large packet is not waited for.
    net.send_hex(hoarder, "30 80 80 80 01 00 01 74");
    net.send_bytes(hoarder, &vec![0; 100_000]);
    net.expect_end(hoarder, &["DISCONNECT quota exceeded (0x97)"]);
    assert_eq!(net.try_open(0), None);
    assert!(net.cores[0].directory().memory_bytes() <= held + 100_000);
    let metrics = net.cores[0].directory().metrics();
    assert_eq!(
        (metrics.messages_refused, metrics.memory_full_entered),
        (101, 1)
    );
}

#[test]
fn everything_that_is_given_back_is_counted_back() {
    // R5, M1
    let mut net = scarce();
    let watcher = net.join_v5("w");
    for round in 0..50 {
        let client = net.join(with_will(lasting(V5, "c", 10), 5));
        for filter in 0..20 {
            net.subscribe(client, &format!("{}/{filter}", "deep/".repeat(20)), 1);
        }
        net.publish(
            client,
            retained(&format!("r/{round}"), &"x".repeat(1_000), 1),
        );
        net.cut(client);
        net.say(
            watcher,
            &format!("{}/1", "deep/".repeat(20)),
            &"x".repeat(5_000),
            1,
        );
        net.publish(watcher, retained(&format!("r/{round}"), "", 0));
        net.pass(seconds(20));
    }
    net.cut(watcher);
    assert_eq!(net.cores[0].connection_count(), 0);
    assert_eq!(net.cores[0].session_count(), 0);
    assert_eq!(net.cores[0].memory_balance(), 0);
}

#[test]
fn r2_topics_that_clients_give_aliases_to_are_counted() {
    let mut net = Net::new();
    let client = net.join_v5("c");
    let before = net.cores[0].memory_balance();
    for alias in 1..=32_u16 {
        let mut publish = message(&"x".repeat(60_000), "", 0);
        publish.properties = Properties::builder()
            .topic_alias(alias)
            .build()
            .expect("valid");
        net.publish(client, publish);
    }
    assert!(net.cores[0].memory_balance() >= before + 32 * 60_000);
    // In place of another a topic takes what it takes.
    for alias in 1..=32_u16 {
        let mut publish = message("short", "", 0);
        publish.properties = Properties::builder()
            .topic_alias(alias)
            .build()
            .expect("valid");
        net.publish(client, publish);
    }
    assert!(net.cores[0].memory_balance() <= before + 32 * 512);
    net.cut(client);
    assert_eq!(net.cores[0].memory_balance(), 0);
}

#[test]
fn what_cannot_be_retained_is_delivered_all_the_same() {
    // R5
    let mut net = Net::planned(Plan {
        broker_limits: BrokerLimits {
            retained_messages_max: 1,
            ..BrokerLimits::default()
        },
        ..Plan::default()
    });
    let reader = net.join_v5("r");
    net.subscribe(reader, "#", 1);
    let publisher = net.join_v5("p");
    net.publish(publisher, retained("a", "1", 1));
    net.publish(publisher, retained("b", "2", 1));
    net.expect(publisher, &["PUBACK id=2 quota exceeded (0x97)"]);
    net.expect(reader, &["a=1 q1", "b=2 q1"]);
    assert_eq!(net.cores[0].directory().retained_count().0, 1);
}

#[test]
fn a_large_packet_that_is_read_in_place_is_not_waited_for_either() {
    // R5
    let mut net = scarce();
    leave_one_away(&mut net);
    let publisher = net.join_v5("p");
    let hoarder = net.join_v5("h");
    net.send_hex(hoarder, "30 80 80 80 01 00 01 74");
    net.send_bytes(hoarder, &vec![0; 30_000]);
    net.fill(publisher, MemoryStage::Full);
    let id = net.id_of(hoarder);
    let held = net.cores[0].memory_balance();
    assert!(net.cores[0].input_place(id).is_some());
    net.cores[0].handle_input_in_place(id, 1_000, net.now);
    net.pump();
    net.expect_end(hoarder, &["DISCONNECT quota exceeded (0x97)"]);
    assert!(net.cores[0].memory_balance() <= held - 100_000);
}

#[test]
fn a_will_counts_while_its_client_is_here() {
    let mut net = Net::new();
    let before = net.cores[0].memory_balance();
    let mut connect = with_will(clean(V5, "c"), 0);
    if let Some(will) = &mut connect.will {
        will.payload = vec![0; 60_000].into();
    }
    let client = net.join(connect);
    assert!(net.cores[0].memory_balance() - before >= 60_000);
    net.leave(client);
    assert!(net.cores[0].memory_balance() <= before);
}

#[test]
fn subscription_identifiers_count_with_each_message_that_waits() {
    let mut net = Net::new();
    let away = net.join(lasting(V5, "away", 1000));
    for number in 0..64_u32 {
        let level = |bit: u32| if number >> bit & 1 == 1 { "+" } else { "a" };
        let filter = (0..6).map(level).collect::<Vec<_>>().join("/");
        net.subscribe_with(away, &filter, options(1), Some(number + 1));
    }
    net.cut(away);
    let publisher = net.join_v5("p");
    let before = net.cores[0].memory_balance();
    for _ in 0..100 {
        net.say(publisher, "a/a/a/a/a/a", "", 1);
    }
    assert!(net.cores[0].memory_balance() - before >= 100 * 64 * 4);
}

/// Asks everybody something, and is to remember much of that.
struct Forgetful;

impl Access for Forgetful {
    fn authenticate(&mut self, _: &ConnectRequest<'_>) -> Authentication {
        Authentication::Continue {
            data: Bytes::from_static(b"who"),
            note: vec![0; 60_000].into(),
        }
    }
}

#[test]
fn what_is_to_be_known_at_the_next_step_counts_until_the_connection_ends() {
    let mut net = Net::planned(Plan {
        access: || Box::new(Forgetful),
        ..Plan::default()
    });
    let mut connect = clean(V5, "c");
    let properties = Properties::builder().authentication_method("riddle");
    connect.properties = properties.build().expect("valid");
    let client = net.dial(connect);
    assert!(net.cores[0].memory_balance() >= 60_000);
    net.cut(client);
    assert_eq!(net.cores[0].memory_balance(), 0);
}

#[test]
fn a_subscribe_that_is_being_decided_counts_with_its_properties() {
    let mut net = Net::planned(Plan {
        access: || Box::new(Undecided),
        ..Plan::default()
    });
    let client = net.join_v5("c");
    let before = net.cores[0].memory_balance();
    let text = "x".repeat(30_000);
    let properties = Properties::builder().user_property("k", &text);
    let subscribe = Packet::Subscribe(Subscribe {
        packet_id: packet_id(1),
        properties: properties.build().expect("valid"),
        filters: SubscribeFilters::new([Subscription::new("a", QoS::AtMostOnce)]).expect("one"),
    });
    net.send(client, subscribe);
    assert!(net.cores[0].memory_balance() - before >= 30_000);
}

/// Never answers who may subscribe.
struct Undecided;

impl Access for Undecided {
    fn authorize_subscribe(&mut self, _: &SubscribeRequest<'_>) -> Authorization {
        Authorization::Deferred
    }
}

#[test]
fn the_levels_of_filters_with_wildcards_count() {
    // R5
    let count = |filter: &str| {
        let mut net = Net::new();
        let client = net.join_v5("c");
        let before = net.cores[0].memory_balance();
        net.subscribe(client, filter, 0);
        let during = net.cores[0].memory_balance();
        net.unsubscribe(client, &[filter]);
        net.hear(client);
        assert_eq!(net.cores[0].memory_balance(), before);
        during - before
    };
    let literal = "a/".repeat(100);
    let wild = "+/".repeat(100);
    // An empty level is the last.
    assert_eq!(count(&wild) - count(&literal), 101 * 32);
    let shared = format!("$share/g/{wild}");
    assert_eq!(count(&shared) - count(&wild), 9);
}

#[test]
fn what_a_store_gives_back_counts() {
    // R5
    let mut net = Net::durable(1);
    let publisher = net.join_v5("p");
    let away = net.join(lasting(V5, "away", 1_000));
    net.subscribe(away, "away/#", 1);
    net.cut(away);
    net.say(publisher, "away/1", &"x".repeat(20_000), 1);
    net.publish(publisher, retained("kept", &"x".repeat(30_000), 1));
    net.leave(publisher);
    let before = net.cores[0].memory_balance();
    assert!(before > 50_000, "{before}");
    let mut net = net.crash();
    assert_eq!(net.cores[0].memory_balance(), before);
}

#[test]
fn what_comes_for_a_client_that_was_just_refused_waits_for_it() {
    let mut net = scarce();
    leave_one_away(&mut net);
    let publisher = net.join_v5("p");
    let old = net.join(lasting(V311, "old", 0));
    net.subscribe(old, "will/#", 1);
    let dying = net.join(with_will(clean(V311, "w"), 0));
    let away = net.open(0);
    net.fill(publisher, MemoryStage::Full);
    // PUBLISH of QoS 1, and in the same turn of the worker another connection breaks.
    let id = net.id_of(old);
    net.cores[0].handle_input(id, &[0x32, 6, 0, 1, b't', 0, 7, b'x'], net.now);
    net.cut(dying);
    assert!(net.is_closed(old));
    net.send(away, Packet::Connect(lasting(V5, "away", 1000)));
    assert!(net.hear(away).len() > 50);
    net.pass(seconds(1));
    let old = net.join(lasting(V311, "old", 0));
    net.expect(old, &["will/w=gone q1"]);
}
