//! Who may still come in: counts of what is open, given back when it is dropped.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

/// Counts transports from their acceptance until they are dropped, the time that an end takes
/// included: each of them holds a descriptor for so long.
#[derive(Debug)]
pub(super) struct Gate {
    open: AtomicU32,
    maximum: u32,
    /// Who comes through here comes through this one, too.
    outer: Option<Arc<Self>>,
}

/// Room for one transport.
#[derive(Debug)]
pub(super) struct Permit(Arc<Gate>);

/// Where there is no room for a transport.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NoRoom {
    /// Among all of them.
    OfAll,
    /// Among those of its listener.
    OfListener,
}

impl Gate {
    /// A gate for all.
    pub(super) fn new(maximum: u32) -> Arc<Self> {
        Arc::new(Self {
            open: AtomicU32::new(0),
            maximum,
            outer: None,
        })
    }

    /// A gate for those of a listener, which count among all.
    pub(super) fn within(outer: &Arc<Self>, maximum: u32) -> Arc<Self> {
        Arc::new(Self {
            open: AtomicU32::new(0),
            maximum,
            outer: Some(Arc::clone(outer)),
        })
    }

    /// Takes room for a transport.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Permit, NoRoom> {
        if !self.raise() {
            return Err(match self.outer {
                Some(_) => NoRoom::OfListener,
                None => NoRoom::OfAll,
            });
        }
        if self.outer.as_ref().is_some_and(|outer| !outer.raise()) {
            self.lower();
            return Err(NoRoom::OfAll);
        }
        Ok(Permit(Arc::clone(self)))
    }

    fn raise(&self) -> bool {
        let more = |open: u32| open.checked_add(1).filter(|open| *open <= self.maximum);
        self.open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    fn lower(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.lower();
        if let Some(outer) = &self.0.outer {
            outer.lower();
        }
    }
}

/// Counts the connections from each address that have not been accepted. There are at most as many
/// addresses in it as there are such connections.
#[derive(Debug)]
pub(super) struct PendingByAddress {
    counts: Mutex<HashMap<Network, u32>>,
    maximum: u32,
}

/// Room for one connection from its address, until it has been accepted.
#[derive(Debug)]
pub(super) struct PendingPermit {
    pending: Arc<PendingByAddress>,
    network: Network,
}

/// What counts as one address: an IPv4 address, or the network that an IPv6 address is in, as one
/// machine has all addresses of that.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Network(u128);

impl Network {
    const NETWORK_BITS: u128 = !(u64::MAX as u128);

    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.to_ipv6_mapped().to_bits()),
            IpAddr::V6(address) => Self(address.to_bits() & Self::NETWORK_BITS),
        }
    }
}

impl PendingByAddress {
    pub(super) fn new(maximum: u32) -> Arc<Self> {
        Arc::new(Self {
            counts: Mutex::default(),
            maximum,
        })
    }

    /// Counts a connection from `address`; `None` when there are enough of them.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<PendingPermit> {
        let network = Network::of(address);
        let mut counts = self.counts();
        let count = counts.get(&network).copied().unwrap_or(0);
        if count >= self.maximum {
            return None;
        }
        counts.insert(network, count.saturating_add(1));
        Some(PendingPermit {
            pending: Arc::clone(self),
            network,
        })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Network, u32>> {
        // Every change of the map is one call: a thread that panicked left it whole.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PendingPermit {
    fn drop(&mut self) {
        let mut counts = self.pending.counts();
        match counts.get_mut(&self.network) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            Some(_) | None => {
                counts.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_lets_in_as_many_as_have_room_at_once() {
        let gate = Gate::new(2);
        let first = gate.enter().expect("room");
        let _second = gate.enter().expect("room");
        assert_eq!(gate.enter().err(), Some(NoRoom::OfAll));
        drop(first);
        assert!(gate.enter().is_ok());
        assert!(Gate::new(0).enter().is_err());
    }

    #[test]
    fn who_comes_through_the_gate_of_a_listener_counts_among_all() {
        let all = Gate::new(2);
        let listener = Gate::within(&all, 1);
        let held = listener.enter().expect("room");
        assert_eq!(listener.enter().err(), Some(NoRoom::OfListener));
        let _other = all.enter().expect("room");
        assert_eq!(all.enter().err(), Some(NoRoom::OfAll));
        drop(held);
        let _third = all.enter().expect("room was given back");
        // What it could not have with all is not kept with the listener.
        assert_eq!(listener.enter().err(), Some(NoRoom::OfAll));
        assert_eq!(listener.open.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn each_address_has_a_share_and_nothing_is_kept_of_those_who_left() {
        let pending = PendingByAddress::new(2);
        let enter = |address: &str| pending.enter(address.parse().expect("an address"));
        let held = [
            enter("192.0.2.7").expect("room"),
            enter("::ffff:192.0.2.7").expect("the same, disguised"),
            enter("192.0.2.8").expect("another"),
            enter("2001:db8::1").expect("room"),
            enter("2001:db8::2").expect("room in the same network"),
            enter("2001:db8:0:1::1").expect("another network"),
        ];
        assert!(enter("192.0.2.7").is_none());
        assert!(enter("2001:db8::3").is_none());
        assert!(enter("192.0.2.8").is_some(), "and gone at once");
        drop(held);
        assert!(pending.counts().is_empty());
    }
}
