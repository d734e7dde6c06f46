//! The name of a request in logs: given by its peer, or by this server.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;

/// The field by which a peer names its request.
pub(crate) const FIELD: &str = "x-request-id";

/// The name of a request in logs: its `X-Request-Id`, if that has at most 64 bytes of visible ASCII and among them
/// no quotation mark or backslash; else 32 hexadecimal digits that no other request has, on any core or in any
/// process. A name is no secret: the next one can be guessed.
///
/// ```
/// use kiang::{App, RequestId, Response, StatusCode};
///
/// let app = App::new().get("/", |id: RequestId| {
///     Response::new(StatusCode::OK).header("x-request-id", id.to_string())
/// });
/// ```
#[derive(Clone, Copy)]
pub struct RequestId {
    text: [u8; Self::LONGEST],
    len: u8,
}

/// A name that outlives its request: small, and written out only when it is needed.
#[derive(Clone, Debug)]
pub(crate) enum Kept {
    Peer(Box<RequestId>),
    /// Our own of this number.
    Own(u64),
}

thread_local! {
    /// The beginning of all names made on this core, and the number of names made. A core is a thread.
    static OWN: (u64, Cell<u64>) = (random(), Cell::new(0));
}

/// Random enough to differ between cores and processes: the keys of the standard library's hasher come from the
/// system.
fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

impl RequestId {
    const LONGEST: usize = 64;

    /// The peer's own, if it may stand in a log as it is.
    pub(crate) fn of_peer(value: &[u8]) -> Option<Self> {
        let fits = (1..=Self::LONGEST).contains(&value.len());
        let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'`' | b'\\');
        (fits && value.iter().all(is_plain)).then(|| Self::of_text(value))
    }

    fn own(number: u64) -> Self {
        let prefix = OWN.with(|(prefix, _)| *prefix);
        let number = u128::from(prefix) << 64 | u128::from(number);
        let mut text = [0; 32];
        for (place, digit) in text.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(number >> (124 - 4 * place)) as usize & 0xf];
        }
        Self::of_text(&text)
    }

    fn of_text(value: &[u8]) -> Self {
        let mut text = [0; Self::LONGEST];
        text[..value.len()].copy_from_slice(value);
        // At most `LONGEST`.
        Self { text, len: value.len() as u8 }
    }
}

impl Kept {
    /// A new one of our own.
    pub(crate) fn next() -> Self {
        OWN.with(|(_, count)| {
            count.set(count.get() + 1);
            Self::Own(count.get())
        })
    }

    /// The name itself.
    pub(crate) fn id(&self) -> RequestId {
        match self {
            Self::Peer(id) => **id,
            Self::Own(number) => RequestId::own(*number),
        }
    }
}

impl Deref for RequestId {
    type Target = str;

    fn deref(&self) -> &str {
        // Nothing but ASCII is ever put in.
        str::from_utf8(&self.text[..self.len as usize]).unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::thread;

    #[test]
    fn a_peers_own_is_kept_if_it_is_plain() {
        let longest = "x".repeat(64);
        for plain in ["a", "4bf92f35-77b3:1/2", &longest] {
            assert_eq!(RequestId::of_peer(plain.as_bytes()).as_deref(), Some(plain));
        }
        let too_long = "x".repeat(65);
        for odd in ["", "a b", "a\"b", "a'b", "a\\b", "a\tb", "\u{e9}", "\u{7f}", &too_long] {
            assert!(RequestId::of_peer(odd.as_bytes()).is_none(), "{odd:?}");
        }
    }

    #[test]
    fn our_own_differ_on_one_core_and_between_cores() {
        let make = || (0..1000).map(|_| Kept::next().id().to_string()).collect::<Vec<_>>();
        let mut all: HashSet<_> = make().into_iter().collect();
        all.extend(thread::spawn(make).join().unwrap());
        assert_eq!(all.len(), 2000);
        assert!(all.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
    }

    #[test]
    fn one_request_has_one_name() {
        let kept = Kept::next();
        assert_eq!(*kept.id(), *kept.id());
    }
}
