//! The decision how a response is sent, from the request, the handler's answer and the server's state (RFC 9112
//! sections 6.3 and 9.3). Nothing is read or written here.

use crate::error::{Error, Result};
use crate::h1::encode::{Persistence, ResponseFraming};
use crate::http::request::Head;
use http::{Method, StatusCode, Version};

/// All that decides how a response is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) status: StatusCode,
    pub(crate) body: BodySize,
    /// The Content-Length that the handler set itself.
    pub(crate) declared: Option<u64>,
    pub(crate) request: RequestFacts,
    /// The client, the handler and the server all let another request follow.
    pub(crate) may_persist: bool,
}

/// The facts of a request's head that decide how the request is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestFacts {
    pub(crate) http_11: bool,
    /// The method is HEAD.
    pub(crate) is_head: bool,
}

impl RequestFacts {
    #[inline]
    pub(crate) fn of(head: &Head) -> Self {
        Self { http_11: head.version == Version::HTTP_11, is_head: head.method == Method::HEAD }
    }
}

/// How much body a handler gave its response.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BodySize {
    /// All of the body is there.
    Whole(u64),
    /// The body is made as it goes; its length may be known.
    Made(Option<u64>),
}

/// How a response is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) framing: ResponseFraming,
    pub(crate) persistence: Persistence,
    /// A body follows the head.
    pub(crate) sends_body: bool,
}

/// Decides how a response is sent.
///
/// # Errors
/// If the handler announced another length than that of the body it gave.
#[inline]
pub(crate) fn plan(facts: &Facts) -> Result<Plan> {
    let Facts { status, body, declared, request, may_persist } = *facts;
    let bodiless = matches!(status.as_u16(), 204 | 304);
    // RFC 9110 section 15.3.6: 205 has no content, and that is framed.
    let empty = status == StatusCode::RESET_CONTENT;
    let length = match (body, declared) {
        (BodySize::Whole(length), None) => Some(length),
        (BodySize::Whole(length), Some(declared)) if length == declared => Some(length),
        // Where no body is sent, a handler may tell its length without making it (RFC 9110 section 9.3.2).
        (BodySize::Whole(0) | BodySize::Made(Some(0)), Some(declared)) if bodiless || request.is_head => {
            Some(declared)
        }
        (BodySize::Whole(length), Some(declared)) => {
            return Err(Error::new(format!(
                "a handler set Content-Length to {declared}, and its body has {length} bytes"
            )));
        }
        (BodySize::Made(length), declared) => length.or(declared),
    };
    let framing = match length {
        _ if bodiless => ResponseFraming::Bodiless,
        _ if empty => ResponseFraming::Length(0),
        Some(length) => ResponseFraming::Length(length),
        None if request.http_11 => ResponseFraming::Chunked,
        None => ResponseFraming::UntilClose,
    };
    let persistence = match (may_persist && framing != ResponseFraming::UntilClose, request.http_11) {
        (false, _) => Persistence::Close,
        (true, true) => Persistence::Implied,
        (true, false) => Persistence::KeepAlive,
    };
    Ok(Plan { framing, persistence, sends_body: !(bodiless || empty || request.is_head) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use BodySize::{Made, Whole};
    use Persistence::{Close, Implied, KeepAlive};
    use ResponseFraming::{Bodiless, Chunked, Length, UntilClose};

    const GET: RequestFacts = RequestFacts { http_11: true, is_head: false };
    const HEAD: RequestFacts = RequestFacts { http_11: true, is_head: true };
    const OLD: RequestFacts = RequestFacts { http_11: false, is_head: false };
    const OLD_HEAD: RequestFacts = RequestFacts { http_11: false, is_head: true };

    #[test]
    fn a_response_is_framed_by_its_status_its_body_and_its_request() {
        for (request, status, body, declared, framing, sends_body) in [
            (GET, 200, Whole(13), None, Length(13), true),
            (GET, 200, Whole(0), None, Length(0), true),
            (GET, 200, Whole(13), Some(13), Length(13), true),
            (GET, 404, Made(None), None, Chunked, true),
            (GET, 200, Made(Some(5)), None, Length(5), true),
            (GET, 200, Made(None), Some(7), Length(7), true),
            // The body's own length comes before the declared one; the encoder compares the two.
            (GET, 200, Made(Some(5)), Some(7), Length(5), true),
            (GET, 204, Whole(0), None, Bodiless, false),
            (GET, 204, Whole(3), None, Bodiless, false),
            (GET, 304, Whole(0), Some(99), Bodiless, false),
            (GET, 304, Made(None), None, Bodiless, false),
            (GET, 205, Whole(0), None, Length(0), false),
            (GET, 205, Whole(3), None, Length(0), false),
            (GET, 205, Made(None), None, Length(0), false),
            (HEAD, 200, Whole(13), None, Length(13), false),
            (HEAD, 200, Whole(0), Some(99), Length(99), false),
            (HEAD, 200, Made(None), None, Chunked, false),
            (HEAD, 200, Made(Some(0)), Some(99), Length(99), false),
            (HEAD, 204, Whole(0), None, Bodiless, false),
            (OLD, 200, Whole(13), None, Length(13), true),
            (OLD, 200, Made(Some(5)), None, Length(5), true),
            (OLD, 200, Made(None), None, UntilClose, true),
            (OLD_HEAD, 200, Made(None), None, UntilClose, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let facts = Facts { status, body, declared, request, may_persist: true };
            let found = plan(&facts).unwrap();
            assert_eq!((found.framing, found.sends_body), (framing, sends_body), "{facts:?}");
        }
    }

    #[test]
    fn a_connection_persists_only_if_all_agree_and_the_end_of_the_body_is_told() {
        for (request, body, may_persist, persistence) in [
            (GET, Whole(1), true, Implied),
            (GET, Whole(1), false, Close),
            (GET, Made(None), true, Implied),
            (OLD, Whole(1), true, KeepAlive),
            (OLD, Whole(1), false, Close),
            (OLD, Made(None), true, Close),
            (OLD, Made(Some(1)), true, KeepAlive),
        ] {
            let facts = Facts { status: StatusCode::OK, body, declared: None, request, may_persist };
            assert_eq!(plan(&facts).unwrap().persistence, persistence, "{facts:?}");
        }
    }

    #[test]
    fn a_length_that_is_not_the_bodys_is_an_error() {
        for (request, status, body) in
            [(GET, 200, Whole(3)), (GET, 200, Whole(0)), (HEAD, 200, Whole(3)), (GET, 205, Whole(0))]
        {
            let status = StatusCode::from_u16(status).unwrap();
            let facts = Facts { status, body, declared: Some(4), request, may_persist: true };
            let error = plan(&facts).expect_err("no length is guessed").to_string();
            assert!(error.contains("Content-Length to 4"), "{error}");
        }
    }
}
