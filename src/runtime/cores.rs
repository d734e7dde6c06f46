//! Which processors a server runs on.

use super::cgroup::Cgroups;
use crate::error::{Error, Result};
use rustix::thread::sched_getcpu;
use std::fmt;
use std::str::FromStr;

/// Which processors a server runs on, one core of its own on each.
///
/// Written as `all` (those this process may use), a count (`2`: the first two of them), or a list with a comma
/// or a dash (`0,2-5`; `0-0` is processor 0 alone).
///
/// With `all`, a CPU quota of the control group (`cgroups(7)`: `cpu.max`, or version 1's `cpu.cfs_quota_us`) bounds their
/// number: no more than the quota, rounded up. More cores would use the quota up sooner, and then all stand still until
/// the next period. The first processor taken is then the one that this process runs on: processes that share a machine
/// by quotas would else all take the machine's first processors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cores(Choice);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Choice {
    #[default]
    All,
    Count(usize),
    List(Vec<usize>),
}

impl Cores {
    /// Every processor that this process may use, or as many as its CPU quota allows.
    pub const fn all() -> Self {
        Self(Choice::All)
    }

    /// The first `n` processors that this process may use.
    pub const fn count(n: usize) -> Self {
        Self(Choice::Count(n))
    }

    /// These processors, as the kernel counts them.
    pub fn list(cpus: impl IntoIterator<Item = usize>) -> Self {
        let mut cpus: Vec<_> = cpus.into_iter().collect();
        cpus.sort_unstable();
        cpus.dedup();
        Self(Choice::List(cpus))
    }

    /// The processors meant, by the kernel's numbers, out of those that this process may use.
    ///
    /// # Errors
    /// If there are not as many, or one of them does not exist.
    pub fn cpus(&self) -> Result<Vec<usize>> {
        self.choose(&available()?, &Share::of_this_process())
    }

    /// The same as [`cpus`](Self::cpus), with a line in the log where a quota decides, or should have.
    pub(crate) fn cpus_to_run_on(&self) -> Result<Vec<usize>> {
        let available = available()?;
        let cpus = self.choose(&available, &Share::of_this_process())?;
        if let Some(quota) = Cgroups::of_this_process().cpu_quota() {
            let (taken, allowed, file) = (cpus.len(), quota.cpus, quota.file.display());
            if taken > quota.cores() {
                log::warn!(
                    "{taken} cores share a CPU quota of {allowed} processors ({file}): when it is used up, all of \
                    them stand still until the next period"
                );
            } else if taken < available.len() && self.0 == Choice::All {
                log::info!(
                    "{taken} of {} processors are used: the CPU quota is {allowed} ({file})",
                    available.len()
                );
            }
        }
        Ok(cpus)
    }

    fn choose(&self, available: &[usize], share: &Share) -> Result<Vec<usize>> {
        let there_are = || {
            let list: Vec<_> = available.iter().map(usize::to_string).collect();
            format!("this process may use these: {}", list.join(","))
        };
        match &self.0 {
            Choice::All => Ok(share.out_of(available)),
            Choice::Count(0) => {
                Err(Error::new("a server needs at least one core; for processor 0 alone write 0-0"))
            }
            Choice::Count(n) if *n > available.len() => {
                Err(Error::new(format!("{n} cores were asked for, but {}", there_are())))
            }
            Choice::Count(n) => Ok(available[..*n].to_vec()),
            Choice::List(cpus) if cpus.is_empty() => Err(Error::new("the list of cores is empty")),
            Choice::List(cpus) => match cpus.iter().find(|cpu| !available.contains(cpu)) {
                Some(cpu) => Err(Error::new(format!("processor {cpu} was asked for, but {}", there_are()))),
                None => Ok(cpus.clone()),
            },
        }
    }
}

/// The share of the machine that `all` stands for.
struct Share {
    /// Most cores, by the CPU quota.
    most: usize,
    /// The processor that the calling thread runs on.
    here: usize,
}

impl Share {
    fn of_this_process() -> Self {
        let quota = Cgroups::of_this_process().cpu_quota();
        Self { most: quota.map_or(usize::MAX, |quota| quota.cores()), here: sched_getcpu() }
    }

    /// The processors from `here` on, and behind the last one from the first again; in order.
    fn out_of(&self, available: &[usize]) -> Vec<usize> {
        let first = available.iter().position(|cpu| *cpu >= self.here).unwrap_or_default();
        let from_here = available[first..].iter().chain(&available[..first]);
        let mut cpus: Vec<_> = from_here.take(self.most).copied().collect();
        cpus.sort_unstable();
        cpus
    }
}

/// The processors that the calling thread may use, in order.
pub(super) fn available() -> Result<Vec<usize>> {
    let mut available: Vec<_> = core_affinity::get_core_ids()
        .ok_or_else(|| Error::new("the kernel does not tell which processors this process may use"))?
        .into_iter()
        .map(|core| core.id)
        .collect();
    available.sort_unstable();
    Ok(available)
}

impl FromStr for Cores {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // More processors than any kernel counts: a range must not become a list that fills memory.
        const MOST: usize = 8192;
        let bad = || {
            Error::new(format!(
                "cores cannot be {text:?}: write all, a count such as 2, or a list such as 0,2-5 (0-0 for processor 0 alone)"
            ))
        };
        let number = |text: &str| text.trim().parse::<usize>().ok().filter(|n| *n < MOST).ok_or_else(bad);
        if text.trim().eq_ignore_ascii_case("all") {
            return Ok(Self::all());
        }
        if !text.contains([',', '-']) {
            return number(text).map(Self::count);
        }
        let mut cpus = Vec::new();
        for part in text.split(',') {
            match part.split_once('-') {
                Some((first, last)) => match (number(first)?, number(last)?) {
                    (first, last) if first <= last => cpus.extend(first..=last),
                    _ => return Err(bad()),
                },
                None => cpus.push(number(part)?),
            }
        }
        Ok(Self::list(cpus))
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Choice::All => f.write_str("all"),
            Choice::Count(n) => write!(f, "{n}"),
            Choice::List(cpus) if cpus.len() == 1 => write!(f, "{0}-{0}", cpus[0]),
            Choice::List(cpus) => {
                let list: Vec<_> = cpus.iter().map(usize::to_string).collect();
                f.write_str(&list.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Share = Share { most: usize::MAX, here: 0 };

    #[test]
    fn a_quota_bounds_all_but_no_number_that_was_asked_for() {
        let available = [0, 1, 2, 3, 6];
        let share = |most, here| Share { most, here };
        let all = |share| Cores::all().choose(&available, &share).expect("there are some");
        assert_eq!(all(share(2, 0)), [0, 1]);
        assert_eq!(all(share(2, 3)), [3, 6]);
        assert_eq!(all(share(3, 6)), [0, 1, 6]);
        assert_eq!(all(share(1, 5)), [6], "the processor it ran on may be gone");
        assert_eq!(all(share(1, 7)), [0]);
        assert_eq!(all(share(9, 3)), available);
        assert_eq!(Cores::count(3).choose(&available, &share(1, 0)).expect("there are"), [0, 1, 2]);
        assert_eq!(Cores::list([2, 6]).choose(&available, &share(1, 0)).expect("there are"), [2, 6]);
    }

    #[test]
    fn cores_are_written_as_all_a_count_or_a_list() {
        let available = [0, 1, 2, 3, 6];
        let chosen = |text: &str| text.parse::<Cores>().and_then(|cores| cores.choose(&available, &ALL)).ok();
        assert_eq!(chosen("all").as_deref(), Some(&available[..]));
        assert_eq!(chosen("2").as_deref(), Some(&[0, 1][..]));
        assert_eq!(chosen("5").as_deref(), Some(&available[..]));
        assert_eq!(chosen("0,2-3").as_deref(), Some(&[0, 2, 3][..]));
        assert_eq!(chosen("3-3").as_deref(), Some(&[3][..]));
        assert_eq!(chosen("6,1,1").as_deref(), Some(&[1, 6][..]));
        for bad in ["", "0", "6", "4-4", "0-", "-1", "3-2", "a", "1,,2", "0-99999999999", "1.5"] {
            assert_eq!(chosen(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_is_displayed_parses_to_the_same() {
        for text in ["all", "2", "0,2,3", "3-3"] {
            let cores: Cores = text.parse().unwrap();
            assert_eq!(cores.to_string(), text);
            assert_eq!(cores.to_string().parse::<Cores>().unwrap(), cores);
        }
    }

    #[test]
    fn an_error_names_what_there_is() {
        let error = "7-7".parse::<Cores>().unwrap().choose(&[0, 1], &ALL).unwrap_err().to_string();
        assert!(error.contains("processor 7") && error.contains("these: 0,1"), "{error}");
    }
}
