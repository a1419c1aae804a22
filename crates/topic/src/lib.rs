#![doc = include_str!("../README.md")]
#![no_std]
#![warn(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod arena;
mod error;
mod filter;
mod group;
mod hash;
mod limits;
mod matching;
mod name;
mod pages;
mod retained;
mod rewrite;
#[cfg(feature = "std")]
mod shared;
mod subscriptions;
mod table;
mod text;
mod verdict;

pub use error::TopicError;
pub use filter::{SharedFilter, TopicFilter, TopicFilterBuf};
pub use group::{Availability, Choice, GroupId, GroupTag, SharedGroup};
pub use limits::{CharacterPolicy, TopicLimits};
pub use matching::matches;
pub use name::{Levels, TopicName, TopicNameBuf};
pub use retained::{Cursor, RetainedIndex};
pub use rewrite::{Bound, RewriteError, TopicRewrite};
#[cfg(feature = "std")]
pub use shared::{ReadGuard, Shared, Versioned, WriteGuard};
pub use subscriptions::{Match, SubscriptionIndex};
pub use verdict::Verdict;
