//! Properties of MQTT 5.0, kept as the bytes they travel in.

mod block;
mod builder;
mod getters;
mod id;
mod scope;
mod value;

pub use block::{Presence, Properties, PropertiesIter};
pub use builder::PropertiesBuilder;
pub use id::PropertyId;
pub use scope::PropertyScope;
pub use value::Property;
