//! `mqttstack bench` against a broker of this process: every scenario, small.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Output},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use mqttstack_broker::Broker;
use mqttstack_codec::{Decoder, Delivery, Packet, ProtocolVersion};
use serde_json::Value;

fn broker() -> Broker {
    let builder = Broker::builder().listen("127.0.0.1:0".parse().expect("an address"));
    builder.start().expect("a broker")
}

fn bench(port: u16, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mqttstack"))
        .arg("bench")
        .args(arguments.split_whitespace())
        .args(["--port", &port.to_string(), "--timeout", "60"])
        .output()
        .expect("the command runs")
}

fn port(broker: &Broker) -> u16 {
    let address = broker.local_addresses()[0].socket_address().expect("TCP");
    address.port()
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn every_scenario_ends_with_every_delivery_checked() {
    let broker = broker();
    for (arguments, phases, deliveries) in [
        ("p2p -c 3 -n 300", &["flow"][..], 300),
        ("p2p -c 3 -n 300 -q 1 -V 311", &["flow"], 300),
        ("p2p -c 3 -n 300 -q 2 --receive-maximum 5", &["flow"], 300),
        ("p2p -c 2 --seconds 1 --burst 1 --in-flight 1", &["flow"], 1),
        ("fanout -c 20 -n 100 -q 1", &["flow"], 2_000),
        ("fanin -c 20 -n 400", &["flow"], 400),
        (
            "wildcard -c 4 --filters 40 --publishers 3 -n 300",
            &["flow"],
            300,
        ),
        ("shared -c 3 --publishers 2 -n 300", &["flow"], 300),
        ("retained -n 200", &["set", "delivered", "removed"], 200),
        ("offline -n 500 -V 311", &["queued", "drained"], 500),
        (
            "offline -n 500 -q 2 --receive-maximum 7",
            &["queued", "drained"],
            500,
        ),
        ("latency -c 2 -n 200 --rate 1000", &["flow"], 200),
        ("connect-storm -c 5 -n 40", &["storm"], 40),
        (
            "idle -c 20 --subscribe --source 127.0.0.2",
            &["connected", "disconnected"],
            20,
        ),
        ("large -c 2 -n 20 -s 1000000 -q 1", &["flow"], 20),
    ] {
        let output = bench(port(&broker), &format!("{arguments} --json"));
        let report = report(&output);
        assert!(output.status.success(), "{arguments}: {output:?}");
        assert_eq!(report["passed"], true, "{arguments}");
        let found = report["phases"].as_array().unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|phase| phase["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, phases, "{arguments}");
        let counted = found.last().unwrap()["count"].as_u64().unwrap();
        // A flow as small as these may be over before it is warm: then little or nothing is
        // measured, though everything is checked.
        if phases != ["flow"] {
            assert!(counted >= deliveries, "{arguments}: {counted}");
        }
    }
    broker.stop();
    broker.wait().unwrap();
}

#[test]
fn the_broker_is_left_as_it_was() {
    let broker = broker();
    let retained = broker.directory().retained_count();
    for arguments in ["retained -n 50", "offline -n 50", "p2p -c 2 -n 50"] {
        assert!(
            bench(port(&broker), arguments).status.success(),
            "{arguments}"
        );
    }
    assert_eq!(broker.directory().retained_count(), retained);
    // Names stay until the other workers have handled what their clients published.
    for _ in 0..1_000 {
        if broker.directory().session_count() == 0 {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(broker.directory().session_count(), 0);
    broker.stop();
    broker.wait().unwrap();
}

#[test]
fn a_broker_that_drops_messages_is_found_out() {
    let limits = mqttstack_broker::limits::Limits {
        queue_messages_max: 10,
        ..Default::default()
    };
    let builder = Broker::builder().listen("127.0.0.1:0".parse().unwrap());
    let broker = builder.limits(limits).start().unwrap();
    let output = bench(port(&broker), "offline -n 100 --json");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report = report(&output);
    assert_eq!(report["passed"], false);
    assert_eq!(report["checks"]["lost"], 90);
    broker.stop();
    broker.wait().unwrap();
}

#[test]
fn the_page_has_plots_and_loads_nothing() {
    let broker = broker();
    let path = std::env::temp_dir().join(format!("mqttstack-bench-{}.html", std::process::id()));
    let arguments = format!(
        "latency -c 1 --seconds 1 --rate 500 --html {}",
        path.display()
    );
    assert!(bench(port(&broker), &arguments).status.success());
    let page = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(page.matches("<svg").count() >= 3, "{page}");
    assert!(!page.contains("src=") && !page.contains("href="));
    broker.stop();
    broker.wait().unwrap();
}

#[test]
fn nobody_is_put_under_load_by_mistake() {
    for (arguments, code, words) in [
        ("p2p -h 192.0.2.1", 1, "--allow-remote"),
        ("p2p --burst 10 --in-flight 5", 1, "does not fit"),
        ("p2p -s 5", 1, "5"),
        ("p2p --broker-pid 4294967295", 1, "no such process"),
        ("p2p -h 127.0.0.1", 2, "is the broker running"),
    ] {
        // Port 1 has nobody who listens.
        let output = bench(1, arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {text}");
        assert!(text.contains(words), "{arguments}: {text}");
    }
}

/// Hands on what is published, at QoS 0, but acknowledges no more than so many messages.
fn forgetful_broker(acknowledged_max: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        let subscriber = Arc::new(Mutex::new(None));
        for stream in listener.incoming() {
            let (stream, subscriber) = (stream.expect("a client"), Arc::clone(&subscriber));
            thread::spawn(move || serve(stream, &subscriber, acknowledged_max));
        }
    });
    port
}

fn serve(mut stream: TcpStream, subscriber: &Mutex<Option<TcpStream>>, acknowledged_max: u16) {
    let decoder = Decoder::new().with_version(ProtocolVersion::V311);
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    let mut left = acknowledged_max;
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        received.extend_from_slice(&buffer[..count]);
        while let Some((packet, len)) = decoder.decode_ref(&received).expect("MQTT") {
            let mut answer = Vec::new();
            if let Packet::Connect(_) = packet {
                answer.extend([0x20, 2, 0, 0]);
            } else if let Packet::Subscribe(subscribe) = packet {
                let [high, low] = subscribe.packet_id.get().to_be_bytes();
                answer.extend([0x90, 3, high, low, 0]);
                *subscriber.lock().expect("nobody panics") =
                    Some(stream.try_clone().expect("a handle"));
            } else if let Packet::Publish(mut publish) = packet {
                let packet_id = publish.delivery.packet_id().expect("QoS 1");
                if left > 0 {
                    left -= 1;
                    let [high, low] = packet_id.get().to_be_bytes();
                    answer.extend([0x40, 2, high, low]);
                }
                publish.delivery = Delivery::AtMostOnce;
                let mut bytes = Vec::new();
                publish
                    .encode(ProtocolVersion::V311, &mut bytes)
                    .expect("it encodes");
                let mut subscriber = subscriber.lock().expect("nobody panics");
                let subscriber = subscriber.as_mut().expect("it has come first");
                subscriber.write_all(&bytes).expect("it is there");
            } else if let Packet::Disconnect(_) = packet {
                return;
            }
            stream.write_all(&answer).expect("it is there");
            received.drain(..len);
        }
    }
}

#[test]
fn a_broker_that_stops_acknowledging_is_found_out() {
    let port = forgetful_broker(25);
    // All that is sent arrives, and half of the third burst is not acknowledged: the next one waits.
    let output = bench(
        port,
        "p2p -c 1 -n 100 -q 1 -V 311 --in-flight 10 --burst 10 --json",
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report = report(&output);
    assert_eq!(report["passed"], false);
    assert_eq!(report["checks"]["lost"], 0);
    assert_eq!(report["checks"]["unacknowledged"], 5);
}
