//! A real browser: Chromium without a window opens a page that uses MQTT.js over WebSockets.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;

use super::Test;
use super::ways::EVERY_WAY;
use crate::interop::way::Way;
use crate::interop::{LARGE_WAIT, Stage, WAIT};
use crate::process::{Guarded, lines, run_bounded};

pub(super) fn tests() -> Vec<Test> {
    let both = [Way::Ws, Way::Wss];
    both.into_iter()
        .map(|way| {
            Test::new(
                format!("a page in Chromium with MQTT.js over {way}"),
                move |stage| page(stage, way),
            )
            .with(EVERY_WAY)
        })
        .collect()
}

/// What the page reports; `interop/browser.html` writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    agent: String,
    seen: Vec<Visit>,
}

/// One connection of the page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Visit {
    url: String,
    level: u8,
    subprotocol: Option<String>,
    granted: Option<Vec<u8>>,
    messages: Vec<(String, u8, String)>,
    error: Option<String>,
}

fn page(stage: &mut Stage<'_>, way: Way) -> Result<()> {
    let door = stage.door(way)?;
    let scheme = if way == Way::Wss { "wss" } else { "ws" };
    let (port, reports) = serve(stage)?;
    let address = format!(
        "http://localhost:{port}/?url={scheme}://localhost:{}/mqtt",
        door.port
    );
    let mut command = Command::new("chromium");
    command.args([
        "--headless",
        "--no-sandbox", // There is none for root, and the page is ours.
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-extensions",
        "--disable-component-update",
        "--disable-background-networking",
        "--no-first-run",
        "--enable-logging=stderr",
    ]);
    command.arg(format!(
        "--user-data-dir={}",
        stage.folder().join("profile").display()
    ));
    if way == Way::Wss {
        // The browser trusts this key and no other that its system does not know.
        let key = key_hash(stage)?;
        command.arg(format!("--ignore-certificate-errors-spki-list={key}"));
    }
    command
        .arg(address)
        .env("HOME", stage.folder())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut browser = Guarded::spawn(&mut command)?;
    let complaints = lines(browser.stderr.take().context("errors are not piped")?);
    let report = reports.recv_timeout(LARGE_WAIT).map_err(|_| {
        let complaints: Vec<String> = complaints.try_iter().collect();
        anyhow!("the page does not report: {}", complaints.join("\n"))
    })?;
    browser.signal("TERM")?; // So that it ends its own processes.
    browser.wait_for(WAIT)?;
    check(&report)
}

fn check(report: &str) -> Result<()> {
    let parsed: Report = serde_json::from_str(report).with_context(|| report.to_owned())?;
    ensure!(
        parsed.agent.contains("Chrome/"),
        "that was no Chromium but {}",
        parsed.agent
    );
    ensure!(
        parsed.seen.len() == 3,
        "not every version was tried: {report}"
    );
    for visit in parsed.seen {
        let ok = visit.error.is_none() && visit.granted == Some(vec![2]);
        ensure!(ok, "{} at level {}: {visit:?}", visit.url, visit.level);
        let due = if visit.level == 3 { "mqttv3.1" } else { "mqtt" };
        ensure!(
            visit.subprotocol.as_deref() == Some(due),
            "another subprotocol than {due}: {report}"
        );
        let expected = [
            ("page/a", 0, "QoS 0"),
            ("page/a", 1, "QoS 1"),
            ("page/a", 2, "QoS 2"),
            ("page/large", 1, "300000 bytes"),
        ];
        // The exchange of QoS 2 takes longer than that of the message behind it.
        let mut messages = visit.messages;
        messages.sort();
        let expected = expected.map(|(topic, qos, text)| (topic.to_owned(), qos, text.to_owned()));
        ensure!(messages == expected, "the page got {messages:?}");
    }
    Ok(())
}

/// The hash of the key of the broker's certificate, as Chromium takes it.
fn key_hash(stage: &Stage<'_>) -> Result<String> {
    let chain = stage.doors()?.certificates.server().chain;
    let script = "openssl x509 -in \"$0\" -pubkey -noout | openssl pkey -pubin -outform der \
                  | openssl dgst -sha256 -binary | openssl base64";
    let output = run_bounded(Command::new("sh").args(["-c", script]).arg(chain), WAIT)?;
    Ok(String::from_utf8(output)?.trim().to_owned())
}

/// Serves the page, its library, and a place to report to, for as long as somebody listens.
fn serve(stage: &Stage<'_>) -> Result<(u16, Receiver<String>)> {
    let page = fs::read(stage.programs().join("browser.html")).context("reading the page")?;
    let library = stage
        .installed()
        .join("node/node_modules/mqtt/dist/mqtt.min.js");
    let library = fs::read(library).context("reading MQTT.js")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let (reports, receiver) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A browser opens connections on suspicion; one that says nothing holds up no other.
            let (page, library, reports) = (page.clone(), library.clone(), reports.clone());
            thread::spawn(move || answer(stream, &page, &library, &reports));
        }
    });
    Ok((port, receiver))
}

fn answer(
    stream: TcpStream,
    page: &[u8],
    library: &[u8],
    reports: &Sender<String>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(LARGE_WAIT))?;
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let target = request.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();
    let (status, kind, body) = match path {
        "/" => ("200 OK", "text/html", page),
        "/mqtt.js" => ("200 OK", "text/javascript", library),
        "/report" => {
            let mut report = String::new();
            reader.by_ref().take(length).read_to_string(&mut report)?;
            // Nobody waits for a second one.
            let _ = reports.send(report);
            ("200 OK", "text/plain", &b""[..])
        }
        _ => ("404 Not Found", "text/plain", &b""[..]),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = reader.into_inner();
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}
