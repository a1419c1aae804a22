//! Shared groups, and which member gets a message.

use core::{
    num::NonZeroU32,
    sync::atomic::{AtomicUsize, Ordering},
};

mod runs;

use crate::{
    SharedFilter, TopicFilter, TopicFilterBuf,
    arena::Id,
    hash::{KeyedHash, scramble},
    subscriptions::Roster,
};
use runs::Runs;

/// The members of one `$share/{group}/{filter}`.
#[derive(Debug)]
pub(crate) struct Group<K, V> {
    /// The whole of it, parsed: whoever asks each time a message is handed on pays nothing for a long
    /// name of the group.
    whole: TopicFilterBuf,
    /// The filter that is shared.
    pub(crate) filter: Id,
    /// This group's place among the groups of its filter.
    pub(crate) place: usize,
    /// Tells this group from one that had the same id before.
    pub(crate) generation: u32,
    pub(crate) tag: GroupTag,
    members: Roster<K, V>,
    /// The places of the members that are marked as away.
    away: Runs,
    /// The place after the member chosen last. A hint: workers may overwrite each other's.
    turn: AtomicUsize,
}

impl<K: Copy + Ord, V> Group<K, V> {
    pub(crate) fn new(filter: &TopicFilter<'_>, filter_id: Id, generation: u32) -> Self {
        Self {
            whole: filter.to_owned(),
            filter: filter_id,
            place: 0,
            generation,
            tag: GroupTag::of(filter),
            members: Roster::new(),
            away: Runs::new(),
            turn: AtomicUsize::new(0),
        }
    }

    /// Adds a member, who is not away, or replaces its value and returns the old one.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.members.insert(key, value)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.members.place_of(key)?;
        let value = self.members.remove(key)?;
        // The last member has taken the place.
        self.away.remove(place);
        if self.away.remove(self.members.len()) {
            self.away.insert(place);
        }
        Some(value)
    }

    pub(crate) fn set_away(&mut self, key: &K, is_away: bool) {
        if let Some(place) = self.members.place_of(key) {
            if is_away {
                self.away.insert(place);
            } else {
                self.away.remove(place);
            }
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.members.get(key)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.members.len() == 0
    }
}

impl<K, V> Group<K, V> {
    pub(crate) fn as_filter(&self) -> TopicFilter<'_> {
        self.whole.as_filter()
    }
}

/// Names a group while it has members; a group that forms anew has another id.
///
/// [`SubscriptionIndex::group`](crate::SubscriptionIndex::group) finds the group by it. What is
/// kept for longer is kept with the [`GroupTag`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct GroupId {
    pub(crate) id: Id,
    pub(crate) generation: u32,
}

/// Recognises a group by its filter alone: the same in every index, whoever its members are, and
/// after a restart.
///
/// A message that waits for its acknowledgement keeps it: if the member's session ends first,
/// [`SubscriptionIndex::tagged`](crate::SubscriptionIndex::tagged) finds those who are left. Two
/// groups may have the same tag, by one chance in four thousand million or because somebody went
/// to the length of finding such names: hand nothing to a group whose filter does not match. Who can
/// still ask the lost member for [its groups](crate::SubscriptionIndex::groups_of) compares their tags
/// first, and looks among those of others only for a group that it had left.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct GroupTag(NonZeroU32);

impl GroupTag {
    /// Tags are stored, so this never changes.
    const HASH: KeyedHash = KeyedHash::new(0);

    fn of(filter: &TopicFilter<'_>) -> Self {
        let hash = Self::HASH.text(filter.as_str());
        Self(NonZeroU32::new(hash).unwrap_or(NonZeroU32::MIN))
    }

    /// Returns the tag that has this number, as a store gives it back.
    #[must_use]
    pub const fn new(number: NonZeroU32) -> Self {
        Self(number)
    }

    /// Returns the number of the tag.
    #[must_use]
    pub const fn get(self) -> NonZeroU32 {
        self.0
    }
}

/// A shared group of the index, of which one member gets each message.
///
/// # Specification
///
/// v5 MQTT-4.8.2-1, v5 MQTT-4.8.2-2 and §4.8.2.
#[derive(Debug)]
pub struct SharedGroup<'a, K, V> {
    pub(crate) id: GroupId,
    pub(crate) group: &'a Group<K, V>,
}

impl<K, V> Clone for SharedGroup<'_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for SharedGroup<'_, K, V> {}

/// How a member is chosen: of those who are here, and if none of them is ready, of those who are
/// marked as [away](crate::SubscriptionIndex::set_away).
///
/// Each time, at most 64 are asked of either sort, and 8 before them for [`Sticky`](Self::Sticky):
/// a choice costs no more in a group of a hundred thousand, of which all are away but one.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Choice {
    /// The one after the member chosen last.
    RoundRobin,
    /// The one with the least in flight; among equals, the one after the member chosen last.
    /// Of a group of more than 64 it compares 64, others each time.
    LeastInFlight,
    /// The same member for the same hash, of a publisher or of a topic, while it is ready. If a
    /// member joins or leaves, about one in `n` hashes moves.
    Sticky(u64),
    /// Any member; the number is the draw.
    Random(u64),
}

/// What the caller knows of a member when a message has to be given to one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Availability {
    /// Connected, with this many messages unacknowledged.
    Ready {
        /// Messages sent and not yet acknowledged.
        in_flight: u32,
    },
    /// Not connected or not taking more, but its session would keep the message. Chosen only if
    /// no member is ready.
    Queueing {
        /// Messages that wait already.
        queued: u32,
    },
    /// Not to be chosen.
    Unavailable,
}

impl<'a, K: Copy + Ord, V> SharedGroup<'a, K, V> {
    /// Returns what to keep in order to find this group again.
    #[must_use]
    pub const fn id(&self) -> GroupId {
        self.id
    }

    /// Returns what to keep in order to recognise this group for longer than it lives.
    #[must_use]
    pub const fn tag(&self) -> GroupTag {
        self.group.tag
    }

    /// Returns the filter with its `$share/{group}/`.
    #[must_use]
    pub fn filter(&self) -> TopicFilter<'a> {
        self.group.as_filter()
    }

    /// Returns the group name and the filter that is shared.
    #[must_use]
    pub fn shared(&self) -> SharedFilter<'a> {
        let filter = self.group.as_filter();
        filter.shared().unwrap_or(SharedFilter {
            group: "",
            filter: filter.filter(),
        })
    }

    /// Returns the number of members, at least 1.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a group without members is gone"
    )]
    pub const fn len(&self) -> usize {
        self.group.members.len()
    }

    /// Returns the members in the order of arrival; the last takes the place of one that left.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (K, &'a V)> {
        self.group.members.iter()
    }

    /// Returns a member's value.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&'a V> {
        self.group.members.get(key)
    }

    /// Returns the number of members that are marked as away.
    #[must_use]
    pub const fn away_count(&self) -> usize {
        self.group.away.len()
    }

    /// Chooses the member that gets a message, or nobody if none is available.
    ///
    /// A ready member comes before one whose session would queue, and one that is marked as
    /// [away](crate::SubscriptionIndex::set_away) is never ready. Mark those who are: among members
    /// that only `availability` tells to be away, the 64 that are asked may miss one that is ready.
    ///
    /// To hand over the messages of a member that is lost, or to try another for one that refused,
    /// say [`Unavailable`](Availability::Unavailable) of it.
    #[must_use]
    pub fn choose(
        &self,
        choice: Choice,
        mut availability: impl FnMut(&K, &V) -> Availability,
    ) -> Option<(K, &'a V)> {
        let Group {
            members,
            away,
            turn,
            ..
        } = self.group;
        let len = members.len();
        let start = match choice {
            Choice::RoundRobin | Choice::LeastInFlight => turn.load(Ordering::Relaxed),
            Choice::Sticky(hash) => self.sticky_place(hash, &mut availability),
            Choice::Random(draw) => scale(scramble(draw), len),
        };
        let start = start.checked_rem(len).unwrap_or_default();
        let here = away.outside(start..len).chain(away.outside(0..start));
        let away = away.inside(start..len).chain(away.inside(0..start));
        let here = here.take(LOOK_MAX).map(|place| (place, false));
        let away = away.take(LOOK_MAX).map(|place| (place, true));
        let compares = choice == Choice::LeastInFlight;
        let mut best: Option<(Rank, usize)> = None;
        for (place, is_away) in here.chain(away) {
            let is_one_ready = matches!(best, Some((Rank::Ready(_), _)));
            if is_one_ready && (is_away || !compares) {
                break;
            }
            let (key, value) = members.at(place)?;
            let rank = match availability(&key, value) {
                Availability::Ready { .. } if is_away => Rank::Queueing(0),
                Availability::Ready { in_flight } => Rank::Ready(in_flight),
                Availability::Queueing { queued } => Rank::Queueing(queued),
                Availability::Unavailable => continue,
            };
            if best.is_none_or(|(least, _)| rank < least) {
                best = Some((rank, place));
            }
        }
        let (_, place) = best?;
        turn.store(place.wrapping_add(1), Ordering::Relaxed);
        members.at(place)
    }

    /// Returns the place a hash leads to. While a member is not ready, its hashes are dealt anew,
    /// so that they spread over the others rather than fall to its neighbour.
    fn sticky_place(
        &self,
        hash: u64,
        availability: &mut impl FnMut(&K, &V) -> Availability,
    ) -> usize {
        let mut hash = scramble(hash);
        let first = jump(hash, self.len());
        let mut place = first;
        for _ in 0..STICKY_TRIES {
            let is_here = self.group.away.next_outside(place) == place;
            let member = self.group.members.at(place).filter(|_| is_here);
            let is_ready = member.is_some_and(|(key, value)| {
                matches!(availability(&key, value), Availability::Ready { .. })
            });
            if is_ready {
                return place;
            }
            hash = scramble(hash);
            place = jump(hash, self.len());
        }
        first
    }
}

/// How many members are asked at most, of those who are here and of those who are away.
const LOOK_MAX: usize = 64;

/// How often [`Choice::Sticky`] deals anew before it takes the next in the ring.
const STICKY_TRIES: usize = 8;

/// Ready before queueing, less before more.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Rank {
    Ready(u32),
    Queueing(u32),
}

/// Maps 64 random bits to `0..len`.
fn scale(bits: u64, len: usize) -> usize {
    let scaled = u128::from(bits).wrapping_mul(len as u128) >> 64;
    usize::try_from(scaled).unwrap_or_default()
}

/// Jump consistent hashing (Lamping and Veach, 2014): deals hashes to `0..len` so that one more
/// place draws an equal share from each of the others and moves no other hash.
fn jump(mut hash: u64, len: usize) -> usize {
    let mut place = 0;
    let mut next = 0_u64;
    while next < len as u64 {
        place = next;
        hash = hash.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let draw = (hash >> 33).saturating_add(1);
        // Places are below 2^32, so the shift loses none; the draw is never 0.
        let jumped = place.saturating_add(1) << 31;
        next = jumped.checked_div(draw).unwrap_or(u64::MAX);
    }
    usize::try_from(place).unwrap_or_default()
}

#[cfg(test)]
mod tests;
