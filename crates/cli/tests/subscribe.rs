//! `mqttstack sub` as people and programs run it, against a broker on loopback.

#![cfg(target_os = "linux")] // It has a device that is always full.

use std::process::{Command, Output, Stdio};

use mqttstack_broker::{Broker, transport::PeerAddress};

/// Starts a broker on a port of the system's choice.
fn broker() -> (Broker, String) {
    let endpoint = "127.0.0.1:0".parse().expect("an endpoint");
    let broker = Broker::builder().listen(endpoint).workers(1).start();
    let broker = broker.expect("it starts");
    let port = match broker.local_addresses() {
        [PeerAddress::Ip(address)] => address.port(),
        other => panic!("{other:?}"),
    };
    (broker, port.to_string())
}

fn run(command: &str, port: &str, arguments: &str, out: Stdio) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mqttstack"))
        .args([command, "-h", "127.0.0.1", "-p", port])
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(Stdio::piped())
        .output()
        .expect("it runs")
}

#[test]
fn a_message_that_could_not_be_shown_is_not_acknowledged() {
    const WORKER: &str = "-i worker -c -x 600 -q 1 -t jobs -W 20";
    let (broker, port) = broker();
    let made = run("sub", &port, &format!("{WORKER} -E"), Stdio::null());
    assert!(made.status.success(), "{made:?}");
    for number in 1..=3 {
        let sent = format!("-q 1 -t jobs -m job-{number}");
        let sent = run("pub", &port, &sent, Stdio::null());
        assert!(sent.status.success(), "{sent:?}");
    }
    for count in [1, 3] {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let full = full.expect("the device that is always full");
        let arguments = format!("{WORKER} -C {count}");
        let failed = run("sub", &port, &arguments, full.into());
        assert!(!failed.status.success(), "{failed:?}");
    }
    let shown = run("sub", &port, &format!("{WORKER} -C 3"), Stdio::piped());
    assert!(shown.status.success(), "{shown:?}");
    assert_eq!(
        String::from_utf8_lossy(&shown.stdout),
        "job-1\njob-2\njob-3\n"
    );
    // And now they are done with.
    let again = run(
        "sub",
        &port,
        "-i worker -c -x 600 -q 1 -t jobs -W 1",
        Stdio::piped(),
    );
    assert!(again.stdout.is_empty(), "{again:?}");
    broker.stop();
}
