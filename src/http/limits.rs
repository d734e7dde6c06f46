//! The most that one peer may send.

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
