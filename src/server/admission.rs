//! Which connections may come in: those of one core, counted in all and for each peer.
//!
//! All that is counted here is counted when a connection begins and when it ends, never for a request. A leaf: it
//! hands out guards that give their place back, and knows neither a connection nor a worker.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::balance::Balance;
use super::complaint::Complaint;
use crate::http::limits::Limits;
use crate::runtime::{Core, Loads, Notice, Place};

/// How many connections that were answered 503 are listened to at a time: so many that a burst of clients learns
/// why, so few that a flood cannot take memory or descriptors by it.
const MOST_SHEDDING: usize = 256;

/// The places of one core, and who has them.
pub(super) struct Places {
    core: Core,
    /// How many connections may be open, in all and of one peer.
    most: usize,
    most_of_peer: usize,
    /// What there is to balance by, if connections are balanced.
    balance: Option<Balance>,
    open: Cell<usize>,
    shedding: Cell<usize>,
    peers: Peers,
    told_full: Complaint,
    told_peer: Complaint,
    /// Given when a connection has ended, and how often that was.
    ended: Notice,
    endings: Cell<u64>,
}

/// The open connections of each peer that has any, so there are never more entries than open connections. The
/// hasher is seeded at random: peers choose their addresses, and must not be able to make them collide.
#[derive(Default)]
struct Peers(RefCell<HashMap<Peer, usize>>);

/// What counts as one peer: an IPv4 address, or an IPv6 network of 64 bits, any address of which one host can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Peer {
    V4([u8; 4]),
    V6([u16; 4]),
}

/// What becomes of a connection that has just been accepted.
pub(super) enum Admittance {
    /// The connection is served.
    Admitted(Admission),
    /// The core has all it may have: the peer is told so.
    Shed(Shedding),
    /// The connection is closed at once.
    Refused,
}

/// The place of one open connection, given back when this is dropped.
pub(super) struct Admission {
    places: Rc<Places>,
    peer: Option<Peer>,
    /// What it has among all cores, if connections are balanced.
    place: Option<Place>,
}

/// The place of one connection that is told that there is none.
pub(super) struct Shedding(Rc<Places>);

impl Places {
    pub(super) fn new(core: &Core, limits: &Limits, loads: Option<Arc<Loads>>) -> Rc<Self> {
        Rc::new(Self {
            core: core.clone(),
            most: limits.connections,
            most_of_peer: limits.connections_per_peer,
            balance: loads.map(Balance::new),
            open: Cell::new(0),
            shedding: Cell::new(0),
            peers: Peers::default(),
            told_full: Complaint::default(),
            told_peer: Complaint::default(),
            ended: Notice::default(),
            endings: Cell::new(0),
        })
    }

    /// Connections that are served.
    pub(super) fn open(&self) -> usize {
        self.open.get()
    }

    /// Given when a connection has ended, served or told to go.
    pub(super) fn ended(&self) -> &Notice {
        &self.ended
    }

    /// How many connections have ended so far.
    pub(super) fn endings(&self) -> u64 {
        self.endings.get()
    }

    fn tell_ended(&self) {
        self.endings.set(self.endings.get() + 1);
        self.ended.give();
    }

    /// Whether nothing is left, neither served nor told to go, nor on its way from another core.
    pub(super) fn are_done(&self) -> bool {
        self.open.get() == 0
            && self.shedding.get() == 0
            && self.balance.as_ref().is_none_or(|balance| balance.close(&self.core))
    }

    /// The core that should have the connection just accepted, and a place there; counted as handed over.
    pub(super) fn elsewhere(&self) -> Option<(usize, Place)> {
        let elsewhere = self.balance.as_ref()?.elsewhere(&self.core)?;
        self.core.update_counts(|counts| {
            counts.accepted += 1;
            counts.handed_over += 1;
        });
        Some(elsewhere)
    }

    /// Decides about a connection from this address, and counts it for as long as the returned value lives. One
    /// whose peer is gone already has no address: the task that serves it notices.
    ///
    /// `place` is what it has among all cores if another handed it over; that is given back if it is turned away.
    pub(super) fn admit(self: &Rc<Self>, address: Option<IpAddr>, place: Option<Place>) -> Admittance {
        let (id, peer) = (self.core.id(), address.map(Peer::of));
        // First, so that a peer that has too many does not use up what is kept for the others.
        if peer.is_some_and(|peer| self.peers.open(peer) >= self.most_of_peer) {
            self.core.update_counts(|counts| counts.shed_by_peer += 1);
            if let Some(address) = address.filter(|_| self.told_peer.is_due(self.core.now())) {
                let most = self.most_of_peer;
                log::warn!(
                    "core {id}: {address} has {most} connections open and gets no more (`max-connections-per-peer`); said at most once a minute"
                );
            }
            return Admittance::Refused;
        }
        if self.open.get() < self.most {
            self.open.set(self.open.get() + 1);
            self.peers.enter(peer);
            self.core.update_counts(|counts| {
                counts.connections += 1;
                // Else the core that accepted it has counted it.
                counts.accepted += u64::from(place.is_none());
                counts.taken_over += u64::from(place.is_some());
            });
            let place = place.or_else(|| Some(self.balance.as_ref()?.here(&self.core)));
            return Admittance::Admitted(Admission { places: Rc::clone(self), peer, place });
        }
        self.core.update_counts(|counts| counts.shed += 1);
        if self.told_full.is_due(self.core.now()) {
            let most = self.most;
            log::warn!(
                "core {id}: all {most} connections are taken (`max-connections`), newcomers are answered 503 or closed; said at most once a minute"
            );
        }
        if self.shedding.get() >= MOST_SHEDDING {
            return Admittance::Refused;
        }
        self.shedding.set(self.shedding.get() + 1);
        Admittance::Shed(Shedding(Rc::clone(self)))
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let Self { places, peer, place } = self;
        // Before anybody is told that the connection has ended.
        drop(place.take());
        places.open.set(places.open.get() - 1);
        places.peers.leave(*peer);
        places.core.update_counts(|counts| counts.connections -= 1);
        places.tell_ended();
    }
}

impl Drop for Shedding {
    fn drop(&mut self) {
        let Self(places) = self;
        places.shedding.set(places.shedding.get() - 1);
        places.tell_ended();
    }
}

impl Peers {
    fn open(&self, peer: Peer) -> usize {
        self.0.borrow().get(&peer).copied().unwrap_or(0)
    }

    fn enter(&self, peer: Option<Peer>) {
        if let Some(peer) = peer {
            *self.0.borrow_mut().entry(peer).or_insert(0) += 1;
        }
    }

    fn leave(&self, peer: Option<Peer>) {
        let Some(peer) = peer else { return };
        let mut peers = self.0.borrow_mut();
        if let Some(open) = peers.get_mut(&peer) {
            *open -= 1;
            if *open == 0 {
                peers.remove(&peer);
            }
        }
    }
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
        let peers = Peers::default();
        let (one, other) = (peer("192.0.2.1"), peer("192.0.2.2"));
        for came in [Some(one), Some(one), Some(other), None] {
            peers.enter(came);
        }
        assert_eq!((peers.open(one), peers.open(other)), (2, 1));
        peers.leave(Some(one));
        assert_eq!(peers.open(one), 1);
        for left in [Some(one), Some(other), None] {
            peers.leave(left);
        }
        assert!(peers.0.borrow().is_empty());
    }
}
