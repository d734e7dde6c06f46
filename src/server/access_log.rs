//! The access log: a line of JSON for each request.
//!
//! Each core gathers lines in a buffer. A full buffer goes to the one thread that writes, and so does any buffer after a
//! moment. Nothing here waits, and nothing allocates once the buffers have grown.

use serde::Serialize;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use crate::error::{Error, Result};
use crate::http::request::Request;
use crate::http::request_id::{Kept, RequestId};
use crate::logging::{CHUNK, Target, Timestamp, Writer, dropped_as_json};
use crate::runtime::{Core, Phase};
use http::{Method, StatusCode, Version};

/// How long a line may wait in its core's buffer.
const FLUSH_AFTER: Duration = Duration::from_millis(100);
/// How long the end of a server waits for its last lines to be written.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// How long the wall clock's time is computed from the monotonic clock before the wall clock is read again.
const RECKONED: Duration = Duration::from_secs(1);
/// Most entries that are kept to be used again.
const SPARE: usize = 1024;
/// Most bytes of text of an entry that is kept.
const LONGEST_SPARE: usize = 4 << 10;

/// Where a server writes a line of JSON for each request, and for how many of them.
///
/// ```
/// use kiang::{AccessLog, Server};
/// # fn main() -> kiang::Result<()> {
/// let server = Server::bind("127.0.0.1:0")?.access_log(AccessLog::stdout().sample(100));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    target: Target,
    one_in: usize,
}

impl AccessLog {
    /// The log is appended to this file, which is made if it is not there. The file may be a FIFO, whose reader may come
    /// later.
    ///
    /// SIGHUP and SIGUSR1 open the file anew, so that it can be rotated ([`Server::signals`](crate::Server::signals)).
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { target: Target::File(path.into()), one_in: 1 }
    }

    /// The log goes to stdout.
    pub fn stdout() -> Self {
        Self { target: Target::Stdout, one_in: 1 }
    }

    /// Logs one request in so many, on each core; 1 by default, which is every request.
    pub fn sample(mut self, one_in: usize) -> Self {
        self.one_in = one_in.max(1);
        self
    }

    /// Opens the log and starts its writer.
    pub(super) fn open(self) -> Result<OpenLog> {
        let writer = Writer::start("kiang-access", &self.target, dropped_as_json).map_err(|error| {
            Error::new(format!("the access log cannot go to {}", self.target)).because(error)
        })?;
        Ok(OpenLog { log: self, writer })
    }
}

/// An access log with its writer.
#[derive(Clone)]
pub(super) struct OpenLog {
    log: AccessLog,
    writer: Writer,
}

impl OpenLog {
    /// Opens the file anew, on the writer's thread, because of `signal`. Lines in the queue go to either file, each of
    /// them whole.
    pub(super) fn reopen(&self, signal: &str) {
        match &self.log.target {
            Target::File(_) => {
                log::info!("{signal}: the access log {} is opened anew", self.log.target);
                self.writer.reopen();
            }
            target => log::info!("{signal}: the access log goes to {target}, there is nothing to reopen"),
        }
    }

    /// Waits until everything is written; all cores must have ended.
    pub(super) fn close(self) {
        if !self.writer.wait(CLOSE_WITHIN) {
            log::warn!(
                "the access log to {} took nothing for {CLOSE_WITHIN:?}: its last lines are lost",
                self.log.target
            );
        }
    }
}

/// One core's part of the access log.
pub(super) struct CoreLog {
    core: Core,
    writer: Writer,
    one_in: usize,
    /// How many requests are passed over before the next one is logged.
    passed_over: Cell<usize>,
    lines: RefCell<Vec<u8>>,
    /// Records without room, since the writer last took lines.
    dropped: Cell<u64>,
    /// Whether a task will hand over the lines soon.
    is_flushing: Cell<bool>,
    #[expect(clippy::vec_box, reason = "the boxes themselves are used again")]
    spare: RefCell<Vec<Box<Entry>>>,
    /// The same moment on both clocks.
    moment: Cell<(Instant, SystemTime)>,
    /// The millisecond since 1970 that was last written out, and its text.
    time: Cell<(u128, Timestamp)>,
}

/// A request that will be logged, from its head to the end of its answer. The box is used again. Most connections have
/// no entry at a given time, and an idle connection should cost little: so a box.
pub(super) struct Entry {
    since: Instant,
    /// The members of the JSON object that come from the head, as text: a handler may take the request away.
    head: Vec<u8>,
    status: Option<StatusCode>,
    /// Bytes of the answer's body, so far.
    bytes: u64,
}

/// How a request ended.
pub(super) enum Outcome {
    Answered,
    /// The engine refused the request, for this reason.
    Refused(&'static str),
    /// The connection ended before the answer did.
    Cut,
}

impl CoreLog {
    pub(super) fn new(core: &Core, open: OpenLog) -> Rc<Self> {
        let wall = SystemTime::now();
        Rc::new(Self {
            core: core.clone(),
            writer: open.writer,
            one_in: open.log.one_in,
            passed_over: Cell::new(0),
            lines: RefCell::default(),
            dropped: Cell::new(0),
            is_flushing: Cell::new(false),
            spare: RefCell::default(),
            moment: Cell::new((Instant::now(), wall)),
            time: Cell::new((0, Timestamp::of(SystemTime::UNIX_EPOCH))),
        })
    }

    /// Begins the entry of a request whose head has arrived, if this one is logged.
    pub(super) fn begin(&self, request: &Request) -> Option<Box<Entry>> {
        let method = Some(request.method());
        let version = match request.version() {
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        };
        self.is_sampled()
            .then(|| self.entry(&request.id(), request.peer(), method, Some(request.target()), Some(version)))
    }

    /// The same for a request without a head that could be read.
    pub(super) fn begin_headless(&self, peer: Option<SocketAddr>) -> Option<Box<Entry>> {
        self.is_sampled().then(|| self.entry(&Kept::next().id(), peer, None, None, None))
    }

    fn is_sampled(&self) -> bool {
        let passed_over = self.passed_over.get();
        self.passed_over.set(if passed_over == 0 { self.one_in - 1 } else { passed_over - 1 });
        passed_over == 0
    }

    #[expect(clippy::unnecessary_box_returns, reason = "the box is used again")]
    fn entry(
        &self,
        id: &RequestId,
        peer: Option<SocketAddr>,
        method: Option<&Method>,
        target: Option<&str>,
        version: Option<&str>,
    ) -> Box<Entry> {
        let new = || Box::new(Entry { since: Instant::now(), head: Vec::new(), status: None, bytes: 0 });
        let mut entry = self.spare.borrow_mut().pop().unwrap_or_else(new);
        let head = &mut entry.head;
        member(head, "id", &**id);
        member(head, "core", &self.core.id());
        member(head, "peer", &peer);
        member(head, "method", &method.map(Method::as_str));
        member(head, "target", &target);
        member(head, "version", &version);
        entry.since = Instant::now();
        entry
    }

    /// Writes the line of a request that has ended.
    pub(super) fn end(self: &Rc<Self>, mut entry: Box<Entry>, outcome: &Outcome) {
        let mut lines = self.lines.borrow_mut();
        if lines.len() >= CHUNK && !self.hand_over(&mut lines) {
            self.dropped.set(self.dropped.get() + 1);
        } else {
            let now = Instant::now();
            lines.extend_from_slice(b"{\"time\":\"");
            lines.extend_from_slice(self.time(now).as_bytes());
            lines.push(b'"');
            lines.extend_from_slice(&entry.head);
            member(&mut lines, "status", &entry.status.map(|status| status.as_u16()));
            member(&mut lines, "bytes", &entry.bytes);
            let micros = now.duration_since(entry.since).as_micros();
            member(&mut lines, "duration_us", &u64::try_from(micros).unwrap_or(u64::MAX));
            match outcome {
                Outcome::Answered => {}
                Outcome::Refused(reason) => member(&mut lines, "refused", reason),
                Outcome::Cut => member(&mut lines, "cut", &true),
            }
            lines.extend_from_slice(b"}\n");
            if lines.len() < CHUNK || !self.hand_over(&mut lines) {
                self.flush_soon();
            }
        }
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE && entry.head.capacity() <= LONGEST_SPARE {
            entry.head.clear();
            (entry.status, entry.bytes) = (None, 0);
            spare.push(entry);
        }
    }

    /// This moment on the wall clock, as text.
    fn time(&self, now: Instant) -> Timestamp {
        let (then, mut wall) = self.moment.get();
        let since = now.saturating_duration_since(then);
        if since < RECKONED {
            wall += since;
        } else {
            wall = SystemTime::now();
            self.moment.set((now, wall));
        }
        let millis = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let (last, text) = self.time.get();
        if millis == last {
            return text;
        }
        let text = Timestamp::of(wall);
        self.time.set((millis, text));
        text
    }

    fn hand_over(&self, lines: &mut Vec<u8>) -> bool {
        let taken = self.writer.offer(lines, self.dropped.get());
        if taken {
            self.dropped.set(0);
        }
        taken
    }

    /// Hands the lines over in a moment, unless a task does so already. Without lines no timer is armed, and an idle core
    /// sleeps.
    fn flush_soon(self: &Rc<Self>) {
        // A stopped core runs no task. The drop of this log hands over the last lines.
        if self.core.phase() == Phase::Stopped || self.is_flushing.replace(true) {
            return;
        }
        let log = Rc::clone(self);
        self.core.spawn(async move {
            loop {
                log.core.sleep(FLUSH_AFTER).await;
                let mut lines = log.lines.borrow_mut();
                if lines.is_empty() || log.hand_over(&mut lines) {
                    break;
                }
            }
            log.is_flushing.set(false);
        });
    }
}

impl Drop for CoreLog {
    fn drop(&mut self) {
        let lines = self.lines.get_mut();
        if !lines.is_empty() {
            self.writer.offer_last(lines, self.dropped.get());
        }
    }
}

impl Entry {
    /// The answer's head is written, and so many bytes of its body.
    pub(super) fn answer(&mut self, (status, bytes): (StatusCode, usize)) {
        (self.status, self.bytes) = (Some(status), bytes as u64);
    }

    /// So many more bytes of the answer's body were handed over.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }
}

/// Writes a comma and a member of a JSON object. Bytes of the peer are escaped: no line can be forged.
fn member<T: Serialize + ?Sized>(line: &mut Vec<u8>, name: &str, value: &T) {
    line.extend_from_slice(b",\"");
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":");
    // Writing to memory cannot fail, and none of these values fails to serialize.
    let _ = serde_json::to_writer(line, value);
}
