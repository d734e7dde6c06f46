//! How much memory this process may have.

use super::cgroup;
use rustix::system::sysinfo;

/// In bytes: the tightest limit of the control groups, or the machine's memory, whichever is less.
pub(crate) fn usable_memory() -> u64 {
    let machine = sysinfo();
    // The fields' types differ between machines.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "`totalram` has 32 or 64 bits")]
    let machine = u64::from(machine.totalram).saturating_mul(u64::from(machine.mem_unit).max(1));
    cgroup::memory_limit().map_or(machine, |limit| limit.min(machine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_may_have_some_memory() {
        assert!(usable_memory() > 16 << 20, "{}", usable_memory());
    }
}
