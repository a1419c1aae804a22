//! A broker inside another program: `cargo run -p mqttstack-broker --example embedded -- 127.0.0.1:1883`

use mqttstack_broker::Broker;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:1883".to_owned());
    let broker = Broker::builder().listen(address.parse()?).start()?;
    for address in broker.local_addresses() {
        eprintln!("listening on {address}");
    }
    broker.wait()?;
    Ok(())
}
