//! What a log needs that must not hold up a core: a writer on a thread of its own, behind a bounded queue.
//!
//! The access log and the binary's error log go this way. An application that has a log of its own can give it a
//! [`Writer`] too: any logger that writes to a [`std::io::Write`] takes one.

mod target;
mod timestamp;
mod writer;

pub use self::timestamp::Timestamp;
pub use self::writer::Writer;

pub(crate) use self::target::Target;
pub(crate) use self::writer::{CHUNK, dropped_as_json};
