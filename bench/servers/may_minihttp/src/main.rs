//! `may_minihttp` as its `TechEmpower` entry runs it: the same features, allocator and stack size; but one worker.
//!
//! Like that entry it leaves `TCP_NODELAY` off (the crate offers no way to set it). Nothing is held back for it here:
//! all answers to a batch leave in one write, and the next request acknowledges them.

use std::io;
use std::net::Ipv4Addr;

use bytes::BufMut;
use may_minihttp::{HttpServer, HttpService, Request, Response};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Clone)]
struct Plaintext;

impl HttpService for Plaintext {
    fn call(&mut self, request: Request, response: &mut Response) -> io::Result<()> {
        match (request.method(), request.path()) {
            ("GET", "/plaintext") => response.header("Content-Type: text/plain").body("Hello, World!"),
            ("GET", "/json") => {
                response.header("Content-Type: application/json");
                serde_json::to_writer(response.body_mut().writer(), &plaintext::MESSAGE)?;
            }
            _ => drop(response.status_code(404, "Not Found")),
        }
        Ok(())
    }
}

fn main() -> io::Result<()> {
    may::config().set_workers(1).set_pool_capacity(1000).set_stack_size(0x1000);
    let server = HttpServer(Plaintext).start((Ipv4Addr::LOCALHOST, plaintext::port()))?;
    server.join().map_err(|_| io::Error::other("the server's coroutine panicked"))
}
