//! The writer: one thread that writes lines, and the bounded queue before it.
//!
//! The queue is our own. A channel of the standard library cannot be waited for until it is empty, with a deadline, and
//! cannot give written buffers back to be filled again. The lock of the queue is held for a few instructions, or for
//! the copy of a record, and never across a write. However stuck the writer is, no other thread waits.

use rustix::event::{PollFd, PollFlags, poll};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::target::Target;
use super::timestamp::Timestamp;
use crate::threads;

/// How many bytes are gathered for one write.
pub(crate) const CHUNK: usize = 64 << 10;
/// Most chunks that wait for the writer: 8 MiB, or a little more with long lines.
const QUEUE: usize = 128;
/// Most bytes of a buffer that is kept: one long line may have made it larger.
const LARGEST_KEPT: usize = 2 * CHUNK;
/// How often the error log complains about a log that cannot be written.
const COMPLAIN: Duration = Duration::from_secs(60);

/// A way to a log that never waits: lines go by a bounded queue to a thread that writes. When the thread cannot keep up,
/// records are dropped, and a line of the log says how many.
///
/// A clone leads to the same thread, which ends when the last clone is dropped and everything is written. A logger
/// writes by [`Write`]: each call is one record, and `flush` waits for nothing.
///
/// ```
/// use kiang::logging::Writer;
/// use std::{io::Write, time::Duration};
///
/// let mut log = Writer::stderr("app-log", |dropped| format!("{dropped} records were dropped\n"))?;
/// log.write_all(b"ready\n")?;
/// assert!(log.wait(Duration::from_secs(1)), "all of it was written");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Writer(Arc<Handle>);

struct Handle(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Whether the queue is full, to be seen without its lock.
    full: AtomicBool,
    /// Given when there is something to do, or when the last clone is dropped.
    news: Condvar,
    /// Given when the queue is empty and everything is written.
    written: Condvar,
}

#[derive(Default)]
struct Queue {
    chunks: VecDeque<Vec<u8>>,
    /// Buffers whose lines are written, to be filled again.
    spare: Vec<Vec<u8>>,
    dropped: u64,
    is_writing: bool,
    is_closed: bool,
    /// Whether the file is to be opened anew before the next chunk.
    reopen: bool,
}

/// What the writer's thread does next.
enum Next {
    Reopen,
    /// Lines to write, and how many records were dropped before them.
    Write(Vec<u8>, u64),
}

impl Writer {
    /// A thread of this name that writes to stderr. `notice` is the line, with its end, that says how many records
    /// were dropped.
    pub fn stderr(name: &str, notice: impl FnMut(u64) -> String + Send + 'static) -> io::Result<Self> {
        Self::start(name, &Target::Stderr, notice)
    }

    pub(crate) fn start(
        name: &str,
        target: &Target,
        notice: impl FnMut(u64) -> String + Send + 'static,
    ) -> io::Result<Self> {
        let mut output = Output::open(target)?;
        let shared = Arc::new(Shared::default());
        let handle = Handle(Arc::clone(&shared));
        threads::start(name, move || output.write(&shared, notice))?;
        Ok(Self(Arc::new(handle)))
    }

    /// Waits until everything is written, but no longer than this. Answers whether everything is.
    pub fn wait(&self, within: Duration) -> bool {
        let shared = self.shared();
        let waited = shared.written.wait_timeout_while(shared.lock(), within, |queue| !queue.is_written());
        waited.unwrap_or_else(PoisonError::into_inner).0.is_written()
    }

    /// Has the thread open the file anew before the next chunk is written. If that fails, the file that is open stays in
    /// use, and the error log says so.
    pub(crate) fn reopen(&self) {
        self.shared().lock().reopen = true;
        self.shared().news.notify_one();
    }

    /// Hands over whole lines and leaves an empty buffer in their place, or does nothing if the queue is full. `dropped`
    /// is how many records were dropped before these lines. Answers whether the lines were taken.
    pub(crate) fn offer(&self, lines: &mut Vec<u8>, dropped: u64) -> bool {
        if self.shared().full.load(Ordering::Relaxed) {
            return false;
        }
        let queue = self.shared().lock();
        if queue.chunks.len() >= QUEUE {
            return false;
        }
        self.enqueue(queue, lines, dropped);
        true
    }

    /// The same at the end of a core. The last lines are taken even if the queue is full: there is no more than a chunk
    /// of them for each core.
    pub(crate) fn offer_last(&self, lines: &mut Vec<u8>, dropped: u64) {
        self.enqueue(self.shared().lock(), lines, dropped);
    }

    fn enqueue(&self, mut queue: MutexGuard<'_, Queue>, lines: &mut Vec<u8>, dropped: u64) {
        let empty = queue.spare.pop().unwrap_or_default();
        queue.chunks.push_back(std::mem::replace(lines, empty));
        queue.dropped += dropped;
        self.enqueued(queue);
    }

    fn enqueued(&self, queue: MutexGuard<'_, Queue>) {
        self.shared().full.store(queue.chunks.len() >= QUEUE, Ordering::Relaxed);
        drop(queue);
        self.shared().news.notify_one();
    }

    /// Takes one record from any thread, or counts it as dropped.
    fn take(&self, record: &[u8]) {
        let mut queue = self.shared().lock();
        let has_room = queue.chunks.len() < QUEUE;
        match queue.chunks.back_mut() {
            Some(last) if last.len() + record.len() <= CHUNK => last.extend_from_slice(record),
            _ if has_room => {
                let mut chunk = queue.spare.pop().unwrap_or_default();
                chunk.extend_from_slice(record);
                queue.chunks.push_back(chunk);
            }
            _ => queue.dropped += 1,
        }
        self.enqueued(queue);
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }
}

impl Write for Writer {
    /// Takes all of it as one record.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        self.take(record);
        Ok(record.len())
    }

    /// Waits for nothing; [`wait`](Self::wait) does.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.news.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to do; `None` at the end.
    fn next(&self) -> Option<Next> {
        let mut queue = self.lock();
        queue.is_writing = false;
        if queue.is_written() {
            self.written.notify_all();
        }
        let waited = self.news.wait_while(queue, |queue| queue.is_idle());
        queue = waited.unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut queue.reopen) {
            // `wait` waits for the reopening too.
            queue.is_writing = true;
            return Some(Next::Reopen);
        }
        let chunk = queue.chunks.pop_front()?;
        queue.is_writing = true;
        self.full.store(false, Ordering::Relaxed);
        Some(Next::Write(chunk, std::mem::take(&mut queue.dropped)))
    }

    fn give_back(&self, mut chunk: Vec<u8>) {
        chunk.clear();
        let mut queue = self.lock();
        if chunk.capacity() <= LARGEST_KEPT && queue.spare.len() < QUEUE {
            queue.spare.push(chunk);
        }
    }
}

impl Queue {
    fn is_written(&self) -> bool {
        self.chunks.is_empty() && !self.is_writing
    }

    fn is_idle(&self) -> bool {
        self.chunks.is_empty() && !self.reopen && !self.is_closed
    }
}

/// What the writer's thread owns.
struct Output {
    target: Target,
    file: File,
    /// Missing records that no line has told of yet.
    lost: u64,
    /// The last write ended within a line.
    is_torn: bool,
    complained: Option<Instant>,
}

impl Output {
    fn open(target: &Target) -> io::Result<Self> {
        let file = target.open()?;
        Ok(Self { target: target.clone(), file, lost: 0, is_torn: false, complained: None })
    }

    fn write(&mut self, shared: &Shared, mut notice: impl FnMut(u64) -> String) {
        while let Some(next) = shared.next() {
            let (chunk, dropped) = match next {
                Next::Write(chunk, dropped) => (chunk, dropped),
                Next::Reopen => {
                    self.reopen();
                    continue;
                }
            };
            self.lost += dropped;
            let written = self.write_chunk(&chunk, &mut notice);
            shared.give_back(chunk);
            if let Err(error) = written {
                self.complain(&error);
            }
        }
    }

    /// Opens the file anew, between two chunks and so between two lines.
    fn reopen(&mut self) {
        match self.target.open() {
            Ok(file) => {
                self.file = file;
                self.is_torn = false;
                log::info!("the log to {} is open anew", self.target);
            }
            Err(error) => log::error!(
                "the log to {} cannot be opened anew: {error}; writing goes on in the file that was open",
                self.target
            ),
        }
    }

    fn write_chunk(&mut self, chunk: &[u8], notice: &mut impl FnMut(u64) -> String) -> io::Result<()> {
        if self.lost > 0 {
            let told = self.write_lines(notice(self.lost).as_bytes());
            if let Err((error, _)) = told {
                self.lost += lines(chunk);
                return Err(error);
            }
            self.lost = 0;
        }
        self.write_lines(chunk).map_err(|(error, missing)| {
            self.lost += missing;
            error
        })
    }

    /// Writes whole lines. An error comes with the number of missing lines.
    fn write_lines(&mut self, mut rest: &[u8]) -> Result<(), (io::Error, u64)> {
        if self.is_torn {
            // The torn line must not run into the next one.
            self.write_some(b"\n").map_err(|error| (error, lines(rest)))?;
            self.is_torn = false;
        }
        while !rest.is_empty() {
            match self.write_some(rest) {
                Ok(count) => {
                    self.is_torn = rest[..count].last() != Some(&b'\n');
                    rest = &rest[count..];
                }
                Err(error) => return Err((error, lines(rest))),
            }
        }
        Ok(())
    }

    /// Writes at least one byte, however long that takes.
    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The process that gave us this stream has made it non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], None)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Says in the error log that this log cannot be written. A log on stderr most likely is the error log.
    fn complain(&mut self, error: &io::Error) {
        if self.target != Target::Stderr && self.complained.is_none_or(|at| at.elapsed() > COMPLAIN) {
            self.complained = Some(Instant::now());
            log::warn!(
                "the log to {} cannot be written: {error}; its records are dropped and counted until it can (said at most once a minute)",
                self.target
            );
        }
    }
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.split_inclusive(|byte| *byte == b'\n').count() as u64
}

/// The line of a log of JSON objects that says how many records are missing.
pub(crate) fn dropped_as_json(dropped: u64) -> String {
    format!("{{\"time\":\"{}\",\"dropped\":{dropped}}}\n", Timestamp::of(SystemTime::now()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::fd::AsRawFd;

    const WITHIN: Duration = Duration::from_secs(10);

    /// A writer whose file is the writing end of a pipe.
    fn into_pipe() -> (Writer, File) {
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let path = format!("/dev/fd/{}", writer.as_raw_fd());
        let notice = |dropped| format!("{dropped} dropped\n");
        (Writer::start("test", &Target::File(path.into()), notice).expect("it opens"), reader.into())
    }

    #[test]
    fn what_is_offered_is_written_in_order_and_its_buffer_comes_back() {
        let (mut writer, reader) = into_pipe();
        let mut lines = b"one\n".to_vec();
        assert!(writer.offer(&mut lines, 0));
        assert!(lines.is_empty());
        writer.write_all(b"two\n").unwrap();
        assert!(writer.wait(WITHIN));
        lines.extend_from_slice(b"three\n");
        assert!(writer.offer(&mut lines, 7));
        assert!(lines.capacity() > 0, "a buffer that was written is filled again");
        let read: Vec<_> = BufReader::new(reader).lines().take(4).map(Result::unwrap).collect();
        assert_eq!(read, ["one", "two", "7 dropped", "three"]);
    }

    #[test]
    fn a_stuck_writer_holds_nobody_up_and_counts_what_it_missed() {
        const RECORDS: usize = QUEUE + 10;
        let (mut writer, reader) = into_pipe();
        let record = [b"x".repeat(CHUNK - 1), b"\n".to_vec()].concat();
        // A pipe holds at most one of them, and the writer another.
        (0..RECORDS).for_each(|_| writer.write_all(&record).unwrap());
        assert!(!writer.wait(Duration::from_millis(20)), "it is stuck");
        let (mut written, mut dropped) = (0, 0);
        for line in BufReader::new(reader).lines().map(Result::unwrap) {
            match line.strip_suffix(" dropped") {
                Some(count) => dropped += count.parse::<usize>().unwrap(),
                None => written += 1,
            }
            if written + dropped == RECORDS {
                break;
            }
        }
        assert!(dropped >= 8 && written >= QUEUE, "{written} written, {dropped} dropped");
        assert!(writer.wait(WITHIN));
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let notice = |dropped| format!("{dropped} dropped\n");
        let mut output = Output::open(&Target::File("/dev/full".into())).expect("it opens");
        output.complained = Some(Instant::now());
        assert!(output.write_chunk(b"one\ntwo\n", &mut { notice }).is_err());
        assert!(output.write_chunk(b"three\n", &mut { notice }).is_err());
        assert_eq!(output.lost, 3);
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        output.file = writer.into();
        output.is_torn = true;
        output.write_chunk(b"four\n", &mut { notice }).expect("a pipe takes it");
        drop(output);
        let read: Vec<_> = BufReader::new(File::from(reader)).lines().map(Result::unwrap).collect();
        assert_eq!(read, ["", "3 dropped", "four"]);
    }
}
