//! What a handler may return.

use crate::bytes::Bytes;
use crate::error::Error;
use crate::http::response::{ContentType, Response};
use http::StatusCode;
use std::borrow::Cow;

/// Turns into a [`Response`]: what a handler returns.
pub trait IntoResponse {
    /// The response.
    fn into_response(self) -> Response;
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

impl IntoResponse for () {
    /// `204 No Content`.
    fn into_response(self) -> Response {
        Response::new(StatusCode::NO_CONTENT)
    }
}

impl IntoResponse for StatusCode {
    fn into_response(self) -> Response {
        Response::new(self)
    }
}

impl IntoResponse for &'static str {
    #[inline]
    fn into_response(self) -> Response {
        Response::of_type(ContentType::Text, self)
    }
}

impl IntoResponse for String {
    fn into_response(self) -> Response {
        Response::of_type(ContentType::Text, self)
    }
}

impl IntoResponse for Cow<'static, str> {
    fn into_response(self) -> Response {
        Response::of_type(ContentType::Text, self)
    }
}

impl IntoResponse for Vec<u8> {
    fn into_response(self) -> Response {
        Response::of_type(ContentType::Octets, self)
    }
}

impl IntoResponse for &'static [u8] {
    fn into_response(self) -> Response {
        Response::of_type(ContentType::Octets, self)
    }
}

impl IntoResponse for Bytes {
    fn into_response(self) -> Response {
        Response::of_type(ContentType::Octets, self)
    }
}

impl<R: IntoResponse> IntoResponse for (StatusCode, R) {
    fn into_response(self) -> Response {
        self.1.into_response().with_status(self.0)
    }
}

impl<T: IntoResponse, E: IntoResponse> IntoResponse for Result<T, E> {
    fn into_response(self) -> Response {
        match self {
            Ok(answer) => answer.into_response(),
            Err(error) => error.into_response(),
        }
    }
}

impl IntoResponse for Error {
    /// The error's status; the message is sent for a 4xx, and goes to the log for a 5xx.
    fn into_response(self) -> Response {
        let status = self.status();
        if self.is_no_room() {
            return plain_status(status).header(RETRY_AFTER.0, RETRY_AFTER.1);
        }
        if status.is_server_error() {
            log::error!("a handler failed: {self}");
            return plain_status(status);
        }
        format!("{}\n", self.message()).into_response().with_status(status)
    }
}

/// How long a client should wait where there was no room, in seconds (RFC 9110 section 10.2.3).
pub(crate) const RETRY_AFTER: (&str, &str) = ("Retry-After", "1");

/// A status with its name as text, for people who see it in a terminal.
pub(crate) fn plain_status(status: StatusCode) -> Response {
    let reason = status.canonical_reason().unwrap_or("error");
    format!("{} {reason}\n", status.as_u16()).into_response().with_status(status)
}
