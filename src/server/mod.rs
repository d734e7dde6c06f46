//! The server: binds addresses, starts the cores, accepts connections, answers them, and drains.

mod accept;
mod access_log;
mod admission;
mod balance;
mod builder;
mod complaint;
mod connection;
mod current;
mod deadlines;
mod exchange;
mod handle;
mod input;
mod linger;
mod memory;
mod notify;
mod patience;
mod rate;
mod record;
mod sending;
mod serve;
mod service;
mod share;
mod shed;
mod signals;
#[cfg(test)]
pub(crate) mod simulated;
mod taking;
mod upgrade;
mod waits;
mod worker;

pub use self::access_log::AccessLog;
pub use self::builder::{Server, Started};
pub use self::deadlines::Deadlines;
pub use self::handle::Handle;
pub use self::memory::Memory;
pub use self::service::{Answer, Service};
