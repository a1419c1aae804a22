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
}

/// Room for one transport.
#[derive(Debug)]
pub(super) struct Permit(Arc<Gate>);

/// Room for one transport among all, and among those of its listener if that takes only so many.
pub(super) type Permits = (Permit, Option<Permit>);

impl Gate {
    pub(super) fn new(maximum: u32) -> Arc<Self> {
        Arc::new(Self {
            open: AtomicU32::new(0),
            maximum,
        })
    }

    pub(super) fn enter(self: &Arc<Self>) -> Option<Permit> {
        let more = |open: u32| open.checked_add(1).filter(|open| *open <= self.maximum);
        let entered = self
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        entered.is_ok().then(|| Permit(Arc::clone(self)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
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
        assert!(gate.enter().is_none());
        drop(first);
        assert!(gate.enter().is_some());
        assert!(Gate::new(0).enter().is_none());
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
