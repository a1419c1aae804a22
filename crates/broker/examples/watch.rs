//! Hears who comes, what they say, and who goes:
//! `cargo run -p mqttstack-broker --example watch -- 127.0.0.1:1883`

use mqttstack_broker::{
    Broker,
    core::{Access, Client, Peer},
    session::{Message, server::EndCause},
};

struct Watch;

impl Access for Watch {
    fn on_connect(&mut self, client: &Client<'_>, peer: &Peer, session_present: bool) {
        let what = if session_present { "is back" } else { "is new" };
        println!("{:?} {what}, from {peer}", client.client_id);
    }

    fn on_publish(&mut self, client: &Client<'_>, message: &Message) {
        let (topic, len) = (message.topic(), message.payload().len());
        println!("{:?} says {len} bytes about {topic:?}", client.client_id);
    }

    fn on_disconnect(&mut self, client: &Client<'_>, cause: &EndCause) {
        println!("{:?} is gone: {cause:?}", client.client_id);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:1883".to_owned());
    let broker = Broker::builder()
        .listen(address.parse()?)
        .access(|| Box::new(Watch))
        .start()?;
    broker.wait()?;
    Ok(())
}
