//! The raw values that the checks judge. Only this file reads the machine, so that tests of the checks need none.

use super::port::{self, Port};
use super::{Finding, checks};
use crate::Memory;
use crate::address::ListenAddr;
use crate::runtime::{Cgroups, CpuQuota, MemoryLimit, probe};
use rustix::process::{Resource, Rlimit, getrlimit};
use rustix::thread::sched_getaffinity;
use std::fs;

/// The values of one machine.
pub(super) struct Facts {
    /// The kernel's release, as `uname -r` prints it.
    pub(super) kernel: String,
    /// The features of the ring that could be built, or why none could and what would mend it.
    pub(super) ring: Result<Vec<String>, (String, String)>,
    pub(super) memlock: Rlimit,
    pub(super) open_files: Rlimit,
    /// `net.core.somaxconn`, where it can be read.
    pub(super) somaxconn: Option<u32>,
    /// `net.ipv4.tcp_migrate_req`, where the kernel has it.
    pub(super) migrate_req: Option<u32>,
    /// The frequency governor of every CPU that has one.
    pub(super) governors: Vec<String>,
    /// Processors that this process may use.
    pub(super) cpus: usize,
    pub(super) quota: Option<CpuQuota>,
    pub(super) memory: Option<MemoryLimit>,
    /// The memory of all requests together by default, in bytes.
    pub(super) for_requests: u64,
    pub(super) ports: Vec<(String, Port)>,
}

impl Facts {
    pub(super) fn gather(addrs: &[ListenAddr]) -> Self {
        let cgroups = Cgroups::of_this_process();
        Self {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            ring: probe().map(|features| features.names).map_err(|error| (error.to_string(), error.mend())),
            memlock: getrlimit(Resource::Memlock),
            open_files: getrlimit(Resource::Nofile),
            somaxconn: read("/proc/sys/net/core/somaxconn").and_then(|text| text.parse().ok()),
            migrate_req: read("/proc/sys/net/ipv4/tcp_migrate_req").and_then(|text| text.parse().ok()),
            governors: governors(),
            cpus: sched_getaffinity(None).map_or(1, |set| set.count() as usize),
            quota: cgroups.cpu_quota(),
            memory: cgroups.memory_limit(),
            for_requests: Memory::derived(),
            ports: addrs.iter().flat_map(port::look).collect(),
        }
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = vec![
            checks::kernel(&self.kernel),
            checks::ring(&self.ring),
            checks::memlock(self.memlock),
            checks::open_files(self.open_files),
            checks::somaxconn(self.somaxconn),
            checks::migrate_req(self.migrate_req),
            checks::governor(&self.governors),
            checks::cpu_quota(self.quota.as_ref(), self.cpus),
            checks::memory_limit(self.memory.as_ref(), self.for_requests),
        ];
        findings.extend(self.ports.iter().map(|(addr, port)| checks::port(addr, port)));
        findings
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn governors() -> Vec<String> {
    let cpus = fs::read_dir("/sys/devices/system/cpu").into_iter().flatten().flatten();
    // Entries that are no CPU (`cpuidle`, `power`) lack the file.
    cpus.filter_map(|cpu| read(cpu.path().join("cpufreq/scaling_governor").to_str()?)).collect()
}
