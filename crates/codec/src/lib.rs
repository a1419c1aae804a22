#![doc = include_str!("../README.md")]
#![no_std]
#![warn(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod decode;
#[cfg(feature = "defmt")]
mod defmt_form;
mod direction;
mod encode;
mod error;
mod packet;
mod packet_id;
mod property;
mod qos;
mod reason_code;
#[cfg(feature = "serde")]
mod serde_form;
mod storage;
mod text;
mod utf8;
mod version;

pub use decode::{Decoder, Frame, FrameHeader, PublishHead};
#[cfg(feature = "alloc")]
pub use decode::{StreamDecoder, StreamItem};
pub use direction::Sender;
pub use encode::{PublishParts, Sink, SliceSink};
pub use error::{DecodeError, EncodeError, PropertyError};
pub use packet::{
    Ack, Auth, ConnAck, Connect, Delivery, Disconnect, Packet, PacketRef, PacketType, Publish,
    ReasonCodes, RetainHandling, SubAck, Subscribe, SubscribeFilters, SubscribeFiltersIter,
    Subscription, SubscriptionOptions, UnsubAck, Unsubscribe, UnsubscribeFilters,
    UnsubscribeFiltersIter, Will,
};
pub use packet_id::PacketId;
pub use property::{
    Presence, Properties, PropertiesBuilder, PropertiesIter, Property, PropertyId, PropertyScope,
};
pub use qos::QoS;
pub use reason_code::ReasonCode;
#[cfg(feature = "alloc")]
pub use storage::Shared;
pub use storage::{Borrowed, DefaultStorage, Storage};
pub use text::validate_topic_name;
#[cfg(feature = "alloc")]
pub use utf8::Utf8Bytes;
pub use utf8::Utf8Slice;
pub use version::ProtocolVersion;
