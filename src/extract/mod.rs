//! Extractors: what a handler's arguments may be.
//!
//! An extractor takes its value either from the head of a request, by reference ([`FromRequestParts`]), or from the
//! body, which it consumes ([`FromRequest`]). A body can be consumed once, so a handler has at most one such
//! argument, and that argument is the last.

mod body;
mod json;
mod optional;
mod parts;
mod path;
mod query;

pub(crate) use self::body::BodyForm;
pub use self::json::Json;
pub use self::optional::{OptionalFromRequest, OptionalFromRequestParts};
pub use self::parts::Peer;
pub use self::path::Path;
pub use self::query::Query;

use crate::error::Result;
use crate::http::request::Request;

/// Can be any argument of a handler: made from a request without its body.
///
/// The head, the peer's address and what the route matched are read by reference. So the order of such arguments
/// means nothing, and the same thing can be extracted twice.
///
/// ```
/// use kiang::{App, Error, FromRequestParts, Request, Result, StatusCode};
///
/// struct ApiKey(String);
///
/// impl FromRequestParts for ApiKey {
///     fn from_request_parts(request: &Request) -> Result<Self> {
///         let key = request.headers().get_str("x-api-key");
///         let missing = || Error::with_status(StatusCode::UNAUTHORIZED, "send your key as x-api-key");
///         key.map(|key| ApiKey(key.to_owned())).ok_or_else(missing)
///     }
/// }
///
/// let app = App::new().get("/whoami", |ApiKey(key): ApiKey| format!("the owner of {key}"));
/// ```
///
/// A handler that wants the error itself takes [`Result<T>`]. A handler that can do without takes [`Option<T>`], where
/// `T` is [`OptionalFromRequestParts`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument before the last: it is not extracted from the head of a request alone",
    label = "the body extractor must be the last argument",
    note = "`Json`, `Bytes`, `String`, `Body` and `Request` take the body away: a handler has at most one of them, as its last argument",
    note = "an extractor of your own that does not read the body implements `FromRequestParts`"
)]
pub trait FromRequestParts: Sized {
    /// Makes the value. An error answers the request.
    fn from_request_parts(request: &Request) -> Result<Self>;
}

/// Can be the last argument of a handler: made from a request and its body, which it consumes.
///
/// ```
/// use kiang::{App, Bytes, Error, FromRequest, Request, Result, StatusCode};
///
/// /// Lines of comma-separated values.
/// struct Csv(Vec<Vec<String>>);
///
/// impl FromRequest for Csv {
///     type Body = Bytes;
///
///     fn from_request(request: &Request, body: Bytes) -> Result<Self> {
///         if request.headers().get_str("content-type") != Some("text/csv") {
///             return Err(Error::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send text/csv"));
///         }
///         // Extractors build on each other.
///         let text = String::from_request(request, body)?;
///         Ok(Csv(text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()))
///     }
/// }
///
/// let app = App::new().post("/import", |Csv(lines): Csv| format!("{} lines\n", lines.len()));
/// ```
///
/// A handler that wants the error itself takes [`Result<T>`]. A handler that can do without takes [`Option<T>`], where
/// `T` is [`OptionalFromRequest`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not extracted from the body of a request",
    note = "an extractor of your own that reads the body implements `FromRequest`"
)]
pub trait FromRequest: Sized {
    /// The form in which the body is wanted: [`Bytes`](crate::Bytes) or [`Body`](crate::Body), or a [`Result`] of
    /// either.
    ///
    /// `Bytes` is all of the body, collected in memory before the value is made; a body above the limit
    /// ([`Limits::buffered_body_bytes`](crate::Limits::buffered_body_bytes)) is refused with 413. `Body` is the
    /// body as it arrives, and nothing of it has been read.
    type Body: BodyForm;

    /// Makes the value. An error answers the request.
    fn from_request(request: &Request, body: Self::Body) -> Result<Self>;
}
