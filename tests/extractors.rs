//! What a handler's arguments are made of, seen over a socket: good input, absent input, and bad input.
//!
//! What must not compile is in the documentation of `Handler`.

mod support;

use kiang::{
    App, Bytes, Cores, Error, FromRequest, FromRequestParts, Headers, Json, Limits, Method, Path, Peer,
};
use kiang::{OptionalFromRequestParts, Query, Request, RequestId, StatusCode, Version};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use support::Embedded;

#[derive(Deserialize, Serialize)]
struct Event {
    name: String,
    count: u32,
}

fn post(path: &str, content_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

#[test]
fn json_comes_in_and_goes_out_and_what_is_wrong_with_it_is_said() {
    let server = Embedded::start(|_core| {
        App::new().post("/events", |Json(mut event): Json<Event>| {
            event.count += 1;
            (StatusCode::CREATED, Json(event))
        })
    });
    let mut client = server.connect();
    let mut answer = |content_type: &str, body: &str| {
        let response = client.send(post("/events", content_type, body)).response();
        (response.status, response.text().to_owned())
    };
    let good = r#"{"name":"install","count":1,"more":[{"a":"\u00e9"}]}"#;
    assert_eq!(answer("application/json", good), (201, r#"{"name":"install","count":2}"#.to_owned()));
    assert_eq!(answer("application/vnd.x+json; charset=utf-8", good).0, 201);
    assert_eq!(answer("text/plain", good).0, 415);
    for (bad, reason) in
        [("{", "JSON"), ("", "JSON"), (r#"{"name":"x"}"#, "count"), (r#"{"name":1}"#, "JSON")]
    {
        let (status, text) = answer("application/json", bad);
        assert_eq!(status, 400, "{bad}: {text}");
        assert!(text.contains(reason), "{text:?} names {reason}");
    }
    // Deep enough to end a stack, were the parser to follow it.
    let deep = format!(r#"{{"name":"x","count":1,"more":{}}}"#, "[".repeat(500_000));
    assert_eq!(answer("application/json", &deep).0, 400);
}

#[test]
fn a_handler_takes_what_its_arguments_say() {
    struct Token(String);
    impl FromRequestParts for Token {
        fn from_request_parts(request: &Request) -> kiang::Result<Self> {
            let token = request.headers().get_str("x-token");
            let missing = || Error::with_status(StatusCode::UNAUTHORIZED, "send an x-token");
            token.map(|token| Self(token.to_owned())).ok_or_else(missing)
        }
    }
    let server = Embedded::start(|_core| {
        App::new()
            .any(
                "/all/{a}/{b}",
                async |method: Method,
                       Peer(peer): Peer,
                       Path((a, b)): Path<(u8, String)>,
                       Query(query): Query<HashMap<String, u32>>,
                       headers: Headers,
                       version: Version,
                       id: RequestId,
                       body: Bytes| {
                    let (ip, q, length) = (peer.ip(), query["q"], body.len());
                    let agent = headers.get_str("USER-AGENT").unwrap_or("none").to_owned();
                    format!("{method} {ip} {a} {b} {q} {agent} {version:?} {} {length}", id.len())
                },
            )
            .get("/token", |Token(token): Token| token)
            .post("/text", |text: String| text)
            .post("/request", async |request: Request| {
                let line = format!("{} {}?", request.method(), request.path());
                let body = request.into_body().bytes(100).await?;
                Ok::<_, Error>(format!("{line} {}", body.len()))
            })
    });
    let mut client = server.connect();
    let request =
        "PUT /all/7/x%2Fy?q=3 HTTP/1.1\r\nHost: x\r\nUser-Agent: test\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(client.send(request).response().text(), "PUT 127.0.0.1 7 x/y 3 test HTTP/1.1 32 2");
    let unfit = client.get("/all/300/x?q=3");
    assert_eq!((unfit.status, unfit.text()), (400, "the path: \"300\" is not a valid u8\n"));
    assert_eq!(client.get("/all/3/x?q=three").status, 400);
    let refused = client.get("/token");
    assert_eq!((refused.status, refused.text()), (401, "send an x-token\n"));
    assert_eq!(client.post("/text", "caf\u{e9}").text(), "caf\u{e9}");
    assert_eq!(client.post("/text", [0xff_u8]).status, 400);
    assert_eq!(client.post("/request", "abc").text(), "POST /request? 3");
}

#[test]
fn an_optional_argument_is_none_where_nothing_came_and_an_error_where_what_came_is_wrong() {
    #[derive(Debug)]
    struct Token(#[allow(dead_code, reason = "shown by Debug")] u32);
    impl FromRequestParts for Token {
        fn from_request_parts(request: &Request) -> kiang::Result<Self> {
            let token = request.headers().get_str("x-token").and_then(|token| token.parse().ok());
            token.map(Self).ok_or_else(|| Error::with_status(StatusCode::UNAUTHORIZED, "send a number"))
        }
    }
    impl OptionalFromRequestParts for Token {
        fn is_absent(request: &Request) -> bool {
            request.headers().get("x-token").is_none()
        }
    }
    let server = Embedded::start(|_core| {
        App::new()
            .post("/json", |event: Option<Json<Event>>| {
                event.map_or(0, |Json(event)| event.count).to_string()
            })
            .get("/query", |query: Option<Query<Event>>| {
                query.map_or(0, |Query(event)| event.count).to_string()
            })
            .get("/path/{id}", |id: Option<Path<u8>>| format!("{id:?}"))
            .get("/token", |token: Option<Token>, peer: Option<Peer>| format!("{token:?} {}", peer.is_some()))
            .fallback(|id: Option<Path<u8>>| format!("{id:?}"))
    });
    let mut client = server.connect();
    let mut answer = |request: &str| {
        let response = client.send(request).response();
        (response.status, response.text().lines().next().unwrap_or_default().to_owned())
    };
    let ok = |text: &str| (200, text.to_owned());

    let event = r#"{"name":"install","count":3}"#;
    assert_eq!(answer(&post("/json", "application/json", event)), ok("3"));
    assert_eq!(answer("POST /json HTTP/1.1\r\nHost: x\r\n\r\n"), ok("0"));
    assert_eq!(answer(&post("/json", "application/json", "")), ok("0"));
    let chunked = "POST /json HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(answer(chunked), ok("0"));
    assert_eq!(answer(&post("/json", "application/json", "{")).0, 400);
    assert_eq!(answer(&post("/json", "application/json", r#"{"name":"x"}"#)).0, 400);
    assert_eq!(answer(&post("/json", "text/plain", event)).0, 415);
    let nothing_said =
        format!("POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{event}", event.len());
    assert_eq!(answer(&nothing_said).0, 415);

    let mut get =
        |target: &str, fields: &str| answer(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
    assert_eq!(get("/query?name=x&count=3", ""), ok("3"));
    assert_eq!(get("/query", ""), ok("0"));
    for malformed in ["/query?", "/query?name=x", "/query?name=x&count=many"] {
        assert_eq!(get(malformed, "").0, 400, "{malformed}");
    }
    assert_eq!(get("/path/7", ""), ok("Some(Path(7))"));
    assert_eq!(get("/path/300", "").0, 400);
    assert_eq!(get("/elsewhere", ""), ok("None"));
    assert_eq!(get("/token", ""), ok("None true"));
    assert_eq!(get("/token", "x-token: 7\r\n"), ok("Some(Token(7)) true"));
    assert_eq!(get("/token", "x-token: seven\r\n"), (401, "send a number".to_owned()));

    // What arrives later is no less wrong.
    let mut client = server.connect();
    client.send(
        "POST /json HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n",
    );
    // The head has been received once another request, sent later on the same core, is answered.
    assert_eq!(server.connect().get("/query").status, 200);
    assert_eq!(client.send("{").response().status, 400);
}

#[test]
fn a_result_argument_gives_the_handler_the_error() {
    fn told<T>(result: kiang::Result<T>) -> String {
        result.map_or_else(|error| format!("{} {error}", error.status().as_u16()), |_| "fine".to_owned())
    }
    let limits = Limits { buffered_body_bytes: 1000, ..Limits::default() };
    let server = Embedded::start_with(
        move |server| server.cores(Cores::count(1)).limits(limits),
        |_core| {
            App::new()
                .get("/query", |query: kiang::Result<Query<Event>>| told(query))
                .post("/json", |event: kiang::Result<Json<Event>>| told(event))
                .post("/optional", async |event: kiang::Result<Option<Json<Event>>>| told(event))
                .post("/bytes", |query: kiang::Result<Query<Event>>, bytes: kiang::Result<Bytes>| {
                    format!("{}, {}", told(query), told(bytes))
                })
        },
    );
    let answer = |request: &str| {
        let response = server.connect().send(request).response();
        assert_eq!(response.status, 200, "the handler answers {request:?}");
        response.text().to_owned()
    };
    assert_eq!(answer("GET /query?name=x&count=1 HTTP/1.1\r\nHost: x\r\n\r\n"), "fine");
    assert!(answer("GET /query?name=x HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("400 the query: "));
    for path in ["/json", "/optional"] {
        assert_eq!(answer(&post(path, "application/json", r#"{"name":"x","count":1}"#)), "fine");
        assert!(answer(&post(path, "application/json", "{")).starts_with("400 the body's JSON: "));
        assert!(answer(&post(path, "text/plain", "{}")).starts_with("415 "));
    }
    assert!(answer(&post("/json", "application/json", "")).starts_with("400 "));
    assert_eq!(answer(&post("/optional", "application/json", "")), "fine");
    let too_long = answer(&post("/bytes?name=x&count=1", "text/plain", &"x".repeat(1001)));
    assert!(too_long.starts_with("fine, 413 "), "{too_long}");
    let mut client = server.connect();
    let too_long = client.post_chunked("/bytes", &[&[b'x'; 600], &[b'x'; 401]]);
    assert!(too_long.text().starts_with("400 the query: "), "{too_long:?}");
    assert!(too_long.text().contains(", 413 "), "{too_long:?}");
}

#[test]
fn a_request_that_its_head_refuses_is_refused_before_its_body_is_asked_for() {
    let server = Embedded::start(|_core| {
        App::new().put("/items/{id}", |Path(id): Path<u8>, Json(event): Json<Event>| {
            format!("{id} {}", event.count)
        })
    });
    let head = |id: u32| {
        let event = "Content-Type: application/json\r\nContent-Length: 22";
        format!("PUT /items/{id} HTTP/1.1\r\nHost: x\r\n{event}\r\nExpect: 100-continue\r\n\r\n")
    };
    let refused = server.connect().send(head(300)).response();
    assert_eq!((refused.status, refused.text()), (400, "the path: \"300\" is not a valid u8\n"));
    let mut client = server.connect();
    assert_eq!(client.send(head(3)).response().status, 100);
    assert_eq!(client.send(r#"{"name":"x","count":1}"#).response().text(), "3 1");
}

#[test]
fn a_request_comes_last_and_is_whole_when_arguments_before_it_have_read_it() {
    let server = Embedded::start(|_core| {
        App::new().any(
            "/{id}",
            async |method: Method, again: Method, Path(id): Path<u8>, request: Request| {
                let head = format!("{method} {again} {} {id} {}", request.method(), request.path());
                let body = request.into_body().bytes(100).await?;
                Ok::<_, Error>(format!("{head} {}", body.len()))
            },
        )
    });
    let request = "PUT /7 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(server.connect().send(request).response().text(), "PUT PUT PUT 7 /7 2");
}

#[test]
fn a_body_extractor_of_ones_own_is_given_all_of_the_body_however_it_arrives() {
    struct Lines(usize);
    impl FromRequest for Lines {
        type Body = Bytes;

        fn from_request(request: &Request, body: Bytes) -> kiang::Result<Self> {
            String::from_request(request, body).map(|text| Self(text.lines().count()))
        }
    }
    let server = Embedded::start(|_core| App::new().post("/", |Lines(lines): Lines| lines.to_string()));
    let mut client = server.connect();
    assert_eq!(client.post("/", "a\nb\nc").text(), "3");
    assert_eq!(client.post_chunked("/", &[b"a\nb", b"\nc\n", b"d"]).text(), "4");
    assert_eq!(client.post("/", [0xff_u8]).status, 400);
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n");
    // The head has been received once another request, sent later on the same core, is answered.
    assert_eq!(server.connect().post("/", "").text(), "0");
    assert_eq!(client.send("a\nb").response().text(), "2");
}
