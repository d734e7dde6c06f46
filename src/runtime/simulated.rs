//! A core on a made-up kernel, for tests: no thread of its own, no glommio, and a time that is moved by hand.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use super::blocking::Pool;
use super::core::{Core, Mailbox, Message, Phase};
use super::driver;
use super::listener::{Common, Ending, Listener};
use super::ring::{Ring, Stub};
use super::tasks::Tasks;

/// A core, and what it runs on.
pub(crate) struct Simulated {
    core: Core,
    stub: Stub,
    mailboxes: Arc<[Arc<Mailbox>]>,
}

impl Simulated {
    /// A core on this kernel.
    pub(crate) fn new(stub: Stub) -> io::Result<Self> {
        // Threads are not simulated; no test asks the pool for one.
        static POOL: OnceLock<Option<Arc<Pool>>> = OnceLock::new();
        let pool = POOL.get_or_init(|| Pool::start(&[0], &[0]).ok()).clone();
        let pool = pool.ok_or_else(|| io::Error::other("no thread can be started"))?;
        let mailboxes: Arc<[_]> = Arc::from([Mailbox::new()?]);
        let mailbox = Arc::clone(&mailboxes[0]);
        let mail = mailbox.take_receiver().ok_or(io::ErrorKind::Other)?;
        stub.install();
        let ring = Ring::new(mailbox.ear())?;
        let core = Core::new(0, 0, Tasks::new(mailbox), ring, mail, Arc::clone(&mailboxes), pool);
        Ok(Self { core, stub, mailboxes })
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// A listening socket, to which the peers of the net connect.
    pub(crate) fn listener(&self) -> io::Result<Listener> {
        let socket: OwnedFd = self.stub.listener()?;
        Ok(Listener::new(&self.core, socket.into(), Common::new(Ending::Closed, None)))
    }

    /// Has the core drain, as another thread would: through its mailbox.
    pub(crate) fn drain(&self) -> impl Fn() + use<> {
        let mailbox = Arc::clone(&self.mailboxes[0]);
        move || mailbox.post(Message::Run(Box::new(|core| core.enter_phase(Phase::Draining))))
    }

    /// Runs what can go on, and turns the ring once. False when the core has stopped.
    pub(crate) fn turn(&self) -> io::Result<bool> {
        self.core.tasks().run();
        if self.core.has_stopped() {
            return Ok(false);
        }
        driver::turn(&self.core).map(|()| true)
    }

    /// Drops what still runs, and lets the kernel finish for some turns; how many sockets and buffers are held then.
    pub(crate) fn clear(&self) -> io::Result<(usize, usize)> {
        const MOST_TURNS: usize = 2_000;
        self.core.tasks().clear();
        for _ in 0..MOST_TURNS {
            if self.core.ring().held() == (0, 0) && self.stub.machine(|machine| machine.held()) == 0 {
                break;
            }
            self.core.ring().turn(false, self.core.tasks())?;
        }
        Ok(self.core.ring().held())
    }
}
