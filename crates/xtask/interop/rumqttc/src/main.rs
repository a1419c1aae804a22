//! Drives one rumqttc client: orders on standard input, events on standard output.
//!
//! Both are JSON objects, one a line; `src/interop/peer/agent.rs` of xtask writes and reads them. The
//! end of standard input means: disconnect in order and end. Wills and properties are not its part.

use std::io::{self, BufRead, Write};
use std::{fs, thread};

use serde::Deserialize;
use serde_json::{Value, json};

/// What the program is told.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Order {
    Connect {
        host: String,
        port: u16,
        level: u8,
        client_id: String,
        clean: bool,
    },
    Subscribe {
        filters: Vec<String>,
        qos: u8,
    },
    Publish {
        topic: String,
        payload: Option<String>,
        payload_file: Option<String>,
        qos: u8,
        retain: bool,
    },
}

/// A connected client of either version.
enum Client {
    V4(rumqttc::Client),
    V5(rumqttc::v5::Client),
}

const KEEP_ALIVE: std::time::Duration = std::time::Duration::from_secs(60);
const PACKET_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What is larger goes into a file.
const LARGE: usize = 64 * 1024;

fn main() {
    let mut client = None;
    let mut driver = None;
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        match serde_json::from_str(&line) {
            Ok(Order::Connect {
                host,
                port,
                level,
                client_id,
                clean,
            }) => {
                let (new, thread) = if level == 5 {
                    connect_v5(&client_id, &host, port, clean)
                } else {
                    connect_v4(&client_id, &host, port, clean)
                };
                client = Some(new);
                driver = Some(thread);
            }
            Ok(order) => {
                if let Err(error) = obey(client.as_ref(), order) {
                    fail(&error);
                }
            }
            Err(error) => fail(&error.to_string()),
        }
    }
    let left = match &client {
        Some(Client::V4(client)) => client.disconnect().is_ok(),
        Some(Client::V5(client)) => client.disconnect().is_ok(),
        None => false,
    };
    if let (true, Some(driver)) = (left, driver) {
        let _ = driver.join();
    }
}

fn emit(event: &Value) {
    let mut output = io::stdout().lock();
    // Nobody to tell is nobody to complain to.
    let _ = writeln!(output, "{event}");
    let _ = output.flush();
}

fn fail(what: &str) {
    emit(&json!({ "event": "failed", "what": what }));
}

fn obey(client: Option<&Client>, order: Order) -> Result<(), String> {
    let client = client.ok_or("not connected")?;
    match order {
        Order::Connect { .. } => Ok(()),
        Order::Subscribe { filters, qos } => {
            for filter in filters {
                match client {
                    Client::V4(client) => {
                        let qos = rumqttc::qos(qos).map_err(|error| error.to_string())?;
                        client
                            .subscribe(filter, qos)
                            .map_err(|error| error.to_string())?;
                    }
                    Client::V5(client) => {
                        client
                            .subscribe(filter, qos_v5(qos))
                            .map_err(|error| error.to_string())?;
                    }
                }
            }
            Ok(())
        }
        Order::Publish {
            topic,
            payload,
            payload_file,
            qos,
            retain,
        } => {
            let payload = match payload_file {
                Some(file) => fs::read(file).map_err(|error| error.to_string())?,
                None => unhex(&payload.unwrap_or_default())?,
            };
            match client {
                Client::V4(client) => {
                    let qos = rumqttc::qos(qos).map_err(|error| error.to_string())?;
                    let published = client.publish(topic, qos, retain, payload);
                    published.map_err(|error| error.to_string())
                }
                Client::V5(client) => {
                    let published = client.publish(topic, qos_v5(qos), retain, payload);
                    published.map_err(|error| error.to_string())
                }
            }
        }
    }
}

fn connect_v4(id: &str, host: &str, port: u16, clean: bool) -> (Client, thread::JoinHandle<()>) {
    use rumqttc::{Event, Incoming, MqttOptions, Outgoing, SubscribeReasonCode};
    let mut options = MqttOptions::new(id, host, port);
    options.set_keep_alive(KEEP_ALIVE);
    options.set_clean_session(clean);
    options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
    let (client, mut connection) = rumqttc::Client::new(options, 16);
    let driver = thread::spawn(move || {
        for event in connection.iter() {
            match event {
                Ok(Event::Incoming(Incoming::ConnAck(connack))) => {
                    connected(connack.session_present)
                }
                Ok(Event::Incoming(Incoming::SubAck(suback))) => {
                    let codes = suback.return_codes.iter().map(|code| match code {
                        SubscribeReasonCode::Success(qos) => *qos as u8,
                        SubscribeReasonCode::Failure => 0x80,
                    });
                    subscribed(codes.collect());
                }
                Ok(Event::Incoming(Incoming::Publish(publish))) => {
                    let qos = publish.qos as u8;
                    message(&publish.topic, &publish.payload, qos, publish.retain);
                }
                // Identifier 0 is that of QoS 0: nothing will answer it.
                Ok(Event::Outgoing(Outgoing::Publish(0)))
                | Ok(Event::Incoming(Incoming::PubAck(_) | Incoming::PubComp(_))) => published(),
                Ok(Event::Outgoing(Outgoing::Disconnect)) => return,
                Ok(_) => {}
                Err(error) => return fail(&error.to_string()),
            }
        }
    });
    (Client::V4(client), driver)
}

fn connect_v5(id: &str, host: &str, port: u16, clean: bool) -> (Client, thread::JoinHandle<()>) {
    use rumqttc::Outgoing;
    use rumqttc::v5::{Event, Incoming, MqttOptions, mqttbytes::v5::SubscribeReasonCode};
    let mut options = MqttOptions::new(id, host, port);
    options.set_keep_alive(KEEP_ALIVE);
    options.set_clean_start(clean);
    if !clean {
        options.set_session_expiry_interval(Some(3600));
    }
    options.set_max_packet_size(u32::try_from(PACKET_BYTES_MAX).ok());
    let (client, mut connection) = rumqttc::v5::Client::new(options, 16);
    let driver = thread::spawn(move || {
        for event in connection.iter() {
            match event {
                Ok(Event::Incoming(Incoming::ConnAck(connack))) => {
                    connected(connack.session_present)
                }
                Ok(Event::Incoming(Incoming::SubAck(suback))) => {
                    let codes = suback.return_codes.iter().map(|code| match code {
                        SubscribeReasonCode::Success(qos) => *qos as u8,
                        _ => 0x80,
                    });
                    subscribed(codes.collect());
                }
                Ok(Event::Incoming(Incoming::Publish(publish))) => {
                    let topic = String::from_utf8_lossy(&publish.topic);
                    message(&topic, &publish.payload, publish.qos as u8, publish.retain);
                }
                // Identifier 0 is that of QoS 0: nothing will answer it.
                Ok(Event::Outgoing(Outgoing::Publish(0)))
                | Ok(Event::Incoming(Incoming::PubAck(_) | Incoming::PubComp(_))) => published(),
                Ok(Event::Outgoing(Outgoing::Disconnect)) => return,
                Ok(_) => {}
                Err(error) => return fail(&error.to_string()),
            }
        }
    });
    (Client::V5(client), driver)
}

fn qos_v5(qos: u8) -> rumqttc::v5::mqttbytes::QoS {
    rumqttc::v5::mqttbytes::qos(qos).unwrap_or(rumqttc::v5::mqttbytes::QoS::AtMostOnce)
}

fn connected(session_present: bool) {
    emit(&json!({ "event": "connected", "session_present": session_present }));
}

fn subscribed(codes: Vec<u8>) {
    emit(&json!({ "event": "subscribed", "codes": codes }));
}

fn published() {
    emit(&json!({ "event": "published" }));
}

fn message(topic: &str, payload: &[u8], qos: u8, retain: bool) {
    let mut event = json!({ "event": "message", "topic": topic, "qos": qos, "retain": retain });
    if payload.len() > LARGE {
        let file = std::env::current_dir()
            .unwrap_or_default()
            .join("rumqttc-received");
        if let Err(error) = fs::write(&file, payload) {
            return fail(&error.to_string());
        }
        event["payload_file"] = json!(file);
    } else {
        let text: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
        event["payload"] = json!(text);
    }
    emit(&event);
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    };
    let bytes: Option<Vec<u8>> = digits.map(byte).collect();
    bytes.ok_or_else(|| "the payload is not hexadecimal".into())
}
