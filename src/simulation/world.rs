//! What surrounds the server: its peers, and whoever tells it to drain.

use super::peer::Peer;
use super::rules::Rules;
use crate::runtime::{Net, Outside};

/// All of it.
pub(super) struct World {
    pub(super) peers: Vec<Peer>,
    pub(super) rules: Rules,
    /// When the server is told to drain, how, and how long that may take.
    pub(super) drain_at: u64,
    pub(super) drain: Box<dyn Fn()>,
    pub(super) drain_takes: u64,
    /// The first promise that was broken.
    pub(super) broken: Option<String>,
}

impl World {
    fn note<T>(broken: &mut Option<String>, peer: &Peer, now: u64, result: Result<T, String>) {
        if let (None, Err(what)) = (&broken, result) {
            *broken = Some(format!(
                "peer {} (connection {:?}, {:?}, reads {:?}, {} answers to {} requests, sends {} of {}) at {now} us: {what}",
                peer.id,
                peer.link.map(|link| link.0),
                peer.plan.ending,
                peer.plan.reading,
                peer.answered,
                peer.plan.asks.len(),
                peer.written,
                peer.plan.stops_at
            ));
        }
    }

    /// The server has ended: what is left is read and judged.
    pub(super) fn conclude(&mut self, net: &mut Net) {
        for peer in &mut self.peers {
            let Some(link) = peer.link.filter(|_| !peer.concluded) else { continue };
            peer.reads_all = true;
            let result = peer.read(link, net, &self.rules);
            Self::note(&mut self.broken, peer, net.now, result);
            if !peer.concluded && self.broken.is_none() {
                self.broken = Some(format!("peer {}: its connection was never ended", peer.id));
            }
        }
    }
}

impl Outside for World {
    fn next(&self, net: &Net) -> Option<u64> {
        let peers = self.peers.iter().filter_map(|peer| peer.next(net, &self.rules));
        let drain = self.rules.drain_began.is_none().then_some(self.drain_at);
        peers.chain(drain).min()
    }

    fn act(&mut self, net: &mut Net) {
        if self.rules.drain_began.is_none() && self.drain_at <= net.now {
            self.rules.drain_began = Some(net.now);
            self.rules.drain_ends = Some(net.now + self.drain_takes);
            (self.drain)();
        }
        for peer in &mut self.peers {
            let result = peer.act(net, &self.rules);
            Self::note(&mut self.broken, peer, net.now, result);
        }
    }
}
