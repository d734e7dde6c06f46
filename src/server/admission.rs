//! Who may come in: the connections of one core, counted in all and for each peer.
//!
//! Whatever is counted here is counted when a connection begins and when it ends, never for a request.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use super::complaint::Complaint;
use super::worker::Worker;
use crate::http::limits::Limits;
use crate::runtime::Place;

/// How many connections that were answered 503 are listened to at a time: so many that a burst of clients learns
/// why, so few that a flood cannot take memory or descriptors by it.
const MOST_SHEDDING: usize = 256;

/// The places of one core, and who has them.
#[derive(Default)]
pub(super) struct Places {
    open: Cell<usize>,
    shedding: Cell<usize>,
    /// The open connections of each peer that has any, so there are never more entries than open connections. The
    /// hasher is seeded at random: peers choose their addresses, and must not be able to make them collide.
    by_peer: RefCell<HashMap<Peer, usize>>,
    told_full: Complaint,
    told_peer: Complaint,
}

/// What counts as one peer: an IPv4 address, or an IPv6 network of 64 bits, any address of which one host can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Peer {
    V4([u8; 4]),
    V6([u16; 4]),
}

impl Peer {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

/// What becomes of a connection that has just been accepted.
pub(super) enum Verdict {
    /// It is served.
    Admitted(Admission),
    /// The core has all it may have: it is told so.
    Shed(Shedding),
    /// It is closed at once.
    Refused,
}

/// The place of one open connection.
pub(super) struct Admission(pub(super) Rc<Worker>, Option<Peer>, Option<Place>);

/// The place of one connection that is told that there is none.
pub(super) struct Shedding(pub(super) Rc<Worker>);

impl Places {
    /// Connections that are served.
    pub(super) fn open(&self) -> usize {
        self.open.get()
    }

    /// Whether nobody is left, neither served nor told to go.
    pub(super) fn are_empty(&self) -> bool {
        self.open.get() == 0 && self.shedding.get() == 0
    }

    fn peer_is_full(&self, peer: Peer, limits: &Limits) -> bool {
        self.by_peer.borrow().get(&peer).is_some_and(|open| *open >= limits.connections_per_peer)
    }

    fn enter(&self, peer: Option<Peer>) {
        self.open.set(self.open.get() + 1);
        if let Some(peer) = peer {
            *self.by_peer.borrow_mut().entry(peer).or_insert(0) += 1;
        }
    }

    fn leave(&self, peer: Option<Peer>) {
        self.open.set(self.open.get() - 1);
        let Some(peer) = peer else { return };
        let mut by_peer = self.by_peer.borrow_mut();
        if let Some(open) = by_peer.get_mut(&peer) {
            *open -= 1;
            if *open == 0 {
                by_peer.remove(&peer);
            }
        }
    }
}

impl Worker {
    /// Decides about a connection from this address, and counts it for as long as the returned value lives. One
    /// whose peer is gone already has no address, and is noticed by whoever serves it.
    ///
    /// `place` is what it has among all cores if another handed it over; that is given back if it is turned away.
    pub(super) fn admit(self: &Rc<Self>, address: Option<IpAddr>, place: Option<Place>) -> Verdict {
        let (id, places, limits) = (self.core.id(), &self.places, &self.limits);
        let peer = address.map(Peer::of);
        // First, so that a peer that has too many does not use up what is kept for the others.
        if peer.is_some_and(|peer| places.peer_is_full(peer, limits)) {
            self.core.update_counts(|counts| counts.shed_by_peer += 1);
            if let Some(address) = address.filter(|_| places.told_peer.is_due(self.core.now())) {
                let most = limits.connections_per_peer;
                log::warn!(
                    "core {id}: {address} has {most} connections open and gets no more (`max-connections-per-peer`); said at most once a minute"
                );
            }
            return Verdict::Refused;
        }
        if places.open.get() < limits.connections {
            places.enter(peer);
            self.core.update_counts(|counts| {
                counts.connections += 1;
                // Else the core that accepted it has counted it.
                counts.accepted += u64::from(place.is_none());
                counts.taken_over += u64::from(place.is_some());
            });
            let place = place.or_else(|| Some(self.balance.as_ref()?.here(&self.core)));
            return Verdict::Admitted(Admission(Rc::clone(self), peer, place));
        }
        self.core.update_counts(|counts| counts.shed += 1);
        if places.told_full.is_due(self.core.now()) {
            let most = limits.connections;
            log::warn!(
                "core {id}: all {most} connections are taken (`max-connections`), newcomers are answered 503 or closed; said at most once a minute"
            );
        }
        if places.shedding.get() >= MOST_SHEDDING {
            return Verdict::Refused;
        }
        places.shedding.set(places.shedding.get() + 1);
        Verdict::Shed(Shedding(Rc::clone(self)))
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let Self(worker, peer, place) = self;
        // Before it is told that the connection has ended.
        drop(place.take());
        worker.places.leave(*peer);
        worker.core.update_counts(|counts| counts.connections -= 1);
        worker.ended.give();
    }
}

impl Drop for Shedding {
    fn drop(&mut self) {
        let places = &self.0.places;
        places.shedding.set(places.shedding.get() - 1);
        self.0.ended.give();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::of(address.parse().unwrap())
    }

    #[test]
    fn a_peer_is_an_ipv4_address_or_an_ipv6_network_of_64_bits() {
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
        assert_eq!(peer("192.0.2.1"), peer("::ffff:192.0.2.1"));
        assert_eq!(peer("2001:db8:1:2::1"), peer("2001:db8:1:2:ffff::2"));
        assert_ne!(peer("2001:db8:1:2::1"), peer("2001:db8:1:3::1"));
        assert_ne!(peer("0.0.0.0"), peer("::"));
    }

    #[test]
    fn a_peer_is_forgotten_with_its_last_connection() {
        let (places, limits) = (Places::default(), Limits { connections_per_peer: 2, ..Limits::default() });
        let (one, other) = (peer("192.0.2.1"), peer("192.0.2.2"));
        places.enter(Some(one));
        assert!(!places.peer_is_full(one, &limits));
        places.enter(Some(one));
        places.enter(Some(other));
        places.enter(None);
        assert!(places.peer_is_full(one, &limits) && !places.peer_is_full(other, &limits));
        places.leave(Some(one));
        assert!(!places.peer_is_full(one, &limits));
        places.leave(Some(one));
        places.leave(Some(other));
        places.leave(None);
        assert!(places.by_peer.borrow().is_empty() && places.are_empty());
    }
}
