//! What the kernel has counted of a process, read from `/proc` (proc(5)).

use std::collections::BTreeMap;
use std::fs;
use std::io;

/// What the kernel has counted of one thread since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Thread {
    /// Nanoseconds on a processor, user and system: the first field of `schedstat`.
    ran: u64,
    /// Nanoseconds ready to run while something else ran.
    waited: u64,
    /// Context switches because there was nothing to do.
    voluntary: u64,
    /// Context switches because something else was to run.
    involuntary: u64,
}

/// What the kernel has counted of all threads of a process, `io_uring`'s workers among them.
#[derive(Debug)]
pub(crate) struct Snapshot(BTreeMap<u32, Thread>);

/// What a process did between two snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) cpu_nanoseconds: u64,
    pub(crate) waited_nanoseconds: u64,
    pub(crate) voluntary: u64,
    pub(crate) involuntary: u64,
}

impl Snapshot {
    pub(crate) fn take(pid: u32) -> io::Result<Self> {
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let entry = entry?;
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let read = |name| fs::read_to_string(entry.path().join(name));
            // A thread may end between the listing and the reading.
            let (Ok(schedule), Ok(status)) = (read("schedstat"), read("status")) else { continue };
            threads.insert(id, Thread::parse(&schedule, &status));
        }
        Ok(Self(threads))
    }

    /// What was spent since `before`. None: a thread has ended meanwhile, and took its counts along.
    pub(crate) fn since(&self, before: &Self) -> Option<Spent> {
        if before.0.keys().any(|id| !self.0.contains_key(id)) {
            return None;
        }
        let mut spent = Spent::default();
        for (id, now) in &self.0 {
            let then = before.0.get(id).copied().unwrap_or_default();
            spent.cpu_nanoseconds += now.ran - then.ran;
            spent.waited_nanoseconds += now.waited - then.waited;
            spent.voluntary += now.voluntary - then.voluntary;
            spent.involuntary += now.involuntary - then.involuntary;
        }
        Some(spent)
    }
}

impl Thread {
    fn parse(schedule: &str, status: &str) -> Self {
        let mut fields = schedule.split_whitespace().map(|field| field.parse().unwrap_or_default());
        let switches = |name| field(status, name).unwrap_or_default();
        Self {
            ran: fields.next().unwrap_or_default(),
            waited: fields.next().unwrap_or_default(),
            voluntary: switches("voluntary_ctxt_switches"),
            involuntary: switches("nonvoluntary_ctxt_switches"),
        }
    }
}

/// The number in the line `NAME: number`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Resident bytes. The kernel adds them up when asked, where `VmRSS` may lag by some hundred KiB.
pub(crate) fn resident(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kilobytes = field(&text, "Rss").ok_or_else(|| io::Error::other("smaps_rollup names no Rss"))?;
    Ok(kilobytes * 1024)
}

/// Whether a tracer is attached to every thread of the process.
pub(crate) fn is_traced(pid: u32) -> io::Result<bool> {
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let Ok(status) = fs::read_to_string(entry?.path().join("status")) else { continue };
        if field(&status, "TracerPid").unwrap_or_default() == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How much of a processor's time the hypervisor gave to others: ticks stolen, and all ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steal {
    stolen: u64,
    all: u64,
}

impl Steal {
    pub(crate) fn read(cpu: usize) -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self::parse(&text, cpu).unwrap_or(Self { stolen: 0, all: 0 })
    }

    fn parse(text: &str, cpu: usize) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("cpu{cpu} ")))?;
        // user, nice, system, idle, iowait, irq, softirq, steal; guest time is in user already.
        let ticks =
            line.split_whitespace().take(8).map_while(|ticks| ticks.parse().ok()).collect::<Vec<u64>>();
        Some(Self { stolen: *ticks.get(7)?, all: ticks.iter().sum() })
    }

    /// The stolen share of the time since `before`.
    #[expect(clippy::cast_precision_loss, reason = "ticks of seconds")]
    pub(crate) fn since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.stolen.saturating_sub(before.stolen) as f64 / all as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(threads: &[(u32, u64, u64)]) -> Snapshot {
        let thread = |&(id, ran, voluntary)| (id, Thread { ran, voluntary, ..Thread::default() });
        Snapshot(threads.iter().map(thread).collect())
    }

    #[test]
    fn a_thread_that_began_meanwhile_counts_and_one_that_ended_makes_it_void() {
        let before = snapshot(&[(1, 100, 5), (2, 10, 0)]);
        let spent = snapshot(&[(1, 150, 7), (2, 10, 0), (3, 20, 1)]).since(&before).unwrap();
        assert_eq!((spent.cpu_nanoseconds, spent.voluntary), (70, 3));
        assert_eq!(snapshot(&[(1, 150, 7)]).since(&before), None);
    }

    #[test]
    fn this_process_is_found_and_its_work_is_counted() {
        let pid = std::process::id();
        let before = Snapshot::take(pid).unwrap();
        let begin = std::time::Instant::now();
        while begin.elapsed().as_millis() < 20 {}
        std::thread::sleep(std::time::Duration::from_millis(1));
        let after = Snapshot::take(pid).unwrap();
        // Other tests' threads may end meanwhile: only those that are still there are looked at.
        let remaining = Snapshot(before.0.into_iter().filter(|(id, _)| after.0.contains_key(id)).collect());
        let spent = after.since(&remaining).unwrap();
        assert!(spent.cpu_nanoseconds > 1_000_000 && spent.voluntary >= 1, "{spent:?}");
        assert!(resident(pid).unwrap() > 100_000);
    }

    #[test]
    fn fields_are_read_by_their_whole_name() {
        let status =
            "Name:\tx\nTracerPid:\t0\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n";
        let thread = Thread::parse("1500 700 9\n", status);
        assert_eq!(thread, Thread { ran: 1500, waited: 700, voluntary: 12, involuntary: 3 });
    }

    #[test]
    fn steal_is_a_share_of_all_ticks() {
        let parse = |text| Steal::parse(text, 1).unwrap();
        let before = parse("cpu  9 9 9 9 9 9 9 9 9 9\ncpu1 10 0 10 70 0 0 5 5 1 0\n");
        let after = parse("cpu1 30 0 30 100 0 0 5 35 1 0\n");
        assert!((after.since(before) - 0.3).abs() < 1e-9);
        assert!(Steal::parse("cpu0 1 2 3", 0).is_none(), "an old kernel, or not Linux");
    }
}
