#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod address;
mod budget;
mod bytes;
mod error;
mod extract;
mod h1;
mod http;
mod router;
mod runtime;
mod server;
mod threads;

pub mod doctor;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "_instructions")]
#[doc(hidden)]
pub mod instructions;
pub mod logging;
#[cfg(test)]
mod simulation;

pub use self::address::{Address, ListenAddr, ToListenAddrs};
pub use self::bytes::Bytes;
pub use self::error::{Error, Result};
pub use self::extract::{FromRequest, FromRequestParts, Json, Path, Peer, Query};
pub use self::extract::{OptionalFromRequest, OptionalFromRequestParts};
pub use self::http::body::{Body, Trailers};
pub use self::http::headers::Headers;
pub use self::http::limits::{InvalidSetting, Limits};
pub use self::http::request::Request;
pub use self::http::request_id::RequestId;
pub use self::http::respond::IntoResponse;
pub use self::http::response::Response;
pub use self::http::upgrade::Upgraded;
pub use self::router::{App, Handler};
pub use self::runtime::files as fs;
pub use self::runtime::{Beat, Core, Cores, Counts};
pub use self::server::{AccessLog, Answer, Deadlines, Handle, Memory, Server, Service, Started};
pub use ::http::{Method, StatusCode, Version};
