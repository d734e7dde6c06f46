//! A keep-alive request to a plain handler with a static body costs no heap allocation.

mod support;

use kiang::{AccessLog, App, Core, Cores, Response, Server, StatusCode};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use support::{Client, Embedded, file, ms};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[allow(unsafe_code, reason = "an allocator is unsafe to implement; it only counts and passes on")]
// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(start, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The count of the core's own thread, which is also the thread of its handlers.
fn allocations(client: &mut Client) -> u64 {
    client.get("/allocations").text().parse().expect("a number")
}

#[test]
fn a_keep_alive_request_to_a_plain_handler_allocates_nothing() {
    allocates_nothing(|server| server);
    let log = AccessLog::file(file("allocations.log", ""));
    allocates_nothing(|server| server.access_log(log));
}

#[track_caller]
fn allocates_nothing(configure: impl FnOnce(Server) -> Server) {
    const ROUNDS: u64 = 200;
    let configure = |server: Server| configure(server.cores(Cores::count(1)));
    let server = Embedded::start_with(configure, |core: Core| {
        // Something to do at each beat, so that the core never sleeps, however slow the machine and this client are: a
        // sleep allocates, in glommio.
        let awake = core.clone();
        core.spawn(async move {
            loop {
                awake.sleep(ms(1)).await;
            }
        });
        App::new()
            .get("/plaintext", || "Hello, World!")
            .get("/headers", || Response::new(StatusCode::OK).header("x-a", "b").body("Hello"))
            .get("/allocations", || ALLOCATIONS.with(Cell::get).to_string())
    });
    let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    let browser = "GET /plaintext HTTP/1.1\r\nHost: example.com\r\nUser-Agent: Mozilla/5.0\r\nAccept: text/html\r\n\
        Accept-Language: en\r\nAccept-Encoding: gzip, br\r\nConnection: keep-alive\r\nCookie: a=b; c=d\r\n\r\n";
    let pipelined = "GET /plaintext HTTP/1.1\r\nHost: x\r\n\r\n".repeat(16);
    let round = |clients: &mut Vec<Client>| {
        for client in clients {
            assert_eq!(client.get("/plaintext").text(), "Hello, World!");
            assert_eq!(client.get("/headers").text(), "Hello");
            assert_eq!(client.send(browser).response().text(), "Hello, World!");
            client.send(&pipelined);
            for _ in 0..16 {
                assert_eq!(client.response().text(), "Hello, World!");
            }
        }
    };
    // The first rounds fill the pools: send buffers, the run queue.
    (0..20).for_each(|_| round(&mut clients));
    let between = {
        let first = allocations(&mut clients[0]);
        allocations(&mut clients[0]) - first
    };
    assert!(between > 0, "the counter counts: the answer that carries the count is itself a String");
    let before = allocations(&mut clients[0]);
    (0..ROUNDS).for_each(|_| round(&mut clients));
    let spent = allocations(&mut clients[0]) - before - between;
    let requests = ROUNDS * 8 * 19;
    // What remains is not per request: the date, rendered once a second, lines of the log handed over.
    assert!(spent * 100 < requests, "{spent} allocations in {requests} requests");
    eprintln!("{spent} allocations in {requests} requests");
}
