//! The exchanges in flight: packet identifiers and what waits for each acknowledgement.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
};

use mqttstack_codec::PacketId;

/// How many identifiers the ring spans before an exchange that the peer does not finish is set
/// aside, so that the others can go on.
const SPAN_MAX: usize = 4_096;

/// The exchanges in flight by packet identifier, in the order in which they began.
///
/// Identifiers are handed out in sequence, and answers come back nearly in sequence, so the
/// exchanges live in a ring that an identifier indexes directly. The few that a peer leaves
/// unanswered while others go on are set aside in a map. An identifier is free again only after
/// [`remove`](Self::remove).
#[derive(Clone, Debug)]
pub(crate) struct Window<T> {
    /// The identifier of the first slot.
    base: PacketId,
    slots: VecDeque<Option<T>>,
    /// Exchanges that began before all in `slots`; mostly there are none.
    set_aside: Option<Box<SetAside<T>>>,
    live: u16,
}

/// The same exchanges under the same identifiers in the same order.
impl<T: PartialEq> PartialEq for Window<T> {
    fn eq(&self, other: &Self) -> bool {
        self.live == other.live && self.iter_in_order().eq(other.iter_in_order())
    }
}

impl<T: Eq> Eq for Window<T> {}

/// Exchanges with their place in the order.
#[derive(Clone, Debug)]
struct SetAside<T> {
    exchanges: BTreeMap<PacketId, (u64, T)>,
    total: u64,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self {
            base: PacketId::MIN,
            slots: VecDeque::new(),
            set_aside: None,
            live: 0,
        }
    }
}

impl<T> Window<T> {
    /// Makes a window whose first exchange has this identifier.
    pub(crate) fn beginning_at(base: PacketId) -> Self {
        Self {
            base,
            ..Self::default()
        }
    }

    /// Begins an exchange and returns its identifier, or gives `value` back if all are in use.
    pub(crate) fn insert(&mut self, value: T) -> Result<PacketId, T> {
        if self.is_full() {
            return Err(value);
        }
        if self.slots.len() >= SPAN_MAX {
            self.set_first_aside();
        }
        let mut id = self.next_id();
        if self.set_aside.is_none() && !self.slots.is_empty() {
            // What is in flight is in the ring, and this is behind it.
            self.slots.push_back(Some(value));
            self.live = self.live.saturating_add(1);
            return Ok(id);
        }
        // Ends: fewer than 65,535 identifiers are in use. It may go all around, into the ring.
        while self.get(id).is_some() {
            id = id.next();
        }
        self.place(id, value);
        Ok(id)
    }

    /// Begins an exchange under an identifier that was handed out elsewhere, or gives `value` back if
    /// it is in use. Identifiers in sequence cost least.
    pub(crate) fn insert_as(&mut self, id: PacketId, value: T) -> Result<(), T> {
        if self.get(id).is_some() {
            return Err(value);
        }
        self.place(id, value);
        Ok(())
    }

    /// Ends an exchange and frees its identifier.
    pub(crate) fn remove(&mut self, id: PacketId) -> Option<T> {
        let slot = self.index_of(id).and_then(|at| self.slots.get_mut(at));
        let value = match slot.and_then(Option::take) {
            Some(value) => Some(value),
            None => self.remove_set_aside(id),
        };
        if value.is_some() {
            self.live = self.live.saturating_sub(1);
        }
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.base = self.base.next();
        }
        value
    }

    /// Lets go of the spare memory of an empty window.
    pub(crate) fn shrink(&mut self) {
        if self.slots.is_empty() {
            self.slots.shrink_to_fit();
        }
    }

    pub(crate) fn get(&self, id: PacketId) -> Option<&T> {
        let slot = self.index_of(id).and_then(|at| self.slots.get(at));
        slot.and_then(Option::as_ref).or_else(|| {
            let aside = self.set_aside.as_ref()?;
            aside.exchanges.get(&id).map(|(_, value)| value)
        })
    }

    pub(crate) fn get_mut(&mut self, id: PacketId) -> Option<&mut T> {
        let slot = self.index_of(id).and_then(|at| self.slots.get_mut(at));
        slot.and_then(Option::as_mut).or_else(|| {
            let aside = self.set_aside.as_mut()?;
            aside.exchanges.get_mut(&id).map(|(_, value)| value)
        })
    }

    /// Returns how many exchanges are in flight.
    pub(crate) const fn len(&self) -> u16 {
        self.live
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Returns the exchanges, oldest first.
    pub(crate) fn iter_in_order(&self) -> impl Iterator<Item = (PacketId, &T)> {
        let ids = self.ids_in_order().into_iter();
        ids.filter_map(|id| Some((id, self.get(id)?)))
    }

    /// Returns whether every identifier is in use.
    pub(crate) const fn is_full(&self) -> bool {
        self.live == u16::MAX
    }

    /// Returns the identifiers in use, oldest exchange first.
    pub(crate) fn ids_in_order(&self) -> VecDeque<PacketId> {
        let set_aside = self.set_aside.iter().flat_map(|aside| &aside.exchanges);
        let mut aside: alloc::vec::Vec<(u64, PacketId)> =
            set_aside.map(|(id, (order, _))| (*order, *id)).collect();
        aside.sort_unstable();
        let mut ids: VecDeque<PacketId> = aside.into_iter().map(|(_, id)| id).collect();
        let mut id = self.base;
        for slot in &self.slots {
            if slot.is_some() {
                ids.push_back(id);
            }
            id = id.next();
        }
        ids
    }

    /// Begins an exchange under an identifier that is free, behind all others.
    fn place(&mut self, id: PacketId, value: T) {
        let next = self.next_id();
        let gap = distance(next, id);
        if self.slots.is_empty() || self.slots.len().saturating_add(gap) < SPAN_MAX {
            let mut skipped = if self.slots.is_empty() { id } else { next };
            while skipped != id {
                self.push_slot(skipped, None);
                skipped = skipped.next();
            }
        } else {
            while !self.slots.is_empty() {
                self.set_first_aside();
            }
        }
        self.push_slot(id, Some(value));
        self.live = self.live.saturating_add(1);
    }

    fn remove_set_aside(&mut self, id: PacketId) -> Option<T> {
        let aside = self.set_aside.as_mut()?;
        let (_, value) = aside.exchanges.remove(&id)?;
        if aside.exchanges.is_empty() {
            self.set_aside = None;
        }
        Some(value)
    }

    /// Returns the identifier of the next exchange, unless that one is in use.
    pub(crate) fn next_id(&self) -> PacketId {
        advance(self.base, self.slots.len())
    }

    fn push_slot(&mut self, id: PacketId, slot: Option<T>) {
        if self.slots.is_empty() {
            self.base = id;
            if slot.is_none() {
                self.base = id.next();
                return;
            }
        }
        self.slots.push_back(slot);
    }

    fn index_of(&self, id: PacketId) -> Option<usize> {
        let index = distance(self.base, id);
        (index < self.slots.len()).then_some(index)
    }

    fn set_first_aside(&mut self) {
        if let Some(first) = self.slots.pop_front() {
            if let Some(value) = first {
                let aside = self.set_aside.get_or_insert_default();
                aside.total = aside.total.saturating_add(1);
                aside.exchanges.insert(self.base, (aside.total, value));
            }
            self.base = self.base.next();
        }
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.base = self.base.next();
        }
    }
}

impl<T> Default for SetAside<T> {
    fn default() -> Self {
        Self {
            exchanges: BTreeMap::new(),
            total: 0,
        }
    }
}

/// Returns how many identifiers `to` is after `from`.
fn distance(from: PacketId, to: PacketId) -> usize {
    let distance = to.get().wrapping_sub(from.get());
    // Identifiers wrap from 65,535 to 1.
    usize::from(distance.wrapping_sub(u16::from(to < from)))
}

/// Returns the identifier `steps` (at most 65,535) after `id`.
fn advance(id: PacketId, steps: usize) -> PacketId {
    let zero_based = usize::from(id.get())
        .saturating_sub(1)
        .saturating_add(steps);
    // Less than twice as many as there are.
    let count = usize::from(u16::MAX);
    let wrapped = zero_based.checked_sub(count).unwrap_or(zero_based);
    u16::try_from(wrapped.saturating_add(1))
        .ok()
        .and_then(PacketId::new)
        .unwrap_or(PacketId::MIN)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn id(value: u16) -> PacketId {
        PacketId::new(value).expect("not 0")
    }

    #[test]
    fn identifiers_go_up_and_wrap_past_65535() {
        let mut window = Window::default();
        for expected in (1..=u16::MAX).chain(1..=10) {
            let next = window.insert(()).expect("free");
            assert_eq!(next, id(expected));
            assert_eq!(window.remove(next), Some(()));
        }
    }

    #[test]
    fn an_identifier_in_flight_is_never_handed_out() {
        // v5 MQTT-2.2.1-3, v5 MQTT-2.2.1-4, v3.1.1 MQTT-2.3.1-2, v3.1.1 MQTT-2.3.1-4
        let mut window = Window::default();
        let stuck = window.insert("stuck").expect("free");
        for _ in 0..200_000 {
            let next = window.insert("passing").expect("free");
            assert_ne!(next, stuck);
            assert_eq!(window.remove(next), Some("passing"));
            assert!(window.slots.len() <= SPAN_MAX);
        }
        assert_eq!(window.get(stuck), Some(&"stuck"));
        assert_eq!(window.ids_in_order(), [stuck]);
        assert_eq!(window.len(), 1);
    }

    #[test]
    fn exhaustion_gives_the_value_back() {
        let mut window = Window::default();
        for n in 0..u16::MAX {
            assert!(window.insert(n).is_ok());
        }
        assert_eq!(window.insert(7), Err(7));
        assert_eq!(window.remove(id(400)), Some(399));
        assert_eq!(window.insert(7), Ok(id(400)));
    }

    #[test]
    fn an_exchange_that_was_set_aside_is_found_after_identifiers_wrapped_over_it() {
        let mut window = Window::default();
        let stuck = window.insert(0).expect("free");
        for n in 1..=u16::MAX - 1 {
            let next = window.insert(n).expect("free");
            if n % 1_000 != 0 {
                assert_eq!(window.remove(next), Some(n));
            }
        }
        let wrapped = window.insert(u16::MAX).expect("free");
        assert_eq!(wrapped, id(2), "1 is stuck, 2 is free");
        assert_eq!(window.get(stuck), Some(&0));
        assert_eq!(window.get_mut(stuck), Some(&mut 0));
        assert_eq!(window.ids_in_order().front(), Some(&stuck));
        assert_eq!(window.remove(stuck), Some(0));
        assert_eq!(window.remove(stuck), None);
    }

    #[test]
    fn an_identifier_that_is_found_all_the_way_around_is_a_free_one() {
        // v5 MQTT-2.2.1-3, v3.1.1 MQTT-2.3.1-2
        let mut window = Window::default();
        for n in 1..=u16::MAX {
            assert_eq!(window.insert(n), Ok(id(n)));
        }
        for n in 61_441..=u16::MAX {
            assert_eq!(window.remove(id(n)), Some(n));
        }
        for n in 61_441..=u16::MAX {
            assert_eq!(window.insert(n), Ok(id(n)));
        }
        assert_eq!(window.remove(id(65_000)), Some(65_000));
        assert_eq!(window.insert(7), Ok(id(65_000)));
        assert_eq!(window.ids_in_order().len(), usize::from(u16::MAX));
        assert_eq!(window.ids_in_order().back(), Some(&id(65_000)));
        assert_eq!(window.insert(8), Err(8));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(6))]
        #[test]
        fn nearly_full_it_behaves_as_a_map_with_an_order(
            bursts in proptest::collection::vec((1..=u16::MAX, 1..6_000_u16), 1..4),
        ) {
            let mut window = Window::default();
            let mut model: BTreeMap<PacketId, u32> = BTreeMap::new();
            let mut begun = 0;
            for (start, count) in bursts {
                while !window.is_full() {
                    let next = window.insert(begun).expect("free");
                    prop_assert_eq!(model.insert(next, begun), None);
                    begun = u32::saturating_add(begun, 1);
                }
                prop_assert_eq!(window.insert(0), Err(0));
                for n in 0..count {
                    let key = advance(id(start), usize::from(n));
                    prop_assert_eq!(window.remove(key), model.remove(&key));
                }
                prop_assert!(window.slots.len() <= SPAN_MAX);
                prop_assert_eq!(usize::from(window.len()), model.len());
                let mut ordered: Vec<_> = model.iter().map(|(key, begun)| (*begun, *key)).collect();
                ordered.sort_unstable();
                prop_assert!(window.ids_in_order().into_iter().eq(ordered.into_iter().map(|(_, key)| key)));
            }
        }
    }

    proptest! {
        #[test]
        fn any_identifiers_can_be_taken_over(ids in proptest::collection::vec((any::<bool>(), 1..=u16::MAX), 0..300)) {
            let mut window = Window::default();
            let mut model: Vec<(PacketId, u16)> = Vec::new();
            let mut near = id(1);
            for (is_near, value) in ids {
                near = if is_near { advance(near, usize::from(value) % 9) } else { id(value) };
                let is_known = model.iter().any(|(used, _)| *used == near);
                let taken = window.insert_as(near, value);
                prop_assert_eq!(taken, if is_known { Err(value) } else { Ok(()) });
                if !is_known {
                    model.push((near, value));
                }
            }
            prop_assert_eq!(usize::from(window.len()), model.len());
            prop_assert!(window.iter_in_order().map(|(id, value)| (id, *value)).eq(model.iter().copied()));
            for (key, value) in model {
                prop_assert_eq!(window.remove(key), Some(value));
            }
            prop_assert!(window.is_empty());
        }

        #[test]
        fn behaves_as_a_map_with_an_order(ops in proptest::collection::vec((any::<bool>(), any::<u16>()), 0..400)) {
            let mut window = Window::default();
            let mut model: Vec<(PacketId, u16)> = Vec::new();
            for (insert, n) in ops {
                if insert || model.is_empty() {
                    let next = window.insert(n).expect("free");
                    prop_assert!(model.iter().all(|(used, _)| *used != next));
                    model.push((next, n));
                } else {
                    let at = usize::from(n).checked_rem(model.len()).unwrap_or_default();
                    let (key, value) = model.remove(at);
                    prop_assert_eq!(window.remove(key), Some(value));
                    prop_assert_eq!(window.remove(key), None);
                }
                prop_assert_eq!(usize::from(window.len()), model.len());
                prop_assert!(window.ids_in_order().into_iter().eq(model.iter().map(|(used, _)| *used)));
                for (key, value) in &model {
                    prop_assert_eq!(window.get(*key), Some(value));
                }
            }
        }
    }
}
