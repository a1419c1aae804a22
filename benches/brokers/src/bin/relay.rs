//! The floor: moves the bytes of publishers to subscribers without a look at them.
//!
//! Only the first packets of a connection are read, to learn who belongs to whom: a SUBSCRIBE makes a
//! subscriber of its filter, a PUBLISH a publisher to the subscribers of its topic. From there on
//! bytes are bytes, acknowledgements included. What every broker has to do is then what this does:
//! the system calls, batched as well as they can be.
//!
//! `relay PORT` for pairs and fan-out; `relay PORT frames` where several publishers share a
//! subscriber: whole packets, all as long as the first, are kept together.

use std::{
    collections::{HashMap, VecDeque},
    env,
    io::{self, Read, Write},
    net::Ipv4Addr,
};

use anyhow::{Context, Result};
use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use mqttstack_codec::{Decoder, Packet, ProtocolVersion};

const LISTENER: Token = Token(usize::MAX);
const READ_BYTES: usize = 256 * 1024;
/// From here on, bytes go straight from one socket to the other.
const DIRECT_BYTES_MIN: usize = 16 * 1024;
const ACK_BYTES: usize = 4;

#[derive(Default)]
enum Role {
    #[default]
    Unknown,
    Subscriber {
        /// To whom answers go: so many bytes to each. Empty if there is one publisher alone.
        owed: VecDeque<(usize, usize)>,
        /// The publisher whose answers these are.
        publisher: Option<usize>,
    },
    Publisher {
        subscribers: Vec<usize>,
        /// How long a packet is.
        frame: usize,
        /// The beginning of one.
        part: Vec<u8>,
    },
}

struct Connection {
    socket: TcpStream,
    role: Role,
    output: Vec<u8>,
    is_dirty: bool,
}

struct Relay {
    keeps_frames: bool,
    connections: Vec<Option<Connection>>,
    subscribers: HashMap<String, Vec<usize>>,
    dirty: Vec<usize>,
}

fn main() -> Result<()> {
    let arguments: Vec<_> = env::args().collect();
    let port = arguments.get(1).context("relay PORT [frames]")?.parse()?;
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port).into())?;
    let registry = poll.registry().try_clone()?;
    registry.register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut relay = Relay {
        keeps_frames: arguments.get(2).is_some_and(|word| word == "frames"),
        connections: Vec::new(),
        subscribers: HashMap::new(),
        dirty: Vec::new(),
    };
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut socket, _)) = listener.accept() {
                    socket.set_nodelay(true)?;
                    let token = Token(relay.connections.len());
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    registry.register(&mut socket, token, interest)?;
                    relay.connections.push(Some(Connection {
                        socket,
                        role: Role::Unknown,
                        output: Vec::new(),
                        is_dirty: false,
                    }));
                }
                continue;
            }
            let Token(id) = event.token();
            if event.is_writable() {
                relay.mark_dirty(id);
            }
            relay.read(id, &mut buffer);
        }
        for id in std::mem::take(&mut relay.dirty) {
            relay.flush(id);
        }
    }
}

impl Relay {
    fn mark_dirty(&mut self, id: usize) {
        if let Some(Some(connection)) = self.connections.get_mut(id)
            && !connection.output.is_empty()
            && !std::mem::replace(&mut connection.is_dirty, true)
        {
            self.dirty.push(id);
        }
    }

    fn read(&mut self, id: usize, buffer: &mut [u8]) {
        loop {
            let Some(Some(connection)) = self.connections.get_mut(id) else {
                return;
            };
            match connection.socket.read(buffer) {
                // DISCONNECT, alone as it comes, is nobody else's.
                Ok(2) if buffer[..2] == [0xE0, 0] => self.connections[id] = None,
                Ok(0) => self.connections[id] = None,
                Ok(count) => {
                    self.take(id, &buffer[..count]);
                    if count < buffer.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.connections[id] = None,
            }
        }
    }

    fn take(&mut self, id: usize, bytes: &[u8]) {
        let Some(Some(connection)) = self.connections.get_mut(id) else {
            return;
        };
        let mut role = std::mem::take(&mut connection.role);
        match &mut role {
            Role::Unknown => role = self.learn(id, bytes),
            Role::Publisher {
                subscribers,
                frame,
                part,
            } => {
                if self.keeps_frames {
                    part.extend_from_slice(bytes);
                    let whole = part.len() / *frame * *frame;
                    for subscriber in &*subscribers {
                        self.owe(*subscriber, id, whole / *frame * ACK_BYTES);
                        self.send(*subscriber, &part[..whole]);
                    }
                    part.drain(..whole);
                } else {
                    for subscriber in &*subscribers {
                        self.send(*subscriber, bytes);
                    }
                }
            }
            Role::Subscriber { owed, publisher } => {
                let mut rest = bytes;
                while let Some((to, count)) = owed.front_mut() {
                    let (now, later) = rest.split_at(rest.len().min(*count));
                    let (to, left) = (*to, *count - now.len());
                    *count = left;
                    self.send(to, now);
                    rest = later;
                    if left > 0 {
                        break;
                    }
                    owed.pop_front();
                }
                if let (Some(publisher), false) = (publisher, rest.is_empty()) {
                    self.send(*publisher, rest);
                }
            }
        }
        if let Some(Some(connection)) = self.connections.get_mut(id) {
            connection.role = role;
        }
    }

    /// The first packets say what a connection is for.
    fn learn(&mut self, id: usize, bytes: &[u8]) -> Role {
        let decoder = Decoder::new().with_version(ProtocolVersion::V311);
        // The first message may be longer than what has come of it.
        if let Ok(Some((head, head_len))) = decoder.decode_publish_head_ref(bytes) {
            return self.learn_publisher(
                id,
                &head.publish.topic,
                head_len + head.payload_len,
                bytes,
            );
        }
        let Ok(Some((packet, _))) = decoder.decode_ref(bytes) else {
            return Role::Unknown;
        };
        if let Packet::Connect(_) = packet {
            self.send(id, &[0x20, 2, 0, 0]);
        } else if let Packet::Subscribe(subscribe) = packet {
            let [high, low] = subscribe.packet_id.get().to_be_bytes();
            for subscription in subscribe.filters.iter() {
                let list = self.subscribers.entry(subscription.filter.to_owned());
                list.or_default().push(id);
                let granted = subscription.options.qos.as_u8();
                self.send(id, &[0x90, 3, high, low, granted]);
            }
            return Role::Subscriber {
                owed: VecDeque::new(),
                publisher: None,
            };
        }
        Role::Unknown
    }

    fn learn_publisher(&mut self, id: usize, topic: &str, frame: usize, bytes: &[u8]) -> Role {
        let subscribers = self.subscribers.get(topic).cloned().unwrap_or_default();
        // Of many subscribers, the first one's acknowledgements stand for all.
        if let (Some(first), false) = (subscribers.first(), self.keeps_frames)
            && let Some(Some(Connection {
                role: Role::Subscriber { publisher, .. },
                ..
            })) = self.connections.get_mut(*first)
        {
            *publisher = Some(id);
        }
        let role = Role::Publisher {
            subscribers,
            frame,
            part: Vec::new(),
        };
        if let Some(Some(connection)) = self.connections.get_mut(id) {
            connection.role = role;
        }
        self.take(id, bytes);
        let connection = self.connections.get_mut(id).and_then(Option::as_mut);
        connection.map_or(Role::Unknown, |it| std::mem::take(&mut it.role))
    }

    /// Notes that answers of a subscriber belong to a publisher.
    fn owe(&mut self, subscriber: usize, publisher: usize, count: usize) {
        if let Some(Some(Connection {
            role: Role::Subscriber { owed, .. },
            ..
        })) = self.connections.get_mut(subscriber)
        {
            owed.push_back((publisher, count));
        }
    }

    fn send(&mut self, id: usize, mut bytes: &[u8]) {
        let Some(Some(connection)) = self.connections.get_mut(id) else {
            return;
        };
        if bytes.len() >= DIRECT_BYTES_MIN
            && connection.output.is_empty()
            && let Ok(count) = connection.socket.write(bytes)
        {
            bytes = &bytes[count..];
        }
        connection.output.extend_from_slice(bytes);
        self.mark_dirty(id);
    }

    fn flush(&mut self, id: usize) {
        let Some(Some(connection)) = self.connections.get_mut(id) else {
            return;
        };
        connection.is_dirty = false;
        let mut written = 0;
        while written < connection.output.len() {
            match connection.socket.write(&connection.output[written..]) {
                Ok(count) => written += count,
                // An event follows when there is room.
                Err(_) => break,
            }
        }
        connection.output.drain(..written);
    }
}
