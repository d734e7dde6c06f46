//! A server from its addresses to its end.

use socket2::Socket;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::access_log::AccessLog;
use super::deadlines::Deadlines;
use super::handle::Handle;
use super::serve::{Setup, serve};
use super::service::Service;
use super::signals::Listening;
use crate::error::{Error, Result};
use crate::http::limits::Limits;
use crate::runtime::{self, Core, Cores, Listener, Loads, Offer, Shared};

/// An HTTP server: one core of its own for each processor, and on each its own copy of the application.
///
/// ```no_run
/// use kiang::{App, Cores, Server};
///
/// fn main() -> kiang::Result<()> {
///     Server::bind("127.0.0.1:8080")?
///         .cores("0-0".parse::<Cores>()?)
///         .run(|_core| App::new().get("/", || "Hello, World!"))
/// }
/// ```
pub struct Server {
    /// Bound, so that an address in use is an error here and a port 0 has become a port.
    bound: Vec<(SocketAddr, Socket)>,
    cores: Cores,
    limits: Limits,
    deadlines: Deadlines,
    drain: Duration,
    balance: bool,
    takeover: bool,
    signals: bool,
    access_log: Option<AccessLog>,
    on_start: Option<OnStart>,
    handle: Handle,
}

type OnStart = Box<dyn FnOnce(&Started) + Send>;

/// What a server found when it started.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Started {
    /// The processors it runs on, one core each.
    pub cores: Vec<usize>,
    /// The addresses it listens on.
    pub addrs: Vec<SocketAddr>,
    /// The kernel's release.
    pub kernel: String,
    /// The features of io_uring that it found.
    pub features: Vec<String>,
}

impl Server {
    /// How long a drain may take if nothing is said.
    pub const DEFAULT_DRAIN: Duration = Duration::from_secs(10);

    /// A server on this address. Port 0 takes any free port; [`addrs`](Self::addrs) tells which.
    pub fn bind(address: impl ToSocketAddrs) -> Result<Self> {
        let server = Self {
            bound: Vec::new(),
            cores: Cores::all(),
            limits: Limits::default(),
            deadlines: Deadlines::default(),
            drain: Self::DEFAULT_DRAIN,
            balance: false,
            takeover: false,
            signals: true,
            access_log: None,
            on_start: None,
            handle: Handle::default(),
        };
        server.and_bind(address)
    }

    /// The same server on a further address.
    pub fn and_bind(mut self, address: impl ToSocketAddrs) -> Result<Self> {
        let addresses = address
            .to_socket_addrs()
            .map_err(|error| Error::new("the address to listen on cannot be resolved").because(error))?;
        let before = self.bound.len();
        for address in addresses {
            let bound = runtime::bind(address).and_then(|socket| {
                let address = socket.local_addr()?.as_socket().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
                Ok((address, socket))
            });
            self.bound.push(
                bound.map_err(|error| Error::new(format!("cannot listen on {address}")).because(error))?,
            );
        }
        if self.bound.len() == before {
            return Err(Error::new("the name to listen on has no address"));
        }
        Ok(self)
    }

    /// The addresses it is bound to.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.bound.iter().map(|(address, _)| *address).collect()
    }

    /// Which processors to run on; by default all, or as many as the CPU quota allows.
    pub fn cores(mut self, cores: Cores) -> Self {
        self.cores = cores;
        self
    }

    /// How much a peer may send.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long a peer may take.
    pub fn deadlines(mut self, deadlines: Deadlines) -> Self {
        self.deadlines = deadlines;
        self
    }

    /// How long a drain may take before the rest is cut; [`DEFAULT_DRAIN`](Self::DEFAULT_DRAIN) if nothing is said.
    pub fn drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }

    /// Whether a core that accepts a connection hands it over to another, chosen at random, if that has noticeably
    /// fewer; false by default. The kernel alone deals them out unevenly.
    pub fn balance(mut self, balance: bool) -> Self {
        self.balance = balance;
        self
    }

    /// Whether to take the listening sockets over from a server of the same user that has an address already, and to
    /// hand them over in turn; false by default.
    ///
    /// Both servers need it. The one before drains when this one serves all of its addresses. No connection is lost or
    /// delayed: those that wait in the kernel's queues stay there.
    pub fn takeover(mut self, takeover: bool) -> Self {
        self.takeover = takeover;
        self
    }

    /// Whether a server of this user has this address, and [hands it over](Self::takeover).
    pub fn can_take_over(address: SocketAddr) -> bool {
        runtime::is_offered(address)
    }

    /// Whether signals are received; true by default.
    ///
    /// SIGTERM and SIGINT drain the server, and a second one ends the process at once with the exit code 128 + its
    /// number. SIGHUP and SIGUSR1 open the access log's file anew. SIGUSR2, SIGALRM, SIGIO, SIGPROF and SIGVTALRM are
    /// ignored. When the server has ended, each of them has its default action.
    pub fn signals(mut self, signals: bool) -> Self {
        self.signals = signals;
        self
    }

    /// Writes a line of JSON for each request, or for one in so many; none by default.
    pub fn access_log(mut self, access_log: AccessLog) -> Self {
        self.access_log = Some(access_log);
        self
    }

    /// Calls this once when every core serves.
    pub fn on_start(mut self, on_start: impl FnOnce(&Started) + Send + 'static) -> Self {
        self.on_start = Some(Box::new(on_start));
        self
    }

    /// Ends the server from another thread.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until it is told to stop.
    ///
    /// `make` is called once on every core, and what it makes stays there: it needs to be neither `Send` nor
    /// `Sync`.
    ///
    /// # Errors
    /// If the access log cannot be opened, a core cannot be started, or its ring fails.
    pub fn run<S: Service>(self, make: impl Fn(Core) -> S + Send + Sync + 'static) -> Result<()> {
        self.limits.check()?;
        self.deadlines.check()?;
        let cpus = self.cores.cpus_to_run_on()?;
        let found = runtime::probe()
            .map_err(|error| Error::new("io_uring cannot be used here").because(error.to_string()))?;
        let addrs = self.addrs();
        let access_log = self.access_log.map(AccessLog::open).transpose()?;
        let setup = Setup {
            limits: self.limits,
            deadlines: self.deadlines,
            drain: self.drain,
            loads: self.balance.then(|| Loads::new(cpus.len())),
            access_log: access_log.clone(),
        };
        let (sockets, shared) = sockets_for_each(self.bound, cpus.len(), self.takeover)?;
        let sockets = Mutex::new(sockets);
        // First, so that a failure leaves nothing running.
        let listening = if self.signals {
            Some(
                Listening::start(self.handle.clone(), access_log.clone())
                    .map_err(|error| Error::new("signals cannot be received").because(error))?,
            )
        } else {
            None
        };
        let threads = runtime::launch(&cpus, move |core| {
            let own = {
                let mut sockets = sockets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                std::mem::take(&mut sockets[core.id()])
            };
            let service = Box::new(make(core.clone()));
            let listeners =
                own.into_iter().map(|(socket, shared)| Listener::new(core, socket, shared)).collect();
            serve(core, service, listeners, setup.clone());
            Ok(())
        })?;
        self.handle.attach(threads.mailboxes());
        let offers = offer(shared, &self.handle);
        if let Some(on_start) = self.on_start {
            let features = found.names;
            on_start(&Started { cores: cpus, addrs, kernel: found.kernel, features });
        }
        let ended = threads.join();
        drop(offers);
        if let Some(access_log) = access_log {
            access_log.close();
        }
        drop(listening);
        ended
    }
}

/// Offers the sockets of every address to a successor, and drains when all of them are taken.
fn offer(shared: Vec<Arc<Shared>>, handle: &Handle) -> Vec<Offer> {
    let left = Arc::new(AtomicUsize::new(shared.len()));
    let offer = |shared| {
        let (left, handle) = (Arc::clone(&left), handle.clone());
        let taken = move || {
            if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                log::info!("draining: a successor serves");
                handle.shutdown();
            }
        };
        Offer::start(shared, taken)
            .inspect_err(|error| log::warn!("no successor will be able to take over: {error}"))
            .ok()
    };
    shared.into_iter().filter_map(offer).collect()
}

/// Listening sockets, each with those who may share it.
type Shareables = Vec<(Socket, Option<Arc<Shared>>)>;

/// For each core a listening socket of its own on every address. A core may get more of them from a predecessor that
/// had more cores.
///
/// All of them listen before the first connection can come, so that the kernel's choice among them is settled
/// from the start.
fn sockets_for_each(
    bound: Vec<(SocketAddr, Socket)>,
    cores: usize,
    takeover: bool,
) -> Result<(Vec<Shareables>, Vec<Arc<Shared>>)> {
    let mut each: Vec<Shareables> = (0..cores).map(|_| Vec::new()).collect();
    let mut all_shared = Vec::new();
    for (address, first) in bound {
        let cannot = |error| Error::new(format!("cannot listen on {address}")).because(error);
        let mut taken = if takeover { runtime::take_over(address).map_err(cannot)? } else { None };
        let mut sockets = taken.as_mut().map(|taken| std::mem::take(&mut taken.sockets)).unwrap_or_default();
        let mut first = Some(first);
        while sockets.len() < cores {
            let socket = first.take().map_or_else(|| runtime::bind(address), Ok).map_err(cannot)?;
            // Beside a predecessor's sockets only once the cores accept: from then on it gets its share.
            if taken.is_none() {
                runtime::listen(&socket).map_err(cannot)?;
            }
            sockets.push(socket);
        }
        let shared = takeover.then(|| Shared::new(address, &sockets, taken.as_ref()));
        let shared = shared.transpose().map_err(cannot)?;
        for (number, socket) in sockets.into_iter().enumerate() {
            each[number % cores].push((socket, shared.clone()));
        }
        all_shared.extend(shared);
    }
    Ok((each, all_shared))
}
