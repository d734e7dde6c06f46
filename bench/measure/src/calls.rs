//! System calls per request, counted in a pass of its own: being counted costs time.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use load::Load;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::{Pid, Signal, kill_process};

use crate::process::is_traced;
use crate::record::Calls;
use crate::scenario::Scenario;
use crate::server::Server;
use crate::settings::Settings;

const PATIENCE: Duration = Duration::from_secs(10);
const SCRATCH: &str = "target/bench/log";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tracer {
    /// Counts in the kernel, which needs its tracepoints: root, or `kernel.perf_event_paranoid` of -1.
    Perf,
    /// Stops the server at each call. More requests gather meanwhile where they come fast, and share one call.
    Strace,
}

impl Tracer {
    /// The better one of those that work here.
    pub(crate) fn find() -> Option<Self> {
        let works = |words: &[&str]| {
            let quiet =
                Command::new(words[0]).args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
            quiet.is_ok_and(|status| status.success())
        };
        if works(&["perf", "stat", "-e", "raw_syscalls:sys_enter", "--", "true"]) {
            Some(Self::Perf)
        } else {
            works(&["strace", "-c", "true"]).then_some(Self::Strace)
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Perf => "perf",
            Self::Strace => "strace",
        }
    }

    pub(crate) fn measure(
        self,
        server: &Server,
        scenario: &Scenario,
        settings: &Settings,
    ) -> Result<Calls, Box<dyn Error>> {
        let target = server.target(scenario.path);
        let mut load = Load::connect(&target, scenario.connections).map_err(|error| server.fault(&error))?;
        let _ = scenario.run(&mut load, settings.warm_up, 0);
        let counting = Counting::start(self, server.pid())?;
        let outcome = scenario.run(&mut load, settings.slice, 0);
        let calls = counting.end()?;
        #[expect(clippy::cast_precision_loss, reason = "counts of seconds")]
        let per_request = calls as f64 / outcome.answered.max(1) as f64;
        Ok(Calls {
            name: scenario.name(),
            server: server.name.clone(),
            counted_by: self.name().to_owned(),
            per_request,
            refused: outcome.refusal().filter(|_| !settings.believe_all),
        })
    }
}

/// A tracer that counts a process's calls. Dropped, it is killed.
struct Counting {
    tracer: Tracer,
    child: Child,
    output: PathBuf,
}

impl Counting {
    fn start(tracer: Tracer, pid: u32) -> Result<Self, Box<dyn Error>> {
        match tracer {
            Tracer::Perf => Self::perf(pid),
            Tracer::Strace => Self::strace(pid),
        }
    }

    fn strace(pid: u32) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new("strace");
        command.args(["-qq", "-c", "-f", "-U", "calls,name"]);
        let counting = Self::spawn(Tracer::Strace, command, pid)?;
        patiently("strace does not attach", || Ok(is_traced(pid)?))?;
        Ok(counting)
    }

    /// perf says in a pipe when it counts: before that, calls would be missed.
    fn perf(pid: u32) -> Result<Self, Box<dyn Error>> {
        let (mut orders, mut answers) = (Pipe::make("perf-orders")?, Pipe::make("perf-answers")?);
        let mut command = Command::new("perf");
        command.args(["stat", "-x", ";", "-e", "raw_syscalls:sys_enter", "-D", "-1"]);
        command.arg(format!("--control=fifo:{},{}", orders.path.display(), answers.path.display()));
        let counting = Self::spawn(Tracer::Perf, command, pid)?;
        orders.file.write_all(b"enable\n")?;
        let mut answer = [0; 16];
        patiently("perf does not begin to count", || match answers.file.read(&mut answer) {
            Ok(length) => Ok(answer[..length].starts_with(b"ack")),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        })?;
        Ok(counting)
    }

    fn spawn(tracer: Tracer, mut command: Command, pid: u32) -> Result<Self, Box<dyn Error>> {
        let output = PathBuf::from(format!("{SCRATCH}/calls"));
        command.arg("-o").arg(&output).args(["-p", &pid.to_string()]).stderr(Stdio::null());
        Ok(Self { tracer, child: command.spawn()?, output })
    }

    fn end(mut self) -> Result<u64, Box<dyn Error>> {
        kill_process(Pid::from_child(&self.child), Signal::INT)?;
        self.child.wait()?;
        let text = fs::read_to_string(&self.output)?;
        counted(self.tracer, &text).ok_or_else(|| format!("no count of calls in {text:?}").into())
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A named pipe, both ends of which are open, so that neither opening nor closing the other end matters.
struct Pipe {
    path: PathBuf,
    file: File,
}

impl Pipe {
    fn make(name: &str) -> io::Result<Self> {
        let path = PathBuf::from(format!("{SCRATCH}/{name}"));
        let _ = fs::remove_file(&path);
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::empty())?.into();
        Ok(Self { path, file })
    }
}

/// Waits until `done` says so, for ten seconds at most.
fn patiently(
    otherwise: &str,
    mut done: impl FnMut() -> Result<bool, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let since = Instant::now();
    while !done()? {
        if since.elapsed() > PATIENCE {
            return Err(otherwise.into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn counted(tracer: Tracer, text: &str) -> Option<u64> {
    match tracer {
        Tracer::Perf => text.lines().find(|line| line.contains("sys_enter"))?.split(';').next()?.parse().ok(),
        Tracer::Strace => text.lines().find_map(|line| {
            let (calls, name) = line.trim().split_once(char::is_whitespace)?;
            (name.trim() == "total").then(|| calls.parse().ok())?
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_from_what_either_tracer_writes() {
        let perf = "# started on Wed\n\n2898;;raw_syscalls:sys_enter;98763907;100.00;29.343;K/sec\n";
        assert_eq!(counted(Tracer::Perf, perf), Some(2898));
        let strace = "    calls syscall\n--------- ----------------\n     2062 io_uring_enter\n        4 write\n\
            --------- ----------------\n     2066 total\n";
        assert_eq!(counted(Tracer::Strace, strace), Some(2066));
        assert_eq!(counted(Tracer::Perf, "<not counted>;;raw_syscalls:sys_enter;0;100.00;;\n"), None);
    }
}
