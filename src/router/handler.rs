//! Handlers: functions and closures, plain or `async`, of up to eight extractors.

use crate::error::Result;
use crate::extract::FromRequest;
use crate::http::request::Request;
use crate::http::respond::IntoResponse;
use crate::server::Answer;
use std::convert::identity;
use std::rc::Rc;

/// Answers requests: a function or closure, plain or `async`, whose arguments are extractors and whose result
/// turns into a response.
///
/// Implemented for what it describes and not to be implemented by hand; `M` only tells the two kinds apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    note = "a handler is a function or closure, plain or async, of up to eight extractors (Path, Query, Json, Bytes, String, Body, Headers, Method, Peer, RequestId, Request, or your own FromRequest) that returns something that is IntoResponse"
)]
pub trait Handler<M>: 'static {
    /// Answers a request.
    #[doc(hidden)]
    fn handle(this: &Rc<Self>, request: &mut Request) -> Answer;
}

/// A handler of any kind, its type forgotten.
pub(super) type Endpoint = Box<dyn Fn(&mut Request) -> Answer>;

pub(super) fn endpoint<M, H: Handler<M>>(handler: H) -> Endpoint {
    let handler = Rc::new(handler);
    Box::new(move |request| H::handle(&handler, request))
}

#[doc(hidden)]
pub struct Plain;
#[doc(hidden)]
pub struct Async;

macro_rules! handlers {
    ($($argument:ident)*) => {
        impl<F, R, $($argument,)*> Handler<(Plain, R, $($argument,)*)> for F
        where
            F: Fn($($argument),*) -> R + 'static,
            R: IntoResponse + 'static,
            $($argument: FromRequest + 'static,)*
        {
            fn handle(this: &Rc<Self>, request: &mut Request) -> Answer {
                if (false $(|| $argument::NEEDS_BODY)*) && must_wait_for_body(request) {
                    let (this, mut request) = (Rc::clone(this), request.take());
                    return Answer::Later(Box::pin(async move {
                        if let Err(error) = collect_body(&mut request).await {
                            return error.into_response();
                        }
                        handlers!(@arguments &mut request, identity, $($argument)*);
                        this($($argument),*).into_response()
                    }));
                }
                handlers!(@arguments request, Answer::Ready, $($argument)*);
                Answer::Ready(this($($argument),*).into_response())
            }
        }

        impl<F, R, $($argument,)*> Handler<(Async, R, $($argument,)*)> for F
        where
            F: AsyncFn($($argument),*) -> R + 'static,
            R: IntoResponse + 'static,
            $($argument: FromRequest + 'static,)*
        {
            fn handle(this: &Rc<Self>, request: &mut Request) -> Answer {
                let this = Rc::clone(this);
                if (false $(|| $argument::NEEDS_BODY)*) && must_wait_for_body(request) {
                    let mut request = request.take();
                    return Answer::Later(Box::pin(async move {
                        let answering = {
                            if let Err(error) = collect_body(&mut request).await {
                                return error.into_response();
                            }
                            handlers!(@arguments &mut request, identity, $($argument)*);
                            this($($argument),*)
                        };
                        drop(request);
                        answering.await.into_response()
                    }));
                }
                handlers!(@arguments request, Answer::Ready, $($argument)*);
                Answer::Later(Box::pin(async move { this($($argument),*).await.into_response() }))
            }
        }
    };
    (@arguments $request:expr, $answer:path, $($argument:ident)*) => {
        $(
            #[allow(non_snake_case, reason = "each argument is named after its type parameter")]
            let $argument = match $argument::from_request($request) {
                Ok(argument) => argument,
                Err(error) => return $answer(error.into_response()),
            };
        )*
    };
}

handlers!();
handlers!(T1);
handlers!(T1 T2);
handlers!(T1 T2 T3);
handlers!(T1 T2 T3 T4);
handlers!(T1 T2 T3 T4 T5);
handlers!(T1 T2 T3 T4 T5 T6);
handlers!(T1 T2 T3 T4 T5 T6 T7);
handlers!(T1 T2 T3 T4 T5 T6 T7 T8);

/// Whether a body is to be collected that is not all here, or is longer than may be collected.
fn must_wait_for_body(request: &mut Request) -> bool {
    let limit = request.buffered_body_bytes() as u64;
    let body = request.body_mut();
    !body.is_whole() || body.length().is_none_or(|length| length > limit)
}

async fn collect_body(request: &mut Request) -> Result<()> {
    let (limit, body) = (request.buffered_body_bytes(), std::mem::take(request.body_mut()));
    *request.body_mut() = body.bytes(limit).await?.into();
    Ok(())
}
