//! The most that one peer may send.

use crate::error::Error;
use std::fmt;

/// Bounds on what is accepted from a peer. Every one is checked before memory is taken for it.
///
/// ```
/// let strict = kiang::Limits { head_bytes: 4096, ..kiang::Limits::default() };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Request line and header fields together, in bytes; beyond it, 431. At most 65,535. Default 16 KiB.
    pub head_bytes: usize,
    /// Header fields of one request; beyond it, 431. At most 128. Default 100.
    pub headers: usize,
    /// The request target, in bytes; beyond it, 414. Default 8 KiB.
    pub target_bytes: usize,
    /// A request's body, however it is read, in bytes; beyond it, 413. Default 64 MiB.
    pub body_bytes: u64,
    /// A request's body where it is collected in memory (`Bytes`, `String`, `Json`), in bytes; beyond it, 413.
    /// Default 2 MiB.
    pub buffered_body_bytes: usize,
    /// The chunk extensions of one body together, in bytes; beyond it, 400. Default 4 KiB.
    pub chunk_extension_bytes: usize,
    /// The trailer fields of one body, in bytes; beyond it, 431. At most 65,533. Default 8 KiB.
    pub trailer_bytes: usize,
    /// Requests answered on one connection; the last answer says `Connection: close`. Default: any number.
    pub requests: Option<u64>,
    /// Connections open at one time on one core; beyond it, new ones are answered 503 and closed. Default 100,000.
    pub connections: usize,
    /// Connections open at one time on one core of one peer, which is an IPv4 address or an IPv6 network of 64 bits
    /// (in which one host can take any address, RFC 8981); beyond it, new ones are closed with a reset. Default
    /// 16,384.
    pub connections_per_peer: usize,
}

/// The reason for refusing a body that is too long, wherever its length shows.
pub(crate) const BODY_TOO_LONG: &str = "the body is longer than this server reads";

impl Limits {
    /// The most `head_bytes` may be: a head's parts are kept as 16-bit offsets.
    pub const MOST_HEAD_BYTES: usize = u16::MAX as usize;
    /// The most `trailer_bytes` may be: the empty line at their end is kept with them, by 16-bit offsets as well.
    pub const MOST_TRAILER_BYTES: usize = Self::MOST_HEAD_BYTES - 2;
    /// The most `headers` may be.
    pub const MOST_HEADERS: usize = 128;

    /// Whether a server can keep to these limits. [`Server::run`](crate::Server::run) asks this first.
    ///
    /// # Errors
    /// The first field with a value that is not possible.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        // Without `..`: a new field is looked at here.
        let Self {
            head_bytes,
            headers,
            target_bytes,
            body_bytes: _,
            buffered_body_bytes: _,
            chunk_extension_bytes: _,
            trailer_bytes,
            requests,
            connections,
            connections_per_peer,
        } = *self;
        let at_most = |field, value, most| {
            let invalid = || InvalidSetting::new(field, format!("is {value}: at most {most} are possible"));
            if value > most { Err(invalid()) } else { Ok(()) }
        };
        let above_zero = |field, value| match value {
            0 => Err(InvalidSetting::new(field, "is 0, so nobody could be served: it must be at least 1")),
            _ => Ok(()),
        };
        at_most("head_bytes", head_bytes, Self::MOST_HEAD_BYTES)?;
        at_most("headers", headers, Self::MOST_HEADERS)?;
        at_most("trailer_bytes", trailer_bytes, Self::MOST_TRAILER_BYTES)?;
        if target_bytes > head_bytes {
            let reason = format!("is {target_bytes}, more than the {head_bytes} of the whole head");
            return Err(InvalidSetting::new("target_bytes", reason));
        }
        above_zero("headers", headers as u64)?;
        above_zero("requests", requests.unwrap_or(u64::MAX))?;
        above_zero("connections", connections as u64)?;
        above_zero("connections_per_peer", connections_per_peer as u64)
    }
}

/// A value that [`Limits`] or [`Deadlines`](crate::Deadlines) cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidSetting {
    /// The field.
    pub field: &'static str,
    /// Its value and what would be possible, as the rest of a sentence that begins with the field.
    pub reason: String,
}

impl InvalidSetting {
    pub(crate) fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self { field, reason: reason.into() }
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.field, self.reason)
    }
}

impl std::error::Error for InvalidSetting {}

impl From<InvalidSetting> for Error {
    fn from(invalid: InvalidSetting) -> Self {
        Self::new(invalid.to_string())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 16 << 10,
            headers: 100,
            target_bytes: 8 << 10,
            body_bytes: 64 << 20,
            buffered_body_bytes: 2 << 20,
            chunk_extension_bytes: 4 << 10,
            trailer_bytes: 8 << 10,
            requests: None,
            connections: 100_000,
            connections_per_peer: 16_384,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_cannot_be_kept_are_named() {
        let of = |change: fn(&mut Limits)| {
            let mut limits = Limits::default();
            change(&mut limits);
            limits.check().map_err(|invalid| invalid.to_string())
        };
        assert_eq!(of(|_| ()), Ok(()));
        assert_eq!(of(|limits| (limits.head_bytes, limits.trailer_bytes) = (65_535, 65_533)), Ok(()));
        let refused = |change, words: &str| assert_eq!(of(change), Err(words.to_owned()));
        refused(|limits| limits.head_bytes = 65_536, "`head_bytes` is 65536: at most 65535 are possible");
        refused(|limits| limits.headers = 129, "`headers` is 129: at most 128 are possible");
        refused(
            |limits| limits.trailer_bytes = 65_534,
            "`trailer_bytes` is 65534: at most 65533 are possible",
        );
        refused(
            |limits| limits.head_bytes = 8191,
            "`target_bytes` is 8192, more than the 8191 of the whole head",
        );
        let zero = |field| format!("`{field}` is 0, so nobody could be served: it must be at least 1");
        refused(|limits| limits.headers = 0, &zero("headers"));
        refused(|limits| limits.requests = Some(0), &zero("requests"));
        refused(|limits| limits.connections = 0, &zero("connections"));
        refused(|limits| limits.connections_per_peer = 0, &zero("connections_per_peer"));
    }
}
