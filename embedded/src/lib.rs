//! What the measured programs share: the wire, and a client of QoS 0 and 1 on the borrowed face of
//! the codec, without an allocator.

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod client;
mod conversation;
mod wire;

pub use client::{Client, Step};
pub use conversation::converse;
pub use wire::{Wire, halt};
