//! The query of a target.

use super::FromRequest;
use crate::error::{Error, Result};
use crate::http::request::Request;
use http::StatusCode;
use serde::de::DeserializeOwned;

/// The query, as `application/x-www-form-urlencoded` deserialized; 400 if it does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    fn from_request(request: &mut Request) -> Result<Self> {
        serde_urlencoded::from_str(request.query().unwrap_or_default())
            .map(Query)
            .map_err(|error| Error::with_status(StatusCode::BAD_REQUEST, format!("the query: {error}")))
    }
}
