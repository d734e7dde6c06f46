//! The connections, and the loop that drives them.

use std::io;
use std::mem;
use std::os::fd::RawFd;

use io_uring::{IoUring, cqueue};
use plaintext::Responder;

use crate::buffers::ProvidedBuffers;
use crate::ring::{Submissions, operation};

/// A connection with this many bytes of answers behind a send that waits does not read, and is given up.
const MAX_BACKLOG: usize = 8 << 20;

/// Small, and without a buffer of its own until it has answered: what an idle connection costs is measured too.
#[derive(Default)]
struct Connection {
    /// The beginning of a request whose rest is still to come.
    partial: Vec<u8>,
    /// The answers of the turn `filled_in`. The kernel reads them from the end of that turn until the next call
    /// returns or, if the send has to wait, until its completion.
    answers: Vec<u8>,
    filled_in: u64,
    /// What is answered while a send waits.
    backlog: Vec<u8>,
    /// A send that waits is under way.
    sending: bool,
    receiving: bool,
    /// Answers nothing more: closed when its answers have left and nothing is under way.
    closing: bool,
}

pub(crate) struct Server {
    listener: RawFd,
    accepting: bool,
    responder: Responder,
    buffers: ProvidedBuffers,
    /// By slot in the ring's table of direct descriptors.
    connections: Vec<Connection>,
    /// The connections that have something to send, or to end, when this turn's completions have been handled.
    ready: Vec<u32>,
    turn: u64,
}

impl Server {
    pub(crate) fn new(listener: RawFd, ring: &IoUring) -> io::Result<Self> {
        Ok(Self {
            listener,
            accepting: false,
            responder: Responder::new("floor"),
            buffers: ProvidedBuffers::register(&ring.submitter())?,
            connections: Vec::new(),
            ready: Vec::new(),
            turn: 0,
        })
    }

    pub(crate) fn run(&mut self, ring: &mut IoUring) -> io::Result<()> {
        let (submitter, queue, mut completions) = ring.split();
        let submissions = &mut Submissions { queue, submitter };
        self.accept(submissions);
        loop {
            submissions.submit_and_wait()?;
            completions.sync();
            self.turn += 1;
            self.responder.tick();
            for completion in completions.by_ref() {
                self.handle(&completion, submissions);
            }
            // Before the next wait: it returns at once while the kernel believes that completions are unread.
            completions.sync();
            self.flush(submissions);
            self.buffers.publish();
        }
    }

    #[inline]
    fn handle(&mut self, completion: &cqueue::Entry, submissions: &mut Submissions<'_>) {
        #[expect(clippy::cast_possible_truncation, reason = "the slot is the lower half")]
        let slot = completion.user_data() as u32;
        match completion.user_data() - u64::from(slot) {
            operation::RECV => self.received(slot, completion, submissions),
            operation::SEND => self.sent(slot, completion.result(), submissions),
            operation::ACCEPT => self.accepted(completion, submissions),
            _ => {}
        }
    }

    fn accept(&mut self, submissions: &mut Submissions<'_>) {
        submissions.accept(self.listener);
        self.accepting = true;
    }

    fn accepted(&mut self, completion: &cqueue::Entry, submissions: &mut Submissions<'_>) {
        self.accepting = cqueue::more(completion.flags());
        match u32::try_from(completion.result()) {
            Ok(slot) => {
                let index = slot as usize;
                if index >= self.connections.len() {
                    self.connections.resize_with(index + 1, Connection::default);
                }
                self.mark_ready(slot);
            }
            // Out of descriptors: another try would fail at once. The next connection that ends resumes.
            Err(_) if matches!(-completion.result(), libc::ENFILE | libc::EMFILE) => return,
            Err(_) => {}
        }
        if !self.accepting {
            self.accept(submissions);
        }
    }

    #[inline]
    fn received(&mut self, slot: u32, completion: &cqueue::Entry, submissions: &mut Submissions<'_>) {
        self.mark_ready(slot);
        let connection = &mut self.connections[slot as usize];
        // A multishot receive may end at any time, and does when the buffers run out: `flush` arms it again.
        connection.receiving = cqueue::more(completion.flags());
        if completion.result() > 0 {
            self.answer(slot, completion, submissions);
        } else if completion.result() != -libc::ENOBUFS {
            connection.closing = true;
        }
    }

    #[inline]
    fn answer(&mut self, slot: u32, completion: &cqueue::Entry, submissions: &mut Submissions<'_>) {
        let connection = &mut self.connections[slot as usize];
        let (id, bytes) = self.buffers.received(completion).expect("a receive from this group has a buffer");
        if !connection.closing {
            let out = if connection.sending { &mut connection.backlog } else { &mut connection.answers };
            let answered = if connection.partial.is_empty() {
                // The usual case: parsed where it arrived.
                let answered = self.responder.answer(bytes, out);
                if answered.consumed < bytes.len() {
                    connection.partial.extend_from_slice(&bytes[answered.consumed..]);
                }
                answered
            } else {
                connection.partial.extend_from_slice(bytes);
                let answered = self.responder.answer(&connection.partial, out);
                connection.partial.drain(..answered.consumed);
                answered
            };
            let given_up = connection.backlog.len() > MAX_BACKLOG;
            if answered.close || given_up {
                connection.closing = true;
                submissions.cancel(operation::RECV, slot);
            }
            if given_up {
                connection.backlog.clear();
                submissions.cancel(operation::SEND, slot);
            }
        }
        self.buffers.give_back(id);
    }

    /// Lets [`flush`](Self::flush) see the connection at the end of this turn, with room for new answers.
    ///
    /// The answers of an earlier turn have left by then, unless a completion said otherwise. That one came before any
    /// receive of this turn, because sends are tried before receives are looked at, and it has set `sending`.
    #[inline]
    fn mark_ready(&mut self, slot: u32) {
        let connection = &mut self.connections[slot as usize];
        if connection.filled_in != self.turn && !connection.sending {
            connection.filled_in = self.turn;
            connection.answers.clear();
            self.ready.push(slot);
        }
    }

    /// Sends what this turn answered: one send per connection, however many requests and receives it was.
    #[inline]
    fn flush(&mut self, submissions: &mut Submissions<'_>) {
        for slot in self.ready.drain(..) {
            let connection = &mut self.connections[slot as usize];
            let arm = !connection.receiving && !connection.closing;
            if arm {
                connection.receiving = true;
                submissions.receive(slot);
            }
            if connection.answers.is_empty() {
                if connection.closing && !connection.receiving {
                    // Neither a receive nor a send is under way, so that no completion for this slot can follow.
                    *connection = Connection::default();
                    submissions.close(slot);
                    if !self.accepting {
                        self.accepting = true;
                        submissions.accept(self.listener);
                    }
                }
            } else if connection.closing || arm {
                // What comes next depends on this send's end; or the receive before it may complete at once, and so
                // before the send, which `mark_ready` excludes.
                connection.sending = true;
                // SAFETY: while `sending` is set nothing touches the answers; `sent` unsets it.
                unsafe { submissions.send(slot, &connection.answers) };
            } else {
                // SAFETY: answers change only while completions are handled, which is after the next call.
                unsafe { submissions.try_send(slot, &connection.answers) };
            }
        }
    }

    #[cold]
    fn sent(&mut self, slot: u32, result: i32, submissions: &mut Submissions<'_>) {
        let connection = &mut self.connections[slot as usize];
        let waited = mem::take(&mut connection.sending);
        match usize::try_from(result) {
            Ok(sent) if !waited => {
                // The socket was full after these.
                connection.answers.drain(..sent);
            }
            Err(_) if !waited && result == -libc::EAGAIN => {}
            Ok(_) => {
                connection.answers.clear();
                self.mark_ready(slot);
                let connection = &mut self.connections[slot as usize];
                mem::swap(&mut connection.answers, &mut connection.backlog);
                return;
            }
            Err(_) => {
                connection.closing = true;
                submissions.cancel(operation::RECV, slot);
                connection.backlog.clear();
                connection.answers.clear();
                self.mark_ready(slot);
                return;
            }
        }
        connection.sending = true;
        // SAFETY: as in `flush`.
        unsafe { submissions.send(slot, &connection.answers) };
    }
}
