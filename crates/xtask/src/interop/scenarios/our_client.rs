//! Our own `pub` and `sub`: over every transport, against both brokers, and what they say in vain.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::Test;
use super::ways::EVERY_WAY;
use crate::interop::way::{Door, Way};
use crate::interop::{Stage, Version, WAIT};
use crate::process::{Guarded, lines, run_to_end};

/// More than a read, a frame or a buffer takes; mosquitto sends 40 KiB a second over WebSockets.
const LARGE: usize = 100 * 1024;

pub(super) fn tests() -> Vec<Test> {
    // v5 MQTT-4.2.0-1; v3.1.1 MQTT-7.1.2-1
    let mut tests = Vec::new();
    for way in Way::WORKING {
        for version in Version::ALL {
            for is_mosquitto in [false, true] {
                let broker = if is_mosquitto {
                    "mosquitto"
                } else {
                    "the broker"
                };
                let test = Test::new(
                    format!("our client over {way} to {broker}: {version}"),
                    move |stage| exchange(stage, way, version),
                )
                .with(EVERY_WAY);
                tests.push(if is_mosquitto {
                    test.against_mosquitto()
                } else {
                    test
                });
            }
        }
    }
    for is_mosquitto in [false, true] {
        let broker = if is_mosquitto {
            "mosquitto"
        } else {
            "the broker"
        };
        let test =
            Test::new(format!("our client is refused by {broker}"), refusals).with(EVERY_WAY);
        tests.push(if is_mosquitto {
            test.against_mosquitto()
        } else {
            test
        });
    }
    tests
}

/// The options that lead through `door`, with everything that it takes to get in.
fn leading(door: &Door, way: Way) -> Vec<OsString> {
    let mut options: Vec<OsString> = match (&door.socket, way) {
        (Some(socket), _) => vec!["--unix".into(), socket.into()],
        (None, Way::Ws | Way::Wss) => {
            let scheme = if way == Way::Wss { "wss" } else { "ws" };
            vec![
                "-L".into(),
                format!("{scheme}://{}:{}/mqtt", door.host, door.port).into(),
            ]
        }
        (None, _) => vec![
            "-h".into(),
            (&door.host).into(),
            "-p".into(),
            door.port.to_string().into(),
        ],
    };
    for (name, file) in [
        ("--cafile", &door.cafile),
        ("--cert", &door.cert),
        ("--key", &door.key),
    ] {
        if let Some(file) = file {
            options.extend([name.into(), file.into()]);
        }
    }
    options
}

/// A retained message, which is there when the subscription is made, then others while it lasts.
fn exchange(stage: &mut Stage<'_>, way: Way, version: Version) -> Result<()> {
    let door = stage.door(way)?;
    let client = |name: &str, arguments: &[&str]| {
        let mut command = Command::new(stage.binary());
        command.arg(name).args(leading(&door, way));
        command.args(["-V", version.name()]).args(arguments);
        command
    };
    let publish = |arguments: &[&str]| -> Result<()> {
        let end = run_to_end(&mut client("pub", arguments), WAIT)?;
        ensure!(end.status.success(), "pub: {}: {}", end.status, end.text);
        Ok(())
    };
    publish(&["-t", "our/first", "-m", "kept", "-r", "-q", "1"])?;
    let mut command = client(
        "sub",
        &["-t", "our/#", "-q", "2", "-C", "5", "-F", "%t %q %r %l"],
    );
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = Guarded::spawn(&mut command)?;
    let printed = lines(process.stdout.take().context("output is not piped")?);
    let complaints = lines(process.stderr.take().context("errors are not piped")?);
    let expect = |expected: &str| -> Result<()> {
        let line = printed.recv_timeout(WAIT).map_err(|_| {
            let complaints: Vec<String> = complaints.try_iter().collect();
            anyhow::anyhow!("no {expected}: {}", complaints.join("; "))
        })?;
        ensure!(line == expected, "expected {expected}, got {line}");
        Ok(())
    };
    expect("our/first 1 1 4")?;
    for qos in ["0", "1", "2"] {
        publish(&["-t", "our/next", "-m", "some", "-q", qos])?;
        expect(&format!("our/next {qos} 0 4"))?;
    }
    let large = super::pattern_file(stage, LARGE)?;
    let file = large.to_str().context("the path is text")?;
    publish(&["-t", "our/large", "-f", file, "-q", "1"])?;
    expect(&format!("our/large 1 0 {LARGE}"))?;
    let status = process.wait_for(WAIT)?;
    ensure!(status.success(), "sub: {status}");
    Ok(())
}

/// Each mistake has its exit code, and says what is wrong.
fn refusals(stage: &mut Stage<'_>) -> Result<()> {
    let certificates = stage.doors()?.certificates.clone();
    let ca = certificates.authority_file();
    let stranger = certificates.stranger_file();
    let client = certificates.client();
    let missing = Path::new("/no/such/file");
    let url = |scheme: &str, way: Way| -> Result<OsString> {
        let port = stage.door(way)?.port;
        Ok(format!("{scheme}://127.0.0.1:{port}").into())
    };
    let cafile = |file: &Path| -> Vec<OsString> { vec!["--cafile".into(), file.into()] };
    let cases: [(OsString, Vec<OsString>, i32, &str); 13] = [
        (
            url("mqtts", Way::Tls)?,
            cafile(&stranger),
            2,
            "not signed by a trusted authority",
        ),
        (
            url("wss", Way::Wss)?,
            cafile(&stranger),
            2,
            "not signed by a trusted authority",
        ),
        (
            url("mqtts", Way::Tls)?,
            Vec::new(),
            2,
            "not signed by a trusted authority",
        ),
        (url("mqtts", Way::Expired)?, cafile(&ca), 2, "has expired"),
        (
            url("mqtts", Way::Elsewhere)?,
            cafile(&ca),
            2,
            "not valid for `127.0.0.1`",
        ),
        (
            url("mqtts", Way::Tls)?,
            [cafile(&ca), vec!["--servername".into(), "other".into()]].concat(),
            2,
            "not valid for `other`",
        ),
        (
            url("mqtts", Way::Mutual)?,
            cafile(&ca),
            2,
            "the client has no certificate",
        ),
        (
            url("mqtts", Way::Tcp)?,
            cafile(&ca),
            2,
            "it may not speak TLS",
        ),
        (url("mqtt", Way::Tls)?, Vec::new(), 2, "TLS"),
        (url("ws", Way::Wss)?, Vec::new(), 2, "speak"),
        (
            url("mqtts", Way::Tls)?,
            cafile(missing),
            1,
            "cannot read /no/such/file",
        ),
        (
            url("mqtt", Way::Tcp)?,
            cafile(&ca),
            1,
            "the URL is not one of mqtts://",
        ),
        (
            url("mqtts", Way::Tls)?,
            [cafile(&ca), vec!["--cert".into(), client.chain.into()]].concat(),
            1,
            "--key",
        ),
    ];
    for (url, arguments, code, message) in cases {
        let mut command = Command::new(stage.binary());
        command.args(["pub", "-t", "a", "-m", "b", "-L"]);
        command.arg(url).args(arguments);
        let end = run_to_end(&mut command, WAIT)?;
        ensure!(
            end.status.code() == Some(code) && end.text.contains(message),
            "{}: expected code {code} and `{message}`, got {} and {}",
            crate::process::describe(&command),
            end.status,
            end.text
        );
    }
    // What nobody checks lets anything pass.
    for way in [Way::Tls, Way::Expired, Way::Elsewhere] {
        let mut command = Command::new(stage.binary());
        command.args(["pub", "-t", "a", "-m", "b", "-q", "1", "--insecure", "-L"]);
        command.arg(url("mqtts", way)?);
        let end = run_to_end(&mut command, WAIT)?;
        ensure!(end.status.success(), "--insecure over {way}: {}", end.text);
    }
    Ok(())
}
