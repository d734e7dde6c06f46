//! A server inside the test's own process, for what only a program on the library can see.

use kiang::{Core, Cores, Handle, Server, Service};
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};

/// A server on a free port, stopped when it is dropped.
pub(crate) struct Embedded {
    addr: SocketAddr,
    handle: Handle,
    thread: Option<JoinHandle<kiang::Result<()>>>,
}

impl Embedded {
    /// On one core, with the defaults.
    pub(crate) fn start<S: Service>(make: impl Fn(Core) -> S + Send + Sync + 'static) -> Self {
        Self::start_with(|server| server.cores(Cores::count(1)), make)
    }

    pub(crate) fn start_with<S: Service>(
        configure: impl FnOnce(Server) -> Server,
        make: impl Fn(Core) -> S + Send + Sync + 'static,
    ) -> Self {
        let server = configure(Server::bind("127.0.0.1:0").expect("a free port").signals(false));
        let addr = server.addrs()[0].tcp().expect("a port was bound");
        let handle = server.handle();
        let thread = Some(thread::spawn(move || server.run(make)));
        until_listening(addr);
        Self { addr, handle, thread }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn connect(&self) -> super::Client {
        super::Client::connect(self.addr)
    }

    /// Drains, and tells how that ended.
    pub(crate) fn drained(mut self) -> kiang::Result<()> {
        self.handle.shutdown();
        self.thread.take().expect("only this takes it").join().expect("the server does not panic")
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.handle.shutdown_now();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn until_listening(addr: SocketAddr) {
    super::until(super::PATIENCE, "the server listens", || std::net::TcpStream::connect(addr).is_ok());
}
