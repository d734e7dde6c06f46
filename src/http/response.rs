//! A response: status, fields, body.

use crate::bytes::Bytes;
use crate::error::Result;
use crate::http::body::Body;
use crate::http::headers::{Known, ResponseHeaders, checked_field};
use crate::http::upgrade::{Continue, Upgrade, Upgraded};
use http::StatusCode;

/// What answers a request. `Server`, `Date` and the framing (`Content-Length`, `Transfer-Encoding`,
/// `Connection`) are the engine's own.
///
/// ```
/// use kiang::{Response, StatusCode};
/// let created = Response::new(StatusCode::CREATED).header("location", "/things/1").body("made");
/// ```
#[derive(Debug)]
pub struct Response {
    status: StatusCode,
    content_type: ContentType,
    headers: ResponseHeaders,
    /// Whether the handler set a field that is the engine's own to send.
    sets_ours: bool,
    body: Body,
}

/// The content type that follows from what a handler returned.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ContentType {
    /// There is none, or the handler set its own.
    None,
    Text,
    Octets,
    Json,
}

impl ContentType {
    pub(crate) const ALL: [Self; 4] = [Self::None, Self::Text, Self::Octets, Self::Json];
    pub(crate) const COUNT: usize = Self::ALL.len();

    /// The whole field line, since that is one copy; empty if there is none.
    pub(crate) const fn line(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Text => "Content-Type: text/plain; charset=utf-8\r\n",
            Self::Octets => "Content-Type: application/octet-stream\r\n",
            Self::Json => "Content-Type: application/json\r\n",
        }
    }
}

impl Response {
    /// A response with this status and nothing in it.
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            content_type: ContentType::None,
            headers: ResponseHeaders::new(),
            sets_ours: false,
            body: Body::empty(),
        }
    }

    /// Switches the connection to another protocol (RFC 9110 section 7.8), which `then` speaks: `101 (Switching
    /// Protocols)`, with what fields are added to it. If the request did not ask for an upgrade, 426 is answered.
    ///
    /// ```
    /// use kiang::{App, Response, Upgraded};
    /// let app = App::new().get("/echo", || {
    ///     Response::upgrade("echo", async |mut connection: Upgraded| {
    ///         while let Ok(Some(bytes)) = connection.read().await {
    ///             if connection.write(bytes).await.is_err() {
    ///                 break;
    ///             }
    ///         }
    ///     })
    /// });
    /// ```
    ///
    /// # Panics
    /// As [`header`](Self::header), whose value `protocol` is.
    pub fn upgrade<F>(protocol: impl Into<Bytes>, then: F) -> Self
    where
        F: AsyncFnOnce(Upgraded) + 'static,
    {
        let protocol = protocol.into();
        let mut response = Self::new(StatusCode::SWITCHING_PROTOCOLS).header("Upgrade", protocol.clone());
        let then: Continue = Box::new(move |connection| Box::pin(async move { then(connection).await }));
        response.body = Body::upgrade(Upgrade { protocol, then });
        response
    }

    /// Adds a header field.
    ///
    /// # Panics
    /// If the name is not a token or the value holds CR, LF or NUL (RFC 9110 section 5): a handler that puts
    /// input into a field uses [`try_header`](Self::try_header). A panic answers 500 and splits no response.
    #[must_use]
    pub fn header(self, name: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        match self.try_header(name, value) {
            Ok(response) => response,
            Err(error) => panic!("{error}"),
        }
    }

    /// Adds a header field, if its name is a token and its value holds no CR, LF or NUL (RFC 9110 section 5).
    pub fn try_header(mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<Self> {
        let (name, value) = checked_field(name.into(), value.into())?;
        match Known::of(&name) {
            // A handler's own comes in place of the one that its body's type implied.
            Known::ContentType => self.content_type = ContentType::None,
            known => self.sets_ours |= known.is_engines(),
        }
        self.headers.push((name, value));
        Ok(self)
    }

    /// Gives it this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// Gives it this status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// A response with a body of this content type. Both are the engine's own words, so nothing is checked.
    pub(crate) fn of_type(content_type: ContentType, body: impl Into<Body>) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            headers: ResponseHeaders::new(),
            sets_ours: false,
            body: body.into(),
        }
    }

    /// The content type that its body implied.
    pub(crate) fn content_type(&self) -> ContentType {
        self.content_type
    }

    pub(crate) fn headers(&self) -> &ResponseHeaders {
        &self.headers
    }

    /// Whether the handler set a field that is the engine's own to send: it is read, and not sent.
    pub(crate) fn sets_ours(&self) -> bool {
        self.sets_ours
    }

    pub(crate) fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_would_split_the_head_is_refused_where_it_is_set() {
        let response = || Response::new(StatusCode::OK);
        assert!(response().try_header("x", "a\r\nSet-Cookie: b".to_owned()).is_err());
        assert!(response().try_header("x y", "a").is_err());
        assert!(response().try_header("", "a").is_err());
        assert!(response().try_header("x-y", "a b").is_ok());
    }
}
