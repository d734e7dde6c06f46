//! The connections between the made-up kernel and its peers: what lies in the buffers of both ends.

use super::random::{Random, mix};
use std::collections::VecDeque;

/// Which connection of a net, in the order in which they were opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Link(pub(crate) usize);

/// All connections.
pub(crate) struct Net {
    /// Microseconds since the run began.
    pub(crate) now: u64,
    pub(crate) connections: Vec<Connection>,
    /// Those that wait to be accepted.
    backlog: VecDeque<Link>,
    random: Random,
    /// What has happened so far, in one number.
    trace: u64,
    /// Every event is printed.
    pub(crate) tells: bool,
}

/// One connection. `server` and `peer` name its two ends.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "facts of two ends, independent of each other")]
pub(crate) struct Connection {
    to_server: VecDeque<u8>,
    to_peer: VecDeque<u8>,
    /// How much each may hold.
    room_to_server: usize,
    room_to_peer: usize,
    /// When the server accepted it.
    pub(crate) accepted: Option<u64>,
    /// When the server said that nothing more comes, closed or reset it.
    pub(crate) ended: Option<u64>,
    /// The server closed its descriptor.
    pub(crate) closed: bool,
    /// The peer is told, or will be, that the connection was reset.
    reset: bool,
    peer_finished: bool,
    /// The peer's end is no more.
    peer_gone: bool,
    /// An error that the server's end has not told yet.
    error: Option<i32>,
    /// Since when a send waits and the peer takes nothing.
    pub(crate) blocked_since: Option<u64>,
    /// When a send that waits was begun that was not taken to its end.
    pub(crate) sends_since: Option<u64>,
    /// How many bytes the peer has taken.
    pub(crate) acknowledged: u64,
}

/// What one end finds when it reads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Bytes(Vec<u8>),
    Nothing,
    End,
    Error(i32),
}

impl Net {
    pub(crate) fn new(random: Random) -> Self {
        Self { now: 0, connections: Vec::new(), backlog: VecDeque::new(), random, trace: 0, tells: false }
    }

    /// Everything that has happened, in one number: two runs of one seed have the same.
    pub(crate) fn trace(&self) -> u64 {
        self.trace
    }

    /// Notes an event: of which connection or operation, and a number.
    pub(super) fn note(&mut self, what: &'static str, of: u64, number: u64) {
        if self.tells {
            println!("{:>12} us  {what} {of:x}: {number}", self.now);
        }
        let what = what.bytes().fold(0, |sum, byte| sum << 5 ^ u64::from(byte));
        self.trace = mix(self.trace ^ mix(self.now ^ what << 32) ^ mix(of) ^ number);
    }

    pub(crate) fn at(&self, link: Link) -> &Connection {
        &self.connections[link.0]
    }

    /// Opens a connection, with so much room each way.
    pub(crate) fn connect(&mut self, room_to_server: usize, room_to_peer: usize) -> Link {
        let link = Link(self.connections.len());
        self.note("connect", link.0 as u64, 0);
        self.connections.push(Connection { room_to_server, room_to_peer, ..Connection::default() });
        self.backlog.push_back(link);
        link
    }

    /// The peer sends; how much was taken.
    pub(crate) fn peer_writes(&mut self, link: Link, bytes: &[u8]) -> usize {
        let connection = &mut self.connections[link.0];
        if connection.closed && !connection.reset {
            // Nobody has the socket any more: its kernel answers with a reset.
            connection.reset = true;
        }
        if connection.reset {
            return 0;
        }
        let taken = bytes.len().min(connection.room_to_server - connection.to_server.len());
        connection.to_server.extend(&bytes[..taken]);
        self.note("peer writes", link.0 as u64, taken as u64);
        taken
    }

    /// The peer reads at most so much.
    pub(crate) fn peer_reads(&mut self, link: Link, most: usize) -> Heard {
        let connection = &mut self.connections[link.0];
        let length = connection.to_peer.len().min(most);
        if length > 0 {
            let bytes = take(&mut connection.to_peer, length);
            connection.acknowledged += length as u64;
            if connection.blocked_since.is_some() {
                connection.blocked_since = Some(self.now);
            }
            self.note("peer reads", link.0 as u64, length as u64);
            return Heard::Bytes(bytes);
        }
        match connection {
            Connection { reset: true, .. } => Heard::Error(libc::ECONNRESET),
            Connection { ended: Some(_), .. } => Heard::End,
            _ => Heard::Nothing,
        }
    }

    /// Whether the peer finds something if it reads.
    pub(crate) fn is_readable(&self, link: Link) -> bool {
        let connection = self.at(link);
        !connection.to_peer.is_empty() || connection.reset || connection.ended.is_some()
    }

    /// The peer says that it sends nothing more.
    pub(crate) fn peer_finishes(&mut self, link: Link) {
        self.note("peer finishes", link.0 as u64, 0);
        self.connections[link.0].peer_finished = true;
    }

    /// The peer closes its end: with a reset, if it has not read everything or `hard` says so.
    pub(crate) fn peer_closes(&mut self, link: Link, hard: bool) {
        self.note("peer closes", link.0 as u64, u64::from(hard));
        let forgets = self.random.percent(50);
        let connection = &mut self.connections[link.0];
        connection.peer_finished = true;
        connection.peer_gone = true;
        if hard || !connection.to_peer.is_empty() {
            connection.error = Some(libc::ECONNRESET);
            if forgets {
                connection.to_server.clear();
            }
        }
        connection.to_peer.clear();
    }

    pub(super) fn accept(&mut self) -> Option<Link> {
        let link = self.backlog.pop_front()?;
        self.connections[link.0].accepted = Some(self.now);
        self.note("accept", link.0 as u64, 0);
        Some(link)
    }

    /// How many connections wait to be accepted.
    pub(crate) fn waiting(&self) -> usize {
        self.backlog.len()
    }

    /// How much has arrived for the server.
    pub(super) fn unread(&self, link: Link) -> usize {
        self.at(link).to_server.len()
    }

    /// How much the server has sent and the peer has not taken.
    pub(super) fn untaken(&self, link: Link) -> usize {
        self.at(link).to_peer.len()
    }

    /// What the server finds when it reads at most so much.
    pub(super) fn server_reads(&mut self, link: Link, most: usize) -> Heard {
        let connection = &mut self.connections[link.0];
        if !connection.to_server.is_empty() {
            let length = connection.to_server.len().min(most);
            let bytes = take(&mut connection.to_server, length);
            self.note("receive", link.0 as u64, length as u64);
            return Heard::Bytes(bytes);
        }
        // A socket tells an error once.
        match connection.error.take() {
            Some(error) => Heard::Error(error),
            None if connection.peer_finished => Heard::End,
            None => Heard::Nothing,
        }
    }

    /// The server sends; how much was taken, or the error.
    pub(super) fn server_writes(&mut self, link: Link, bytes: &[u8]) -> Result<usize, i32> {
        let connection = &mut self.connections[link.0];
        if let Some(error) = connection.error.take() {
            return Err(error);
        }
        if connection.ended.is_some() {
            return Err(libc::EPIPE);
        }
        if connection.peer_gone {
            // The first such send succeeds, and a reset comes back.
            connection.error = Some(libc::ECONNRESET);
            return Ok(bytes.len());
        }
        let taken = bytes.len().min(self.room(link));
        if taken == 0 {
            return Err(libc::EAGAIN);
        }
        self.connections[link.0].to_peer.extend(&bytes[..taken]);
        self.note("send", link.0 as u64, taken as u64);
        Ok(taken)
    }

    /// How much the server can send at once.
    fn room(&self, link: Link) -> usize {
        let connection = self.at(link);
        connection.room_to_peer - connection.to_peer.len()
    }

    /// Whether a send that waits should look: a third of the room is free (`sk_stream_write_space` of the kernel), or
    /// something is wrong.
    pub(super) fn is_writable(&self, link: Link) -> bool {
        let connection = self.at(link);
        connection.error.is_some()
            || connection.ended.is_some()
            || connection.peer_gone
            || self.room(link) * 3 >= connection.room_to_peer
    }

    /// The server begins to send, and waits for room; or all of it was taken.
    pub(super) fn set_sends(&mut self, link: Link, sends: bool) {
        let since = &mut self.connections[link.0].sends_since;
        if sends {
            since.get_or_insert(self.now);
        } else {
            *since = None;
        }
    }

    /// The server's send waits, or waits no longer.
    pub(super) fn set_blocked(&mut self, link: Link, blocked: bool) {
        let now = self.now;
        let connection = &mut self.connections[link.0];
        match (blocked, connection.blocked_since) {
            (true, None) => connection.blocked_since = Some(now),
            (false, Some(_)) => connection.blocked_since = None,
            _ => {}
        }
    }

    pub(super) fn server_finishes(&mut self, link: Link) {
        self.note("shutdown", link.0 as u64, 0);
        let now = self.now;
        self.connections[link.0].ended.get_or_insert(now);
    }

    /// The server closes its descriptor: with a reset, if it has not read everything or `hard` says so.
    pub(super) fn server_closes(&mut self, link: Link, hard: bool) {
        self.note("close", link.0 as u64, u64::from(hard));
        let now = self.now;
        let connection = &mut self.connections[link.0];
        connection.closed = true;
        connection.blocked_since = None;
        connection.ended.get_or_insert(now);
        if hard || !connection.to_server.is_empty() {
            connection.reset = true;
            // A reset destroys what is on its way.
            let arrived = self.random.between(0, connection.to_peer.len() as u64) as usize;
            connection.to_peer.truncate(arrived);
        }
        connection.to_server.clear();
    }
}

/// Takes the first bytes, in two copies at most.
fn take(from: &mut VecDeque<u8>, length: usize) -> Vec<u8> {
    let (first, second) = from.as_slices();
    let split = length.min(first.len());
    let bytes = [&first[..split], &second[..length - split]].concat();
    from.drain(..length);
    bytes
}
