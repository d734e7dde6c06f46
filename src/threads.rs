//! Starts threads. An error says which limit stands in the way, and how to raise it.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread of this name.
///
/// # Errors
/// If the kernel refuses another thread, which it does with `EAGAIN` at each of its limits (`pthread_create(3)`).
pub(crate) fn start<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.to_owned()).spawn(body).map_err(|error| refused(name, &error))
}

/// The error of a thread that the kernel refused.
pub(crate) fn refused(name: &str, error: &io::Error) -> io::Error {
    let message = format!(
        "the thread `{name}` cannot be started: {error}; allow more threads: pids.max of the cgroup (Docker: \
        --pids-limit, systemd: TasksMax=), `ulimit -u` of the user, or the sysctl kernel.threads-max"
    );
    io::Error::new(error.kind(), message)
}
