//! Judges the values: one pure function for each check.

use super::port::Port;
use super::{Finding, MEMLOCK_NEEDED, Verdict};
use crate::runtime::{CpuQuota, Holder, MemoryLimit, Throttling};
use rustix::process::Rlimit;
use std::collections::BTreeMap;

/// The first kernel with everything the network ring is built on: `DEFER_TASKRUN` came with it
/// (`io_uring_setup(2)`).
const KERNEL: (u32, u32) = (6, 1);
/// The advised limit: each connection takes a descriptor, and a busy front-line server has tens of thousands.
const OPEN_FILES: u64 = 65_536;
/// With fewer no server begins. Each core takes a dozen more, and says so itself when they are not to be had.
const FEWEST_OPEN_FILES: u64 = 16;
/// The advised length of the accept queue: the kernel's own default since 5.4.
const SOMAXCONN: u32 = 4096;

pub(super) fn kernel(release: &str) -> Finding {
    let (major, minor) = KERNEL;
    match version(release) {
        Some(version) if version >= KERNEL => {
            fine("kernel", format!("{release} ({major}.{minor} or newer is needed)"))
        }
        Some(_) => fails(
            "kernel",
            format!("{release}, but {major}.{minor} or newer is needed"),
            format!("boot a kernel of {major}.{minor} or newer (a container has its host's)"),
        ),
        None => fails(
            "kernel",
            format!("its release, `{release}`, does not begin with a version"),
            format!("boot a Linux kernel of {major}.{minor} or newer"),
        ),
    }
}

pub(super) fn ring(probed: &Result<Vec<String>, (String, String)>) -> Finding {
    match probed {
        Ok(features) => fine("io_uring", format!("a ring works here, with {}", features.join(", "))),
        Err((why, mend)) => fails("io_uring", why.clone(), mend.clone()),
    }
}

pub(super) fn memlock(limit: Rlimit) -> Finding {
    let found = format!("{}; {} KiB are needed", in_words(limit, 1024, " KiB"), MEMLOCK_NEEDED / 1024);
    if at_least(limit.current, MEMLOCK_NEEDED) {
        fine("memlock", found)
    } else if at_least(limit.maximum, MEMLOCK_NEEDED) {
        let mend = format!("ulimit -S -l {}", MEMLOCK_NEEDED / 1024);
        warning("memlock", format!("{found} (`kiang serve` raises the soft limit; a library does not)"), mend)
    } else {
        let mend = "sudo prlimit --pid $$ --memlock=8388608:8388608 for this shell; for good LimitMEMLOCK=8M \
            (systemd), --ulimit memlock=8388608 (Docker)";
        fails("memlock", found, mend.into())
    }
}

pub(super) fn open_files(limit: Rlimit) -> Finding {
    let found = in_words(limit, 1, "");
    let raised =
        if limit.current == limit.maximum { "" } else { " (`kiang serve` raises the soft limit to it)" };
    if at_least(limit.maximum, OPEN_FILES) {
        return fine("open files", format!("{found}{raised}"));
    }
    let mend = "sudo prlimit --pid $$ --nofile=1048576:1048576 for this shell; for good LimitNOFILE=1048576 (systemd), \
        --ulimit nofile=1048576 (Docker)";
    if !at_least(limit.maximum, FEWEST_OPEN_FILES) {
        return fails("open files", format!("{found}; {FEWEST_OPEN_FILES} are needed to start"), mend.into());
    }
    warning(
        "open files",
        format!("{found}{raised}; every connection takes one, {OPEN_FILES} or more are advised"),
        mend.into(),
    )
}

pub(super) fn somaxconn(value: Option<u32>) -> Finding {
    let mend = format!("sudo sysctl -w net.core.somaxconn={SOMAXCONN}");
    match value {
        Some(value) if value >= SOMAXCONN => fine("somaxconn", format!("{value}")),
        Some(value) => warning(
            "somaxconn",
            format!(
                "{value}: no more new connections can wait for each core, further ones are dropped; {SOMAXCONN} or \
                more is advised"
            ),
            mend,
        ),
        None => warning("somaxconn", "net.core.somaxconn cannot be read here".into(), mend),
    }
}

/// Any value will do. The sysctl is shown because restarts of other servers need it.
pub(super) fn migrate_req(value: Option<u32>) -> Finding {
    let found = value.map_or_else(|| "not known to this kernel".to_owned(), |value| value.to_string());
    let why = "`serve --takeover` hands its sockets over and loses no request with either value";
    fine("tcp_migrate_req", format!("{found} ({why})"))
}

pub(super) fn governor(governors: &[String]) -> Finding {
    let mut counts = BTreeMap::<&str, usize>::new();
    for governor in governors {
        *counts.entry(governor).or_default() += 1;
    }
    let found: Vec<_> =
        counts.iter().map(|(governor, count)| format!("{governor} on {count} CPUs")).collect();
    match counts.keys().find(|governor| **governor != "performance") {
        None if governors.is_empty() => fine(
            "governor",
            "none: the frequency is not this system's to choose, as in a virtual machine".into(),
        ),
        None => fine("governor", found.join(", ")),
        Some(_) => warning(
            "governor",
            format!(
                "{}: cores may slow down between bursts, which costs latency and blurs figures",
                found.join(", ")
            ),
            "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor".into(),
        ),
    }
}

/// A warning only where the quota was used up in more than one period of a hundred.
pub(super) fn cpu_quota(quota: Option<&CpuQuota>, cpus: usize) -> Finding {
    let check = "cpu quota";
    let Some(quota) = quota else { return fine(check, format!("none, on {cpus} CPUs")) };
    let cores = quota.cores();
    let counted = |count: String, what| format!("{count} {what}{}", if count == "1" { "" } else { "s" });
    let found = format!(
        "{} ({}), so {} by default",
        counted(quota.cpus.to_string(), "CPU"),
        quota.file.display(),
        counted(cores.to_string(), "core")
    );
    match quota.throttling {
        Some(Throttling { periods, throttled }) if throttled > periods / 100 => warning(
            check,
            format!(
                "{found}; it was used up in {throttled} of {periods} periods, and all stood still until the next"
            ),
            "raise it: --cpus (Docker), resources.limits.cpu (Kubernetes), CPUQuota= (systemd)".into(),
        ),
        Some(Throttling { periods, throttled }) => {
            fine(check, format!("{found}; used up in {throttled} of {periods} periods"))
        }
        None => fine(check, found),
    }
}

pub(super) fn memory_limit(limit: Option<&MemoryLimit>, for_requests: u64) -> Finding {
    let found = match limit {
        Some(MemoryLimit { bytes, file }) => format!("{} MiB ({})", bytes >> 20, file.display()),
        None => "none".into(),
    };
    let for_requests = for_requests >> 20;
    fine("memory limit", format!("{found}, so {for_requests} MiB for requests by default (`max-memory`)"))
}

/// `addr` is an address and a port, or a Unix socket.
pub(super) fn port(addr: &str, port: &Port) -> Finding {
    let is_unix = addr.starts_with("unix:");
    let number = addr.rsplit(':').next().unwrap_or_default();
    let check = format!("port {addr}");
    match port {
        Port::Free if number == "0" => fine(&check, "any that is free".into()),
        Port::Free => fine(&check, "free".into()),
        Port::Taken(Some(Holder { name, pid })) => fails(
            &check,
            format!("taken by `{name}`, process {pid}"),
            format!("kill {pid}, or choose another port with --bind"),
        ),
        Port::Taken(None) => fails(
            &check,
            "taken, by a process that this user cannot see".into(),
            if is_unix {
                "sudo ss -lxp names it; or choose another path with --bind".into()
            } else {
                format!("sudo ss -ltnp 'sport = :{number}' names it; or choose another port with --bind")
            },
        ),
        Port::Forbidden { program } => fails(
            &check,
            "not allowed: ports this low take a privilege that this user lacks".into(),
            format!(
                "sudo setcap cap_net_bind_service=+ep {program}, or sudo sysctl -w \
                net.ipv4.ip_unprivileged_port_start={number}, or choose another port with --bind"
            ),
        ),
        Port::NotOurs => fails(
            &check,
            "this machine has no such address".into(),
            "ip -brief address lists those it has; 0.0.0.0 and [::] stand for all of them".into(),
        ),
        Port::NoFolder => fails(
            &check,
            "the folder for the socket is not there".into(),
            "make the folder, for a service with RuntimeDirectory= (systemd.exec(5)); or choose another path with --bind"
                .into(),
        ),
        Port::Unresolved(error) => fails(
            &check,
            error.to_string(),
            "getent ahosts NAME shows what a name stands for; or write an IP address".into(),
        ),
        Port::Other(error) => fails(
            &check,
            format!("cannot listen there: {error}"),
            "choose another address with --bind".into(),
        ),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Whether the limit is high enough. `None` is no limit.
fn at_least(limit: Option<u64>, wanted: u64) -> bool {
    limit.is_none_or(|limit| limit >= wanted)
}

fn in_words(limit: Rlimit, unit: u64, name: &str) -> String {
    let word = |value: Option<u64>| match value {
        Some(value) => format!("{}{name}", value / unit),
        None => "unlimited".into(),
    };
    format!("soft limit {}, hard limit {}", word(limit.current), word(limit.maximum))
}

fn fine(check: &str, found: String) -> Finding {
    Finding { check: check.into(), found, verdict: Verdict::Fine, mend: None }
}

fn warning(check: &str, found: String, mend: String) -> Finding {
    Finding { check: check.into(), found, verdict: Verdict::Warning, mend: Some(mend) }
}

fn fails(check: &str, found: String, mend: String) -> Finding {
    Finding { check: check.into(), found, verdict: Verdict::Fails, mend: Some(mend) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Fails, Fine, Warning};

    fn limit(soft: u64, hard: u64) -> Rlimit {
        Rlimit { current: Some(soft), maximum: Some(hard) }
    }

    const UNLIMITED: Rlimit = Rlimit { current: None, maximum: None };

    #[track_caller]
    fn assert_finding(finding: &Finding, verdict: Verdict, words: &str) {
        assert_eq!(finding.verdict, verdict, "{finding}");
        assert!(finding.to_string().contains(words), "`{finding}` lacks `{words}`");
        assert_eq!(finding.mend.is_none(), verdict == Fine, "{finding}");
    }

    #[test]
    fn kernels_below_6_1_fail() {
        assert_finding(&kernel("6.1.0-13-amd64"), Fine, "6.1.0-13-amd64");
        assert_finding(&kernel("6.18.44-fc-v669"), Fine, "6.18");
        assert_finding(&kernel("10.0"), Fine, "10.0");
        assert_finding(&kernel("6.0.19"), Fails, "6.1 or newer");
        assert_finding(&kernel("5.15.0-91-generic"), Fails, "5.15.0-91-generic");
        assert_finding(&kernel("mainline"), Fails, "`mainline`");
        assert_finding(&kernel(""), Fails, "does not begin");
    }

    #[test]
    fn a_ring_that_cannot_be_had_fails_and_says_why() {
        assert_finding(&ring(&Ok(vec!["ext_arg".into(), "bundles".into()])), Fine, "ext_arg, bundles");
        assert_finding(&ring(&Err(("blocked".into(), "allow it".into()))), Fails, "blocked\n");
    }

    #[test]
    fn the_soft_memlock_limit_decides() {
        assert_finding(&memlock(UNLIMITED), Fine, "unlimited");
        assert_finding(&memlock(limit(8 << 20, 8 << 20)), Fine, "soft limit 8192 KiB");
        assert_finding(&memlock(limit(512 << 10, 512 << 10)), Fine, "512 KiB");
        assert_finding(&memlock(limit(64 << 10, 8 << 20)), Warning, "ulimit -S -l 512");
        assert_finding(&memlock(Rlimit { current: Some(0), maximum: None }), Warning, "hard limit unlimited");
        assert_finding(&memlock(limit(64 << 10, 64 << 10)), Fails, "prlimit");
        assert_finding(&memlock(limit((512 << 10) - 1, (512 << 10) - 1)), Fails, "soft limit 511 KiB");
    }

    #[test]
    fn the_hard_limit_of_open_files_decides() {
        assert_finding(&open_files(UNLIMITED), Fine, "unlimited");
        assert_finding(&open_files(limit(1024, 1 << 20)), Fine, "raises");
        assert_finding(&open_files(limit(65_536, 65_536)), Fine, "65536");
        assert_finding(&open_files(limit(1024, 4096)), Warning, "--nofile=");
        assert_finding(&open_files(limit(15, 15)), Fails, "16 are needed to start");
        assert!(!open_files(limit(4096, 4096)).found.contains("raises"));
    }

    #[test]
    fn a_short_accept_queue_is_a_warning() {
        assert_finding(&somaxconn(Some(4096)), Fine, "4096");
        assert_finding(&somaxconn(Some(128)), Warning, "sysctl -w net.core.somaxconn=4096");
        assert_finding(&somaxconn(None), Warning, "cannot be read");
    }

    #[test]
    fn a_restart_needs_no_setting() {
        for (value, words) in [(Some(0), "0 (`serve --takeover`"), (Some(1), "1 ("), (None, "not known")] {
            assert_finding(&migrate_req(value), Verdict::Fine, words);
        }
    }

    #[test]
    fn one_core_that_saves_power_is_a_warning() {
        let governors =
            |names: &[&str]| governor(&names.iter().map(|name| (*name).into()).collect::<Vec<_>>());
        assert_finding(&governors(&[]), Fine, "virtual machine");
        assert_finding(&governors(&["performance", "performance"]), Fine, "performance on 2 CPUs");
        let mixed = governors(&["performance", "powersave", "performance"]);
        assert_finding(&mixed, Warning, "performance on 2 CPUs, powersave on 1 CPUs");
    }

    #[test]
    fn a_quota_is_shown_and_one_that_was_used_up_is_a_warning() {
        let quota = |throttling| {
            let throttling: Option<(u64, u64)> = throttling;
            let throttling = throttling.map(|(periods, throttled)| Throttling { periods, throttled });
            let quota = CpuQuota { cpus: 1.5, file: "/sys/fs/cgroup/cpu.max".into(), throttling };
            cpu_quota(Some(&quota), 8)
        };
        assert_finding(&cpu_quota(None, 8), Fine, "none, on 8 CPUs");
        assert_finding(&quota(None), Fine, "1.5 CPUs (/sys/fs/cgroup/cpu.max), so 2 cores by default");
        assert_finding(&quota(Some((1000, 10))), Fine, "used up in 10 of 1000 periods");
        assert_finding(&quota(Some((1000, 11))), Warning, "--cpus");
    }

    #[test]
    fn a_limit_of_memory_is_shown() {
        let limit = MemoryLimit { bytes: 64 << 20, file: "/sys/fs/cgroup/memory.max".into() };
        let words = "64 MiB (/sys/fs/cgroup/memory.max), so 32 MiB for requests by default (`max-memory`)";
        assert_finding(&memory_limit(Some(&limit), 32 << 20), Fine, words);
        assert_finding(&memory_limit(None, 4 << 30), Fine, "none, so 4096 MiB for requests");
    }

    #[test]
    fn a_port_that_cannot_be_had_fails_and_says_why() {
        assert_finding(&port("127.0.0.1:8080", &Port::Free), Fine, "port 127.0.0.1:8080: free");
        assert_finding(&port("127.0.0.1:0", &Port::Free), Fine, "any");
        let held = Port::Taken(Some(Holder { name: "nginx".into(), pid: 7 }));
        assert_finding(&port("[::]:80", &held), Fails, "port [::]:80: taken by `nginx`, process 7");
        assert_finding(&port("1.2.3.4:80", &Port::Taken(None)), Fails, "sudo ss -ltnp 'sport = :80'");
        let forbidden = Port::Forbidden { program: "/opt/kiang".into() };
        assert_finding(&port("0.0.0.0:80", &forbidden), Fails, "cap_net_bind_service=+ep /opt/kiang");
        assert_finding(&port("192.0.2.1:80", &Port::NotOurs), Fails, "no such address");
        let odd = Port::Other(std::io::Error::other("odd"));
        assert_finding(&port("192.0.2.1:80", &odd), Fails, "odd");
        assert_finding(&port("unix:/run/kiang.sock", &Port::Taken(None)), Fails, "sudo ss -lxp");
        assert_finding(&port("unix:/run/kiang.sock", &Port::NoFolder), Fails, "RuntimeDirectory=");
        let unresolved = Port::Unresolved(crate::error::Error::new("no such name"));
        assert_finding(&port("nowhere.test:80", &unresolved), Fails, "no such name");
    }
}
