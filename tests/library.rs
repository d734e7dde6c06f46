//! What a program on the library relies on, seen over a socket.

mod support;

use kiang::{App, Body, Bytes, Core, Cores, Error, Limits, Path, Response, StatusCode};
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use support::{Client, Embedded, End, ms};

#[test]
fn the_readmes_example_is_the_one_that_compiles_and_answers_as_it_says() {
    let readme = include_str!("../README.md");
    let example = include_str!("../examples/hello.rs");
    assert!(readme.contains(&format!("```rust,no_run\n{example}```")), "README.md shows examples/hello.rs");
    let server = Embedded::start(|_core| {
        let greeted = Cell::new(0);
        App::new().get("/hello/{name}", async move |Path(name): Path<String>| {
            greeted.set(greeted.get() + 1);
            format!("Hello, {name}! You are number {} on this core.\n", greeted.get())
        })
    });
    let application = example.split_once("no Send.\n").expect("the comment").1;
    let application = application.strip_suffix("    })\n}\n").expect("the end");
    assert!(
        include_str!("library.rs").contains(application),
        "this test serves what examples/hello.rs serves"
    );
    let mut client = server.connect();
    assert_eq!(client.get("/hello/Ada").text(), "Hello, Ada! You are number 1 on this core.\n");
    assert_eq!(client.get("/hello/Bo%20b").text(), "Hello, Bo b! You are number 2 on this core.\n");
}

#[test]
fn a_handler_that_panics_answers_500_and_hurts_no_other() {
    let server = Embedded::start(|_core| {
        App::new()
            .get("/plain", || -> &'static str { panic!("on purpose, in a test") })
            .get("/async", async || -> &'static str { panic!("on purpose, in a test") })
            .get("/header", || Response::new(StatusCode::OK).header("x", "a\r\nSet-Cookie: b"))
            .get("/fine", || "fine")
    });
    let (mut one, mut other) = (server.connect(), server.connect());
    for path in ["/plain", "/async", "/header"] {
        let response = one.get(path);
        assert_eq!((response.status, response.text()), (500, "500 Internal Server Error\n"), "{path}");
        assert_eq!(one.get("/fine").text(), "fine", "the same connection goes on after {path}");
        assert_eq!(other.get("/fine").text(), "fine");
    }
}

#[test]
fn an_interim_status_is_no_answer() {
    let server = Embedded::start(|_core| {
        App::new().get("/interim", || StatusCode::SWITCHING_PROTOCOLS).get("/fine", || "fine")
    });
    let mut client = server.connect();
    assert_eq!(client.get("/interim").status, 500);
    assert_eq!(client.get("/fine").text(), "fine");
}

#[test]
fn a_handler_that_closes_the_connection_is_heard_by_a_client_that_still_sends() {
    let server = Embedded::start(|_core| {
        App::new().get("/", || Response::new(StatusCode::OK).header("Connection", "close").body("bye"))
    });
    for _ in 0..20 {
        let mut client = server.connect();
        // What follows meets a server that has said its last word: a reset must not overtake it.
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2000));
        std::thread::sleep(ms(5));
        let response = client.response();
        assert_eq!((response.text(), response.closes()), ("bye", true));
        assert_eq!(client.end(), End::Closed);
    }
}

#[test]
fn a_body_that_is_collected_is_bounded_and_one_that_is_streamed_is_not_held() {
    let limits = Limits { buffered_body_bytes: 1000, body_bytes: 50_000_000, ..Limits::default() };
    let configure = move |server: kiang::Server| server.cores(Cores::count(1)).limits(limits);
    let server = Embedded::start_with(configure, |_core| {
        App::new().post("/whole", |body: Bytes| body.len().to_string()).post(
            "/stream",
            async |mut body: Body| {
                let mut length = 0;
                while let Some(piece) = body.next().await {
                    length += piece?.len();
                }
                Ok::<_, Error>(length.to_string())
            },
        )
    });
    assert_eq!(server.connect().post("/whole", vec![b'x'; 1000]).text(), "1000");
    assert_eq!(server.connect().post_chunked("/whole", &[&[b'x'; 600], &[b'x'; 400]]).text(), "1000");
    assert_eq!(server.connect().post("/whole", vec![b'x'; 1001]).status, 413);
    assert_eq!(server.connect().post_chunked("/whole", &[&[b'x'; 600], &[b'x'; 401]]).status, 413);
    assert_eq!(server.connect().post("/stream", vec![b'x'; 5_000_000]).text(), "5000000");
}

struct Pieces(std::slice::Iter<'static, &'static str>);

impl futures_core::Stream for Pieces {
    type Item = kiang::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next().map(|piece| Ok(Bytes::from(*piece))))
    }
}

/// A stream of these pieces.
fn pieces(pieces: &'static [&'static str]) -> Body {
    Body::stream(Pieces(pieces.iter()))
}

#[test]
fn a_streamed_response_is_chunked_and_one_of_a_wrong_length_is_cut() {
    let server = Embedded::start(|_core| {
        let with_length = |length: &'static str| {
            move || {
                Response::new(StatusCode::OK)
                    .header("Content-Length", length)
                    .body(pieces(&["abc", "", "de"]))
            }
        };
        App::new()
            .get("/chunked", || Response::new(StatusCode::OK).body(pieces(&["abc", "", "de"])))
            .get("/exact", with_length("5"))
            .get("/long", with_length("4"))
            .get("/short", with_length("6"))
    });
    let mut client = server.connect();
    let chunked = client.get("/chunked");
    assert_eq!((chunked.header("transfer-encoding"), chunked.text()), (Some("chunked"), "abcde"));
    let exact = client.get("/exact");
    assert_eq!((exact.header("content-length"), exact.text()), (Some("5"), "abcde"));
    // HTTP/1.0 knows no chunks: the body ends with the connection (RFC 9112 section 6.3).
    let old = client.send("GET /chunked HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").response();
    assert_eq!((old.header("transfer-encoding"), old.text()), (None, "abcde"));
    for wrong in ["/long", "/short"] {
        let mut client = server.connect();
        client.send(format!("GET {wrong} HTTP/1.1\r\nHost: x\r\n\r\nGET /exact HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(client.try_response().is_err(), "{wrong}: a body that does not match is cut, not misframed");
    }
}

#[test]
fn every_core_answers_what_it_alone_knows() {
    let configure = |server: kiang::Server| server.cores(Cores::all());
    let server = Embedded::start_with(configure, |core: Core| {
        App::new().get("/ids", async move || {
            let ids = core.ask_all(|core| (core.id(), core.counts().accepted)).await;
            let accepted: u64 = ids.iter().map(|(_, accepted)| accepted).sum();
            let ids: Vec<_> = ids.iter().map(|(id, _)| *id).collect();
            format!("{ids:?} {}", accepted > 0)
        })
    });
    let cores = std::thread::available_parallelism().unwrap().get();
    let expected = format!("{:?} true", (0..cores).collect::<Vec<_>>());
    for _ in 0..20 {
        assert_eq!(server.connect().get("/ids").text(), expected);
    }
}

#[test]
fn a_call_that_blocks_does_not_hold_its_core() {
    let server = Embedded::start(|core: Core| {
        App::new()
            .get("/block", async move || {
                let blocked = core.blocking(|| {
                    std::thread::sleep(Duration::from_millis(500));
                    std::thread::current().name().map(str::to_owned)
                });
                format!(
                    "{}",
                    blocked.await.expect("there is room") != std::thread::current().name().map(str::to_owned)
                )
            })
            .get("/quick", || "quick")
    });
    let mut blocked = server.connect();
    blocked.send("GET /block HTTP/1.1\r\nHost: x\r\n\r\n");
    let begun = Instant::now();
    let mut quick = server.connect();
    for _ in 0..100 {
        assert_eq!(quick.get("/quick").text(), "quick");
    }
    assert!(begun.elapsed() < ms(450), "100 requests waited for one that blocks: {:?}", begun.elapsed());
    assert_eq!(blocked.response().text(), "true", "on another thread");
}

#[test]
fn sleeping_and_spawning_stay_on_the_core() {
    let server = Embedded::start(|core: Core| {
        let ticks = Rc::new(Cell::new(0));
        let ticking = (core.clone(), ticks.clone());
        core.spawn(async move {
            loop {
                ticking.0.sleep(ms(20)).await;
                ticking.1.set(ticking.1.get() + 1);
            }
        });
        App::new().get("/ticks", async move || {
            let before = (core.now(), ticks.get());
            core.sleep(ms(300)).await;
            format!("{} {}", (core.now() - before.0).as_millis(), ticks.get() - before.1)
        })
    });
    // Nothing else happens on this core meanwhile: deadlines must wake it by themselves.
    let response = server.connect().get("/ticks");
    let (slept, ticks) = response.text().split_once(' ').unwrap();
    assert!((300..600).contains(&slept.parse::<u32>().unwrap()), "slept {slept} ms of 300");
    assert!((5..=15).contains(&ticks.parse::<u32>().unwrap()), "{ticks} ticks of 20 ms in 300 ms");
}

#[test]
fn an_embedded_server_drains_when_it_is_told_and_returns() {
    let server = Embedded::start(|core: Core| {
        App::new().get("/slow", async move || {
            core.sleep(ms(300)).await;
            "done"
        })
    });
    let (mut busy, mut idle) = (server.connect(), server.connect());
    assert_eq!(idle.get("/nothing").status, 404);
    busy.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
    // The request has been received once another, sent later on the same core, is answered.
    assert_eq!(idle.get("/nothing").status, 404);
    let addr = server.addr();
    server.drained().expect("a clean end");
    let last = busy.response();
    assert_eq!((last.text(), last.closes()), ("done", true));
    assert_eq!(idle.end(), End::Closed);
    assert!(Client::try_connect(addr).is_err(), "the port is free");
}
