//! How long a peer may take.

use std::time::Duration;

/// How long one peer may take over everything. Every wait of a connection has one of these; they are kept to the
/// millisecond.
///
/// ```
/// use std::time::Duration;
/// let patient = kiang::Deadlines { idle: Duration::from_secs(300), ..kiang::Deadlines::default() };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For a request's head, from its first byte (from the connection's start for the first); beyond it, 408.
    /// Default 10 s.
    pub head: Duration,
    /// Between two pieces of a request's body; beyond it, 408. Default 30 s.
    pub body: Duration,
    /// Between an answer and the next request; beyond it, the connection is closed. Default 75 s.
    pub idle: Duration,
    /// For the peer to take the next piece (up to 256 KiB) of a response; beyond it, the connection is cut.
    /// Default 30 s.
    pub write: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            write: Duration::from_secs(30),
        }
    }
}
