//! What is known about a file.

use std::time::{Duration, SystemTime};

/// What is known about a file or directory (`statx(2)`).
#[derive(Clone, Debug)]
pub struct Metadata(Box<libc::statx>);

impl Metadata {
    pub(super) fn new(statx: Box<libc::statx>) -> Self {
        Self(statx)
    }

    /// How long it is, in bytes.
    #[expect(clippy::len_without_is_empty, reason = "as std::fs::Metadata")]
    pub fn len(&self) -> u64 {
        self.0.stx_size
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.is_a(libc::S_IFREG)
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.is_a(libc::S_IFDIR)
    }

    /// Its type and permissions, as `st_mode` in `inode(7)`.
    pub fn mode(&self) -> u32 {
        u32::from(self.0.stx_mode)
    }

    /// When its content last changed. File systems keep it in steps of some milliseconds: two changes within one have
    /// the same time.
    pub fn modified(&self) -> SystemTime {
        time(self.0.stx_mtime)
    }

    /// When its content or anything in this last changed; unlike [`modified`](Self::modified) it cannot be set.
    pub fn changed(&self) -> SystemTime {
        time(self.0.stx_ctime)
    }

    /// When it was made, where the file system knows.
    pub fn created(&self) -> Option<SystemTime> {
        (self.0.stx_mask & libc::STATX_BTIME != 0).then(|| time(self.0.stx_btime))
    }

    /// The number of its inode: with [`device`](Self::device) it names one file, under whatever paths.
    pub fn inode(&self) -> u64 {
        self.0.stx_ino
    }

    /// The number of the device it lies on.
    pub fn device(&self) -> u64 {
        u64::from(self.0.stx_dev_major) << 32 | u64::from(self.0.stx_dev_minor)
    }

    /// How many bytes of the disk it takes.
    pub fn allocated(&self) -> u64 {
        self.0.stx_blocks * 512
    }

    fn is_a(&self, kind: u32) -> bool {
        u32::from(self.0.stx_mode) & libc::S_IFMT == kind
    }
}

fn time(stamp: libc::statx_timestamp) -> SystemTime {
    let seconds = Duration::from_secs(stamp.tv_sec.unsigned_abs());
    let whole =
        if stamp.tv_sec < 0 { SystemTime::UNIX_EPOCH - seconds } else { SystemTime::UNIX_EPOCH + seconds };
    whole + Duration::from_nanos(u64::from(stamp.tv_nsec))
}
