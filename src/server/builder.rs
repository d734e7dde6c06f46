//! A server from its addresses to its end.

use socket2::Socket;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::access_log::AccessLog;
use super::deadlines::Deadlines;
use super::handle::Handle;
use super::memory::Memory;
use super::notify::{self, Notifier, Watchdog};
use super::serve::{Setup, serve};
use super::service::Service;
use super::signals::Listening;
use crate::address::{Address, ToListenAddrs};
use crate::error::{Error, Result};
use crate::http::limits::Limits;
use crate::runtime::{self, Common, Core, Cores, Endpoint, Listener, Loads, Offer, Permissions, Shared};

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
#[expect(clippy::struct_excessive_bools, reason = "switches that a program sets, independent of each other")]
pub struct Server {
    /// Reserved, so that an address in use is an error here and a port 0 has become a port.
    endpoints: Vec<Endpoint>,
    permissions: Permissions,
    cores: Cores,
    limits: Limits,
    deadlines: Deadlines,
    memory: Memory,
    drain: Duration,
    balance: bool,
    takeover: bool,
    signals: bool,
    signals_until_exit: bool,
    notify: bool,
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
    pub addrs: Vec<Address>,
    /// The memory that the requests of each core may take together, in bytes; `None` for any amount.
    pub memory: Option<u64>,
    /// The kernel's release.
    pub kernel: String,
    /// The features of io_uring that it found.
    pub features: Vec<String>,
}

impl Server {
    /// How long a drain may take if nothing is said.
    pub const DEFAULT_DRAIN: Duration = Duration::from_secs(10);

    /// A server on this address, or on all addresses of this name; [`ListenAddr`](crate::ListenAddr) lists the forms
    /// that it can have as text. Port 0 takes any free port; [`addrs`](Self::addrs) tells which.
    ///
    /// ```
    /// use kiang::Server;
    ///
    /// let server = Server::bind("127.0.0.1:0")?.and_bind("unix:/tmp/kiang-example.sock")?;
    /// assert_eq!(server.addrs()[1].to_string(), "unix:/tmp/kiang-example.sock");
    /// # Ok::<(), kiang::Error>(())
    /// ```
    ///
    /// # Errors
    /// If it is no address, cannot be resolved, is not of this machine or not allowed, or if somebody listens there.
    /// Two servers that have not begun can both be bound to one address; the first that [runs](Self::run) gets it.
    pub fn bind(address: impl ToListenAddrs) -> Result<Self> {
        let server = Self {
            endpoints: Vec::new(),
            permissions: Permissions::default(),
            cores: Cores::all(),
            limits: Limits::default(),
            deadlines: Deadlines::default(),
            memory: Memory::default(),
            drain: Self::DEFAULT_DRAIN,
            balance: false,
            takeover: false,
            signals: true,
            signals_until_exit: false,
            notify: false,
            access_log: None,
            on_start: None,
            handle: Handle::default(),
        };
        server.and_bind(address)
    }

    /// The same server on a further address.
    ///
    /// # Errors
    /// Those of [`bind`](Self::bind), and if it has the address already.
    pub fn and_bind(mut self, address: impl ToListenAddrs) -> Result<Self> {
        let before = self.endpoints.len();
        for address in address.to_listen_addrs()? {
            for endpoint in Endpoint::reserve(&address)? {
                if self.endpoints.iter().any(|other| other.address == endpoint.address) {
                    return Err(Error::new(format!("the address {} is bound twice", endpoint.address)));
                }
                self.endpoints.push(endpoint);
            }
        }
        if self.endpoints.len() == before {
            return Err(Error::new("there is no address to listen on"));
        }
        Ok(self)
    }

    /// The addresses it is bound to.
    pub fn addrs(&self) -> Vec<Address> {
        self.endpoints.iter().map(|endpoint| endpoint.address.clone()).collect()
    }

    /// The permissions of the files of its Unix sockets; `0o660` by default. Users that may write may connect.
    pub fn unix_mode(mut self, mode: u32) -> Self {
        self.permissions.mode = mode & 0o777;
        self
    }

    /// The user and the group that the files of its Unix sockets belong to, as numbers; those of the process by
    /// default. Another user takes a privilege, another group must be one of the process's own.
    pub fn unix_owner(mut self, user: Option<u32>, group: Option<u32>) -> Self {
        (self.permissions.user, self.permissions.group) = (user, group);
        self
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

    /// How much memory requests and unsent answers may take together; by default derived from what this process may have.
    pub fn memory(mut self, memory: Memory) -> Self {
        self.memory = memory;
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
    pub fn can_take_over(address: impl Into<Address>) -> bool {
        runtime::is_offered(&address.into())
    }

    /// Whether signals are received; true by default.
    ///
    /// SIGTERM and SIGINT drain the server, and a second one ends the process at once with the exit code 128 + its
    /// number. SIGHUP and SIGUSR1 open the access log's file anew. SIGUSR2, SIGALRM, SIGIO, SIGPROF and SIGVTALRM are
    /// ignored. When the server has ended, each of them has its default action, unless they are received
    /// [until the process ends](Self::signals_until_exit).
    pub fn signals(mut self, signals: bool) -> Self {
        self.signals = signals;
        self
    }

    /// Whether signals are received until the process ends, and not only until the server has ended; false by default.
    ///
    /// A program that ends with its server wants this: else a SIGTERM that arrives between the two ends would be the
    /// end of the process, in place of the program's exit code. The first SIGTERM changes nothing then, and a second one
    /// ends the process at once, as while the server drains. Without [`signals`](Self::signals) this has no effect.
    pub fn signals_until_exit(mut self, until_exit: bool) -> Self {
        self.signals_until_exit = until_exit;
        self
    }

    /// Whether to tell the service manager what becomes of the server, if one listens (`NOTIFY_SOCKET`, `sd_notify(3)`);
    /// false by default.
    ///
    /// `READY=1` when every core serves, with the process's number if it took over from another; `STOPPING=1` when it
    /// drains, unless a successor serves in its place; and if a watchdog is set (`WATCHDOG_USEC`), `WATCHDOG=1` twice as
    /// often as asked, as long as every core answers.
    pub fn notify(mut self, notify: bool) -> Self {
        self.notify = notify;
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
        let memory = self.memory.of_each(cpus.len())?;
        if let Some(bytes) = memory.filter(|bytes| *bytes < self.limits.buffered_body_bytes) {
            log::warn!(
                "each core has {bytes} bytes for requests (`max-memory`), so no body of {} can be collected (`max-buffered-body`)",
                self.limits.buffered_body_bytes
            );
        }
        let found = runtime::probe()
            .map_err(|error| Error::new("io_uring cannot be used here").because(error.to_string()))?;
        let notifier = if self.notify { Notifier::of_environment() } else { None };
        if let Some(notifier) = &notifier {
            self.handle.tell(notifier.clone());
        }
        let addrs = self.addrs();
        let access_log = self.access_log.map(AccessLog::open).transpose()?;
        let Opened { each, shared, was_taken, balance } =
            open(self.endpoints, cpus.len(), self.takeover, self.permissions)?;
        let setup = Setup {
            limits: self.limits,
            deadlines: self.deadlines,
            memory,
            drain: self.drain,
            loads: (self.balance || balance).then(|| Loads::new(cpus.len())),
            access_log: access_log.clone(),
        };
        let sockets = Mutex::new(each);
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
                own.into_iter().map(|(socket, common)| Listener::new(core, socket, common)).collect();
            serve(core, service, listeners, setup.clone());
            Ok(())
        })?;
        self.handle.attach(threads.mailboxes());
        let offers = offer(shared, &self.handle);
        let serves = notify::every_core_answers(&threads.mailboxes());
        let watchdog = notifier.filter(|_| serves && self.handle.is_untouched()).and_then(|notifier| {
            notifier.ready(&addrs, was_taken);
            Watchdog::of_environment(notifier, threads.mailboxes())
        });
        if let Some(on_start) = self.on_start {
            let features = found.names;
            let memory = memory.map(|bytes| bytes as u64);
            on_start(&Started { cores: cpus, addrs, memory, kernel: found.kernel, features });
        }
        let ended = threads.join();
        drop((watchdog, offers));
        if let Some(access_log) = access_log {
            access_log.close();
        }
        if let Some(listening) = listening.filter(|_| self.signals_until_exit) {
            listening.until_exit();
        }
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
                handle.give_way();
            }
        };
        Offer::start(shared, taken)
            .inspect_err(|error| log::warn!("no successor will be able to take over: {error}"))
            .ok()
    };
    shared.into_iter().filter_map(offer).collect()
}

/// Listening sockets, each with what it has in common with the others of its address.
type Sockets = Vec<(Socket, Arc<Common>)>;

/// All sockets of a server.
struct Opened {
    /// For each core.
    each: Vec<Sockets>,
    /// What may be handed to a successor.
    shared: Vec<Arc<Shared>>,
    /// Whether any was a predecessor's.
    was_taken: bool,
    /// Whether connections must be balanced, since the kernel does not deal them out.
    balance: bool,
}

/// A listening socket on every address for each core. A core may get more of them from a predecessor that had more
/// cores.
///
/// All of them listen before the first core accepts, so that the kernel's choice among them is settled from the start.
fn open(endpoints: Vec<Endpoint>, cores: usize, takeover: bool, permissions: Permissions) -> Result<Opened> {
    let mut all = Opened {
        each: (0..cores).map(|_| Vec::new()).collect(),
        shared: Vec::new(),
        was_taken: false,
        balance: false,
    };
    for endpoint in endpoints {
        let opened = endpoint.open(cores, takeover, permissions)?;
        all.balance |= opened.common.is_one_for_all() && cores > 1;
        all.was_taken |= opened.was_taken;
        for (number, socket) in opened.sockets.into_iter().enumerate() {
            all.each[number % cores].push((socket, Arc::clone(&opened.common)));
        }
        all.shared.extend(opened.shared);
    }
    Ok(all)
}
