//! The filters of a session in numbers: what they are limited by, count as in memory, and cost to
//! remove.

use mqttstack_topic::TopicFilter;

use super::memory::{FILTER_LEVEL_BYTES, SUBSCRIPTION_BYTES};

/// What is known of the filters of a session without asking the index. There is one for each session,
/// so it is small: no session has four gigabytes of filters.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Filters {
    pub(super) count: u32,
    /// How many of them are shared.
    pub(super) shared_count: u32,
    /// Their bytes.
    bytes: u32,
    /// The levels of those that have wildcards: each may be a node of the index.
    levels: u32,
}

impl Filters {
    /// Counts a filter that is new.
    pub(super) fn add(&mut self, filter: &TopicFilter<'_>) {
        let one = Self::of(filter);
        self.count = self.count.saturating_add(one.count);
        self.shared_count = self.shared_count.saturating_add(one.shared_count);
        self.bytes = self.bytes.saturating_add(one.bytes);
        self.levels = self.levels.saturating_add(one.levels);
    }

    /// Counts a filter no more.
    pub(super) fn remove(&mut self, filter: &TopicFilter<'_>) {
        let one = Self::of(filter);
        self.count = self.count.saturating_sub(one.count);
        self.shared_count = self.shared_count.saturating_sub(one.shared_count);
        self.bytes = self.bytes.saturating_sub(one.bytes);
        self.levels = self.levels.saturating_sub(one.levels);
    }

    fn of(filter: &TopicFilter<'_>) -> Self {
        let levels = match filter.has_wildcards() {
            true => filter.level_count(),
            false => 0,
        };
        Self {
            count: 1,
            shared_count: u32::from(filter.shared_group().is_some()),
            bytes: bytes_of(filter),
            levels: levels.into(),
        }
    }

    /// Returns how many bytes they would have together with one more; more than can be are too many.
    pub(super) fn bytes_with(&self, filter: &TopicFilter<'_>) -> u64 {
        self.bytes
            .checked_add(bytes_of(filter))
            .map_or(u64::MAX, u64::from)
    }

    /// Returns what they count as in the memory of all.
    pub(super) fn counted_bytes(&self) -> u64 {
        SUBSCRIPTION_BYTES
            .saturating_mul(self.count.into())
            .saturating_add(self.bytes.into())
            .saturating_add(FILTER_LEVEL_BYTES.saturating_mul(self.levels.into()))
    }

    /// Returns how many steps it takes to remove one of them from the index, on the average.
    pub(super) fn mean_steps(&self) -> u64 {
        let levels = self.levels.checked_div(self.count).unwrap_or_default();
        u64::from(levels).saturating_add(1)
    }
}

fn bytes_of(filter: &TopicFilter<'_>) -> u32 {
    u32::try_from(filter.as_str().len()).unwrap_or(u32::MAX)
}
