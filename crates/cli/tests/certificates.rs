//! `mqttstack certs` and `mqttstack broker` together: certificates that are made, used and replaced.
#![cfg(unix)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd};

fn mqttstack() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqttstack"));
    command.stdin(Stdio::null());
    command
}

/// A directory that goes away with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mqttstack-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn certs(&self, more: &[&str]) -> Output {
        let mut command = mqttstack();
        command.arg("certs").arg(&self.0).args(more);
        command.output().expect("runs")
    }

    /// Publishes as the client `ann`, trusting the authority in a file; says whether it worked.
    fn publish(&self, port: u16, authority: &str, more: &[&str]) -> bool {
        let mut command = self.client("pub", port, authority);
        command.args(more).args(["-t", "t", "-q", "1"]);
        command.output().expect("runs").status.success()
    }

    fn client(&self, verb: &str, port: u16, authority: &str) -> Command {
        let mut command = mqttstack();
        command
            .args([verb, "-L", &format!("mqtts://localhost:{port}")])
            .arg("--cafile")
            .arg(self.at(authority))
            .arg("--cert")
            .arg(self.at("client-ann.crt"))
            .arg("--key")
            .arg(self.at("client-ann.key"));
        command
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A broker that demands certificates, and its log.
struct Broker {
    process: Child,
    log: Receiver<String>,
    port: u16,
}

impl Broker {
    fn start(directory: &Path, watch_interval: &str) -> Self {
        let at = |name: &str| directory.join(name);
        let mut process = mqttstack()
            .args(["broker", "--listen", "mqtts://localhost:0"])
            .arg("--cert")
            .arg(at("server.crt"))
            .arg("--key")
            .arg(at("server.key"))
            .arg("--cafile")
            .arg(at("ca.crt"))
            .args(["--client-certificates", "required"])
            .env("MQTTSTACK_TLS__WATCH_INTERVAL", watch_interval)
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let (sender, log) = channel();
        let stderr = process.stderr.take().expect("piped");
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut broker = Self {
            process,
            log,
            port: 0,
        };
        let line = broker.wait_for("listening on ");
        let (_, address) = line.split_once("listening on ").expect("found");
        let address = address.split(' ').next().expect("an address");
        let (_, port) = address.rsplit_once(':').expect("a port");
        broker.port = port.parse().expect("a port");
        broker
    }

    #[track_caller]
    fn wait_for(&self, what: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.log.recv_timeout(Duration::from_secs(60)) {
                Ok(line) if line.contains(what) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("no {what:?}: {error}, after {seen:#?}"),
            }
        }
    }

    fn hang_up(&self) {
        let process = self.process.id().to_string();
        let status = Command::new("kill").args(["-HUP", &process]).status();
        assert!(status.expect("runs").success());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn line(output: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    line
}

#[test]
fn certs_are_made_with_keys_for_their_owner_alone_and_overwritten_only_by_force() {
    let directory = Directory::new("certs");
    let made = directory.certs(&["--host", "broker.lan", "--client", "ann"]);
    assert!(made.status.success(), "{made:?}");
    let told = String::from_utf8(made.stdout).expect("text");
    for expected in ["broker.lan", "client-ann.key", "mqttstack broker --listen"] {
        assert!(told.contains(expected), "{told}");
    }
    for name in ["ca", "server", "client-ann"] {
        for (kind, mode) in [("crt", 0o644), ("key", 0o600)] {
            let path = directory.at(&format!("{name}.{kind}"));
            let permissions = fs::metadata(&path).expect("made").permissions();
            assert_eq!(permissions.mode() & 0o777 & !mode, 0, "{}", path.display());
        }
    }
    let before = fs::read(directory.at("ca.crt")).expect("made");
    for (more, what) in [
        (
            &["--client", "ben,ann"][..],
            "client-ann.crt is there already",
        ),
        (
            &["--client", "ben", "--host", "b.lan"],
            "server.crt is there already",
        ),
        (&[], "there is nothing to add"),
    ] {
        let refused = directory.certs(more);
        assert_eq!(refused.status.code(), Some(1));
        let told = String::from_utf8(refused.stderr).expect("text");
        assert!(told.contains(what), "{told}");
        assert!(told.contains("--force"), "{told}");
        assert!(!directory.at("client-ben.crt").exists());
        assert_eq!(fs::read(directory.at("ca.crt")).expect("there"), before);
    }

    // A key that was open to others is not after it was overwritten.
    let key = directory.at("server.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o666)).expect("settable");
    assert!(directory.certs(&["--force"]).status.success());
    assert_eq!(
        fs::metadata(&key).expect("there").permissions().mode() & 0o777,
        0o600
    );
    assert_ne!(fs::read(directory.at("ca.crt")).expect("there"), before);
}

#[test]
fn an_authority_that_is_there_signs_what_is_added() {
    let directory = Directory::new("added");
    assert!(directory.certs(&[]).status.success());
    let all = |names: &[&str]| -> Vec<Vec<u8>> {
        let read = |name: &&str| fs::read(directory.at(name)).expect("there");
        names.iter().map(read).collect()
    };
    let names = ["ca.crt", "ca.key", "server.crt", "server.key"];
    let before = all(&names);
    let added = directory.certs(&["--client", "ann"]);
    assert!(added.status.success(), "{added:?}");
    let told = String::from_utf8(added.stdout).expect("text");
    assert!(
        told.contains("client-ann.crt") && !told.contains("  ca.crt  "),
        "{told}"
    );
    // The broker is there already.
    assert!(!told.contains("mqttstack broker"), "{told}");
    assert!(told.contains("mqttstack sub -L mqtts://"), "{told}");
    assert_eq!(all(&names), before);
    let broker = Broker::start(&directory.0, "0s");
    assert!(directory.publish(broker.port, "ca.crt", &["-m", "x"]));

    // A server whose files are gone gets new ones, by the same authority.
    for name in ["server.crt", "server.key"] {
        fs::remove_file(directory.at(name)).expect("removed");
    }
    assert!(directory.certs(&["--host", "b.lan"]).status.success());
    assert_eq!(all(&names)[..2], before[..2]);
    assert_ne!(all(&names)[2..], before[2..]);
    broker.hang_up();
    broker.wait_for("certificates reloaded");
    assert!(directory.publish(broker.port, "ca.crt", &["-m", "x"]));

    // What is no authority signs nothing.
    let other = Directory::new("other");
    assert!(other.certs(&[]).status.success());
    for (key, why) in [
        (Some(other.at("ca.key")), "it does not belong to ca.crt"),
        (Some(other.at("ca.crt")), "cannot use the authority"),
        (None, "it is missing"),
    ] {
        fs::remove_file(directory.at("ca.key")).expect("removed");
        if let Some(key) = &key {
            fs::copy(key, directory.at("ca.key")).expect("copied");
        }
        let refused = directory.certs(&["--client", "ben"]);
        assert_eq!(refused.status.code(), Some(1));
        let told = String::from_utf8(refused.stderr).expect("text");
        assert!(told.contains(why) && told.contains("ca.key"), "{told}");
        assert!(!directory.at("client-ben.crt").exists());
    }
}

#[test]
fn what_is_no_authority_or_was_one_signs_nothing() {
    let directory = Directory::new("impostor");
    assert!(directory.certs(&["--client", "ann"]).status.success());
    let authority = |change: fn(&mut CertificateParams)| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        (certificate.pem(), key.serialize_pem())
    };
    let read = |name| fs::read_to_string(directory.at(name)).expect("made");
    let ann = (read("client-ann.crt"), read("client-ann.key"));
    let expired = authority(|params| params.not_after = date_time_ymd(2024, 1, 1));
    let not_meant_to = authority(|params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    let unlimited = authority(|_| {});
    for ((certificate, key), why) in [
        (ann, Some("it may sign no certificates")),
        (not_meant_to, Some("it may sign no certificates")),
        (expired, Some("it expired at 2024-01-01T00:00:00Z")),
        (unlimited, None),
    ] {
        fs::write(directory.at("ca.crt"), certificate).expect("written");
        fs::write(directory.at("ca.key"), key).expect("written");
        let done = directory.certs(&["--client", "eve"]);
        let told = String::from_utf8(done.stderr).expect("text");
        match why {
            Some(why) => {
                assert_eq!(done.status.code(), Some(1), "{told}");
                assert!(told.contains(why) && told.contains("ca.crt"), "{told}");
            }
            None => assert!(done.status.success(), "{told}"),
        }
        assert_eq!(directory.at("client-eve.crt").exists(), why.is_none());
    }
}

#[test]
fn a_flood_of_failed_handshakes_takes_few_lines_and_counts_all() {
    const PEERS: usize = 300;
    let directory = Directory::new("flood");
    assert!(directory.certs(&[]).status.success());
    let broker = Broker::start(&directory.0, "0s");
    let peers: Vec<TcpStream> = (0..PEERS)
        .map(|_| {
            let mut peer = TcpStream::connect(("localhost", broker.port)).expect("connects");
            // No TLS.
            peer.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("written");
            peer
        })
        .collect();
    let (mut told_of, mut lines) = (0, 0);
    while told_of < PEERS {
        let line = broker.wait_for("handshake");
        lines += 1;
        told_of += match line.split_once("count=") {
            Some((_, count)) => {
                let count = count.split(|it: char| !it.is_ascii_digit()).next();
                count.expect("a part").parse().expect("a number")
            }
            None => 1,
        };
    }
    assert_eq!(told_of, PEERS);
    assert!(lines < PEERS / 2, "{lines} lines");
    drop(peers);
}

#[test]
fn sighup_replaces_certificates_together_and_leaves_connections_alone() {
    let directory = Directory::new("sighup");
    assert!(directory.certs(&["--client", "ann"]).status.success());
    let broker = Broker::start(&directory.0, "0s");
    let port = broker.port;
    assert!(directory.publish(port, "ca.crt", &["-r", "-m", "one"]));
    let mut subscriber = directory
        .client("sub", port, "ca.crt")
        .args(["-t", "t", "-C", "3"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut heard = BufReader::new(subscriber.stdout.take().expect("piped"));
    assert_eq!(line(&mut heard), "one\n");

    // A key that is none: everything before stays in force, and the log names the file.
    fs::write(directory.at("server.key"), "no key").expect("written");
    broker.hang_up();
    let told = broker.wait_for("certificates not reloaded");
    assert!(told.contains("server.key"), "{told}");
    assert!(directory.publish(port, "ca.crt", &["-m", "two"]));
    assert_eq!(line(&mut heard), "two\n");

    // Another authority, which signs all the others anew.
    fs::copy(directory.at("ca.crt"), directory.at("old.crt")).expect("copied");
    assert!(
        directory
            .certs(&["--client", "ann", "--force"])
            .status
            .success()
    );
    assert!(!directory.publish(port, "ca.crt", &["-m", "too early"]));
    broker.hang_up();
    broker.wait_for("certificates reloaded");
    assert!(!directory.publish(port, "old.crt", &["-m", "too late"]));
    assert!(directory.publish(port, "ca.crt", &["-m", "three"]));
    assert_eq!(line(&mut heard), "three\n");
    assert!(subscriber.wait().expect("ends").success());
}

#[test]
fn files_that_change_are_read_again_without_a_word() {
    let directory = Directory::new("watch");
    assert!(directory.certs(&["--client", "ann"]).status.success());
    let broker = Broker::start(&directory.0, "100ms");
    assert!(
        directory
            .certs(&["--client", "ann", "--force"])
            .status
            .success()
    );
    broker.wait_for("certificates reloaded");
    assert!(directory.publish(broker.port, "ca.crt", &["-m", "x"]));
    fs::remove_file(directory.at("ca.crt")).expect("removed");
    let told = broker.wait_for("certificates not reloaded");
    assert!(told.contains("ca.crt"), "{told}");
}
