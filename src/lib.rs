#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod bytes;
mod error;
mod extract;
mod h1;
mod http;
mod router;
mod runtime;
mod server;

pub mod doctor;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod logging;
#[cfg(test)]
mod simulation;

pub use self::bytes::Bytes;
pub use self::error::{Error, Result};
pub use self::extract::{FromRequest, Json, Path, Peer, Query};
pub use self::http::body::{Body, Trailers};
pub use self::http::headers::Headers;
pub use self::http::limits::Limits;
pub use self::http::request::Request;
pub use self::http::request_id::RequestId;
pub use self::http::respond::IntoResponse;
pub use self::http::response::Response;
pub use self::http::upgrade::Upgraded;
pub use self::router::{App, Handler};
pub use self::runtime::{Beat, Core, Cores, Counts};
pub use self::server::{AccessLog, Answer, Deadlines, Handle, Server, Service, Started};
pub use ::http::{Method, StatusCode, Version};
