//! Header fields: of a request, where they arrived; of a response, as they were set.

use crate::bytes::Bytes;
use crate::error::{Error, Result};
use smallvec::SmallVec;
use std::fmt;
use std::ops::Range;

/// Names that the engine itself looks for or that nearly every request carries, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Known {
    Other,
    Accept,
    AcceptEncoding,
    Authorization,
    Connection,
    ContentLength,
    ContentType,
    Cookie,
    Date,
    Expect,
    Host,
    Server,
    Te,
    TransferEncoding,
    Upgrade,
    UserAgent,
}

impl Known {
    /// The number of a name; field names are case-insensitive (RFC 9110 section 5.1).
    pub(crate) fn of(name: &[u8]) -> Self {
        let (known, spelled): (Self, &[u8]) = match name.len() {
            2 => (Self::Te, b"te"),
            4 => match name[0] | 0x20 {
                b'h' => (Self::Host, b"host"),
                _ => (Self::Date, b"date"),
            },
            6 => match name[0] | 0x20 {
                b'a' => (Self::Accept, b"accept"),
                b'c' => (Self::Cookie, b"cookie"),
                b's' => (Self::Server, b"server"),
                _ => (Self::Expect, b"expect"),
            },
            7 => (Self::Upgrade, b"upgrade"),
            10 => match name[0] | 0x20 {
                b'c' => (Self::Connection, b"connection"),
                _ => (Self::UserAgent, b"user-agent"),
            },
            12 => (Self::ContentType, b"content-type"),
            13 => (Self::Authorization, b"authorization"),
            14 => (Self::ContentLength, b"content-length"),
            15 => (Self::AcceptEncoding, b"accept-encoding"),
            17 => (Self::TransferEncoding, b"transfer-encoding"),
            _ => return Self::Other,
        };
        if is_spelled(name, spelled) { known } else { Self::Other }
    }
}

/// Whether a token is this name in any case. The two are of the same length.
///
/// With bit 5 set an upper-case letter is its lower-case one. Of the other bytes that a token may hold none becomes a
/// letter or a hyphen that was not one before. Names are short, so words that overlap cover them in two or three steps.
#[inline]
fn is_spelled(name: &[u8], spelled: &[u8]) -> bool {
    if let (Some((name, _)), Some((spelled, _))) =
        (name.split_first_chunk::<8>(), spelled.split_first_chunk::<8>())
        && !is_word(*name, *spelled)
    {
        return false;
    }
    match (name.split_last_chunk::<8>(), spelled.split_last_chunk::<8>()) {
        (Some((name_start, name)), Some((spelled_start, spelled))) => {
            // Between the first and the last eight bytes lies what is longer than 16.
            is_word(*name, *spelled)
                && name_start.iter().zip(spelled_start).skip(8).all(|(byte, letter)| byte | 0x20 == *letter)
        }
        _ => name.iter().zip(spelled).all(|(byte, letter)| byte | 0x20 == *letter),
    }
}

/// Eight bytes of a token and of a name in lower case, compared as in [`is_spelled`].
#[inline]
fn is_word(word: [u8; 8], spelled: [u8; 8]) -> bool {
    u64::from_ne_bytes(word) | 0x2020_2020_2020_2020 == u64::from_ne_bytes(spelled)
}

impl Known {
    /// Whether the engine alone sends this field: it frames the message, or is the same in every response.
    pub(crate) fn is_engines(self) -> bool {
        matches!(
            self,
            Self::Connection | Self::ContentLength | Self::Date | Self::Server | Self::TransferEncoding
        )
    }
}

/// One field of a received head, as offsets into it.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    pub(crate) known: Known,
    /// A field name longer than 255 bytes is refused when the head is parsed.
    pub(crate) name_len: u8,
    pub(crate) name_at: u16,
    pub(crate) value_at: u16,
    pub(crate) value_len: u16,
}

type Fields = SmallVec<[Field; 16]>;

/// A request's header fields, in the order and spelling in which they arrived.
///
/// Names are found whatever their case. A name may occur more than once: [`get`](Headers::get) answers the
/// first, [`all`](Headers::all) every one.
#[derive(Clone, Default)]
pub struct Headers {
    head: Bytes,
    fields: Fields,
    /// A bit for each numbered name that occurs, and for each that occurs again.
    present: u16,
    repeated: u16,
}

impl Headers {
    /// Begins anew with the fields of another head. Filled in place: a request is too large to be moved about.
    pub(crate) fn begin(&mut self, head: Bytes) {
        self.head = head;
        self.fields.clear();
        (self.present, self.repeated) = (0, 0);
    }

    pub(crate) fn push(&mut self, field: Field) {
        let bit = 1 << field.known as u16;
        self.repeated |= self.present & bit;
        self.present |= bit;
        self.fields.push(field);
    }

    /// Whether any field has one of these numbered names.
    pub(crate) fn has_any(&self, known: &[Known]) -> bool {
        known.iter().any(|known| self.present & (1 << *known as u16) != 0)
    }

    /// The value of the first field of this name.
    pub fn get<'a>(&'a self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The value of the first field of this name, if it is UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| str::from_utf8(value).ok())
    }

    /// The values of all fields of this name, in order.
    pub fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let known = Known::of(name.as_bytes());
        self.fields.iter().filter_map(move |field| {
            let same = field.known == known
                && (known != Known::Other || self.name(*field).eq_ignore_ascii_case(name.as_bytes()));
            same.then(|| self.value(*field))
        })
    }

    /// Every field as name and value, in the order and spelling in which they arrived.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|field| {
            // A field name is a token (RFC 9110 section 5.1), checked when the head was parsed.
            (str::from_utf8(self.name(*field)).unwrap_or_default(), self.value(*field))
        })
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    pub(crate) fn head(&self) -> &Bytes {
        &self.head
    }

    /// Whether several fields have this numbered name.
    pub(crate) fn repeats(&self, known: Known) -> bool {
        self.repeated & (1 << known as u16) != 0
    }

    /// Where in the head the value of the first field of a numbered name lies.
    pub(crate) fn place(&self, known: Known) -> Option<Range<u16>> {
        let field = self.fields.iter().find(|field| field.known == known)?;
        Some(field.value_at..field.value_at + field.value_len)
    }

    /// The values of all fields of a numbered name, in order.
    pub(crate) fn known(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().filter(move |field| field.known == known).map(|field| self.value(*field))
    }

    fn name(&self, field: Field) -> &[u8] {
        &self.head[field.name_at as usize..][..field.name_len as usize]
    }

    fn value(&self, field: Field) -> &[u8] {
        &self.head[field.value_at as usize..][..field.value_len as usize]
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(name, value)| (name, value.escape_ascii().to_string())))
            .finish()
    }
}

/// A response's header fields, in the order in which they were set.
pub(crate) type ResponseHeaders = SmallVec<[(Bytes, Bytes); 1]>;

/// Whether this is a token (RFC 9110 section 5.6.2), as a field name must be.
pub(crate) fn is_token(name: &[u8]) -> bool {
    !name.is_empty()
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// Whether a field may stand behind the body: none that frames or routes a message, authenticates, modifies the
/// request, controls the response or describes the content, which all must be known before (RFC 9110 section 6.5.1).
pub(crate) fn may_be_trailer(name: &[u8]) -> bool {
    const NEVER: [&str; 32] = [
        "age",
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "expect",
        "expires",
        "host",
        "keep-alive",
        "location",
        "max-forwards",
        "pragma",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "retry-after",
        "server",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
        "via",
        "warning",
        "www-authenticate",
    ];
    let is = |never: &str| name.eq_ignore_ascii_case(never.as_bytes());
    let conditional = name.len() >= 3 && name[..3].eq_ignore_ascii_case(b"if-");
    !conditional && !NEVER.into_iter().any(is)
}

/// A field that can be sent: its name is a token, and its value holds no CR, LF or NUL.
pub(crate) fn checked_field(name: Bytes, value: Bytes) -> Result<(Bytes, Bytes)> {
    if !is_token(&name) {
        return Err(Error::new(format!("{name:?} cannot be the name of a header field")));
    }
    if !is_value(&value) {
        return Err(Error::new(format!("{value:?} cannot be the value of the header field {name:?}")));
    }
    Ok((name, value))
}

/// Whether this may stand as a field value: no CR, LF or NUL, by which a value could become something else
/// (RFC 9110 section 5.5).
pub(crate) fn is_value(value: &[u8]) -> bool {
    !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// The members of a comma-separated list over all its field lines (RFC 9110 section 5.6.1), trimmed.
pub(crate) fn list_members<'a>(values: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    values
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_name_is_known_in_any_case_and_its_neighbours_are_not() {
        for (name, known) in [
            ("Host", Known::Host),
            ("DATE", Known::Date),
            ("content-LENGTH", Known::ContentLength),
            ("Transfer-Encoding", Known::TransferEncoding),
            ("expect", Known::Expect),
            ("TE", Known::Te),
            ("td", Known::Other),
            ("hosts", Known::Other),
            ("h0st", Known::Other),
            ("content-lengtg", Known::Other),
            ("", Known::Other),
        ] {
            assert_eq!(Known::of(name.as_bytes()), known, "{name}");
        }
    }

    #[test]
    fn a_name_with_another_letter_in_any_place_is_another_name() {
        for name in [
            "accept",
            "accept-encoding",
            "authorization",
            "connection",
            "content-length",
            "content-type",
            "cookie",
            "transfer-encoding",
            "upgrade",
            "user-agent",
        ] {
            let known = Known::of(name.as_bytes());
            assert_ne!(known, Known::Other, "{name}");
            assert_eq!(Known::of(name.to_ascii_uppercase().as_bytes()), known);
            for at in 0..name.len() {
                let mut other = name.as_bytes().to_vec();
                other[at] = b'!';
                assert_eq!(Known::of(&other), Known::Other, "{}", other.escape_ascii());
            }
        }
    }

    #[test]
    fn a_value_that_could_split_a_head_is_no_value() {
        for bad in ["a\r\nSet-Cookie: b", "a\nb", "a\0"] {
            assert!(!is_value(bad.as_bytes()));
        }
        assert!(is_value("text/plain; charset=utf-8".as_bytes()));
    }

    #[test]
    fn list_members_span_field_lines_and_skip_empty_ones() {
        let values = [&b" close ,, keep-alive"[..], b"", b"x"];
        let members: Vec<_> = list_members(values.into_iter()).collect();
        assert_eq!(members, [&b"close"[..], b"keep-alive", b"x"]);
    }
}
