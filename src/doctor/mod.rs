//! Checks whether this machine can run the engine, and says what would mend it.
//!
//! `kiang doctor` prints what [`examine`] finds; `kiang serve` refuses to start, with the same words, when
//! one of the findings [fails](Verdict::Fails). A program on the library can do the same:
//!
//! ```no_run
//! use kiang::doctor::{self, Verdict};
//!
//! let findings = doctor::examine(&["127.0.0.1:8080".parse()?]);
//! for finding in findings.iter().filter(|finding| finding.verdict == Verdict::Fails) {
//!     eprintln!("{finding}");
//! }
//! # Ok::<(), kiang::Error>(())
//! ```

mod checks;
mod facts;
mod port;

use serde::Serialize;
use std::fmt;

use crate::address::ListenAddr;

/// Bytes that the soft limit of locked memory (`RLIMIT_MEMLOCK`) must have. glommio reads the limit itself, and wants
/// them also of a process whose capabilities lift the limit.
pub const MEMLOCK_NEEDED: u64 = 512 * 1024;

/// Examines this machine, and whether these addresses are free to listen on.
///
/// The examination takes a few milliseconds. A port that no visible process holds takes up to a second longer, because
/// the sockets of a process outlive the process by a moment.
pub fn examine(addrs: &[ListenAddr]) -> Vec<Finding> {
    facts::Facts::gather(addrs).findings()
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The name of the check: `kernel`, `io_uring`, `memlock`, `open files`, `somaxconn`, `tcp_migrate_req`,
    /// `governor`, `cpu quota`, `memory limit`, `port ADDRESS`.
    pub check: String,
    /// The value that was found, and the one that should be.
    pub found: String,
    /// Whether it will do.
    pub verdict: Verdict,
    /// What to do, as a command where there is one. Never `None` unless the verdict is fine.
    pub mend: Option<String>,
}

/// Whether what was found will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing to do.
    Fine,
    /// The engine runs, but not as well as it could.
    Warning,
    /// The engine cannot run like this.
    Fails,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {}: {}", self.verdict, self.check, self.found)?;
        match &self.mend {
            Some(mend) => write!(f, "\n         to mend it: {mend}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fine => "fine",
            Self::Warning => "warning",
            Self::Fails => "FAILS",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_its_mend_another() {
        let mut finding =
            Finding { check: "kernel".into(), found: "5.4".into(), verdict: Verdict::Fails, mend: None };
        assert_eq!(finding.to_string(), "FAILS    kernel: 5.4");
        finding.mend = Some("a newer one".into());
        assert_eq!(finding.to_string(), "FAILS    kernel: 5.4\n         to mend it: a newer one");
    }

    #[test]
    fn this_machine_is_examined_for_every_check_and_address() {
        let addrs = ["127.0.0.1:0".parse().expect("valid"), "[::1]:0".parse().expect("valid")];
        let checks: Vec<_> = examine(&addrs).into_iter().map(|finding| finding.check).collect();
        let expected = [
            "kernel",
            "io_uring",
            "memlock",
            "open files",
            "somaxconn",
            "tcp_migrate_req",
            "governor",
            "cpu quota",
            "memory limit",
        ];
        assert_eq!(checks[..expected.len()], expected);
        assert_eq!(checks[expected.len()..], ["port 127.0.0.1:0", "port [::1]:0"]);
    }
}
