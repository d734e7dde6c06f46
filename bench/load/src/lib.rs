//! Loads one HTTP/1.1 server from one thread, and says how long answers took and how late the thread itself was.
//!
//! The thread spins: sleeping would round its clock to the scheduler's, and requests that are due would leave in
//! bunches, which is another load than the one that was asked for. Pin the thread to a core that nothing else uses
//! ([`pin`]).
//!
//! At a constant rate latency counts from the *planned* start of a request. A server that stalls for 200 ms holds up
//! every request that was due meanwhile; a generator that waited with the server would see one slow answer.

mod answers;
mod histogram;
mod load;
mod outcome;
mod schedule;

use std::io;

pub use answers::Wrong;
pub use histogram::{Latencies, Summary};
pub use load::{Error, Load, Target};
pub use outcome::Outcome;
pub use schedule::{Schedule, Spacing};

use rustix::thread::{CpuSet, sched_setaffinity};

/// Keeps the calling thread, and the processes that it starts from now on, on one processor.
///
/// # Errors
/// When there is no such processor, or it is not this process's to use.
pub fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= CpuSet::MAX_CPU {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("there is no CPU {cpu}")));
    }
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set)
        .map_err(|error| io::Error::new(io::Error::from(error).kind(), format!("CPU {cpu}: {error}")))
}
