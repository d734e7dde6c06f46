//! The types of HTTP that every other room speaks: requests, responses, fields, bodies (RFC 9110).
//!
//! Nothing here knows a socket, and nothing here is particular to one version of the protocol.

pub(crate) mod body;
pub(crate) mod headers;
pub(crate) mod limits;
pub(crate) mod request;
pub(crate) mod request_id;
pub(crate) mod respond;
pub(crate) mod response;
pub(crate) mod upgrade;
