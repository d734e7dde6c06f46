//! Builds a small ring to see whether the network ring will work here. If the kernel refuses, finds who forbids it.

use io_uring::{IoUring, Probe, opcode};
use std::{fmt, fs, io};

/// Builds a ring set up as the network ring is, and throws it away.
pub(crate) fn probe() -> Result<RingFeatures, ProbeError> {
    let ring: IoUring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_cqsize(16)
        .build(8)
        .map_err(|error| blame(error, &Evidence::gather()))?;
    let mut supported = Probe::new();
    ring.submitter().register_probe(&mut supported).map_err(|error| blame(error, &Evidence::gather()))?;

    let missing: Vec<_> =
        NEEDED.iter().filter(|(code, _)| !supported.is_supported(*code)).map(|(_, name)| *name).collect();
    if !missing.is_empty() {
        return Err(ProbeError::Opcodes(missing));
    }
    let params = ring.params();
    let names = [
        ("single_issuer", true), // The ring could not have been built without these two.
        ("defer_taskrun", true),
        ("ext_arg", params.is_feature_ext_arg()),
        ("skip_cqe", params.is_feature_skip_cqe_on_success()),
        ("send_zc", supported.is_supported(opcode::SendZc::CODE)),
        ("bundles", params.is_feature_recvsend_bundle()),
        ("min_timeout", params.is_feature_min_timeout()),
        ("no_iowait", params.is_feature_no_iowait()),
    ];
    Ok(RingFeatures {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        names: names.iter().filter(|(_, found)| *found).map(|(name, _)| (*name).to_owned()).collect(),
    })
}

/// What the kernel's `io_uring` can do here.
#[derive(Clone, Debug)]
pub(crate) struct RingFeatures {
    /// The kernel's release, as `uname -r` prints it.
    pub(crate) kernel: String,
    /// Set-up flags and features that were found, by the names of the man page, for people to read.
    pub(crate) names: Vec<String>,
}

/// Why a ring cannot be had.
#[derive(Debug)]
pub(crate) enum ProbeError {
    /// The sysctl `kernel.io_uring_disabled` forbids it: 1 to all but root and one group, 2 to everybody.
    Disabled {
        /// The sysctl's value.
        value: u32,
    },
    /// A seccomp filter (of a container runtime or a service manager) refuses the system call.
    Filtered,
    /// Nothing that can be seen from here explains `EPERM` or `EACCES`: a security module, most likely.
    Refused,
    /// The kernel has no `io_uring` at all.
    Absent,
    /// The kernel does not know the set-up flags.
    TooOld,
    /// The kernel knows the flags, but not these operations.
    Opcodes(Vec<&'static str>),
    /// No memory for the ring: a cgroup's limit, or on some kernels `RLIMIT_MEMLOCK`.
    Memory,
    /// Anything else.
    Other(io::Error),
}

impl ProbeError {
    /// What to do about it.
    pub(crate) fn mend(&self) -> String {
        match self {
            Self::Disabled { value: 1 } => {
                "sudo sysctl -w kernel.io_uring_disabled=0, or only for one group that \
                this user is in: sudo sysctl -w kernel.io_uring_group=$(id -g)"
                    .into()
            }
            Self::Disabled { .. } => "sudo sysctl -w kernel.io_uring_disabled=0".into(),
            Self::Filtered => format!(
                "allow {CALLS} in the seccomp profile. Docker: --security-opt seccomp=PROFILE.json (or, to try it, \
                seccomp=unconfined); Kubernetes: securityContext.seccompProfile; systemd: SystemCallFilter=@aio"
            ),
            Self::Refused => {
                format!("allow {CALLS} in the policy of the security module (SELinux, AppArmor)")
            }
            Self::Absent => {
                "use a kernel that is built with CONFIG_IO_URING, 6.1 or newer (a sandbox such as \
                gVisor has none: run outside it)"
                    .into()
            }
            Self::TooOld | Self::Opcodes(_) => "use kernel 6.1 or newer".into(),
            Self::Memory => {
                "give the process more memory: a higher limit of its cgroup (Docker: --memory), or of \
                locked memory (sudo prlimit --pid $$ --memlock=8388608:8388608)"
                    .into()
            }
            Self::Other(_) => "see `man io_uring_setup` for this error".into(),
        }
    }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled { value: 1 } => f.write_str(
                "forbidden to ordinary users by the sysctl kernel.io_uring_disabled = 1 (and this user is not in \
                kernel.io_uring_group)",
            ),
            Self::Disabled { value } => {
                write!(f, "forbidden to everybody by the sysctl kernel.io_uring_disabled = {value}")
            }
            Self::Filtered => {
                f.write_str("blocked by a seccomp filter, as containers do unless they are told otherwise")
            }
            Self::Refused => f.write_str("refused, though neither sysctl nor seccomp forbids it"),
            Self::Absent => f.write_str("this kernel has none"),
            Self::TooOld => {
                f.write_str("this kernel's lacks the set-up flags SINGLE_ISSUER and DEFER_TASKRUN of 6.1")
            }
            Self::Opcodes(missing) => write!(f, "this kernel's lacks the operations {}", missing.join(", ")),
            Self::Memory => f.write_str("no memory to build a ring with"),
            Self::Other(error) => write!(f, "a ring cannot be built: {error}"),
        }
    }
}

impl std::error::Error for ProbeError {}

const CALLS: &str = "io_uring_setup, io_uring_enter and io_uring_register";

/// The operations that the network ring and glommio submit.
const NEEDED: [(u8, &str); 23] = [
    (opcode::Accept::CODE, "ACCEPT"),
    (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
    (opcode::Close::CODE, "CLOSE"),
    (opcode::Connect::CODE, "CONNECT"),
    (opcode::Fallocate::CODE, "FALLOCATE"),
    (opcode::Fsync::CODE, "FSYNC"),
    (opcode::MkDirAt::CODE, "MKDIRAT"),
    (opcode::Nop::CODE, "NOP"),
    (opcode::OpenAt::CODE, "OPENAT"),
    (opcode::OpenAt2::CODE, "OPENAT2"),
    (opcode::PollAdd::CODE, "POLL_ADD"),
    (opcode::Read::CODE, "READ"),
    (opcode::Recv::CODE, "RECV"),
    (opcode::RenameAt::CODE, "RENAMEAT"),
    (opcode::Send::CODE, "SEND"),
    (opcode::SendMsg::CODE, "SENDMSG"),
    (opcode::Shutdown::CODE, "SHUTDOWN"),
    (opcode::Socket::CODE, "SOCKET"),
    (opcode::Statx::CODE, "STATX"),
    (opcode::Timeout::CODE, "TIMEOUT"),
    (opcode::TimeoutRemove::CODE, "TIMEOUT_REMOVE"),
    (opcode::UnlinkAt::CODE, "UNLINKAT"),
    (opcode::Write::CODE, "WRITE"),
];

/// `CAP_SYS_ADMIN`: `kernel.io_uring_disabled = 1` does not bind a process that has this capability.
const SYS_ADMIN: u64 = 1 << 21;

/// What tells a sysctl from a seccomp filter when the kernel only says `EPERM`.
#[derive(Debug, Default)]
struct Evidence {
    /// `kernel.io_uring_disabled`; absent before 6.6 and where the kernel has no `io_uring`.
    disabled: Option<u32>,
    /// `kernel.io_uring_group`; -1 is no group.
    group: Option<i64>,
    /// `/proc/self/status`.
    status: String,
}

impl Evidence {
    fn gather() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self {
            disabled: read("/proc/sys/kernel/io_uring_disabled").trim().parse().ok(),
            group: read("/proc/sys/kernel/io_uring_group").trim().parse().ok(),
            status: read("/proc/self/status"),
        }
    }

    fn field(&self, name: &str) -> &str {
        self.status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .unwrap_or_default()
            .trim()
    }

    /// Whether a seccomp filter is installed (mode 2). No other suspect can be seen from here.
    fn filtered(&self) -> bool {
        self.field("Seccomp") == "2"
    }

    fn disabled_for_us(&self) -> Option<u32> {
        let admin = u64::from_str_radix(self.field("CapEff"), 16).is_ok_and(|caps| caps & SYS_ADMIN != 0);
        let ids = self.field("Gid").split_whitespace().chain(self.field("Groups").split_whitespace());
        let member = || self.group.is_some_and(|group| ids.flat_map(str::parse::<i64>).any(|id| id == group));
        match self.disabled? {
            0 => None,
            1 if admin || member() => None,
            value => Some(value),
        }
    }
}

/// Names the cause of the error. Docker's filter answers EPERM, Podman's ENOSYS, the sysctl EPERM
/// (`io_uring_setup(2)`).
fn blame(error: io::Error, evidence: &Evidence) -> ProbeError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => match evidence.disabled_for_us() {
            Some(value) => ProbeError::Disabled { value },
            None if evidence.filtered() => ProbeError::Filtered,
            None => ProbeError::Refused,
        },
        // A kernel with the sysctl has the system call. Only a filter can have denied that.
        Some(libc::ENOSYS) if evidence.filtered() || evidence.disabled.is_some() => ProbeError::Filtered,
        Some(libc::ENOSYS) => ProbeError::Absent,
        Some(libc::EINVAL) => ProbeError::TooOld,
        Some(libc::ENOMEM) => ProbeError::Memory,
        _ => ProbeError::Other(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(disabled: Option<u32>, group: i64, status: &str) -> Evidence {
        Evidence { disabled, group: Some(group), status: status.into() }
    }

    fn verdict(errno: i32, evidence: &Evidence) -> String {
        let error = blame(io::Error::from_raw_os_error(errno), evidence);
        format!("{error:?}").split(['(', ' ']).next().unwrap_or_default().to_owned()
    }

    const USER: &str =
        "Gid:\t1000\t1000\t1000\t1000\nGroups:\t4 27 \nCapEff:\t0000000000000000\nSeccomp:\t0\n";
    const ROOT: &str = "Gid:\t0\t0\t0\t0\nGroups:\t0 \nCapEff:\t000001ffffffffff\nSeccomp:\t0\n";
    const DOCKER: &str = "Gid:\t0\t0\t0\t0\nGroups:\t0 \nCapEff:\t00000000a80425fb\nSeccomp:\t2\n";

    #[test]
    fn a_sysctl_is_told_from_a_filter() {
        assert_eq!(verdict(libc::EPERM, &evidence(Some(2), -1, ROOT)), "Disabled");
        assert_eq!(verdict(libc::EPERM, &evidence(Some(1), -1, USER)), "Disabled");
        assert_eq!(verdict(libc::EPERM, &evidence(Some(1), 27, DOCKER)), "Disabled");
        assert_eq!(verdict(libc::EPERM, &evidence(Some(0), -1, DOCKER)), "Filtered");
        assert_eq!(verdict(libc::EPERM, &evidence(None, -1, DOCKER)), "Filtered");
        assert_eq!(verdict(libc::EPERM, &evidence(Some(0), -1, USER)), "Refused");
    }

    #[test]
    fn whom_the_sysctl_spares_somebody_else_refused() {
        assert_eq!(verdict(libc::EPERM, &evidence(Some(1), 27, USER)), "Refused");
        assert_eq!(verdict(libc::EPERM, &evidence(Some(1), 1000, USER)), "Refused");
        assert_eq!(verdict(libc::EPERM, &evidence(Some(1), -1, ROOT)), "Refused");
    }

    #[test]
    fn the_other_errors_have_their_own_words() {
        assert_eq!(verdict(libc::ENOSYS, &evidence(None, -1, DOCKER)), "Filtered");
        assert_eq!(verdict(libc::ENOSYS, &evidence(Some(0), -1, USER)), "Filtered");
        assert_eq!(verdict(libc::ENOSYS, &evidence(None, -1, USER)), "Absent");
        assert_eq!(verdict(libc::EINVAL, &Evidence::default()), "TooOld");
        assert_eq!(verdict(libc::ENOMEM, &Evidence::default()), "Memory");
        assert_eq!(verdict(libc::EMFILE, &Evidence::default()), "Other");
    }

    #[test]
    fn every_error_says_what_mends_it() {
        let mends = [
            (ProbeError::Disabled { value: 1 }, "io_uring_group"),
            (ProbeError::Disabled { value: 2 }, "sysctl -w kernel.io_uring_disabled=0"),
            (ProbeError::Filtered, "--security-opt"),
            (ProbeError::Refused, "SELinux"),
            (ProbeError::Absent, "CONFIG_IO_URING"),
            (ProbeError::TooOld, "6.1"),
            (ProbeError::Opcodes(vec!["SEND"]), "6.1"),
            (ProbeError::Memory, "--memory"),
            (ProbeError::Other(io::Error::other("odd")), "man io_uring_setup"),
        ];
        for (error, words) in mends {
            assert!(error.mend().contains(words), "{error}: {}", error.mend());
            assert!(!error.to_string().is_empty());
        }
    }
}
