//! What a request costs the kernel, seen by strace under load: few system calls, and never a futex.

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::{Load, PATIENCE, Server, file, installed, ms, skip};

/// Per request with 64 busy connections; about a quarter is usual.
const LIMIT: f64 = 0.35;

/// A running `strace -c`; dropped without `counts`, it is killed.
struct Strace {
    child: Child,
    table: std::path::PathBuf,
}

impl Strace {
    /// Attached to every thread of a process, or the words with which that was refused.
    fn attach(pid: u32) -> Result<Self, String> {
        let table = file("strace.txt", "");
        let mut child = Command::new("strace")
            .args(["-f", "-c", "-o"])
            .arg(&table)
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let (sender, said) = mpsc::channel();
        let stderr = child.stderr.take().expect("stderr is piped");
        // Read to the end, lest strace blocks on a full pipe.
        std::thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        let strace = Self { child, table };
        let line = said.recv_timeout(PATIENCE).map_err(|_| "strace says nothing".to_owned())?;
        if line.contains("attached") { Ok(strace) } else { Err(line) }
    }

    /// Ends the count: calls by name.
    fn counts(mut self) -> BTreeMap<String, u64> {
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        self.child.wait().expect("a child of ours can be waited for");
        let table = std::fs::read_to_string(&self.table).expect("strace wrote its table");
        // % time, seconds, usecs/call, calls, (errors,) name
        let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines
            .filter_map(|fields| Some(((*fields.last()?).to_owned(), fields.get(3)?.parse().ok()?)))
            .filter(|(name, _)| name != "total")
            .collect()
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request at a time with a pause between them: as on a server that is not busy.
#[test]
fn one_system_call_and_one_wake_up_for_a_request_that_comes_alone() {
    const REQUESTS: u32 = 500;
    if !installed("strace") {
        return skip("strace is not installed");
    }
    let server = Server::start(&["--cores", "1"]);
    let mut client = server.connect();
    let mut ask = || {
        for _ in 0..REQUESTS {
            assert_eq!(client.get("/plaintext").status, 200);
            // The core is asleep when the next request comes; nothing to await: time itself has to pass.
            std::thread::sleep(ms(1));
        }
    };
    ask();
    let before = server.context_switches();
    ask();
    let switches =
        f64::from(u32::try_from(server.context_switches() - before).expect("few")) / f64::from(REQUESTS);
    let strace = match Strace::attach(server.pid()) {
        Ok(strace) => strace,
        Err(words) => return skip(&format!("strace cannot attach: {words}")),
    };
    ask();
    let counts = strace.counts();
    let calls = f64::from(u32::try_from(counts.values().sum::<u64>()).expect("few")) / f64::from(REQUESTS);
    eprintln!("{calls:.3} system calls and {switches:.3} context switches per request: {counts:?}");
    assert!(calls <= 1.1, "{calls:.3} system calls per request: {counts:?}");
    assert!(switches <= 1.05, "{switches:.3} voluntary context switches per request");
}

#[test]
fn few_system_calls_for_a_request_and_no_futex() {
    if !installed("strace") {
        return skip("strace is not installed");
    }
    // One core, as in the project's targets; the load below keeps it busy, slowed down by strace as it is.
    let server = Server::start(&["--cores", "1"]);
    let load = Load::start(server.addr(), 4, 16, "/plaintext");
    load.answers(20_000);
    let strace = match Strace::attach(server.pid()) {
        Ok(strace) => strace,
        Err(words) => return skip(&format!("strace cannot attach: {words}")),
    };
    let (since, before) = (Instant::now(), load.answered());
    while since.elapsed() < Duration::from_secs(3) {
        std::thread::sleep(ms(10));
    }
    let answered = load.answered() - before;
    let counts = strace.counts();
    load.stop();
    let total: u64 = counts.values().sum();
    #[expect(clippy::cast_precision_loss, reason = "counts of seconds, far below 2^52")]
    let each = total as f64 / answered as f64;
    eprintln!("{each:.3} system calls per request ({answered} requests): {counts:?}");
    assert!(answered > 1000, "only {answered} answers under strace");
    assert!(counts.contains_key("io_uring_enter"), "strace saw the serving thread: {counts:?}");
    assert!(!counts.contains_key("futex"), "a lock or a wake-up of another thread: {counts:?}");
    assert!(each <= LIMIT, "{each:.3} system calls per request: {counts:?}");
}
