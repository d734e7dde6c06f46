//! Bodies that stream: read by whoever holds them, sent back as they arrive, cut where they fail.

mod support;

use kiang::{App, Body, Bytes, Core, Error, Request, Response, StatusCode, Trailers};
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use support::{Client, Embedded, PATIENCE, Random, ms, until};

/// A request head with a body of this length.
fn post(path: &str, fields: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: {length}\r\n\r\n")
}

/// More than fits in what is skipped, lent, or kept in the sockets' buffers.
const LONG: usize = 10 << 20;

/// Answers with the body of the request, as it comes.
fn echo(mut request: Request) -> Response {
    let body = std::mem::take(request.body_mut());
    Response::new(StatusCode::OK).body(body)
}

#[test]
fn a_body_is_read_by_another_task_than_its_handlers() {
    let server = Embedded::start(|core: Core| {
        App::new().post("/count", async move |mut body: Body| {
            let (told, length) = futures_channel::oneshot::channel();
            core.spawn(async move {
                let mut length = 0;
                while let Some(Ok(piece)) = body.next().await {
                    length += piece.len();
                }
                let _ = told.send(length);
            });
            length.await.map_err(|_| Error::new("the reader is gone")).map(|length| length.to_string())
        })
    });
    let mut client = server.connect();
    assert_eq!(client.post("/count", vec![b'x'; LONG]).text(), LONG.to_string());
    assert_eq!(client.post("/count", "abc").text(), "3");
}

#[test]
fn a_response_made_from_the_requests_body_is_whole_and_the_connection_goes_on() {
    let server = Embedded::start(|_core| {
        App::new().post("/now", echo).post("/later", async |request: Request| echo(request))
    });
    let sent = Random::new(3).bytes(LONG);
    for path in ["/now", "/later"] {
        let mut client = server.connect();
        assert_eq!(client.post(path, "abc").text(), "abc", "{path}");
        let mut upload = client.stream().try_clone().expect("a socket can be cloned");
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {LONG}\r\n\r\n");
        let request = [head.as_bytes(), &sent].concat();
        let uploading = std::thread::spawn(move || std::io::Write::write_all(&mut upload, &request));
        let response = client.response();
        assert!(response.body == sent, "{path}: {} bytes of {LONG} came back", response.body.len());
        uploading.join().expect("no panic").expect("all of it was taken");
        assert_eq!(client.post_chunked(path, &[b"abc", b"de"]).text(), "abcde", "{path} goes on");
    }
}

#[test]
fn a_client_that_waits_for_100_gets_it_before_the_answer_made_from_its_body() {
    let server = Embedded::start(|_core| App::new().post("/now", echo));
    let mut client = server.connect();
    client.send("POST /now HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.response().status, 100);
    assert_eq!(client.send("abc").response().text(), "abc");
}

/// Pieces of these sizes; `None` is an error in place of one.
struct Pieces(std::slice::Iter<'static, Option<usize>>);

impl Pieces {
    fn new(sizes: &'static [Option<usize>]) -> Self {
        Self(sizes.iter())
    }
}

impl futures_core::Stream for Pieces {
    type Item = kiang::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = |size: &Option<usize>| match size {
            Some(size) => Ok(Bytes::from(vec![b'x'; *size])),
            None => Err(Error::new("on purpose")),
        };
        Poll::Ready(self.0.next().map(piece))
    }
}

#[test]
fn what_is_left_of_a_body_is_framed_as_what_is_left() {
    let server = Embedded::start(|_core| {
        App::new().post("/rest", async |mut body: Body| {
            body.next().await.transpose()?;
            Ok::<_, Error>(Response::new(StatusCode::OK).body(body))
        })
    });
    let mut client = server.connect();
    client.send(post("/rest", "", 10)).send("abcde");
    // Together they would be one piece.
    std::thread::sleep(ms(100));
    let response = client.send("fghij").response();
    assert_eq!((response.header("content-length"), response.text()), (Some("5"), "fghij"));
}

#[test]
fn a_body_that_was_asked_for_and_given_up_is_not_invited_behind_the_answers_head() {
    let server = Embedded::start(|core: Core| {
        App::new().post("/deny", async move |mut body: Body| {
            // Asks for a piece, and decides at once that it does not want it.
            let mut next = std::pin::pin!(body.next());
            std::future::poll_fn(|cx| {
                let _ = next.as_mut().poll(cx);
                Poll::Ready(())
            })
            .await;
            let core = core.clone();
            let slow = Slow(Box::pin(async move { core.sleep(ms(50)).await }), false);
            Response::new(StatusCode::OK).body(Body::stream(slow))
        })
    });
    let mut client = server.connect();
    client.send(post("/deny", "Expect: 100-continue\r\n", 5));
    let response = client.response();
    assert_eq!((response.status, response.text(), response.closes()), (200, "late", true));
}

/// One piece, after a while.
struct Slow(Pin<Box<dyn Future<Output = ()>>>, bool);

impl futures_core::Stream for Slow {
    type Item = kiang::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.1 {
            return Poll::Ready(None);
        }
        self.0.as_mut().poll(cx).map(|()| {
            self.1 = true;
            Some(Ok(Bytes::from("late")))
        })
    }
}

#[test]
fn a_body_that_fails_cannot_be_taken_for_a_whole_one() {
    let server = Embedded::start(|_core| {
        App::new().get("/fails", || {
            Response::new(StatusCode::OK).body(Body::stream(Pieces::new(&[Some(4), Some(4), None])))
        })
    });
    // Only the end of the connection ends this body, so it must not be an orderly one.
    for head in ["GET /fails HTTP/1.1\r\nHost: x\r\n\r\n", "GET /fails HTTP/1.0\r\n\r\n"] {
        let mut client = server.connect();
        client.send(head);
        assert!(client.try_response().is_err(), "{head:?}");
    }
}

#[test]
fn a_piece_of_any_size_is_one_chunk() {
    const SIZES: &[Option<usize>] =
        &[Some(1), Some(16 << 10), Some(0), Some((16 << 10) + 1), Some(300 << 10), Some(5 << 20)];
    let server = Embedded::start(|_core| {
        App::new().get("/", || Response::new(StatusCode::OK).body(Body::stream(Pieces::new(SIZES))))
    });
    let length: usize = SIZES.iter().flatten().sum();
    let mut client = server.connect();
    assert_eq!(client.get("/").body.len(), length);
    assert_eq!(client.get("/").body.len(), length, "and again on the same connection");
}

#[test]
fn uploads_that_want_more_buffers_than_there_are_all_arrive() {
    const CLIENTS: usize = 100;
    const LENGTH: usize = 1 << 20;
    let server = Embedded::start(|core: Core| {
        App::new().post("/slow", async move |mut body: Body| {
            let (mut length, mut pauses) = (0, 0);
            while let Some(piece) = body.next().await {
                length += piece?.len();
                if pauses < 5 {
                    pauses += 1;
                    // Meanwhile what the others send fills the buffers.
                    core.sleep(ms(20)).await;
                }
            }
            Ok::<_, Error>(length.to_string())
        })
    });
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let mut client = server.connect();
            scope.spawn(move || {
                assert_eq!(client.post("/slow", vec![b'x'; LENGTH]).text(), LENGTH.to_string());
            });
        }
    });
}

#[test]
fn trailers_reach_the_handler_and_the_client_that_reads_them() {
    let server = Embedded::start(|_core| {
        App::new()
            .post("/up", async |mut body: Body| {
                while let Some(piece) = body.next().await {
                    piece?;
                }
                let trailers = body.take_trailers();
                let sum = trailers.as_ref().and_then(|trailers| trailers.get_str("x-sum")).unwrap_or("none");
                Ok::<_, Error>(sum.to_owned())
            })
            .get("/down", || {
                let trailers = || Trailers::new().with("X-Sum", "42").expect("a field that may be a trailer");
                let body = Body::stream_with_trailers(Pieces::new(&[Some(4)]), trailers);
                Response::new(StatusCode::OK).body(body)
            })
    });
    let mut client = server.connect();
    let chunked = "POST /up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n";
    assert_eq!(client.send(format!("{chunked}X-Sum: 7\r\n\r\n")).response().text(), "7");
    assert_eq!(client.send(format!("{chunked}\r\n")).response().text(), "none");
    assert_eq!(client.send(format!("{chunked}Host: y\r\n\r\n")).response().status, 400);

    let down = |fields: &str| {
        let mut client = server.connect();
        client.send(format!("GET /down HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n"));
        let mut all = String::new();
        std::io::Read::read_to_string(&mut client.stream(), &mut all).expect("text to the end");
        all.split_once("\r\n0\r\n").expect("a last chunk").1.to_owned()
    };
    assert_eq!(down("TE: trailers\r\n"), "X-Sum: 42\r\n\r\n");
    assert_eq!(down(""), "\r\n", "a client that has not said so may not know what to do with them");
    for field in ["Content-Length", "Set-Cookie", "if-match", "a b"] {
        assert!(Trailers::new().with(field, "1").is_err(), "{field}");
    }
}

/// Says when it is dropped.
struct Guard(Rc<Cell<usize>>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Makes nothing, for ever.
struct Quiet(#[expect(dead_code, reason = "held for its drop")] Guard);

impl futures_core::Stream for Quiet {
    type Item = kiang::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Pending
    }
}

#[test]
fn a_handler_and_a_stream_end_when_their_peer_is_gone() {
    let server = Embedded::start(|core: Core| {
        let running = Rc::new(Cell::new(0));
        let guard = move || {
            running.set(running.get() + 1);
            Guard(running.clone())
        };
        let (sleeping, streaming) = (guard.clone(), guard.clone());
        App::new()
            .get("/sleep", async move || {
                let _guard = sleeping();
                core.sleep(PATIENCE * 10).await;
            })
            .get("/quiet", move || Response::new(StatusCode::OK).body(Body::stream(Quiet(streaming()))))
            .get("/running", move || (guard().0.get() - 1).to_string())
    });
    let mut other = server.connect();
    let mut running = move || other.get("/running").text().parse::<usize>().expect("a count");
    for path in ["/sleep", "/quiet"] {
        let mut clients: Vec<Client> = (0..5).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        }
        until(PATIENCE, "all five run", || running() == 5);
        clients.into_iter().for_each(Client::reset);
        until(ms(3000), "what nobody waits for any more has ended", || running() == 0);
    }
}

/// A send was taken for one under way for as long as receives that had to be armed again kept the ring's queue from
/// being empty, and its connection slept until something else woke the core.
#[test]
fn a_core_that_sends_and_must_receive_again_does_not_fall_asleep_over_it() {
    let server = Embedded::start(|_core| {
        App::new()
            .get("/", || "hello")
            .post("/count", async |mut body: Body| {
                let mut length = 0;
                while let Some(Ok(piece)) = body.next().await {
                    length += piece.len();
                }
                length.to_string()
            })
            .post("/echo", echo)
    });
    let mut client = server.connect();
    for length in [10_000, 60_000, 70_000, 100_000, 200_000, 1_000_000] {
        for _ in 0..5 {
            let since = std::time::Instant::now();
            assert_eq!(client.get("/").text(), "hello");
            assert_eq!(client.post("/count", vec![b'x'; length]).text(), length.to_string());
            assert_eq!(client.post("/echo", vec![b'x'; length.min(100_000)]).body.len(), length.min(100_000));
            assert!(since.elapsed() < ms(3000), "{length} bytes took {:?}", since.elapsed());
        }
    }
}

/// The simulation found this, with seed 24728.
#[test]
fn an_answer_is_not_lost_because_the_stream_behind_it_fails_at_once() {
    let server = Embedded::start(|core: Core| {
        App::new()
            .get("/later", async move || {
                core.sleep(ms(5)).await;
                "first"
            })
            .post("/echo", echo)
    });
    for _ in 0..20 {
        let mut client = server.connect();
        client.send("GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
        client.send(post("/echo", "", 171));
        client.stream().shutdown(std::net::Shutdown::Write).expect("a socket");
        assert_eq!(client.response().text(), "first");
    }
}
