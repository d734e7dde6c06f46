//! The arguments of a handler: any number of extractors of the head, and one last extractor of anything.

use crate::error::Result;
use crate::extract::{BodyForm, FromRequest, FromRequestParts};
use crate::http::request::Request;
use std::future::Future;

/// The arguments of a handler, as a tuple. `L` is the kind of the last argument.
///
/// Extraction has two steps: the head of a request is judged before any of the body is waited for.
#[doc(hidden)]
pub trait Arguments<L>: Sized + 'static {
    /// All arguments but the last.
    type Parts: 'static;
    /// The last argument.
    type Last: Last<L>;

    /// Extracts all arguments but the last, from left to right.
    fn parts(request: &Request) -> Result<Self::Parts>;

    /// Puts all arguments together.
    fn join(parts: Self::Parts, last: Self::Last) -> Self;
}

/// Can be the last argument of a handler. `L` is the kind of the argument: [`OfParts`], [`OfBody`] or [`Whole`].
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a handler: it is no extractor",
    label = "no extractor",
    note = "an extractor is `Path`, `Query`, `Headers`, `Method`, `Version`, `Peer`, `RequestId` or your own `FromRequestParts`; the last argument may also be `Json`, `Bytes`, `String`, `Body`, `Request` or your own `FromRequest`",
    note = "`Json<T>`, `Path<T>` and `Query<T>` need a `T` that is `serde::de::DeserializeOwned`",
    note = "`Option<T>` is an argument where `T` is `OptionalFromRequestParts` or `OptionalFromRequest`, and `Result<T, kiang::Error>` where `T` is an extractor"
)]
pub trait Last<L>: Sized + 'static {
    /// Extracts the argument, if nothing has to be waited for. `None` leaves the request as it is.
    fn at_once(request: &mut Request) -> Option<Result<Self>>;

    /// Waits for the body as far as the argument needs it, and extracts the argument.
    fn later(request: Request) -> impl Future<Output = Result<Self>>;
}

/// Marks a last argument that is read from the head.
#[doc(hidden)]
pub struct OfParts;
/// Marks a last argument that consumes the body.
#[doc(hidden)]
pub struct OfBody;
/// Marks the whole request as the last argument.
#[doc(hidden)]
pub struct Whole;

impl<T: FromRequestParts + 'static> Last<OfParts> for T {
    fn at_once(request: &mut Request) -> Option<Result<Self>> {
        Some(T::from_request_parts(request))
    }

    async fn later(request: Request) -> Result<Self> {
        T::from_request_parts(&request)
    }
}

impl<T: FromRequest + 'static> Last<OfBody> for T {
    fn at_once(request: &mut Request) -> Option<Result<Self>> {
        let body = T::Body::at_once(request)?;
        Some(body.and_then(|body| T::from_request(request, body)))
    }

    async fn later(mut request: Request) -> Result<Self> {
        let body = T::Body::read(&mut request).await?;
        T::from_request(&request, body)
    }
}

impl Last<Whole> for Request {
    fn at_once(request: &mut Request) -> Option<Result<Self>> {
        Some(Ok(request.take()))
    }

    async fn later(request: Request) -> Result<Self> {
        Ok(request)
    }
}

impl Arguments<OfParts> for () {
    type Parts = ();
    type Last = ();

    fn parts(_: &Request) -> Result<()> {
        Ok(())
    }

    fn join((): (), (): ()) {}
}

macro_rules! arguments {
    ($($part:ident)* | $last:ident) => {
        impl<L, $($part,)* $last> Arguments<L> for ($($part,)* $last,)
        where
            $($part: FromRequestParts + 'static,)*
            $last: Last<L>,
        {
            type Parts = ($($part,)*);
            type Last = $last;

            #[allow(unused_variables, reason = "a single argument is the last one")]
            fn parts(request: &Request) -> Result<Self::Parts> {
                Ok(($($part::from_request_parts(request)?,)*))
            }

            #[allow(non_snake_case, reason = "each argument is named after its type parameter")]
            fn join(($($part,)*): Self::Parts, last: Self::Last) -> Self {
                ($($part,)* last,)
            }
        }
    };
}

arguments!(| T1);
arguments!(T1 | T2);
arguments!(T1 T2 | T3);
arguments!(T1 T2 T3 | T4);
arguments!(T1 T2 T3 T4 | T5);
arguments!(T1 T2 T3 T4 T5 | T6);
arguments!(T1 T2 T3 T4 T5 T6 | T7);
arguments!(T1 T2 T3 T4 T5 T6 T7 | T8);
