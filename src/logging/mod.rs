//! A writer for logs that must not hold up a core: a thread behind a bounded queue.
//!
//! The access log and the binary's error log use one. An application can give a [`Writer`] to a log of its own: any
//! logger that writes to a [`std::io::Write`] takes one.

mod target;
mod timestamp;
mod writer;

pub use self::timestamp::Timestamp;
pub use self::writer::Writer;

pub(crate) use self::target::Target;
pub(crate) use self::writer::{CHUNK, dropped_as_json};
