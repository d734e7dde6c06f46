//! What is read from a request's head and its connection.

use super::{FromRequestParts, OptionalFromRequestParts};
use crate::error::{Error, Result};
use crate::http::headers::Headers;
use crate::http::request::Request;
use crate::http::request_id::RequestId;
use http::{Method, Version};
use std::net::SocketAddr;

/// The peer's address.
///
/// The address is not known if the peer was gone before the kernel could tell it: then [`Option<Peer>`] is `None`, and
/// `Peer` answers 500, which nobody receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

impl FromRequestParts for Peer {
    fn from_request_parts(request: &Request) -> Result<Self> {
        request.peer().map(Peer).ok_or_else(|| Error::new("the peer of a connection is not known"))
    }
}

impl OptionalFromRequestParts for Peer {
    fn is_absent(request: &Request) -> bool {
        request.peer().is_none()
    }
}

impl FromRequestParts for RequestId {
    fn from_request_parts(request: &Request) -> Result<Self> {
        Ok(request.id())
    }
}

impl FromRequestParts for Method {
    fn from_request_parts(request: &Request) -> Result<Self> {
        Ok(request.method().clone())
    }
}

impl FromRequestParts for Version {
    fn from_request_parts(request: &Request) -> Result<Self> {
        Ok(request.version())
    }
}

impl FromRequestParts for Headers {
    fn from_request_parts(request: &Request) -> Result<Self> {
        Ok(request.headers().clone())
    }
}

/// Nothing: the last argument of a handler that has none.
impl FromRequestParts for () {
    fn from_request_parts(_: &Request) -> Result<Self> {
        Ok(())
    }
}
