//! An ordinary user with the usual 8 MiB of locked memory runs the server; with too little, the words say so.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Mutex;

use rustix::process::Signal;
use support::{Launch, PATIENCE, Server};

/// Who has nothing to do with this machine; the kernel's own overflow user.
const NOBODY: u32 = 65534;

/// Locked memory is counted for a user, not for a process: one server at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A copy of the binary where everybody reaches it: build folders often lie in somebody's home.
struct Copy(PathBuf);

impl Copy {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kiang-{name}-{}", std::process::id()));
        std::fs::copy(env!("CARGO_BIN_EXE_kiang"), &path)
            .expect("the folder for temporary files takes the binary");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("our own file");
        Self(path)
    }

    /// As nobody where we are root, who knows no limit of locked memory; else as whom we are.
    fn run(&self, arguments: &[&str], memlock: &str) -> Launch {
        let launch = Launch::new(arguments).binary(self.0.clone()).limit(&format!("-l {memlock}"));
        if rustix::process::geteuid().is_root() { launch.user(NOBODY) } else { launch }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn eight_mebibytes_of_locked_memory_suffice() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let copy = Copy::new("serves");
    let server: Server = copy.run(&["serve", "--bind", "127.0.0.1:0"], "8192").start();
    let mut clients: Vec<_> = (0..100).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/plaintext").text(), "Hello, World!");
        assert_eq!(client.post("/upload", vec![b'x'; 100_000]).text(), "100000");
    }
    server.signal(Signal::TERM);
    assert_eq!(server.finished(PATIENCE).code, Some(0));
}

#[test]
fn with_too_little_locked_memory_it_says_so_and_how_to_mend_it() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let copy = Copy::new("refuses");
    let refused = copy.run(&["serve", "--bind", "127.0.0.1:0"], "64").finish();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.starts_with("kiang: "), "{refused:?}");
    assert!(!refused.stderr.contains("panicked"), "{refused:?}");
    let examined = copy.run(&["doctor", "--bind", "127.0.0.1:0"], "64").finish();
    for words in [&refused.stderr, &examined.stdout] {
        assert!(words.to_lowercase().contains("memlock"), "what is missing: {words}");
        assert!(words.contains("64 KiB"), "how much there is: {words}");
        assert!(words.contains("prlimit"), "the command that mends it: {words}");
    }
    assert_ne!(examined.code, Some(0), "doctor's exit code tells a script: {examined:?}");
}
