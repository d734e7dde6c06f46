//! Counts a server's system calls by strace: a yardstick that does more than it must would flatter the others.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use load::{Load, Schedule, Spacing, Target};

const PATIENCE: Duration = Duration::from_secs(10);
const RATE: u32 = 500;
const CONNECTIONS: u32 = 16;

/// Ends it with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asserts that a request takes at most so many system calls, at 500 requests a second.
pub(crate) fn at_most(most: f64, binary: &str) {
    let skip = |why: &str| {
        assert!(std::env::var_os("KIANG_CI").is_none(), "cannot run here: {why}");
        eprintln!("SKIPPED: {why}");
    };
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        return skip("strace is not installed");
    }
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let server = Process(Command::new(binary).arg(port.to_string()).spawn().unwrap());
    wait_until("the server listens", || TcpStream::connect(address).is_ok());
    let target = Target { address, path: "/plaintext".to_owned(), body: None };
    let mut load = Load::connect(&target, CONNECTIONS).unwrap();

    let pid = server.0.id();
    let table = std::env::temp_dir().join(format!("calls-{pid}"));
    let mut command = Command::new("strace");
    command.args(["-qq", "-c", "-U", "calls,name", "-p", &pid.to_string()]).arg("-o").arg(&table);
    let mut strace = Process(command.spawn().unwrap());
    let is_traced = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        !status.lines().any(|line| line == "TracerPid:\t0")
    };
    let since = Instant::now();
    while !is_traced() {
        if strace.0.try_wait().unwrap().is_some() || since.elapsed() > PATIENCE {
            return skip("strace cannot attach");
        }
        thread::sleep(Duration::from_millis(5));
    }
    let outcome = load.at_rate(Schedule::new(Spacing::Even, RATE, 1_000_000_000, 1));
    let interrupted = Command::new("kill").args(["-INT", &strace.0.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    strace.0.wait().unwrap();

    let text = std::fs::read_to_string(&table).unwrap();
    let _ = std::fs::remove_file(&table);
    assert_eq!(outcome.answered, u64::from(RATE), "{outcome:?}");
    let total = text.lines().find_map(|line| line.trim().strip_suffix("total")?.trim().parse::<u32>().ok());
    let each = f64::from(total.unwrap()) / f64::from(RATE);
    eprintln!("{each:.3} system calls per request:\n{text}");
    assert!(each > 0.1, "strace saw the server: {text}");
    assert!(each <= most, "{each:.3} system calls per request, and {most} must do: {text}");
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let since = Instant::now();
    while !done() {
        assert!(since.elapsed() < PATIENCE, "in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
