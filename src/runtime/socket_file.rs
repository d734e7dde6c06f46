//! The file of a Unix socket: made, found stale or live, and removed (`unix(7)`).

use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::holder::{AFTERLIFE, Holder};
use super::ring::peer;

/// How long another server may take over the same step in the same folder.
const LOCKED: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(5);

/// The permissions of the files of a server's Unix sockets: users that may write may connect (`unix(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Permissions {
    pub(crate) mode: u32,
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
}

impl Default for Permissions {
    fn default() -> Self {
        Self { mode: 0o660, user: None, group: None }
    }
}

/// What is found at a path.
#[derive(Debug)]
pub(crate) enum Found {
    Nothing,
    /// The file of a socket on which nobody listens any more.
    Stale,
    /// Somebody listens; the process, if the kernel tells.
    Live(Option<Holder>),
}

/// Looks whether a server listens at this path, by connecting to it. One whose process cannot be seen may have just
/// ended, so that takes up to a second.
///
/// # Errors
/// If something else is there, or it cannot be told.
pub(crate) fn look(path: &Path) -> io::Result<Found> {
    let began = Instant::now();
    loop {
        match look_once(path)? {
            Found::Live(None) if began.elapsed() < AFTERLIFE => thread::sleep(RETRY),
            found => return Ok(found),
        }
    }
}

fn look_once(path: &Path) -> io::Result<Found> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is a file that is no socket: it is left alone, choose another path",
            ));
        }
        Ok(_) => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => {
            let pid = peer(&socket).ok().and_then(|(_, pid)| pid);
            Ok(Found::Live(pid.and_then(Holder::with_pid)))
        }
        // Its queue is full.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Found::Live(None)),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Found::Stale),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) => {
            Err(io::Error::new(error.kind(), format!("it cannot be told whether a server is there: {error}")))
        }
    }
}

/// Makes a socket at this path that listens, in the place of a stale one. If a server is there already, who it is.
///
/// If two servers do so at the same time, one finds the other there: each holds a lock on the folder meanwhile
/// (`flock(2)`), and no process leaves such a lock behind.
pub(crate) fn claim(
    path: &Path,
    permissions: Permissions,
    listen: impl FnOnce(&Socket) -> io::Result<()>,
) -> io::Result<Result<Socket, Option<Holder>>> {
    let _lock = lock(path.parent().unwrap_or(Path::new("/")))?;
    match look(path)? {
        Found::Live(holder) => return Ok(Err(holder)),
        Found::Stale => fs::remove_file(path)?,
        Found::Nothing => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Nobody can connect before it listens, so nobody gets in by other permissions than these.
    let made = permit(path, permissions).and_then(|()| listen(&socket));
    if made.is_err() {
        let _ = fs::remove_file(path);
    }
    made.map(|()| Ok(socket))
}

/// A lock on a folder, until it is dropped.
fn lock(folder: &Path) -> io::Result<File> {
    let told = |error: io::Error| {
        io::Error::new(error.kind(), format!("the folder `{}` cannot be opened: {error}", folder.display()))
    };
    let file = File::open(folder).map_err(told)?;
    let until = Instant::now() + LOCKED;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(RETRY),
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!(
                        "another process keeps the folder `{}` locked (`lslocks` names it)",
                        folder.display()
                    ),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

fn permit(path: &Path, Permissions { mode, user, group }: Permissions) -> io::Result<()> {
    if user.is_some() || group.is_some() {
        chown(path, user, group).map_err(|error| {
            io::Error::new(error.kind(), format!("it cannot be given to that user and group: {error}"))
        })?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// The file of a socket, told from one that has taken its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }

    /// Removes it, unless another file has its path now.
    pub(crate) fn remove(&self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!("the Unix socket {} is over, and its file stays: {error}", self.path.display());
        }
    }
}

/// What tells a file from all others: its device and its number there (`inode(7)`).
pub(crate) fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}
