//! For tests: sessions driven by scripts, so that a test reads as the exchange it is about.

mod notation;
mod script;

pub(crate) use self::{
    notation::{connect, hex_code, id, message, packet, properties},
    script::{Script, Subject, at, run, variant},
};
