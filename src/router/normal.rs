//! Paths that are written in two ways and are the same: percent-encoded characters that need not be, and hexadecimal
//! digits in lower case (RFC 3986 sections 6.2.2.1 and 6.2.2.2).

use std::borrow::Cow;

/// The one way to write a path: `%7e` is `~`, `%2f` is `%2F`. A slash that is encoded stays so, since it separates
/// nothing (section 2.2).
pub(super) fn normal(path: &str) -> Cow<'_, str> {
    // Most paths have nothing encoded, and cost no more than this look.
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut normal = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(percent) = rest.find('%') {
        normal.push_str(&rest[..percent]);
        rest = &rest[percent..];
        match encoded(rest.as_bytes()) {
            Some(byte) if is_unreserved(byte) => {
                normal.push(byte.into());
                rest = &rest[3..];
            }
            Some(_) => {
                normal.push_str(&rest[..3].to_ascii_uppercase());
                rest = &rest[3..];
            }
            None => {
                normal.push('%');
                rest = &rest[1..];
            }
        }
    }
    normal.push_str(rest);
    Cow::Owned(normal)
}

/// Where in a path that stands which becomes the byte at `at` of its [`normal`] form.
pub(super) fn place_of(path: &str, at: usize) -> usize {
    let mut place = 0;
    for _ in 0..at {
        match path.as_bytes().get(place..).and_then(encoded) {
            Some(byte) if is_unreserved(byte) => place += 3,
            _ => place += 1,
        }
    }
    place
}

/// The byte that a percent-encoded one at the beginning stands for.
fn encoded(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    Some((digit(high)? << 4 | digit(low)?) as u8)
}

/// RFC 3986 section 2.3
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_need_not_be_encoded_is_plain_and_the_rest_stays() {
        for (path, expected) in [
            ("/plaintext", "/plaintext"),
            ("/plain%74ext", "/plaintext"),
            ("/%7euser/%2D%5f%2e", "/~user/-_."),
            ("/a%2fb%20c%25", "/a%2Fb%20c%25"),
            ("/%41%e2%82%ac%", "/A%E2%82%AC%"),
            ("/%2541", "/%2541"),
            ("/%4", "/%4"),
        ] {
            assert_eq!(normal(path), expected, "{path}");
            assert_eq!(normal(expected), expected, "normal already");
        }
    }

    #[test]
    fn a_place_in_the_normal_form_is_found_in_the_other() {
        let path = "/%61/b%2f%62/c";
        let normal = normal(path);
        assert_eq!(normal, "/a/b%2Fb/c");
        for (part, expected) in [("/a", "/%61"), ("b%2Fb", "b%2f%62"), ("c", "c"), ("", "")] {
            let at = normal.find(part).unwrap();
            let ends = place_of(path, at)..place_of(path, at + part.len());
            assert_eq!(&path[ends], expected);
        }
    }
}
