//! Bad input over real sockets: the answer that the standard names, or a close; and all others carry
//! on. Each class of bug has its letter and number, which begin the names of its tests;
//! `docs/security.md` tells what the classes are and which limit holds against each.

#[path = "../common/mod.rs"]
mod common;
mod encryption;
mod endings;
mod framing;
mod numbers;
mod packets;
mod races;
mod readers;
mod resources;
mod retained;
mod stage;
mod topics;
