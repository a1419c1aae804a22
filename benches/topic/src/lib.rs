//! The loads that the benches of `mqttstack-topic` share, and what they measure with.

pub mod load;
pub mod measure;
