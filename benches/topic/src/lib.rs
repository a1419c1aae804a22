//! The loads that the benches of `mqttstack-topic` and the comparison with other crates share.

pub mod load;
