//! Routes: paths and methods to handlers.

use super::handler::{Endpoint, Handler, endpoint};
use super::normal::{normal, place_of};
use crate::http::request::Request;
use crate::http::respond::plain_status;
use crate::http::response::Response;
use crate::server::{Answer, Service};
use http::{Method, StatusCode};
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;

/// An application: routes and their handlers.
///
/// A path is matched exactly, segment by segment; `{name}` matches any one segment, and `{*rest}` at the end
/// whatever follows. A path that is literal comes before one that is not. Characters that need no percent-encoding are
/// the same with and without it: `/%7Eme` is `/~me` (RFC 3986 section 6.2.2.2). An encoded slash separates nothing.
///
/// ```
/// use kiang::{App, Path, StatusCode};
///
/// let app = App::new()
///     .get("/", || "Hello, World!")
///     .get("/add/{a}/{b}", |Path((a, b)): Path<(u32, u32)>| (a + b).to_string())
///     .post("/events", async |body: String| format!("{} bytes\n", body.len()))
///     .fallback(|| (StatusCode::NOT_FOUND, "no such page\n"));
/// ```
#[derive(Default)]
pub struct App {
    routes: Vec<Route>,
    /// Every path as it was written: where one is registered again, and where a literal one is found at once.
    by_path: FxHashMap<Box<[u8]>, usize>,
    /// The literal path that was asked for last: the next request often asks for the same, and to compare costs less
    /// than to hash.
    last: Cell<usize>,
    /// All paths, for those with `{name}` segments.
    patterns: matchit::Router<usize>,
    fallback: Option<Endpoint>,
    /// The value of `Allow` for `OPTIONS *`: every method that any path allows.
    allow: String,
}

struct Route {
    /// The path, if it has no braces; else empty, as no path is.
    literal: Box<[u8]>,
    /// The names of its `{name}` segments, in order.
    names: Vec<Rc<str>>,
    methods: Vec<(Method, Endpoint)>,
    any: Option<Endpoint>,
    /// The value of `Allow`.
    allow: String,
}

macro_rules! methods {
    ($($name:ident $method:ident)*) => {$(
        #[doc = concat!("Answers `", stringify!($method), "` requests for this path.")]
        ///
        /// # Panics
        /// As [`route`](Self::route) does.
        #[track_caller]
        pub fn $name<M>(self, path: &str, handler: impl Handler<M>) -> Self {
            self.route(Method::$method, path, handler)
        }
    )*};
}

impl App {
    /// An application that knows no path.
    pub fn new() -> Self {
        Self::default()
    }

    methods! { get GET post POST put PUT delete DELETE patch PATCH head HEAD options OPTIONS }

    /// Answers requests with this method for this path. `HEAD` is answered by the handler of `GET`, and `OPTIONS`
    /// with the methods that are allowed, unless they have a handler of their own.
    ///
    /// # Panics
    /// If the path does not begin with a slash, is malformed, or contradicts another; or if it has a handler for
    /// this method already.
    #[track_caller]
    pub fn route<M>(mut self, method: Method, path: &str, handler: impl Handler<M>) -> Self {
        let route = self.route_of(path);
        let known = route.methods.iter().any(|(other, _)| *other == method);
        assert!(!known, "{method} {path} has a handler already");
        route.methods.push((method, endpoint(handler)));
        route.allow = allow(route.methods.iter().map(|(method, _)| method));
        let all: Vec<_> =
            self.routes.iter().flat_map(|route| &route.methods).map(|(method, _)| method).collect();
        self.allow = allow(all.into_iter());
        self
    }

    /// Answers requests for this path whose method has no handler of its own.
    ///
    /// # Panics
    /// As [`route`](Self::route) does.
    #[track_caller]
    pub fn any<M>(mut self, path: &str, handler: impl Handler<M>) -> Self {
        let route = self.route_of(path);
        assert!(route.any.is_none(), "{path} has a handler for any method already");
        route.any = Some(endpoint(handler));
        self
    }

    /// Answers requests for paths that are not known; without it they are answered 404.
    pub fn fallback<M>(mut self, handler: impl Handler<M>) -> Self {
        self.fallback = Some(endpoint(handler));
        self
    }

    #[track_caller]
    fn route_of(&mut self, path: &str) -> &mut Route {
        let path = &*normal(path);
        let next = self.routes.len();
        let index = *self.by_path.entry(path.as_bytes().into()).or_insert(next);
        if index == next {
            assert!(path.starts_with('/'), "the path {path:?} does not begin with a slash");
            if let Err(error) = self.patterns.insert(path, index) {
                panic!("the path {path:?} cannot be routed: {error}");
            }
            self.routes.push(Route {
                literal: if path.contains(['{', '}']) { Box::default() } else { path.as_bytes().into() },
                names: names(path),
                methods: Vec::new(),
                any: None,
                allow: String::new(),
            });
        }
        &mut self.routes[index]
    }

    fn find(&self, request: &mut Request) -> Option<&Route> {
        request.params_mut().clear();
        // Mostly the path is literal and written as it was registered: then this is all.
        if let Some(route) = self.find_literal(request.path_bytes()) {
            return Some(route);
        }
        let range = request.path_range();
        let path = request.path();
        let normal = normal(path);
        let is_normal = matches!(normal, Cow::Borrowed(_));
        if !is_normal && let Some(route) = self.find_literal(normal.as_bytes()) {
            return Some(route);
        }
        let found = self.patterns.at(&normal).ok()?;
        let route = &self.routes[*found.value];
        if !route.names.is_empty() {
            let base = normal.as_ptr() as usize;
            let params = found
                .params
                .iter()
                .zip(&route.names)
                .map(|((_, value), name)| {
                    let at = value.as_ptr() as usize - base;
                    let mut ends = [at, at + value.len()];
                    if !is_normal {
                        ends = ends.map(|end| place_of(path, end));
                    }
                    // Parts of the path, so within its 16-bit range.
                    (Rc::clone(name), range.start + ends[0] as u16..range.start + ends[1] as u16)
                })
                .collect();
            *request.params_mut() = params;
        }
        Some(route)
    }

    /// The route of a path without braces. A path with braces matches others, and not itself.
    #[inline]
    fn find_literal(&self, path: &[u8]) -> Option<&Route> {
        let last = self.routes.get(self.last.get()).filter(|route| *route.literal == *path);
        last.or_else(|| self.look_up_literal(path))
    }

    fn look_up_literal(&self, path: &[u8]) -> Option<&Route> {
        let index = *self.by_path.get(path)?;
        let route = self.routes.get(index).filter(|route| !route.literal.is_empty())?;
        self.last.set(index);
        Some(route)
    }
}

impl Service for App {
    fn call(&self, request: &mut Request) -> Answer {
        let Some(route) = self.find(request) else {
            return match &self.fallback {
                Some(fallback) => fallback(request),
                // `OPTIONS *` asks about the server as a whole (RFC 9110 section 9.3.7).
                None if request.path() == "*" => Answer::Ready(allowing(StatusCode::NO_CONTENT, &self.allow)),
                None => Answer::Ready(plain_status(StatusCode::NOT_FOUND)),
            };
        };
        match route.endpoint(request.method()) {
            Some(endpoint) => endpoint(request),
            None if request.method() == Method::OPTIONS => {
                Answer::Ready(allowing(StatusCode::NO_CONTENT, &route.allow))
            }
            // RFC 9110 section 15.5.6: with the methods that are allowed.
            None => Answer::Ready(allowing(StatusCode::METHOD_NOT_ALLOWED, &route.allow)),
        }
    }
}

impl Route {
    fn endpoint(&self, method: &Method) -> Option<&Endpoint> {
        let of = |method: &Method| {
            self.methods.iter().find(|(own, _)| own == method).map(|(_, endpoint)| endpoint)
        };
        of(method)
            .or_else(|| if method == Method::HEAD { of(&Method::GET) } else { None })
            .or(self.any.as_ref())
    }
}

/// An answer that names the methods that are allowed (RFC 9110 section 10.2.1).
fn allowing(status: StatusCode, allow: &str) -> Response {
    let response = if status.is_success() { Response::new(status) } else { plain_status(status) };
    response.header("Allow", allow.to_owned())
}

fn allow<'a>(methods: impl Iterator<Item = &'a Method>) -> String {
    let mut names: Vec<_> = methods.map(Method::as_str).collect();
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    names.push("OPTIONS");
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// The names of a path's `{name}` and `{*name}` segments. Doubled braces are literal ones.
fn names(path: &str) -> Vec<Rc<str>> {
    let literal = path.replace("{{", "").replace("}}", "");
    let segments = literal.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    segments.map(|name| Rc::from(name.trim_start_matches('*'))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::Path;
    use crate::h1::connection::{Connection, Incoming};
    use crate::http::limits::Limits;
    use crate::http::request::Origin;
    use crate::http::response::Response;

    fn request(method: &str, target: &str) -> Request {
        let mut connection = Connection::new();
        connection.receive(format!("{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n").into());
        let mut request = Request::new(Origin { peer: None, buffered_body_bytes: 1024 });
        let incoming = connection.next_request(&Limits::default(), request.head_mut()).unwrap().unwrap();
        assert!(matches!(incoming, Incoming::Nothing));
        request
    }

    fn answer(app: &App, method: &str, target: &str) -> Response {
        match app.call(&mut request(method, target)) {
            Answer::Ready(response) => response,
            Answer::Later(_) => panic!("a plain handler is answered at once"),
        }
    }

    fn text(app: &App, method: &str, target: &str) -> (u16, String) {
        let mut response = answer(app, method, target);
        (
            response.status().as_u16(),
            String::from_utf8(response.body_mut().take_whole().unwrap().to_vec()).unwrap(),
        )
    }

    fn app() -> App {
        App::new()
            .get("/", || "root")
            .get("/a/{x}", |Path(x): Path<String>| x)
            .get("/a/b", || "literal")
            .post("/a/b", || "posted")
            .get("/files/{*rest}", |Path(rest): Path<String>| rest)
            .get("/%7Eme", || "tilde")
            .get("/a%2fb", || "one segment")
            .get("/{first}/to/{second}", |Path((a, b)): Path<(String, u8)>| format!("{a}-{b}"))
    }

    #[test]
    fn a_path_finds_its_handler_and_segments() {
        let app = app();
        for (target, expected) in [
            ("/", "root"),
            ("/?a=b", "root"),
            ("/a/b", "literal"),
            ("/a/%7Bx%7D", "{x}"),
            ("/a/c", "c"),
            ("/a/c%20d%2Fe?x=/y", "c d/e"),
            ("/files/x/y", "x/y"),
            ("/me/to/7", "me-7"),
            ("http://example.com/a/c", "c"),
            ("http://example.com/", "root"),
            ("/%61/%62", "literal"),
            ("/a%2Fb", "one segment"),
            ("/%61/c%2f%64", "c/d"),
            ("/f%69les/%78/y", "x/y"),
            ("/m%65/%74o/%37", "me-7"),
            ("/~me", "tilde"),
            ("/%7eme", "tilde"),
        ] {
            assert_eq!(text(&app, "GET", target), (200, expected.to_owned()), "{target}");
        }
        assert_eq!(text(&app, "GET", "/me/to/x").0, 400);
        for unknown in ["/a", "/a/", "/a/b/c", "/b", "/files/"] {
            assert_eq!(text(&app, "GET", unknown).0, 404, "{unknown}");
        }
    }

    #[test]
    fn a_method_without_a_handler_is_told_which_have_one() {
        let app = app();
        assert_eq!(text(&app, "POST", "/a/b"), (200, "posted".to_owned()));
        assert_eq!(text(&app, "HEAD", "/a/b").0, 200);
        let refused = answer(&app, "DELETE", "/a/b");
        assert_eq!(refused.status(), 405);
        assert!(refused.headers().contains(&("Allow".into(), "GET, HEAD, OPTIONS, POST".into())));
    }

    #[test]
    #[should_panic(expected = "GET /a has a handler already")]
    fn a_route_cannot_be_set_twice() {
        let _ = App::new().get("/a", || "").get("/a", || "");
    }
}
