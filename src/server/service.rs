//! What a server serves: the one thing it knows of the application.

use crate::http::request::Request;
use crate::http::response::Response;
use std::future::Future;
use std::pin::Pin;

/// What answers the requests of one core: an [`App`](crate::App), or something of one's own.
pub trait Service: 'static {
    /// Answers a request. A panic answers 500.
    ///
    /// The request stays where it was parsed, since moving it costs more than parsing it; an answer that comes
    /// later [takes](Request::take) it along.
    fn call(&self, request: &mut Request) -> Answer;
}

/// An answer, or the way to it.
pub enum Answer {
    /// A response that is there: no allocation and no task lies between it and the socket.
    Ready(Response),
    /// A response that is waited for, on this core.
    Later(Pin<Box<dyn Future<Output = Response>>>),
}

/// What a server waits for.
pub(super) type Answering = Pin<Box<dyn Future<Output = Response>>>;
