//! Signals: none but SIGTERM and SIGINT costs a request, and the access log can be rotated under load.

mod support;

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{PATIENCE, Server, ms, until};

/// A folder of its own for the files of one test.
fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
    fs::create_dir_all(&path).expect("the build folder is writable");
    path
}

fn logging_to(path: &Path) -> Server {
    Server::start(&["--access-log", path.to_str().expect("a plain path")])
}

#[track_caller]
fn targets(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("the log is there");
    assert!(text.is_empty() || text.ends_with('\n'), "a line is cut: {text}");
    let target = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        record["target"].as_str().expect("a text").to_owned()
    };
    text.lines().map(target).collect()
}

#[test]
fn a_request_in_flight_survives_every_signal_but_those_that_end() {
    let server = Server::start(&[]);
    for (signal, words) in [
        (Signal::HUP, "SIGHUP: there is no access log to reopen"),
        (Signal::USR1, "SIGUSR1: there is no access log to reopen"),
        (Signal::USR2, "SIGUSR2 means nothing here and is ignored"),
        (Signal::ALARM, "SIGALRM means nothing"),
        (Signal::IO, "SIGIO means nothing"),
        (Signal::PROF, "SIGPROF means nothing"),
        (Signal::VTALARM, "SIGVTALRM means nothing"),
    ] {
        let mut client = server.connect();
        client.send("POST /upload HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: 10\r\n\r\n01234");
        server.signal(signal);
        server.says(words);
        client.send("56789");
        assert_eq!(client.response().text(), "10", "after {words}");
    }
    // SIGPIPE leaves no trace.
    server.signal(Signal::PIPE);
    (0..100).for_each(|_| server.signal(Signal::USR2));
    assert_eq!(server.connect().get("/plaintext").status, 200);
    server.signal(Signal::TERM);
    let finished = server.finished(PATIENCE);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.stderr.matches("SIGUSR2").count(), 1, "{finished:?}");
}

/// Tells the clients that it is enough.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_rotation_under_load_loses_and_cuts_no_line() {
    const ROTATIONS: usize = 10;
    const CLIENTS: usize = 4;
    let folder = folder("rotated");
    let path = folder.join("access.log");
    let server = logging_to(&path);
    let enough = AtomicBool::new(false);
    let sent: usize = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (server, enough) = (&server, &enough);
                scope.spawn(move || {
                    let mut client = server.connect();
                    let mut sent = 0;
                    while !enough.load(Ordering::Relaxed) {
                        let request = |count| {
                            format!("GET /plaintext?{number}-{count} HTTP/1.1\r\nHost: kiang.test\r\n\r\n")
                        };
                        client.send((sent..sent + 20).map(request).collect::<String>());
                        (0..20).for_each(|_| assert_eq!(client.response().status, 200));
                        sent += 20;
                    }
                    sent
                })
            })
            .collect();
        // Also when a rotation fails: the clients must not run on.
        let stop = Stop(&enough);
        for rotation in 0..ROTATIONS {
            until(PATIENCE, "something is logged", || fs::metadata(&path).is_ok_and(|found| found.len() > 0));
            fs::rename(&path, folder.join(format!("access.log.{rotation}"))).expect("it is there");
            server.signal(if rotation % 2 == 0 { Signal::HUP } else { Signal::USR1 });
            until(PATIENCE, "a new file has the documented name", || path.exists());
        }
        drop(stop);
        clients.into_iter().map(|client| client.join().expect("no answer is missing")).sum()
    });
    server.signal(Signal::TERM);
    assert_eq!(server.finished(PATIENCE).code, Some(0));
    let mut logged = targets(&path);
    for rotation in 0..ROTATIONS {
        logged.extend(targets(&folder.join(format!("access.log.{rotation}"))));
    }
    assert_eq!(logged.len(), sent);
    assert_eq!(logged.into_iter().collect::<HashSet<_>>().len(), sent, "no line is there twice");
}

/// A process that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

#[test]
fn a_rotation_does_not_end_a_server_that_is_just_starting() {
    let config = folder("early").join("config.fifo");
    assert!(Command::new("mkfifo").arg(&config).status().expect("coreutils").success());
    // The process waits for its configuration.
    let child = Command::new(env!("CARGO_BIN_EXE_kiang"))
        .args(["serve", "--config", config.to_str().expect("a plain path")])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut child = Killed(child);
    until(PATIENCE, "SIGHUP and SIGUSR1 are caught", || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.0.id())).expect("it lives");
        let caught =
            status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("proc_pid_status(5)");
        let caught = u64::from_str_radix(caught.trim(), 16).expect("a mask");
        [Signal::HUP, Signal::USR1].iter().all(|signal| caught >> (signal.as_raw() - 1) & 1 == 1)
    });
    let pid = Pid::from_child(&child.0);
    for signal in [Signal::HUP, Signal::USR1] {
        kill_process(pid, signal).expect("it lives");
    }
    fs::write(&config, "bind = \"127.0.0.1:0\"\ncores = 1\n").expect("it reads");
    let stdout = BufReader::new(child.0.stdout.take().expect("it is piped"));
    assert!(stdout.lines().map_while(Result::ok).any(|line| line.starts_with("listening on ")));
    kill_process(pid, Signal::TERM).expect("it lives");
    assert_eq!(child.0.wait().expect("a child of ours").code(), Some(0));
}

#[test]
fn until_the_signal_the_renamed_file_is_written_to() {
    let folder = folder("renamed");
    let (path, renamed) = (folder.join("access.log"), folder.join("access.log.1"));
    let server = logging_to(&path);
    fs::rename(&path, &renamed).expect("it is there");
    server.connect().get("/plaintext?old");
    until(PATIENCE, "the renamed file has the line", || targets(&renamed).len() == 1);
    assert!(!path.exists());
    server.signal(Signal::USR1);
    server.says("is open anew");
    server.connect().get("/plaintext?new");
    until(PATIENCE, "the new file has the line", || targets(&path) == ["/plaintext?new"]);
    assert_eq!(targets(&renamed), ["/plaintext?old"]);
}

#[test]
fn a_file_that_cannot_be_opened_anew_leaves_the_old_one_in_use() {
    let (folder, away) = (folder("lost"), folder("away"));
    let path = folder.join("access.log");
    let server = logging_to(&path);
    fs::remove_dir(&away).expect("it is empty");
    fs::rename(&folder, &away).expect("it is there");
    server.signal(Signal::HUP);
    server.says("cannot be opened anew: No such file or directory");
    server.connect().get("/plaintext?kept");
    until(PATIENCE, "the old file has the line", || targets(&away.join("access.log")) == ["/plaintext?kept"]);
    // The next signal finds the folder in its place.
    fs::rename(&away, &folder).expect("it is there");
    fs::remove_file(&path).expect("it is there");
    server.signal(Signal::HUP);
    server.says("is open anew");
    assert!(path.exists());
}

#[test]
fn a_log_on_stdout_has_nothing_to_reopen() {
    let server = Server::start(&["--access-log", "-"]);
    server.signal(Signal::HUP);
    server.says("SIGHUP: the access log goes to stdout, there is nothing to reopen");
    server.connect().get("/plaintext?x");
    until(ms(5000), "a line", || server.stdout().contains("/plaintext?x"));
}
