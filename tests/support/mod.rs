//! What the black-box tests share: the server as a child process, a strict little HTTP/1.1 client, and load.
//!
//! Everything here is `std::net` and threads. A test of the engine must not run on the engine, and a client
//! that forgives would hide what a stricter one in the field stumbles over. Every wait has a deadline, so
//! that what hangs fails by name instead of stalling the whole run.

#![allow(dead_code, unused_imports, reason = "each test binary compiles its own copy and uses a part of it")]

mod client;
mod embedded;
mod load;
mod process;

pub(crate) use client::{Client, End, Failure, Response, connect_from, decode_chunked};
pub(crate) use embedded::Embedded;
pub(crate) use load::{Hogs, Load};
pub(crate) use process::{Finished, Launch, Server};

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long anything may take that ought to be immediate. Generous: a loaded machine is not a bug.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Milliseconds, for short.
pub(crate) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Waits until `holds`, for what announces itself nowhere (a count in `/proc`), and panics after `patience`.
#[track_caller]
pub(crate) fn until(patience: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "waited {patience:?} in vain: {what}");
        std::thread::sleep(ms(5));
    }
}

/// Whether a program is on the PATH.
pub(crate) fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Says why a test did not run. Continuous integration sets `KIANG_CI`, and there a skipped test is a
/// failure: a guard that silently never runs guards nothing.
#[track_caller]
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var_os("KIANG_CI").is_none(), "KIANG_CI is set and this test cannot run: {reason}");
    eprintln!("SKIPPED: {reason}");
}

/// Seconds that a stress test runs: `usual`, unless `KIANG_STRESS_SECONDS` says otherwise.
pub(crate) fn stress_time(usual: Duration) -> Duration {
    match std::env::var("KIANG_STRESS_SECONDS") {
        Ok(seconds) => Duration::from_secs(seconds.parse().expect("KIANG_STRESS_SECONDS is a whole number")),
        Err(_) => usual,
    }
}

/// Raises this process's limit of open files as far as it may go, and answers how far that was.
pub(crate) fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .expect("raising a soft limit is allowed");
    maximum.unwrap_or(u64::MAX)
}

/// A file with this content in a folder that lives as long as the build folder; `name` must be unique.
pub(crate) fn file(name: &str, content: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
    std::fs::write(&path, content).expect("the build folder is writable");
    path
}

/// The same numbers on every run (xorshift64*): what a random test found once it must find again.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 16) % bound
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_be_bytes()[0]).collect()
    }
}
