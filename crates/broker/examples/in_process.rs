//! A client in the program of the broker, without a socket between them, and a clean shutdown:
//! `cargo run -p mqttstack-broker --example in_process`

use std::io::{Read, Write};

use bytes::BytesMut;
use mqttstack_broker::{
    Broker,
    codec::{
        Connect, Decoder, Packet, PacketId, Properties, ProtocolVersion, Publish, QoS, Subscribe,
        SubscribeFilters, Subscription,
    },
    transport::local::LocalStream,
};

/// Packets over a stream of bytes.
struct Client {
    stream: LocalStream,
    input: BytesMut,
}

impl Client {
    fn send(&mut self, packet: &Packet) -> Result<(), Box<dyn std::error::Error>> {
        let mut bytes = BytesMut::new();
        packet.encode(ProtocolVersion::V5, &mut bytes)?;
        Ok(self.stream.write_all(&bytes)?)
    }

    /// Returns the next packet, or `None` at the end of the stream.
    fn receive(&mut self) -> Result<Option<Packet>, Box<dyn std::error::Error>> {
        let decoder = Decoder::new().with_version(ProtocolVersion::V5);
        loop {
            if let Some(packet) = decoder.decode(&mut self.input)? {
                return Ok(Some(packet));
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer)? {
                0 => return Ok(None),
                count => self.input.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::builder().local_only().start()?;
    let mut client = Client {
        stream: broker.connect_local()?,
        input: BytesMut::new(),
    };
    client.send(&Packet::Connect(Connect::new(ProtocolVersion::V5, "me")))?;
    let filters = [Subscription::new("greetings/#", QoS::AtMostOnce)];
    client.send(&Packet::Subscribe(Subscribe {
        packet_id: PacketId::MIN,
        properties: Properties::empty(),
        filters: SubscribeFilters::new(filters)?,
    }))?;
    client.send(&Packet::Publish(Publish::new("greetings/world", "hello")))?;
    // The broker tells its clients that it stops, and waits until they know.
    let mut has_stopped = false;
    while let Some(packet) = client.receive()? {
        println!("{packet}");
        if matches!(packet, Packet::Publish(_)) && !has_stopped {
            broker.stop();
            has_stopped = true;
        }
    }
    broker.wait()?;
    Ok(())
}
