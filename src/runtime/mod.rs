//! What a core runs on: the only room that knows glommio, io_uring or a file descriptor.
//!
//! Each core is one thread: a glommio executor that hosts one task, the [`driver`], which turns the network
//! [`ring`], runs the core's [`tasks`], and turns its timer [`wheel`]. A [`Core`] is the handle to all of that.

mod accepted;
mod blocking;
mod cgroup;
mod clock;
mod core;
mod cores;
mod driver;
mod endpoint;
mod executor;
pub mod files;
mod holder;
mod listener;
mod loads;
mod machine;
mod mailbox;
mod memory;
mod passed;
mod probe;
mod resolve;
mod ring;
#[cfg(test)]
mod simulated;
mod socket_file;
mod stream;
mod takeover;
mod tasks;
mod timer;
mod transport;
mod waiter;
mod wheel;

pub use self::core::{Beat, Core, Counts};
pub use self::cores::Cores;

pub(crate) use self::accepted::Accepted;
pub(crate) use self::cgroup::{Cgroups, CpuQuota, MemoryLimit, Throttling};
pub(crate) use self::core::{Mailbox, Message, Notice, Phase};
pub(crate) use self::endpoint::Endpoint;
pub(crate) use self::executor::{launch, tell_all};
pub(crate) use self::holder::{AFTERLIFE, Holder};
pub(crate) use self::listener::{Common, Listener};
pub(crate) use self::loads::{Loads, Place};
pub(crate) use self::memory::usable_memory;
pub(crate) use self::probe::probe;
pub(crate) use self::ring::Payload;
pub(crate) use self::socket_file::{Found, Permissions, look};
pub(crate) use self::stream::Stream;
pub(crate) use self::takeover::{Offer, Shared, is_offered};
pub(crate) use self::timer::Timer;
pub(crate) use self::transport::Transport;

#[cfg(test)]
pub(crate) use self::ring::{Faults, Heard, Link, Machine, Net, Outside, Random, Stub, mix};
#[cfg(test)]
pub(crate) use self::simulated::Simulated;
