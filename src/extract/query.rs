//! The query of a target.

use super::{FromRequestParts, OptionalFromRequestParts};
use crate::error::{Error, Result};
use crate::http::request::Request;
use http::StatusCode;
use serde::de::DeserializeOwned;

/// The query, deserialized as `application/x-www-form-urlencoded`. 400 if it does not fit.
///
/// A target without a `?` has an empty query. [`Option<Query<T>>`](crate::OptionalFromRequestParts) is `None` then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts for Query<T> {
    fn from_request_parts(request: &Request) -> Result<Self> {
        serde_urlencoded::from_str(request.query().unwrap_or_default())
            .map(Query)
            .map_err(|error| Error::with_status(StatusCode::BAD_REQUEST, format!("the query: {error}")))
    }
}

impl<T: DeserializeOwned> OptionalFromRequestParts for Query<T> {
    fn is_absent(request: &Request) -> bool {
        request.query().is_none()
    }
}
