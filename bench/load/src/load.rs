//! The connections, and the two loops that load them: at a constant rate, and as fast as answers come.

mod connection;
mod rate;
mod saturated;

use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use std::{fmt, io};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::answers::{Answers, Wrong};
use crate::outcome::Outcome;
use crate::{Latencies, Schedule};
use connection::Connection;

/// Nanoseconds that a run waits for answers once nothing more is due.
const PATIENCE: u64 = 2_000_000_000;
/// Events that one look at the sockets takes.
const EVENTS: usize = 256;
/// What one read takes.
const READ: usize = 64 * 1024;
/// Requests in one batch: so few that a socket always has room for them.
const MAX_DEPTH: u32 = 256;

/// What is asked of whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where the server listens.
    pub address: SocketAddrV4,
    /// The path of the GET request.
    pub path: String,
    /// The body that all answers must have. None: that of the first one.
    pub body: Option<Vec<u8>>,
}

/// What went wrong with a connection.
#[derive(Debug)]
pub enum Error {
    /// The socket's error, the end of the connection included.
    Io(io::Error),
    /// An answer that is not the right one.
    Wrong(Wrong),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Wrong(wrong) => wrong.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Wrong> for Error {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

/// Open connections to one server. Dropped, they are reset, so that no port stays behind in TIME-WAIT.
pub struct Load {
    epoll: OwnedFd,
    /// None: lost to an error.
    connections: Vec<Option<Connection>>,
    request: Vec<u8>,
    /// What is sent at once: the request, `depth` times.
    batch: Vec<u8>,
    depth: u32,
    answers: Answers,
    buffer: Box<[u8]>,
    events: Vec<Event>,
}

impl Load {
    /// Opens `count` connections, and makes one request on each, one after the other; its answer is checked whole.
    ///
    /// # Errors
    /// When a connection cannot be opened, or its answer is not the right one or takes longer than ten seconds.
    pub fn connect(target: &Target, count: u32) -> Result<Self, Error> {
        let Target { address, path, body } = target;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes();
        let mut load = Self {
            epoll: epoll::create(CreateFlags::CLOEXEC).map_err(io::Error::from)?,
            connections: Vec::new(),
            batch: request.clone(),
            depth: 1,
            request,
            answers: Answers::new(body.clone()),
            buffer: vec![0; READ].into(),
            events: Vec::with_capacity(EVENTS),
        };
        for number in 0..count {
            let connection = Connection::open(*address, number, &load.request, &mut load.answers)?;
            // Edge-triggered: the kernel need not look at a socket again whose bytes were read. Reads take everything.
            let interest = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(&load.epoll, connection.socket(), EventData::new_u64(u64::from(number)), interest)
                .map_err(io::Error::from)?;
            load.connections.push(Some(connection));
        }
        Ok(load)
    }

    /// Sends what the schedule says, each on the connection that has been idle for longest.
    ///
    /// Where none is idle, the request waits for one, and its latency goes on counting.
    #[must_use]
    pub fn at_rate(&mut self, schedule: Schedule) -> Outcome {
        self.pipeline(1);
        rate::run(self, schedule)
    }

    /// Sends `depth` requests at a time on each connection, and the next ones when all are answered, for so long.
    ///
    /// # Panics
    /// When the depth is zero or above 256.
    #[must_use]
    pub fn saturated(&mut self, depth: u32, duration: Duration) -> Outcome {
        assert!((1..=MAX_DEPTH).contains(&depth), "1 to {MAX_DEPTH} requests at a time");
        self.pipeline(depth);
        saturated::run(self, duration)
    }

    fn pipeline(&mut self, depth: u32) {
        self.batch = self.request.repeat(depth as usize);
        self.depth = depth;
    }

    /// Looks, without waiting, which connections have something to read, and calls `ready` for each; returns their
    /// number.
    #[inline]
    fn look(&mut self, mut ready: impl FnMut(&mut Self, u32, &Event)) -> io::Result<usize> {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let result = match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&at_once)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(events.len()),
            Err(error) => Err(error.into()),
        };
        for event in &events {
            #[expect(clippy::cast_possible_truncation, reason = "`connect` put a number of 32 bits there")]
            let number = event.data.u64() as u32;
            ready(self, number, event);
        }
        self.events = events;
        result
    }

    /// Sends a batch of requests. False: the connection is lost.
    #[inline]
    fn send(&mut self, number: u32, tally: &mut Tally) -> bool {
        let Some(connection) = &mut self.connections[number as usize] else { return false };
        let sent = connection.send(&self.batch, self.depth);
        tally.sent += if sent.is_ok() { u64::from(self.depth) } else { 0 };
        self.keep(number, sent, tally).is_some()
    }

    /// Reads what has arrived; returns how many answers that completed. None: the connection is lost.
    #[inline]
    fn receive(&mut self, number: u32, event: &Event, tally: &mut Tally) -> Option<u32> {
        let flags = event.flags;
        let hung_up = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        let connection = self.connections[number as usize].as_mut()?;
        let received = connection.receive(&mut self.answers, &mut self.buffer, hung_up);
        let answered = self.keep(number, received, tally)?;
        tally.answered += u64::from(answered);
        Some(answered)
    }

    #[inline]
    fn is_idle(&self, number: u32) -> bool {
        self.connections[number as usize].as_ref().is_some_and(Connection::is_idle)
    }

    #[inline]
    fn keep<T>(&mut self, number: u32, result: Result<T, Error>, tally: &mut Tally) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                tally.first_error.get_or_insert_with(|| format!("connection {number}: {error}"));
                self.connections[number as usize] = None;
                None
            }
        }
    }
}

/// What is counted while a run is under way.
struct Tally {
    begin: Instant,
    sent: u64,
    answered: u64,
    latencies: Latencies,
    late: Latencies,
    first_error: Option<String>,
    /// Of this thread, when the run began.
    preempted: u64,
}

impl Tally {
    fn begin() -> Self {
        Self {
            sent: 0,
            answered: 0,
            latencies: Latencies::default(),
            late: Latencies::default(),
            first_error: None,
            preempted: preempted(),
            begin: Instant::now(),
        }
    }

    /// Keeps the first error that is not a connection's own.
    fn note(&mut self, error: &io::Error) {
        self.first_error.get_or_insert_with(|| format!("epoll_wait: {error}"));
    }

    /// Nanoseconds since the beginning.
    #[inline]
    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn end(self, planned: u64) -> Outcome {
        let seconds = self.begin.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds of seconds")]
        let preempted_us = preempted().saturating_sub(self.preempted) as f64 / 1e3;
        Outcome {
            planned,
            sent: self.sent,
            answered: self.answered,
            errors: planned.saturating_sub(self.answered),
            error: self.first_error,
            seconds,
            latency: self.latencies.summary(),
            late: self.late.summary(),
            preempted_us,
        }
    }
}

/// For how many nanoseconds this thread has been ready and did not run; zero where the kernel does not say.
fn preempted() -> u64 {
    let words = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    words.split_whitespace().nth(1).and_then(|wait| wait.parse().ok()).unwrap_or_default()
}
