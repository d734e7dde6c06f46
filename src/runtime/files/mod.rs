//! Files, read and written on the core's own ring, so that no core ever waits for a disk.
//!
//! A [`Dir`] is opened by a [`Core`](crate::Core), and everything in it is reached beneath it: no path, and no symbolic
//! link in one, leads out (`RESOLVE_BENEATH` in `openat2(2)`). A [`File`] is read and written at offsets. Both belong to
//! the core that opened them, as tasks do; dropping one closes it.
//!
//! ```no_run
//! use kiang::fs::{Dir, OpenOptions};
//!
//! async fn keep(core: &kiang::Core, event: &'static str) -> std::io::Result<()> {
//!     let data = Dir::open(core, "/var/lib/events").await?;
//!     let log = data.open_file("today.log", &OpenOptions::new().write(true).create(true)).await?;
//!     log.write_and_sync(0, event).await?; // on the disk when this returns Ok
//!     data.sync().await // and its name too
//! }
//! ```
//!
//! - **Errors** are [`std::io::Error`], so that `?` works in a handler. They say what was tried, and with which path. The
//!   [kind](std::io::Error::kind) is the kernel's; the error itself, with its number, is the
//!   [source](std::error::Error::source). A path that leads out of its directory is `PermissionDenied`; one that cannot
//!   be meant well (absolute, with `..` or a NUL byte, or empty) is `InvalidInput`, and the kernel is not asked.
//! - **A future that is dropped** frees nothing that the kernel may touch. What it had begun may or may not be done.
//! - **Bounds.** At most 128 operations of a core are under way; further ones wait for their turn in the order they came.
//!   A write takes no memory but that of its bytes, a read none but its length.
//! - **A sync that failed is never tried again**, see [`File::sync_data`].

mod dir;
mod error;
mod file;
mod metadata;
mod operation;
mod options;
mod path;

pub use self::dir::Dir;
pub use self::file::File;
pub use self::metadata::Metadata;
pub use self::options::OpenOptions;
