//! The memory that all requests of a server take together: how much it may be, and what a connection does about it.

use super::complaint::Complaint;
use super::connection::Connection;
use crate::budget::NoRoom;
use crate::h1::connection::{COPIED_BODY, Rest};
use crate::h1::refusal::Refusal;
use crate::http::limits::InvalidSetting;
use crate::http::respond::plain_status;
use crate::http::response::Response;
use crate::runtime::{Core, Transport, usable_memory};
use http::StatusCode;
use std::time::Instant;

/// How much memory requests and unsent answers may take together, on all cores of a server, each of which has an equal
/// share.
///
/// Counted are: bodies of requests that are collected in memory, for as long as a handler keeps them; heads that came in
/// pieces; answers that their peers have not taken. Not counted are: what handlers allocate, what their extractors make of
/// a body, the kernel's buffers, and some megabytes for each core itself. `docs/overload.md` says what is refused when the
/// memory is used up.
///
/// ```no_run
/// # fn main() -> kiang::Result<()> {
/// use kiang::{App, Memory, Server};
///
/// Server::bind("127.0.0.1:8080")?.memory(Memory::AtMost(64 << 20)).run(|_core| App::new())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Memory {
    /// Half of what this process may have: of the tightest limit of its control groups, or of the machine's memory. At
    /// least 4 MiB for each core.
    #[default]
    Derived,
    /// So many bytes; at least 64 KiB for each core.
    AtMost(u64),
    /// Any amount. Only for programs that bound it by other means.
    Unlimited,
}

/// The least that a core gets by default: two collected bodies of the default's longest.
const LEAST_DERIVED: u64 = 4 << 20;
/// The least that a core can be given: a few heads.
const LEAST: u64 = 64 << 10;

/// The answer to a head for which there is no room.
pub(super) const NO_ROOM_FOR_HEAD: Refusal =
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "this server has no room for the rest of the head now");

impl Memory {
    /// The memory that [`Derived`](Self::Derived) stands for, in bytes, for all cores together.
    pub(crate) fn derived() -> u64 {
        usable_memory() / 2
    }

    /// The share of each of so many cores, in bytes; `None` for any amount.
    ///
    /// # Errors
    /// If the share is too small to serve anybody.
    pub(super) fn of_each(self, cores: usize) -> Result<Option<usize>, InvalidSetting> {
        let among = cores.max(1) as u64;
        let bytes = match self {
            Self::Unlimited => return Ok(None),
            Self::Derived => (Self::derived() / among).max(LEAST_DERIVED),
            Self::AtMost(bytes) if bytes / among < LEAST => {
                let reason = format!(
                    "is {bytes} bytes for {cores} cores: each must have {LEAST} at least (`max-memory`)"
                );
                return Err(InvalidSetting::new("memory", reason));
            }
            Self::AtMost(bytes) => bytes / among,
        };
        Ok(Some(usize::try_from(bytes).unwrap_or(usize::MAX)))
    }
}

/// Limits the memory of a core's requests. That there was no room is said at most once a minute.
pub(super) fn limit(core: &Core, bytes: usize) {
    let (id, complaint) = (core.id(), Complaint::default());
    core.budget().limit_to(bytes, move |NoRoom { wanted, used, limit }| {
        if complaint.is_due(Instant::now()) {
            let never = if wanted > limit { ", and never will" } else { "" };
            log::warn!(
                "core {id}: {wanted} bytes more for a request find no room{never}: {used} of {limit} bytes are taken (`max-memory`); answered 503, said at most once a minute"
            );
        }
    });
}

impl<T: Transport> Connection<T> {
    /// Counts the first part of a head whose rest is to be waited for.
    pub(super) fn hold_gathered(&mut self) -> Result<(), NoRoom> {
        self.held.try_grow_to(self.http.gathered())
    }

    /// Counts what is written and cannot be sent yet.
    pub(super) fn hold_out(&mut self) {
        self.held.set(self.out.capacity());
    }

    /// Counts nothing more.
    pub(super) fn hold_nothing(&mut self) {
        if self.held.bytes() > 0 {
            self.held.set(0);
        }
    }

    /// How many others wait for their turn, as far as that says how large the share of this connection is: the least
    /// where memory is short.
    pub(super) fn waiting(&self) -> usize {
        let core = &self.worker.core;
        if core.budget().is_short() { usize::MAX - 1 } else { core.waiting() }
    }

    /// Counts the body of an answer that is to be sent from where it lies. If there is no room, another answer is
    /// written in its place, from `before` on in the buffer, and the connection ends with it.
    ///
    /// The handler has done its work, so this answer does not ask for another try.
    pub(super) fn count_rest(
        &mut self,
        rest: &mut Rest,
        before: usize,
        write: impl FnOnce(&mut Self, &mut Response),
    ) {
        let Rest::Bytes(bytes) = rest else { return };
        debug_assert!(bytes.len() > COPIED_BODY);
        if bytes.try_count(self.worker.core.budget()).is_err() {
            *rest = Rest::Nothing;
            self.out.truncate(before);
            write(self, &mut plain_status(StatusCode::SERVICE_UNAVAILABLE).header("Connection", "close"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_core_has_an_equal_share_and_enough_to_serve() {
        assert_eq!(Memory::AtMost(64 << 20).of_each(4), Ok(Some(16 << 20)));
        assert_eq!(Memory::Unlimited.of_each(4), Ok(None));
        let refused = Memory::AtMost(100 << 10).of_each(2).expect_err("50 KiB for each").to_string();
        assert_eq!(
            refused,
            "`memory` is 102400 bytes for 2 cores: each must have 65536 at least (`max-memory`)"
        );
        let derived = Memory::Derived.of_each(1).expect("possible").expect("a limit");
        assert_eq!(derived as u64, Memory::derived());
        assert_eq!(Memory::Derived.of_each(usize::MAX), Ok(Some(4 << 20)));
    }
}
