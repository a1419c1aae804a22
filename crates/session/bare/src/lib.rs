//! The loop of the example `bare` of `mqttstack-session`, to be built for a microcontroller.
#![no_std]

extern crate alloc;

#[path = "../../examples/bare/driver.rs"]
mod driver;

pub use driver::{Driver, DriverError, Line};
