//! The limits of the control groups on processor time and memory (`cgroups(7)`).
//!
//! Both versions are read, and both at once on a hybrid machine. The limit of an ancestor binds too, so the tightest one
//! counts. All paths are below a root that tests replace.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// The hierarchy of version 2 names no controller in `/proc/self/cgroup`.
const UNIFIED: &str = "";
/// A limit of memory from here on means none: version 1 then has the largest multiple of a page below 2^63.
const UNLIMITED: u64 = 1 << 60;

/// The groups of one process.
pub(crate) struct Cgroups {
    root: PathBuf,
    groups: String,
    mounts: String,
}

/// How much processor time the process may have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CpuQuota {
    /// In processors: 1.5 is 150 ms of processor time in 100 ms.
    pub(crate) cpus: f64,
    /// The file with the quota.
    pub(crate) file: PathBuf,
    /// How often the quota was used up, where the kernel counts.
    pub(crate) throttling: Option<Throttling>,
}

/// How often the group with the quota was stopped until the next period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Throttling {
    /// Periods in which the group ran.
    pub(crate) periods: u64,
    /// Periods in which the quota was used up.
    pub(crate) throttled: u64,
}

/// How much memory the process may have, with all others of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryLimit {
    pub(crate) bytes: u64,
    /// The file with the limit.
    pub(crate) file: PathBuf,
}

/// The tightest limit of memory of this process's control groups, in bytes.
pub(crate) fn memory_limit() -> Option<u64> {
    Cgroups::of_this_process().memory_limit().map(|limit| limit.bytes)
}

impl Cgroups {
    pub(crate) fn of_this_process() -> Self {
        Self::below("/")
    }

    /// The same, with this directory in place of `/`.
    fn below(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let read = |name: &str| fs::read_to_string(root.join(name)).unwrap_or_default();
        let (groups, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
        Self { root, groups, mounts }
    }

    /// The tightest quota, if there is any.
    pub(crate) fn cpu_quota(&self) -> Option<CpuQuota> {
        let unified = self.ancestors(UNIFIED).filter_map(|group| {
            let file = group.join("cpu.max");
            let text = self.read(&file)?;
            let (quota, period) = text.split_once(' ')?;
            quota_of(quota, period).map(|cpus| (cpus, file))
        });
        let legacy = self.ancestors("cpu").filter_map(|group| {
            let file = group.join("cpu.cfs_quota_us");
            quota_of(&self.read(&file)?, &self.read(&group.join("cpu.cfs_period_us"))?)
                .map(|cpus| (cpus, file))
        });
        let (cpus, file) = unified.chain(legacy).min_by(|(one, _), (other, _)| one.total_cmp(other))?;
        let throttling = self.throttling(&file);
        Some(CpuQuota { cpus, file, throttling })
    }

    /// The tightest limit, if there is any. `memory.high` counts as one: beyond it the kernel slows the process down.
    pub(crate) fn memory_limit(&self) -> Option<MemoryLimit> {
        let unified =
            self.ancestors(UNIFIED).flat_map(|group| [group.join("memory.max"), group.join("memory.high")]);
        let legacy = self.ancestors("memory").map(|group| group.join("memory.limit_in_bytes"));
        let limits = unified.chain(legacy).filter_map(|file| {
            let bytes = self.read(&file)?.parse().ok().filter(|bytes| *bytes < UNLIMITED)?;
            Some(MemoryLimit { bytes, file })
        });
        limits.min_by_key(|limit| limit.bytes)
    }

    /// Both versions name these two counters alike in `cpu.stat`.
    fn throttling(&self, quota: &Path) -> Option<Throttling> {
        let text = self.read(&quota.with_file_name("cpu.stat"))?;
        let counter = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
            line.parse().ok()
        };
        Some(Throttling { periods: counter("nr_periods")?, throttled: counter("nr_throttled")? })
    }

    /// The directory of this process's group for a controller of version 1, or of the [`UNIFIED`] hierarchy, and those
    /// of its ancestors as far as they are mounted. Paths are as the process sees them, without the root.
    fn ancestors(&self, controller: &str) -> impl Iterator<Item = PathBuf> {
        let place = self.group(controller).zip(self.mount(controller));
        place.into_iter().flat_map(|(group, (mounted, point))| {
            // A group outside of the mount cannot be seen. The limits of the mount's root may bind it all the same.
            let is_inside =
                |below: &&Path| below.components().all(|part| matches!(part, Component::Normal(_)));
            let below = Path::new(&group).strip_prefix(&mounted).ok().filter(is_inside);
            let below = below.map(Path::to_path_buf).unwrap_or_default();
            let depth = below.components().count();
            let own = if depth == 0 { point } else { point.join(below) };
            let all: Vec<_> = own.ancestors().take(depth + 1).map(Path::to_path_buf).collect();
            all
        })
    }

    /// The path of this process's group within its hierarchy: `id:controllers:path`.
    fn group(&self, controller: &str) -> Option<String> {
        let mut lines = self.groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
        let (_, path) = lines.find(|(controllers, _)| controllers.split(',').any(|one| one == controller))?;
        Some(path.to_owned())
    }

    /// The root and the mount point of the hierarchy (`proc_pid_mountinfo(5)`).
    fn mount(&self, controller: &str) -> Option<(PathBuf, PathBuf)> {
        self.mounts.lines().find_map(|line| {
            let (mount, kind) = line.split_once(" - ")?;
            let mut kind = kind.split(' ');
            let (filesystem, options) = (kind.next()?, kind.nth(1)?);
            let is_it = match controller {
                UNIFIED => filesystem == "cgroup2",
                _ => filesystem == "cgroup" && options.split(',').any(|option| option == controller),
            };
            let mut fields = mount.split(' ').skip(3);
            let (root, point) = (fields.next()?, fields.next()?);
            is_it.then(|| (unescape(root).into(), unescape(point).into()))
        })
    }

    fn read(&self, file: &Path) -> Option<String> {
        let below = file.strip_prefix("/").unwrap_or(file);
        Some(fs::read_to_string(self.root.join(below)).ok()?.trim().to_owned())
    }
}

impl CpuQuota {
    /// How many cores can be busy at the same time: the quota, rounded up.
    pub(crate) fn cores(&self) -> usize {
        #[expect(clippy::cast_sign_loss, reason = "a quota is positive")]
        let cores = self.cpus.ceil() as usize;
        cores.max(1)
    }
}

/// A quota in processors; none for `max` or, in version 1, -1.
fn quota_of(quota: &str, period: &str) -> Option<f64> {
    let (quota, period): (i64, i64) = (quota.parse().ok()?, period.parse().ok()?);
    #[expect(clippy::cast_precision_loss, reason = "microseconds of at most a second")]
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

/// Replaces the escapes of mountinfo: a backslash and three octal digits, for blanks and the like.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        if let Some(byte) = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            plain.push(byte.into());
            plain.push_str(&part[3..]);
        } else {
            plain.push('\\');
            plain.push_str(part);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A made-up machine, gone when it is dropped.
    struct Tree(PathBuf);

    impl Tree {
        /// Files by their path and content.
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("kiang-cgroup-{}-{name}", std::process::id()));
            for (path, content) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().expect("it has one")).expect("a folder for temporary files");
                fs::write(path, content).expect("our own folder");
            }
            Self(root)
        }

        fn quota(&self) -> Option<(f64, String)> {
            let quota = Cgroups::below(&self.0).cpu_quota()?;
            Some((quota.cpus, quota.file.display().to_string()))
        }

        fn memory(&self) -> Option<(u64, String)> {
            let limit = Cgroups::below(&self.0).memory_limit()?;
            Some((limit.bytes, limit.file.display().to_string()))
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const V2: &str = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn the_tightest_ancestor_of_version_2_counts() {
        let tree = Tree::new(
            "v2",
            &[
                ("proc/self/cgroup", "0::/a.slice/b.service\n"),
                ("proc/self/mountinfo", V2),
                ("sys/fs/cgroup/a.slice/cpu.max", "150000 100000\n"),
                ("sys/fs/cgroup/a.slice/cpu.stat", "usage_usec 7\nnr_periods 100\nnr_throttled 25\n"),
                ("sys/fs/cgroup/a.slice/memory.max", "max\n"),
                ("sys/fs/cgroup/a.slice/memory.high", "67108864\n"),
                ("sys/fs/cgroup/a.slice/b.service/cpu.max", "400000 100000\n"),
                ("sys/fs/cgroup/a.slice/b.service/memory.max", "134217728\n"),
            ],
        );
        assert_eq!(tree.quota(), Some((1.5, "/sys/fs/cgroup/a.slice/cpu.max".into())));
        assert_eq!(tree.memory(), Some((64 << 20, "/sys/fs/cgroup/a.slice/memory.high".into())));
        let quota = Cgroups::below(&tree.0).cpu_quota().expect("as above");
        assert_eq!(quota.throttling, Some(Throttling { periods: 100, throttled: 25 }));
        assert_eq!(quota.cores(), 2);
    }

    #[test]
    fn in_a_namespace_the_root_of_the_mount_has_limits_too() {
        let tree = Tree::new(
            "namespace",
            &[
                ("proc/self/cgroup", "0::/\n"),
                ("proc/self/mountinfo", V2),
                ("sys/fs/cgroup/cpu.max", "50000 100000\n"),
                ("sys/fs/cgroup/memory.max", "1048576\n"),
            ],
        );
        assert_eq!(tree.quota(), Some((0.5, "/sys/fs/cgroup/cpu.max".into())));
        assert_eq!(Cgroups::below(&tree.0).cpu_quota().map(|quota| quota.cores()), Some(1));
        assert_eq!(tree.memory().map(|(bytes, _)| bytes), Some(1 << 20));
    }

    #[test]
    fn version_1_mounts_its_controllers_apart_and_only_a_part_of_each() {
        let tree = Tree::new(
            "v1",
            &[
                ("proc/self/cgroup", "5:cpu,cpuacct:/docker/abc/sub\n4:memory:/docker/abc\n"),
                (
                    "proc/self/mountinfo",
                    "31 23 0:28 / /sys rw - sysfs sysfs rw\n\
                     40 31 0:30 /docker/abc /sys/fs/cgroup/cpu\\040time ro - cgroup cgroup rw,cpu,cpuacct\n\
                     41 31 0:31 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
                ),
                ("sys/fs/cgroup/cpu time/cpu.cfs_quota_us", "250000\n"),
                ("sys/fs/cgroup/cpu time/cpu.cfs_period_us", "100000\n"),
                ("sys/fs/cgroup/cpu time/sub/cpu.cfs_quota_us", "-1\n"),
                ("sys/fs/cgroup/cpu time/sub/cpu.cfs_period_us", "100000\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ],
        );
        assert_eq!(tree.quota(), Some((2.5, "/sys/fs/cgroup/cpu time/cpu.cfs_quota_us".into())));
        assert_eq!(tree.memory(), None);
    }

    #[test]
    fn on_a_hybrid_machine_both_versions_are_asked() {
        let tree = Tree::new(
            "hybrid",
            &[
                ("proc/self/cgroup", "4:memory:/limited\n1:cpu:/\n0::/other\n"),
                (
                    "proc/self/mountinfo",
                    "40 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                     41 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                     42 31 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
                ),
                ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "300000\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
                ("sys/fs/cgroup/unified/other/cpu.max", "100000 50000\n"),
                ("sys/fs/cgroup/memory/limited/memory.limit_in_bytes", "4096\n"),
            ],
        );
        assert_eq!(tree.quota(), Some((2.0, "/sys/fs/cgroup/unified/other/cpu.max".into())));
        assert_eq!(tree.memory(), Some((4096, "/sys/fs/cgroup/memory/limited/memory.limit_in_bytes".into())));
    }

    #[test]
    fn a_group_that_is_not_mounted_is_taken_for_the_root_of_what_is() {
        for root in ["/pod", "/"] {
            let tree = Tree::new(
                &format!("outside{}", root.len()),
                &[
                    ("proc/self/cgroup", "0::/../../other\n"),
                    (
                        "proc/self/mountinfo",
                        &format!("30 24 0:26 {root} /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
                    ),
                    ("sys/fs/cgroup/cpu.max", "200000 100000\n"),
                ],
            );
            assert_eq!(tree.quota(), Some((2.0, "/sys/fs/cgroup/cpu.max".into())));
        }
    }

    #[test]
    fn no_limit_and_no_groups_are_no_limit() {
        let limitless = [
            ("proc/self/cgroup", "0::/a\n"),
            ("proc/self/mountinfo", V2),
            ("sys/fs/cgroup/a/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/a/memory.max", "max\n"),
        ];
        let odd = [
            ("proc/self/cgroup", "nonsense\n0:\n"),
            ("proc/self/mountinfo", "30 24 - cgroup2\n\n - cgroup2 a b\n"),
        ];
        let broken = [
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", V2),
            ("sys/fs/cgroup/cpu.max", "0 0\n"),
            ("sys/fs/cgroup/memory.max", "-1\n"),
        ];
        let cases: [(&str, &[(&str, &str)]); 4] =
            [("none", &limitless), ("odd", &odd), ("broken", &broken), ("absent", &[])];
        for (name, files) in cases {
            let tree = Tree::new(name, files);
            assert_eq!((tree.quota(), tree.memory()), (None, None), "{name}");
        }
    }
}
