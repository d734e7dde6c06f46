//! The facts of one request, from its head to the end of its answer.

use super::access_log::Entry;
use super::rate::BodyRate;
use crate::http::body::Sender;

/// What a connection knows of the request that it serves. Replaced whole when the next one comes.
#[derive(Default)]
pub(super) struct Current {
    /// Its entry in the access log, if it is to have one.
    pub(super) entry: Option<Box<Entry>>,
    /// The way of its body to the reader, until all of it has gone there.
    pub(super) incoming: Option<Sender>,
    /// How its body comes.
    pub(super) body_rate: BodyRate,
    /// Its body will never be whole.
    pub(super) body_failed: bool,
    /// Its answer is made as it goes, and may still be on its way: where the connection's end is the answer's (RFC 9112
    /// section 6.3), an orderly end would make it look whole.
    pub(super) streams: bool,
}

/// An answer of which the last piece is on its way, and its entry in the access log: until that piece has left, the
/// answer can still be cut.
pub(super) struct Leaving(pub(super) Option<Box<Entry>>);
