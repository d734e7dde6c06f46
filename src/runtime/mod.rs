//! What a core runs on: the only room that knows glommio, io_uring or a file descriptor.
//!
//! Each core is one thread: a glommio executor that hosts one task, the [`driver`], which turns the network
//! [`ring`], runs the core's [`tasks`], and advances its [`timers`]. A [`Core`] is the handle to all of that.

mod clock;
mod core;
mod cores;
mod driver;
mod endpoint;
mod executor;
mod holder;
mod listener;
mod loads;
mod mailbox;
mod passed;
mod probe;
mod resolve;
mod ring;
mod socket_file;
mod stream;
mod takeover;
mod tasks;
mod timers;

pub use self::core::{Core, Counts};
pub use self::cores::Cores;

pub(crate) use self::core::{Notice, Phase};
pub(crate) use self::endpoint::Endpoint;
pub(crate) use self::executor::{launch, tell_all};
pub(crate) use self::holder::{AFTERLIFE, Holder};
pub(crate) use self::listener::{Common, Listener};
pub(crate) use self::loads::{Loads, Place};
pub(crate) use self::mailbox::Mailbox;
pub(crate) use self::probe::probe;
pub(crate) use self::ring::Payload;
pub(crate) use self::socket_file::{Found, Permissions, look};
pub(crate) use self::stream::{Accepted, Stream};
pub(crate) use self::takeover::{Offer, Shared, is_offered};
pub(crate) use self::timers::Timer;
