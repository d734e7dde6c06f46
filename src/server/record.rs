//! What a connection tells the access log of its requests. With the log off there is never an entry.

use super::access_log::Outcome;
use super::connection::Connection;
use super::current::Leaving;
use crate::h1::connection::Rest;
use crate::h1::refusal::Refusal;
use crate::http::request::Request;
use crate::runtime::Transport;

impl<T: Transport> Connection<T> {
    /// An answer's head is written, and its body if nothing of it is left.
    #[inline]
    pub(super) fn log_answer(&mut self, rest: &Rest) {
        let Some(entry) = &mut self.current.entry else { return };
        entry.answer(self.http.written());
        if let Rest::Nothing | Rest::Upgrade(_) = rest {
            self.end_entry(&Outcome::Answered);
        }
    }

    /// So many bytes of an answer's body were handed over.
    pub(super) fn log_sent(&mut self, bytes: usize) {
        if let Some(entry) = &mut self.current.entry {
            entry.sent(bytes);
        }
    }

    /// A request was refused, and the answer is written.
    pub(super) fn log_refusal(&mut self, refusal: Refusal, request: Option<&Request>) {
        let Some(log) = &self.worker.access_log else { return };
        self.current.entry = match request {
            Some(request) => log.begin(request),
            None => log.begin_headless(self.peer),
        };
        if let Some(entry) = &mut self.current.entry {
            entry.answer(self.http.written());
            self.end_entry(&Outcome::Refused(refusal.reason));
        }
    }

    /// The last piece of an answer has left, or never will.
    pub(super) fn end_leaving(&mut self, outcome: &Outcome) {
        if let Some(Leaving(Some(entry))) = self.leaving.take()
            && let Some(log) = &self.worker.access_log
        {
            log.end(entry, outcome);
        }
    }

    /// Writes the entry, if there is one.
    pub(super) fn end_entry(&mut self, outcome: &Outcome) {
        if let Some(entry) = self.current.entry.take()
            && let Some(log) = &self.worker.access_log
        {
            log.end(entry, outcome);
        }
    }
}
