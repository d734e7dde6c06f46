//! The one error type of the public API.

use http::StatusCode;
use std::borrow::Cow;
use std::fmt;

/// The result of a fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A message that says what went wrong and where, the cause if there is one, and a status.
///
/// The status is that of the answer, if the error ends a request.
#[derive(Debug)]
pub struct Error {
    status: StatusCode,
    message: Cow<'static, str>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// There was no room for the request: another try may find some. The server has said so already.
    no_room: bool,
}

impl Error {
    /// An error of the server: `500 Internal Server Error`, if the error ends a request.
    ///
    /// The message goes to the log. The client of a 5xx answer sees only the status: the message may tell what is
    /// confidential, and RFC 9110 section 15.6 asks for no more.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self::with_status(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// An error that answers a request with this status. The client of a 4xx answer sees the message, the client of a
    /// 5xx answer only the status.
    pub fn with_status(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, message: message.into(), source: None, no_room: false }
    }

    /// The memory that requests may take is used up: `503 Service Unavailable` with `Retry-After`.
    pub(crate) fn no_room() -> Self {
        let message = "the memory for requests is used up";
        Self { no_room: true, ..Self::with_status(StatusCode::SERVICE_UNAVAILABLE, message) }
    }

    /// Whether the answer asks for another try, and the log has the reason already.
    pub(crate) fn is_no_room(&self) -> bool {
        self.no_room
    }

    /// Names the cause of this error.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The status of the answer, if this error ends a request.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The message alone, without the cause.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::new("input/output failed").because(error)
    }
}
