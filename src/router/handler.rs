//! Handlers: functions and closures, plain or `async`, of up to eight extractors.

use super::arguments::{Arguments, Last};
use crate::http::request::Request;
use crate::http::respond::IntoResponse;
use crate::http::response::Response;
use crate::server::Answer;
use std::future::Future;
use std::rc::Rc;

/// Answers requests: a function or closure, plain or `async`, whose arguments are extractors and whose result
/// turns into a response.
///
/// # The body comes last
///
/// Every argument but the last is extracted from the head of the request ([`FromRequestParts`]), from left to right.
/// The last argument may be such an extractor too, or one that consumes the body ([`FromRequest`]), or the whole
/// [`Request`]. The first error answers the request, and a request that its head refuses is refused before its body
/// is waited for.
///
/// ```
/// # use kiang::{App, Body, Json, Method, Path, Request};
/// App::new()
///     .put("/items/{id}", |Path(id): Path<u32>, Json(name): Json<String>| format!("{id} is {name}"))
///     .any("/any", |method: Method, request: Request| format!("{method} {}", request.path()));
/// ```
///
/// What cannot work does not compile. A body can be read once, so a second body argument would find nothing:
///
/// ```compile_fail,E0277
/// # use kiang::{App, Body, Json, Method, Path, Request};
/// App::new().put("/items/{id}", |text: String, Json(name): Json<String>| format!("{text} is {name}"));
/// ```
///
/// The body is not read before the head has been judged, so a body argument before another one is refused:
///
/// ```compile_fail,E0277
/// # use kiang::{App, Body, Json, Method, Path, Request};
/// App::new().put("/items/{id}", |Json(name): Json<String>, Path(id): Path<u32>| format!("{id} is {name}"));
/// ```
///
/// A `Request` is the request itself, so nothing is left of it from which a later argument could be made:
///
/// ```compile_fail,E0277
/// # use kiang::{App, Body, Json, Method, Path, Request};
/// App::new().any("/any", |request: Request, method: Method| format!("{method} {}", request.path()));
/// ```
///
/// A text is there even if it is empty, so `None` would have no meaning:
///
/// ```compile_fail,E0277
/// # use kiang::{App, Body, Json, Method, Path, Request};
/// App::new().post("/text", |text: Option<String>| text.unwrap_or_default());
/// ```
///
/// `M` tells the kinds of handlers apart. No other type can implement this trait; a [`Service`](crate::Service) can be
/// anything.
///
/// [`FromRequest`]: crate::FromRequest
/// [`FromRequestParts`]: crate::FromRequestParts
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "not a function of up to eight arguments that returns a response",
    note = "a handler is a function or closure, plain or async, of up to eight extractors",
    note = "what it returns is `IntoResponse`: text, bytes, `Json`, `Response`, a status, a status and one of these, or a `Result` of these"
)]
pub trait Handler<M>: 'static {
    /// Answers a request.
    #[doc(hidden)]
    fn handle(this: &Rc<Self>, request: &mut Request) -> Answer;
}

/// A handler whose type is erased.
pub(super) type Endpoint = Box<dyn Fn(&mut Request) -> Answer>;

pub(super) fn endpoint<M, H: Handler<M>>(handler: H) -> Endpoint {
    let handler = Rc::new(handler);
    Box::new(move |request| H::handle(&handler, request))
}

/// The only implementation of [`Handler`]: so the compiler names the argument that is no extractor. Given one
/// implementation for each number of arguments, the compiler would say only that none of the implementations fits.
impl<F, K, L> Handler<(K, L)> for F
where
    F: Function<K>,
    F::Arguments: Arguments<L>,
{
    fn handle(this: &Rc<Self>, request: &mut Request) -> Answer {
        let parts = match F::Arguments::parts(request) {
            Ok(parts) => parts,
            Err(error) => return Answer::Ready(error.into_response()),
        };
        match <F::Arguments as Arguments<L>>::Last::at_once(request) {
            Some(Ok(last)) => F::call(this, F::Arguments::join(parts, last)),
            Some(Err(error)) => Answer::Ready(error.into_response()),
            None => {
                let (this, request) = (Rc::clone(this), request.take());
                Answer::Later(Box::pin(async move {
                    match <F::Arguments as Arguments<L>>::Last::later(request).await {
                        Ok(last) => F::respond(this, F::Arguments::join(parts, last)).await,
                        Err(error) => error.into_response(),
                    }
                }))
            }
        }
    }
}

/// A function or closure of up to eight arguments whose result turns into a response. `K` holds the kind, plain or
/// `async`, and the types of the result and the arguments.
#[doc(hidden)]
pub trait Function<K>: 'static {
    /// The arguments, as a tuple.
    type Arguments: 'static;

    /// Calls the function. A plain one answers at once.
    fn call(this: &Rc<Self>, arguments: Self::Arguments) -> Answer;

    /// Calls the function from within a future, so that an `async` one needs no allocation for its own.
    fn respond(this: Rc<Self>, arguments: Self::Arguments) -> impl Future<Output = Response>;
}

/// Marks a plain function.
#[doc(hidden)]
pub struct Plain;
/// Marks an `async` function.
#[doc(hidden)]
pub struct Async;

macro_rules! functions {
    ($($argument:ident)*) => {
        #[allow(non_snake_case, reason = "each argument is named after its type parameter")]
        impl<F, R, $($argument: 'static,)*> Function<(Plain, R, $($argument,)*)> for F
        where
            F: Fn($($argument),*) -> R + 'static,
            R: IntoResponse + 'static,
        {
            type Arguments = ($($argument,)*);

            fn call(this: &Rc<Self>, ($($argument,)*): Self::Arguments) -> Answer {
                Answer::Ready(this($($argument),*).into_response())
            }

            async fn respond(this: Rc<Self>, ($($argument,)*): Self::Arguments) -> Response {
                this($($argument),*).into_response()
            }
        }

        #[allow(non_snake_case, reason = "each argument is named after its type parameter")]
        impl<F, R, $($argument: 'static,)*> Function<(Async, R, $($argument,)*)> for F
        where
            F: AsyncFn($($argument),*) -> R + 'static,
            R: IntoResponse + 'static,
        {
            type Arguments = ($($argument,)*);

            fn call(this: &Rc<Self>, arguments: Self::Arguments) -> Answer {
                Answer::Later(Box::pin(Self::respond(Rc::clone(this), arguments)))
            }

            async fn respond(this: Rc<Self>, ($($argument,)*): Self::Arguments) -> Response {
                this($($argument),*).await.into_response()
            }
        }
    };
}

functions!();
functions!(T1);
functions!(T1 T2);
functions!(T1 T2 T3);
functions!(T1 T2 T3 T4);
functions!(T1 T2 T3 T4 T5);
functions!(T1 T2 T3 T4 T5 T6);
functions!(T1 T2 T3 T4 T5 T6 T7);
functions!(T1 T2 T3 T4 T5 T6 T7 T8);
