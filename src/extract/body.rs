//! The forms in which extractors take the body, and the extractors that are nothing but the body.

use super::FromRequest;
use crate::bytes::Bytes;
use crate::error::{Error, Result};
use crate::http::body::Body;
use crate::http::request::Request;
use http::StatusCode;
use std::future::Future;

/// A form in which an extractor can take the body: [`Body`], [`Bytes`], or a [`Result`] of either.
///
/// The engine reads the body, so no extractor can forget to wait for the rest of the body. The trait is sealed: its
/// name is not public.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no form in which an extractor can take the body",
    note = "`FromRequest::Body` is `Bytes` (all of it, in memory), `Body` (as it arrives), or a `Result` of either"
)]
pub trait BodyForm: Sized + 'static {
    /// Takes the body, if nothing has to be waited for. `None` leaves the body where it is.
    #[doc(hidden)]
    fn at_once(request: &mut Request) -> Option<Result<Self>>;

    /// Takes the body, and waits for what has not arrived.
    #[doc(hidden)]
    fn read(request: &mut Request) -> impl Future<Output = Result<Self>>;
}

impl BodyForm for Body {
    fn at_once(request: &mut Request) -> Option<Result<Self>> {
        Some(Ok(std::mem::take(request.body_mut())))
    }

    async fn read(request: &mut Request) -> Result<Self> {
        Ok(std::mem::take(request.body_mut()))
    }
}

impl BodyForm for Bytes {
    fn at_once(request: &mut Request) -> Option<Result<Self>> {
        let limit = request.buffered_body_bytes() as u64;
        let body = request.body_mut();
        // `read` refuses a body that is too long.
        if !body.is_whole() || body.length().is_none_or(|length| length > limit) {
            return None;
        }
        body.take_whole().map(Ok)
    }

    async fn read(request: &mut Request) -> Result<Self> {
        let limit = request.buffered_body_bytes();
        std::mem::take(request.body_mut()).bytes(limit).await
    }
}

/// An error of reading the body is a value here, for the extractor to judge.
impl<B: BodyForm> BodyForm for Result<B> {
    fn at_once(request: &mut Request) -> Option<Result<Self>> {
        B::at_once(request).map(Ok)
    }

    async fn read(request: &mut Request) -> Result<Self> {
        Ok(B::read(request).await)
    }
}

/// The body as it arrives. Nothing is read before the handler asks for it.
impl FromRequest for Body {
    type Body = Self;

    fn from_request(_: &Request, body: Self) -> Result<Self> {
        Ok(body)
    }
}

/// All of the body, in memory. 413 if it is longer than the limit.
impl FromRequest for Bytes {
    type Body = Self;

    fn from_request(_: &Request, body: Self) -> Result<Self> {
        Ok(body)
    }
}

/// All of the body as text. 400 if it is not UTF-8.
impl FromRequest for String {
    type Body = Bytes;

    fn from_request(_: &Request, body: Bytes) -> Result<Self> {
        Self::from_utf8(body.to_vec())
            .map_err(|_| Error::with_status(StatusCode::BAD_REQUEST, "the body is not UTF-8"))
    }
}
