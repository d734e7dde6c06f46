//! Who is slow stops who is fast: nothing piles up in between, whichever side is the slow one.

mod support;

use kiang::{App, Body, Bytes, Core, Error, Response, StatusCode};
use std::cell::Cell;
use std::io::Write;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;
use support::{Embedded, PATIENCE, ms, until};

/// Several times what may be in between, and within the limit on bodies.
const LENGTH: usize = 60 << 20;
const PIECE: usize = 64 << 10;
/// What the kernel's buffers of both sockets hold at the most (`tcp_rmem` and `tcp_wmem` are 6 and 4 MiB), with room.
const IN_BETWEEN: usize = 24 << 20;

/// Resident memory of this process, in which the server is. The test below is the only one here that uses much.
fn memory() -> usize {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").expect("the process lives");
    let line = rollup.lines().find(|line| line.starts_with("Rss:")).expect("there is Rss");
    line.split_whitespace().nth(1).and_then(|number| number.parse::<usize>().ok()).expect("a number") << 10
}

/// A long body, and how much of it was asked for.
struct Made {
    total: Rc<Cell<usize>>,
    left: usize,
    piece: Bytes,
}

impl futures_core::Stream for Made {
    type Item = kiang::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= PIECE;
        self.total.set(self.total.get() + PIECE);
        Poll::Ready(Some(Ok(self.piece.clone())))
    }
}

#[test]
fn the_slow_side_stops_the_fast_one_and_memory_stays_flat() {
    let server = Embedded::start(|core: Core| {
        let made = Rc::new(Cell::new(0));
        let read = Rc::new(Cell::new(0));
        let (making, reading) = (made.clone(), read.clone());
        App::new()
            .get("/download", move || {
                let piece = Bytes::from(vec![b'x'; PIECE]);
                Response::new(StatusCode::OK).body(Body::stream(Made {
                    total: making.clone(),
                    left: LENGTH,
                    piece,
                }))
            })
            .post("/upload", async move |mut body: Body| {
                let mut pauses = 0;
                while let Some(piece) = body.next().await {
                    reading.set(reading.get() + piece?.len());
                    if pauses < 10 {
                        pauses += 1;
                        core.sleep(ms(100)).await;
                    }
                }
                Ok::<_, Error>(reading.get().to_string())
            })
            .get("/made", move || made.get().to_string())
            .get("/read", move || read.get().to_string())
    });
    let mut other = server.connect();
    let mut ask = |path: &str| other.get(path).text().parse::<usize>().expect("a number");
    ask("/made");
    let before = memory();

    // A peer that reads slowly stops the handler's stream.
    let mut client = server.connect();
    client.send("GET /download HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut made = 0;
    until(PATIENCE, "the stream stands still", || {
        std::thread::sleep(ms(200));
        let before = std::mem::replace(&mut made, ask("/made"));
        made != 0 && made == before
    });
    assert!(made < IN_BETWEEN, "{made} bytes were made for a peer that reads nothing");
    let grown = memory().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes more for a peer that reads nothing");
    // And when the peer reads on, all of it comes.
    let mut received = 0;
    let mut piece = vec![0; 1 << 20];
    client.stream().set_read_timeout(Some(PATIENCE)).expect("a deadline");
    while received < LENGTH {
        received += std::io::Read::read(&mut client.stream(), &mut piece).expect("the stream goes on");
    }
    drop(client);

    // A handler that reads slowly stops the peer.
    let mut client = server.connect();
    client.send(format!("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: {LENGTH}\r\n\r\n"));
    client.stream().set_nonblocking(true).expect("a socket");
    let (begun, mut written, mut most) = (Instant::now(), 0, 0);
    while begun.elapsed() < ms(800) {
        match client.stream().write(&piece) {
            Ok(count) => written += count,
            Err(_) => std::thread::sleep(ms(1)),
        }
        most = most.max(memory());
    }
    assert!(written < IN_BETWEEN, "{written} bytes were taken from a peer whose handler had read ten pieces");
    assert!(ask("/read") < 1 << 20);
    client.stream().set_nonblocking(false).expect("a socket");
    while written < LENGTH {
        let count = (LENGTH - written).min(piece.len());
        client.send(&piece[..count]);
        written += count;
        most = most.max(memory());
    }
    assert_eq!(client.response().text(), LENGTH.to_string(), "and then all of it arrives");
    // The client's own megabyte, and the buffers that the core lends.
    let grown = most.saturating_sub(before);
    assert!(grown < 12 << 20, "{grown} bytes more while an upload was read slowly");
}
