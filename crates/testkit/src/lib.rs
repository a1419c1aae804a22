#![doc = include_str!("../README.md")]

mod chance;
mod hub;
mod ledger;
mod link;
mod model;
mod network;
mod pair;
mod shrink;
mod station;
mod store;
mod world;

pub use chance::{Chance, Seed};
pub use hub::Hub;
pub use ledger::SendLedger;
pub use link::{Arrival, Direction, Link, LinkConditions, LinkError};
pub use model::{Copy, Granted, Model, Publication, Routed};
pub use network::{Contents, LinkId, Network, NetworkConditions, Observation, Restored};
pub use pair::{Pair, PairSettings, Side, message};
pub use shrink::shrink;
pub use station::{Delivery, Patience, Station};
pub use store::Store;
pub use world::{Action, Body, Publish, Report, Violation, World, WorldSettings};

pub use mqttstack_broker as broker;
pub use mqttstack_client as client;
pub use mqttstack_codec as codec;
pub use mqttstack_limits as limits;
pub use mqttstack_session as session;
