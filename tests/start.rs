//! Where the server is started: with a stderr or stdout that takes nothing, in a container that masks `/sys`, with few
//! threads allowed. The end is a message and an exit code, never a panic.

mod support;

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use support::{Launch, PATIENCE, Server, file, installed, skip, until};

/// A stream that takes nothing: a pipe without a reader, and a full device.
fn broken() -> [Stdio; 2] {
    let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
    drop(reader);
    [
        File::from(writer).into(),
        OpenOptions::new().write(true).open("/dev/full").expect("Linux has one").into(),
    ]
}

fn kiang(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiang"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn a_broken_stderr_changes_no_exit_code() {
    let occupant = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = occupant.local_addr().expect("a bound address").to_string();
    for (arguments, code) in [
        (&["serve", "--no-such-flag"][..], 2),
        (&[], 2),
        (&["serve", "--max-head", "1GiB"], 2),
        (&["serve", "--config", "/no/such/file.toml"], 2),
        (&["serve", "--bind", &taken], 1),
        (&["serve", "--bind", "127.0.0.1:0", "--access-log", "/no/such/folder/log"], 1),
    ] {
        for stderr in broken() {
            let status = kiang(arguments).stderr(stderr).status().expect("it runs");
            assert_eq!(status.code(), Some(code), "{arguments:?}");
        }
    }
}

#[test]
fn a_broken_stdout_changes_no_exit_code() {
    for arguments in [&["--help"][..], &["--version"], &["doctor", "--bind", "127.0.0.1:0"]] {
        for stdout in broken() {
            let status = kiang(arguments).stdout(stdout).status().expect("it runs");
            assert_eq!(status.code(), Some(0), "{arguments:?}");
        }
    }
}

#[test]
fn a_server_whose_banner_and_log_go_nowhere_serves_and_drains() {
    for (stdout, stderr) in broken().into_iter().zip(broken()) {
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let mut child = kiang(&["serve", "--bind", &port.to_string(), "--cores", "1"])
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .expect("it starts");
        until(PATIENCE, "the server listens", || std::net::TcpStream::connect(port).is_ok());
        assert_eq!(support::Client::connect(port).get("/plaintext").status, 200);
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, Signal::TERM).expect("it lives");
        assert_eq!(child.wait().expect("a child of ours").code(), Some(0));
    }
}

/// Hides a directory from what this command line starts, in a mount namespace of its own.
fn masking(directory: &str) -> Option<Vec<String>> {
    let root = rustix::process::geteuid().is_root();
    let namespaces = if root { "-m" } else { "-rm" };
    let mount = format!("mount -t tmpfs none {directory} && exec \"$0\" \"$@\"");
    let wrapper = ["unshare", namespaces, "sh", "-c", &mount].map(str::to_owned).to_vec();
    let works = installed("unshare")
        && Command::new(&wrapper[0])
            .args(&wrapper[1..])
            .arg("true")
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
    works.then_some(wrapper)
}

#[test]
fn a_container_that_masks_the_topology_is_served_in() {
    for directory in ["/sys/devices/system/cpu", "/sys/devices/system/cpu/cpu0/topology"] {
        let Some(wrapper) = masking(directory) else {
            return skip(&format!("nobody may mount over {directory} here"));
        };
        let server = Launch::serve(&[]).wrapped_in(&wrapper).start();
        assert_eq!(server.connect().get("/plaintext").status, 200);
        assert_eq!(server.connect().post("/upload", "0123456789").text(), "10");
        assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
        let examined = Launch::new(&["doctor", "--bind", "127.0.0.1:0"]).wrapped_in(&wrapper).finish();
        assert_eq!((examined.code, examined.stderr.as_str()), (Some(0), ""), "{examined:?}");
    }
}

/// A user of whom nothing else runs: the kernel counts threads for each user, not for each process.
const LONELY: u32 = 65_431;

/// A copy of the binary where every user reaches it.
struct Copy(PathBuf);

impl Copy {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kiang-{name}-{}", std::process::id()));
        std::fs::copy(env!("CARGO_BIN_EXE_kiang"), &path)
            .expect("the folder for temporary files takes the binary");
        Self(path)
    }

    /// Starts a server on one core under a limit of prlimit(1), and ends it as soon as it serves. The words of one that
    /// refused with exit code 1, or none.
    #[track_caller]
    fn refuses(&self, limit: &str, user: Option<u32>) -> Option<String> {
        let (stdout, stderr) = (file(&format!("{limit}.out"), ""), file(&format!("{limit}.log"), ""));
        let mut command = Command::new("prlimit");
        command
            .arg(limit)
            .arg(&self.0)
            .args(["serve", "--bind", "127.0.0.1:0", "--cores", "1"])
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).expect("our own file"))
            .stderr(File::create(&stderr).expect("our own file"))
            .current_dir("/");
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let mut child = command.spawn().expect("it starts");
        let said = |path| std::fs::read_to_string(path).expect("our own file");
        let mut ended = None;
        until(PATIENCE, "it serves or ends", || {
            ended = child.try_wait().expect("a child of ours");
            ended.is_some() || said(&stdout).contains("listening on")
        });
        let _ = child.kill();
        let _ = child.wait();
        let words = said(&stderr);
        assert!(!words.contains("panicked"), "with {limit}: {words}");
        let status = ended?;
        assert_eq!(status.code(), Some(1), "with {limit}: {words}");
        assert!(words.contains("kiang: "), "with {limit}: {words}");
        Some(words)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn with_too_few_threads_allowed_it_says_so_and_what_to_raise() {
    if !rustix::process::geteuid().is_root() || !installed("prlimit") {
        return skip("only root can be a user that runs nothing else, and prlimit sets the limit");
    }
    let copy = Copy::new("threads");
    let refused: Vec<_> =
        (1..40).map_while(|most| copy.refuses(&format!("--nproc={most}:{most}"), Some(LONELY))).collect();
    for words in &refused {
        assert!(words.contains("pids.max"), "{words}");
    }
    assert!((4..39).contains(&refused.len()), "with fewer than {} threads it does not serve", refused.len());
}

#[test]
fn with_too_few_open_files_allowed_it_says_so_and_what_to_raise() {
    if !installed("prlimit") {
        return skip("prlimit sets the limit, and is not installed");
    }
    let copy = Copy::new("files");
    // Below six the program itself cannot be loaded.
    let refused: Vec<_> =
        (6..100).map_while(|most| copy.refuses(&format!("--nofile={most}:{most}"), None)).collect();
    for words in &refused {
        assert!(words.contains("ulimit -n") || words.contains("--nofile="), "{words}");
    }
    assert!((4..93).contains(&refused.len()), "with fewer than {} files it does not serve", refused.len());
}

/// A control group of our own with a quota of one processor.
struct Quota(PathBuf);

impl Quota {
    /// Version 1 keeps the controller `cpu` in a hierarchy of its own; version 2 has it below the root if it is enabled.
    fn new() -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
        let mut candidates = mounts.lines().filter_map(|line| {
            let (mount, kind) = line.split_once(" - ")?;
            let is_cpu = kind.starts_with("cgroup2 ") || kind.split([' ', ',']).any(|word| word == "cpu");
            let point = Path::new(mount.split(' ').nth(4)?);
            is_cpu.then(|| point.join(format!("kiang-test-{}", std::process::id())))
        });
        candidates.find_map(|path| {
            std::fs::create_dir(&path).ok()?;
            let group = Self(path);
            let quotas = [("cpu.max", "100000 100000"), ("cpu.cfs_quota_us", "100000")];
            let set = quotas.iter().any(|(name, value)| {
                let file = group.0.join(name);
                file.exists() && std::fs::write(file, value).is_ok()
            });
            set.then_some(group)
        })
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // The kernel lets go of it when the last process is gone.
        until(PATIENCE, "the group is empty", || std::fs::remove_dir(&self.0).is_ok());
    }
}

#[test]
fn no_more_cores_than_the_quota_are_started_unless_they_are_asked_for() {
    let available = core_affinity::get_core_ids().expect("the CPUs are known").len();
    let Some(group) = Quota::new() else {
        return skip(
            "only root can make a control group with a CPU quota, where the machine has the controller",
        );
    };
    let join = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", group.0.display());
    let within = ["sh", "-c", &join].map(str::to_owned).to_vec();
    let cores = |server: &Server| {
        let cores: serde_json::Value =
            serde_json::from_slice(&server.connect().get("/cores").body).expect("JSON");
        cores.as_array().expect("a list").len()
    };
    let server = Launch::serve(&[]).wrapped_in(&within).start();
    assert_eq!(cores(&server), 1);
    if available > 1 {
        server.says("processors are used: the CPU quota is 1 (");
        let all = available.to_string();
        let asked = Launch::serve(&["--cores", &all]).wrapped_in(&within).start();
        assert_eq!(cores(&asked), available);
        asked.says("cores share a CPU quota of 1 processors");
    }
    let examined = Launch::new(&["doctor", "--bind", "127.0.0.1:0"]).wrapped_in(&within).finish();
    assert!(examined.stdout.contains("cpu quota: 1 CPU ("), "{examined:?}");
}
