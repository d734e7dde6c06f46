//! Paths as the kernel takes them, and which of them may be asked for beneath a directory.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// An entry of a directory somewhere beneath another: the way to that directory, if it is not the first itself, and
/// the entry's name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) parent: Option<CString>,
    pub(super) name: CString,
}

/// Any path.
pub(super) fn any(path: &Path) -> io::Result<CString> {
    if path.as_os_str().is_empty() {
        return Err(refusal("the path is empty"));
    }
    CString::new(path.as_os_str().as_bytes()).map_err(|_| refusal("the path contains a NUL byte"))
}

/// A path to something beneath a directory. Symbolic links in it are the kernel's to follow, and to refuse.
pub(super) fn beneath(path: &Path) -> io::Result<CString> {
    for part in path.components() {
        match part {
            Component::Normal(_) | Component::CurDir => {}
            Component::ParentDir => return Err(refusal("the path contains `..`")),
            Component::RootDir | Component::Prefix(_) => {
                return Err(refusal("the path is absolute; it must be relative to the directory"));
            }
        }
    }
    any(path)
}

/// A path to an entry that is to be made, renamed or removed. The calls for that resolve the way there without
/// `RESOLVE_BENEATH`, so that it must be opened first.
pub(super) fn entry(path: &Path) -> io::Result<Entry> {
    beneath(path)?;
    let name = path.file_name().ok_or_else(|| refusal("the path names the directory itself"))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok(Entry { parent: parent.map(any).transpose()?, name: any(Path::new(name))? })
}

fn refusal(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_lie_beneath_a_directory_is_refused_with_the_reason() {
        for (path, reason) in [
            ("", "empty"),
            ("/etc/passwd", "absolute"),
            ("..", "`..`"),
            ("a/../b", "`..`"),
            ("a/..", "`..`"),
            ("../a", "`..`"),
            ("a\0b", "NUL"),
        ] {
            for error in [beneath(Path::new(path)).unwrap_err(), entry(Path::new(path)).unwrap_err()] {
                assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
                assert!(error.to_string().contains(reason), "{path:?}: {error}");
            }
        }
        for fine in ["a", "a/b", "./a", "a//b/", "...", "a..b", "."] {
            assert_eq!(beneath(Path::new(fine)).unwrap().to_bytes(), fine.as_bytes());
        }
    }

    #[test]
    fn an_entry_is_the_way_to_its_directory_and_its_name() {
        let parts = |path: &str| {
            let entry = entry(Path::new(path)).unwrap();
            (entry.parent.map(|parent| parent.into_string().unwrap()), entry.name.into_string().unwrap())
        };
        assert_eq!(parts("a"), (None, "a".into()));
        assert_eq!(parts("a/"), (None, "a".into()));
        assert_eq!(parts("./a"), (Some(".".into()), "a".into()));
        assert_eq!(parts("a/b/c"), (Some("a/b".into()), "c".into()));
        assert!(entry(Path::new(".")).unwrap_err().to_string().contains("itself"));
    }
}
