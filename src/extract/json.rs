//! JSON in and out.

use super::FromRequest;
use crate::bytes::Bytes;
use crate::error::{Error, Result};
use crate::http::request::Request;
use crate::http::respond::IntoResponse;
use crate::http::response::{ContentType, Response};
use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// JSON: as an argument, the body parsed; as a result, the value serialized.
///
/// A request must say that its body is `application/json` (or `…+json`); 415 if not, 400 if it does not parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// How deep arrays and objects may nest. A parser that follows them calls itself once for each, and the stack
/// ends where the peer likes.
const DEEPEST: usize = 128;

impl<T: DeserializeOwned> FromRequest for Json<T> {
    const NEEDS_BODY: bool = true;

    fn from_request(request: &mut Request) -> Result<Self> {
        if !request.headers().get_str("content-type").is_some_and(is_json) {
            return Err(Error::with_status(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body must be JSON, with the header field Content-Type: application/json",
            ));
        }
        // The parser unescapes in place, so it needs a copy of its own.
        let mut text = Bytes::from_request(request)?.to_vec();
        let bad = |reason: String| {
            Error::with_status(StatusCode::BAD_REQUEST, format!("the body's JSON: {reason}"))
        };
        if nests_deeper(&text, DEEPEST) {
            return Err(bad(format!("arrays and objects nest deeper than {DEEPEST}")));
        }
        simd_json::from_slice(&mut text).map(Json).map_err(|error| bad(error.to_string()))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(text) => Response::of_type(ContentType::Json, text),
            Err(error) => Error::new("a response cannot be written as JSON").because(error).into_response(),
        }
    }
}

/// `application/json`, or a type with the suffix `+json` (RFC 6839 section 3.1), with any parameters.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
        || essence.len() > 5 && essence.as_bytes()[essence.len() - 5..].eq_ignore_ascii_case(b"+json")
}

/// Whether brackets outside of strings nest deeper than this.
fn nests_deeper(text: &[u8], limit: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_is_json() {
        for yes in ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"] {
            assert!(is_json(yes), "{yes}");
        }
        for no in ["", "text/plain", "application/jsonp", "+json", "application/x-www-form-urlencoded"] {
            assert!(!is_json(no), "{no}");
        }
    }

    #[test]
    fn nesting_is_counted_outside_of_strings() {
        assert!(nests_deeper(b"[[[", 2));
        assert!(!nests_deeper(b"[[],[],{\"[[[\\\"[[[\": 1}]", 2));
    }
}
