//! `kiang doctor`: prints what was found.

use super::{Failure, say};
use kiang::ListenAddr;
use kiang::doctor::{Finding, Verdict, examine};
use std::process::ExitCode;

/// Examines the machine and prints the findings. The exit code says whether the server could run.
pub(super) fn print(addrs: &[ListenAddr], json: bool) -> Result<ExitCode, Failure> {
    let findings = examine(addrs);
    if json {
        let text = serde_json::to_string_pretty(&findings)
            .map_err(|error| Failure::Fault(format!("the findings cannot be written as JSON: {error}")))?;
        say(&text);
    } else {
        for finding in &findings {
            say(&finding.to_string());
        }
        say(&summary(&findings));
    }
    let fails = findings.iter().any(|finding| finding.verdict == Verdict::Fails);
    Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn summary(findings: &[Finding]) -> String {
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    match (count(Verdict::Fails), count(Verdict::Warning)) {
        (0, 0) => "\nThis machine is ready for `kiang serve`.".into(),
        (0, _) => {
            "\nThis machine will do for `kiang serve`; mending the warnings makes it serve better.".into()
        }
        _ => "\n`kiang serve` cannot start here until what FAILS is mended.".into(),
    }
}
