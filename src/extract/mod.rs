//! Extractors: what a handler's arguments may be.
//!
//! An extractor that reads the body is given all of it, in memory and within the limits; take [`Body`] for a body
//! that is read as it comes.

mod json;
mod path;
mod query;

pub use self::json::Json;
pub use self::path::Path;
pub use self::query::Query;

use crate::bytes::Bytes;
use crate::error::{Error, Result};
use crate::http::body::Body;
use crate::http::headers::Headers;
use crate::http::request::Request;
use crate::http::request_id::RequestId;
use http::{Method, StatusCode, Version};
use std::net::SocketAddr;

/// Can be an argument of a handler.
///
/// ```
/// use kiang::{Error, FromRequest, Request, Result, StatusCode};
///
/// struct ApiKey(String);
///
/// impl FromRequest for ApiKey {
///     fn from_request(request: &mut Request) -> Result<Self> {
///         let key = request.headers().get_str("x-api-key");
///         let missing = || Error::with_status(StatusCode::UNAUTHORIZED, "send your key as x-api-key");
///         key.map(|key| ApiKey(key.to_owned())).ok_or_else(missing)
///     }
/// }
/// ```
pub trait FromRequest: Sized {
    /// Whether the body must be here first: then it is collected, and [`Request::body_mut`] holds all of it.
    const NEEDS_BODY: bool = false;

    /// Takes what it wants from a request; an error answers it.
    fn from_request(request: &mut Request) -> Result<Self>;
}

/// The peer's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

impl FromRequest for Peer {
    fn from_request(request: &mut Request) -> Result<Self> {
        request.peer().map(Peer).ok_or_else(|| Error::new("the peer of a connection is not known"))
    }
}

impl FromRequest for RequestId {
    fn from_request(request: &mut Request) -> Result<Self> {
        Ok(request.id())
    }
}

impl FromRequest for Method {
    fn from_request(request: &mut Request) -> Result<Self> {
        Ok(request.method().clone())
    }
}

impl FromRequest for Version {
    fn from_request(request: &mut Request) -> Result<Self> {
        Ok(request.version())
    }
}

impl FromRequest for Headers {
    fn from_request(request: &mut Request) -> Result<Self> {
        Ok(request.headers().clone())
    }
}

impl FromRequest for Body {
    /// The body as it comes; nothing is read before it is asked for.
    fn from_request(request: &mut Request) -> Result<Self> {
        Ok(std::mem::take(request.body_mut()))
    }
}

impl FromRequest for Bytes {
    const NEEDS_BODY: bool = true;

    fn from_request(request: &mut Request) -> Result<Self> {
        request
            .body_mut()
            .take_whole()
            .ok_or_else(|| Error::new("a body was extracted before it was collected"))
    }
}

impl FromRequest for String {
    const NEEDS_BODY: bool = true;

    fn from_request(request: &mut Request) -> Result<Self> {
        let bytes = Bytes::from_request(request)?;
        Self::from_utf8(bytes.to_vec())
            .map_err(|_| Error::with_status(StatusCode::BAD_REQUEST, "the body is not UTF-8"))
    }
}

impl FromRequest for Request {
    /// All of it; other extractors come before it.
    fn from_request(request: &mut Request) -> Result<Self> {
        Ok(request.take())
    }
}

impl<T: FromRequest> FromRequest for Option<T> {
    const NEEDS_BODY: bool = T::NEEDS_BODY;

    fn from_request(request: &mut Request) -> Result<Self> {
        Ok(T::from_request(request).ok())
    }
}
