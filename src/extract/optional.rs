//! `Option<T>` and `Result<T>` as arguments.

use super::{FromRequest, FromRequestParts};
use crate::error::Result;
use crate::http::request::Request;

/// Lets `Option<Self>` be any argument of a handler: what is absent is `None`, and what is malformed still answers
/// with its error.
///
/// | argument | `None` if |
/// |---|---|
/// | `Option<Query<T>>` | the target has no `?` |
/// | `Option<Path<T>>` | the route has no `{name}` segment, as in a fallback |
/// | `Option<Peer>` | the peer was gone before the kernel could tell its address |
///
/// [`Option<Json<T>>`](OptionalFromRequest) is the last argument.
///
/// ```
/// use kiang::{App, FromRequestParts, OptionalFromRequestParts, Query, Request, Result};
/// # use kiang::{Error, StatusCode};
/// # struct ApiKey(String);
/// # impl FromRequestParts for ApiKey {
/// #     fn from_request_parts(request: &Request) -> Result<Self> {
/// #         let key = request.headers().get_str("x-api-key");
/// #         let missing = || Error::with_status(StatusCode::UNAUTHORIZED, "send your key as x-api-key");
/// #         key.map(|key| ApiKey(key.to_owned())).ok_or_else(missing)
/// #     }
/// # }
///
/// #[derive(serde::Deserialize)]
/// struct Page {
///     page: u32,
/// }
///
/// // `/items?page=x` is answered 400, and `/items` with the first page.
/// let app = App::new().get("/items", |query: Option<Query<Page>>| {
///     let page = query.map_or(1, |Query(Page { page })| page);
///     format!("page {page}")
/// });
///
/// // For an extractor of one's own: a key that is there and is not valid still refuses the request.
/// impl OptionalFromRequestParts for ApiKey {
///     fn is_absent(request: &Request) -> bool {
///         request.headers().get("x-api-key").is_none()
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`Option<{Self}>` cannot be an argument of a handler here",
    label = "absence of `{Self}` has no meaning here",
    note = "an optional argument before the last is an `Option` of `Query`, `Path`, `Peer`, or of your own `OptionalFromRequestParts`; `Option<Json<_>>` must be the last argument",
    note = "`Result<T, kiang::Error>` gives the handler the value or the error of any extractor"
)]
pub trait OptionalFromRequestParts: FromRequestParts {
    /// Whether the request has nothing to extract, neither good nor bad.
    fn is_absent(request: &Request) -> bool;
}

/// Lets `Option<Self>` be the last argument of a handler: what is absent is `None`, and what is malformed still
/// answers with its error.
///
/// `Option<Json<T>>` is `None` if the request has no body, or an empty one.
///
/// ```
/// use kiang::{App, Json};
///
/// // A `PUT` with the body `{` is answered 400, and one without a body with the default.
/// let app = App::new().put("/volume", |volume: Option<Json<u8>>| {
///     let volume = volume.map_or(11, |Json(volume)| volume);
///     format!("now at {volume}")
/// });
/// ```
#[diagnostic::on_unimplemented(
    message = "`Option<{Self}>` cannot be an argument of a handler",
    note = "an optional body is an `Option` of `Json` or of your own `OptionalFromRequest`; `Bytes` and `String` are empty if there is no body",
    note = "`Result<T, kiang::Error>` gives the handler the value or the error of any extractor"
)]
pub trait OptionalFromRequest: FromRequest {
    /// Whether the request has nothing to extract, neither good nor bad.
    fn is_absent(request: &Request, body: &Self::Body) -> bool;
}

impl<T: OptionalFromRequestParts> FromRequestParts for Option<T> {
    fn from_request_parts(request: &Request) -> Result<Self> {
        if T::is_absent(request) { Ok(None) } else { T::from_request_parts(request).map(Some) }
    }
}

impl<T: OptionalFromRequest> FromRequest for Option<T> {
    type Body = T::Body;

    fn from_request(request: &Request, body: T::Body) -> Result<Self> {
        if T::is_absent(request, &body) { Ok(None) } else { T::from_request(request, body).map(Some) }
    }
}

/// The value, or the error that would have answered the request: the handler decides.
impl<T: FromRequestParts> FromRequestParts for Result<T> {
    fn from_request_parts(request: &Request) -> Result<Self> {
        Ok(T::from_request_parts(request))
    }
}

/// The value, or the error that would have answered the request, be it of the body or of its content: the handler
/// decides.
impl<T: FromRequest> FromRequest for Result<T> {
    type Body = Result<T::Body>;

    fn from_request(request: &Request, body: Result<T::Body>) -> Result<Self> {
        Ok(body.and_then(|body| T::from_request(request, body)))
    }
}
