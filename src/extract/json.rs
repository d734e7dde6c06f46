//! JSON in and out.

use super::{FromRequest, OptionalFromRequest};
use crate::bytes::Bytes;
use crate::error::{Error, Result};
use crate::http::request::Request;
use crate::http::respond::IntoResponse;
use crate::http::response::{ContentType, Response};
use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// JSON: as the last argument, the body parsed; as a result, the value serialized.
///
/// A request must say that its body is `application/json` (or `…+json`): the answer is 415 if it does not, and 400 if
/// the body does not parse. [`Option<Json<T>>`](crate::OptionalFromRequest) is `None` for a request without a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// How deep arrays and objects may nest. The parser calls itself for each level, so without a bound the peer could
/// exhaust the stack.
const DEEPEST: usize = 128;

impl<T: DeserializeOwned> FromRequest for Json<T> {
    type Body = Bytes;

    fn from_request(request: &Request, body: Bytes) -> Result<Self> {
        if !request.headers().get_str("content-type").is_some_and(is_json) {
            return Err(Error::with_status(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body must be JSON, with the header field Content-Type: application/json",
            ));
        }
        // The parser unescapes in place, so the parser needs a copy of the body.
        let mut text = body.to_vec();
        let bad = |reason: String| {
            Error::with_status(StatusCode::BAD_REQUEST, format!("the body's JSON: {reason}"))
        };
        if nests_deeper(&text, DEEPEST) {
            return Err(bad(format!("arrays and objects nest deeper than {DEEPEST}")));
        }
        simd_json::from_slice(&mut text).map(Json).map_err(|error| bad(error.to_string()))
    }
}

/// Without content there is nothing to parse, whatever the head says of its type (RFC 9110 section 8.3).
impl<T: DeserializeOwned> OptionalFromRequest for Json<T> {
    fn is_absent(_: &Request, body: &Bytes) -> bool {
        body.is_empty()
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

/// Whether brackets outside of strings nest deeper than `limit`.
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
