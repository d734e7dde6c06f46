//! The server as its users run it: a process of its own, watched through its output and `/proc`.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Client, PATIENCE, until};

/// A command line of the `kiang` binary, and under what circumstances it runs.
pub(crate) struct Launch {
    binary: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    limits: Vec<String>,
    /// Shell commands that put sockets where a service manager has them.
    passed: String,
    user: Option<u32>,
    wrapper: Vec<String>,
}

impl Launch {
    /// Exactly these arguments.
    pub(crate) fn new(arguments: &[&str]) -> Self {
        Self {
            binary: env!("CARGO_BIN_EXE_kiang").into(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment: Vec::new(),
            limits: Vec::new(),
            passed: String::new(),
            user: None,
            wrapper: Vec::new(),
        }
    }

    /// `kiang serve` on a port of 127.0.0.1 that the kernel picks, with further arguments.
    pub(crate) fn serve(arguments: &[&str]) -> Self {
        Self::new(&[&["serve", "--bind", "127.0.0.1:0"], arguments].concat())
    }

    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A resource limit in the words of the shell's `ulimit`, such as `-n 64`: soft and hard.
    pub(crate) fn limit(mut self, limit: &str) -> Self {
        self.limits.push(limit.to_owned());
        self
    }

    pub(crate) fn user(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// Another copy of the binary, for a user who cannot reach the build folder.
    pub(crate) fn binary(mut self, binary: PathBuf) -> Self {
        self.binary = binary;
        self
    }

    /// The same with these sockets from descriptor 3 on, as a service manager passes them (`sd_listen_fds(3)`); the
    /// numbers must be above 9, and inherited.
    pub(crate) fn passing(mut self, sockets: &[RawFd], names: &str) -> Self {
        let moved = sockets.iter().zip(3..).map(|(from, to)| format!("exec {to}<&{from} {from}<&- && "));
        self.passed = format!(
            "{}export LISTEN_PID=$$ LISTEN_FDS={} LISTEN_FDNAMES={names} && ",
            moved.collect::<String>(),
            sockets.len()
        );
        self
    }

    /// Started by this program, with these words before the binary's path. It must end in an `exec`, so that the process
    /// id stays.
    pub(crate) fn wrapped_in(mut self, wrapper: &[String]) -> Self {
        self.wrapper = wrapper.to_vec();
        self
    }

    fn spawn(&self) -> (Child, Arc<Output>) {
        let mut command = Command::new(&self.binary);
        if !self.limits.is_empty() || !self.passed.is_empty() {
            // The limits are set between fork and exec, which safe Rust cannot do; `exec` keeps the process id.
            let limits: Vec<_> = self.limits.iter().map(|limit| format!("ulimit {limit} && ")).collect();
            let (limits, passed) = (limits.concat(), &self.passed);
            // Only bash knows descriptors of two digits.
            command = Command::new(if passed.is_empty() { "/bin/sh" } else { "/bin/bash" });
            command.arg("-c").arg(format!("{limits}{passed}exec \"$0\" \"$@\"")).arg(&self.binary);
        }
        if let [program, words @ ..] = &self.wrapper[..] {
            command = Command::new(program);
            command.args(words).arg(&self.binary);
        }
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // What the developer's own shell says about kiang, or a service manager about the shell, must not change what
        // the tests see.
        for (name, _) in std::env::vars_os() {
            let of_a_manager =
                ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS"].iter().any(|set| name == *set);
            if name.as_encoded_bytes().starts_with(b"KIANG_") || name == "RUST_LOG" || of_a_manager {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(user) = self.user {
            command.uid(user).gid(user).current_dir("/");
        }
        let mut child = command.spawn().expect("the kiang binary starts");
        let output = Arc::new(Output::default());
        output.follow(child.stdout.take().expect("stdout is piped"), Stream::Out);
        output.follow(child.stderr.take().expect("stderr is piped"), Stream::Err);
        (child, output)
    }

    /// Starts a server and waits until it says that it listens on every address it was told to bind.
    #[track_caller]
    pub(crate) fn start(self) -> Server {
        let (child, output) = self.spawn();
        let mut server = Server { child, output, addrs: Vec::new() };
        let expected = self.arguments.iter().filter(|argument| *argument == "--bind").count().max(1);
        server.output.wait(PATIENCE, "the banner's last address", |said| {
            assert!(!said.ended(), "the server ended before it served:\n{}", said.transcript());
            said.listening().count() >= expected
        });
        server.addrs = server.output.with(Said::addresses);
        server
    }

    /// Starts it and waits for nothing.
    #[track_caller]
    pub(crate) fn begin(&self) -> Server {
        let (child, output) = self.spawn();
        Server { child, output, addrs: Vec::new() }
    }

    /// Runs a command that is expected to end by itself.
    #[track_caller]
    pub(crate) fn finish(self) -> Finished {
        let (child, output) = self.spawn();
        Server { child, output, addrs: Vec::new() }.finished(PATIENCE)
    }
}

/// What a process that has ended left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The exit code; None when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// From the call that waited to the end.
    pub(crate) after: Duration,
}

/// A running server. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    output: Arc<Output>,
    addrs: Vec<SocketAddr>,
}

impl Server {
    /// `kiang serve` on a port of 127.0.0.1 that the kernel picks, with further arguments.
    #[track_caller]
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Launch::serve(arguments).start()
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addrs[0]
    }

    pub(crate) fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    #[track_caller]
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.addr())
    }

    pub(crate) fn stdout(&self) -> String {
        self.output.with(|said| said.out.join("\n"))
    }

    pub(crate) fn stderr(&self) -> String {
        self.output.with(|said| said.err.join("\n"))
    }

    /// Waits until a line of stderr contains `words`.
    #[track_caller]
    pub(crate) fn says(&self, words: &str) {
        self.output.wait(PATIENCE, words, |said| said.err.iter().any(|line| line.contains(words)));
    }

    /// Waits until it serves, which is true, or has ended.
    #[track_caller]
    pub(crate) fn serves(&self) -> bool {
        self.output
            .wait(3 * PATIENCE, "a banner or an end", |said| said.ended() || said.listening().count() > 0);
        self.output.with(|said| !said.ended())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        // Already gone is no error here: the test that cares looks at the exit code.
        let _ = kill_process(pid, signal);
    }

    /// Sends this on each of `clients` while the process stands still, and has it drain when it goes on: every request
    /// is answered, every connection closed. What they connect meanwhile waits in the kernel's queues.
    #[track_caller]
    pub(crate) fn drains_answering(self, request: &str, clients: impl FnOnce(&Self) -> Vec<Client>) {
        self.signal(Signal::STOP);
        let mut clients = clients(&self);
        for client in &mut clients {
            client.send(request);
        }
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
        for client in &mut clients {
            // Announced as the last one or not: the signal may reach a core after the request did.
            assert_eq!(client.response().text(), "Hello, World!");
            client.closed();
        }
        assert_eq!(self.finished(PATIENCE).code, Some(0));
    }

    /// Waits for the end of the process, at most so long.
    #[track_caller]
    pub(crate) fn finished(mut self, patience: Duration) -> Finished {
        let since = Instant::now();
        self.output.wait(patience, "the end of the process", Said::ended);
        let status = self.child.wait().expect("a child of ours can be waited for");
        self.output.with(|said| Finished {
            code: status.code(),
            signal: status.signal(),
            stdout: said.out.join("\n"),
            stderr: said.err.join("\n"),
            after: since.elapsed(),
        })
    }

    fn proc(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.pid()).into()
    }

    /// Resident memory in bytes, exact: the counters in `status` lag behind by some pages for each CPU.
    pub(crate) fn rss(&self) -> u64 {
        let rollup = fs::read_to_string(self.proc("smaps_rollup")).expect("the process lives");
        let line = rollup.lines().find(|line| line.starts_with("Rss:")).expect("smaps_rollup has Rss");
        let kibibytes = line.split_whitespace().nth(1).expect("Rss has a value");
        1024 * kibibytes.parse::<u64>().expect("Rss is a number")
    }

    /// Open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(self.proc("fd")).expect("the process lives").count()
    }

    /// The names of its living threads.
    pub(crate) fn threads(&self) -> Vec<String> {
        let threads = fs::read_dir(self.proc("task")).expect("the process lives");
        let names =
            threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
        names.map(|name| name.trim().to_owned()).collect()
    }

    /// CPU time of all its living threads, in nanoseconds' resolution.
    pub(crate) fn cpu_time(&self) -> Duration {
        let threads = fs::read_dir(self.proc("task")).expect("the process lives");
        let nanoseconds = threads.flatten().filter_map(|thread| {
            let line = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// How often its living threads have waited (`voluntary_ctxt_switches` in `proc_pid_status(5)`).
    pub(crate) fn context_switches(&self) -> u64 {
        let threads = fs::read_dir(self.proc("task")).expect("the process lives");
        let switches = threads.flatten().filter_map(|thread| {
            let status = fs::read_to_string(thread.path().join("status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            line.trim().parse::<u64>().ok()
        });
        switches.sum()
    }

    /// What the bench application says of itself at `/cores`: open connections, over all cores. The one that
    /// asks is among them.
    #[track_caller]
    pub(crate) fn open_connections(&self) -> u64 {
        self.cores("connections")
    }

    /// The sum over all cores of one member of `/cores`.
    #[track_caller]
    pub(crate) fn cores(&self, member: &str) -> u64 {
        let response = self.connect().get("/cores");
        assert_eq!(response.status, 200, "{response:?}");
        let cores: serde_json::Value = serde_json::from_slice(&response.body).expect("/cores is JSON");
        let cores = cores.as_array().expect("/cores is an array");
        cores.iter().map(|core| core[member].as_u64().expect("a count")).sum()
    }

    /// Waits until nobody is connected but the one who asks: what was left behind is cleaned up.
    #[track_caller]
    pub(crate) fn quiet(&self) {
        until(PATIENCE, "all connections but our own are closed", || self.open_connections() == 1);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- what the server said ---\n{}", self.output.with(Said::transcript));
        }
    }
}

#[derive(Clone, Copy)]
enum Stream {
    Out,
    Err,
}

/// What a process said so far; whoever waits for a word is woken by it.
#[derive(Default)]
struct Output {
    said: Mutex<Said>,
    more: Condvar,
}

#[derive(Default)]
struct Said {
    out: Vec<String>,
    err: Vec<String>,
    closed: usize,
}

impl Said {
    /// Both pipes are closed, which a process that hands them to nobody does by ending.
    fn ended(&self) -> bool {
        self.closed == 2
    }

    /// The addresses of the banner, Unix sockets too.
    fn listening(&self) -> impl Iterator<Item = &str> {
        self.out.iter().filter_map(|line| line.strip_prefix("listening on "))
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        let urls = self.listening().filter_map(|address| address.strip_prefix("http://"));
        urls.map(|url| {
            let addr = url.strip_suffix('/').expect("the banner's line ends with a slash");
            addr.parse().expect("the banner names a socket address")
        })
        .collect()
    }

    fn transcript(&self) -> String {
        format!("stdout:\n{}\nstderr:\n{}", self.out.join("\n"), self.err.join("\n"))
    }
}

impl Output {
    fn follow(self: &Arc<Self>, pipe: impl Read + Send + 'static, stream: Stream) {
        let output = Arc::clone(self);
        thread::spawn(move || {
            let mut lines = BufReader::new(pipe).split(b'\n');
            while let Some(Ok(line)) = lines.next() {
                let line = String::from_utf8_lossy(&line).into_owned();
                let mut said = output.said.lock().expect("no one panics with the lock held");
                match stream {
                    Stream::Out => said.out.push(line),
                    Stream::Err => said.err.push(line),
                }
                output.more.notify_all();
            }
            output.said.lock().expect("no one panics with the lock held").closed += 1;
            output.more.notify_all();
        });
    }

    fn with<T>(&self, look: impl FnOnce(&Said) -> T) -> T {
        look(&self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    #[track_caller]
    fn wait(&self, patience: Duration, what: &str, holds: impl Fn(&Said) -> bool) {
        let said = self.said.lock().expect("no one panics with the lock held");
        let waited = self.more.wait_timeout_while(said, patience, |said| !holds(said));
        let (said, _) = waited.expect("no one panics with the lock held");
        assert!(holds(&said), "waited {patience:?} in vain for {what}; so far\n{}", said.transcript());
    }
}
