//! An open directory, and what is beneath it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::super::core::Core;
use super::super::ring::{SyncKind, Work};
use super::error::{cannot, cannot_do, explain_escape};
use super::file::{self, File};
use super::metadata::Metadata;
use super::operation::Handle;
use super::options::OpenOptions;
use super::path;

/// An open directory of one core: the root of everything that is asked of it. Dropping it closes it.
///
/// Paths are relative to it and stay beneath it. A symbolic link is followed if it stays there too; an absolute one
/// never does. That holds also while others rename what is on the way (`RESOLVE_BENEATH` in `openat2(2)`).
pub struct Dir {
    handle: Handle,
    path: PathBuf,
}

/// How a directory is opened that is read and synced; and how anything is that is only passed through or examined.
const DIRECTORY: i32 = libc::O_RDONLY | libc::O_DIRECTORY;
const WAY: i32 = libc::O_PATH;

impl Dir {
    /// Opens a directory by any path; symbolic links in this path are followed.
    pub async fn open(core: &Core, path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let opened = match path::any(path) {
            Ok(name) => Handle::open(core, Work::open(None, name, DIRECTORY, 0)).await,
            Err(error) => Err(error),
        };
        let handle = opened.map_err(|error| cannot("open the directory", path, error))?;
        Ok(Self { handle, path: path.to_owned() })
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a directory beneath this one, which then is a root of its own.
    pub async fn open_dir(&self, path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let handle = self.open_beneath(path, DIRECTORY, 0).await;
        let handle = handle.map_err(|error| self.cannot("open the directory", path, error))?;
        Ok(Self { handle, path: self.path.join(path) })
    }

    /// Opens a file beneath this directory, or makes it if the options say so.
    ///
    /// Opening a FIFO waits until its other end is open too; that holds up neither the core nor, if the future is
    /// dropped, anything else. Where others may put such things into the directory, ask for the
    /// [`metadata`](Self::metadata) first.
    pub async fn open_file(&self, path: impl AsRef<Path>, options: &OpenOptions) -> io::Result<File> {
        let path = path.as_ref();
        let opened = match options.flags() {
            Ok(flags) => self.open_beneath(path, flags, options.creation_mode()).await,
            Err(error) => Err(error),
        };
        let handle = opened.map_err(|error| self.cannot("open", path, error))?;
        Ok(File::new(handle, self.path.join(path)))
    }

    /// What is known about something beneath this directory; of a symbolic link, about what it leads to. Nothing is
    /// opened for reading, so FIFOs and devices do no harm.
    pub async fn metadata(&self, path: impl AsRef<Path>) -> io::Result<Metadata> {
        let path = path.as_ref();
        let known = match self.open_beneath(path, WAY, 0).await {
            Ok(handle) => file::metadata(&handle).await,
            Err(error) => Err(error),
        };
        known.map_err(|error| self.cannot("examine", path, error))
    }

    /// Makes a directory, with the permissions 0o777 without those in the process's `umask(2)`.
    ///
    /// # Errors
    /// The kind is `AlreadyExists` if there is anything of that name.
    pub async fn create_dir(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        let entry = self.entry(path).await.map_err(|error| self.cannot("make the directory", path, error))?;
        let work = Work::CreateDir { within: entry.within(self), name: entry.name.clone(), mode: 0o777 };
        self.run(work).await.map_err(|error| self.cannot("make the directory", path, error))
    }

    /// Removes a file's name; the file itself goes when nobody has it open. A symbolic link is removed, not followed.
    pub async fn remove_file(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.remove("remove the file", path.as_ref(), 0).await
    }

    /// Removes an empty directory.
    pub async fn remove_dir(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.remove("remove the directory", path.as_ref(), libc::AT_REMOVEDIR).await
    }

    /// Renames something beneath this directory; what has the new name is replaced, so that there is always one of the
    /// two.
    pub async fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
        let (from, to) = (from.as_ref(), to.as_ref());
        self.rename_entry(from, to).await.map_err(|error| {
            let to = self.path.join(to);
            cannot_do(format!("rename {} to {}", self.path.join(from).display(), to.display()), error)
        })
    }

    /// Puts on the disk which names are in this directory: a file that was made, renamed or removed stays so after a
    /// crash of the machine only when its directory was synced (`fsync(2)`). That holds for this directory, and not for
    /// those beneath it.
    ///
    /// After a failure it is refused, as by [`File::sync_data`].
    pub async fn sync(&self) -> io::Result<()> {
        file::sync(&self.handle, &self.path, SyncKind::All).await
    }

    async fn rename_entry(&self, from: &Path, to: &Path) -> io::Result<()> {
        let from = self.entry(from).await?;
        let to = self.entry(to).await?;
        let work = Work::Rename {
            from: (from.within(self), from.name.clone()),
            to: (to.within(self), to.name.clone()),
        };
        self.run(work).await
    }

    async fn remove(&self, verb: &str, path: &Path, flags: i32) -> io::Result<()> {
        let entry = self.entry(path).await.map_err(|error| self.cannot(verb, path, error))?;
        let work = Work::Remove { from: entry.within(self), name: entry.name.clone(), flags };
        self.run(work).await.map_err(|error| self.cannot(verb, path, error))
    }

    async fn open_beneath(&self, path: &Path, flags: i32, mode: u32) -> io::Result<Handle> {
        let work = Work::open(Some(self.handle.id), path::beneath(path)?, flags, mode);
        Handle::open(&self.handle.core, work).await.map_err(explain_escape)
    }

    /// Opens the way to an entry.
    async fn entry(&self, path: &Path) -> io::Result<Entry> {
        let path::Entry { parent, name } = path::entry(path)?;
        let parent = match parent {
            None => None,
            Some(parent) => {
                let work = Work::open(Some(self.handle.id), parent, WAY | libc::O_DIRECTORY, 0);
                Some(Handle::open(&self.handle.core, work).await.map_err(explain_escape)?)
            }
        };
        Ok(Entry { parent, name })
    }

    async fn run(&self, work: Work) -> io::Result<()> {
        self.handle.run(work).await.map(drop)
    }

    fn cannot(&self, verb: &str, path: &Path, error: io::Error) -> io::Error {
        // Joined by hand: an absolute path would replace the directory's, which belongs into the message too.
        cannot_do(format!("{verb} {} in {}", path.display(), self.path.display()), error)
    }
}

/// An entry of a directory that is open: of the root, if it is no other.
struct Entry {
    parent: Option<Handle>,
    name: std::ffi::CString,
}

impl Entry {
    fn within(&self, root: &Dir) -> super::super::ring::FileId {
        self.parent.as_ref().map_or(root.handle.id, |parent| parent.id)
    }
}

impl fmt::Debug for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dir").field(&self.path).finish()
    }
}
