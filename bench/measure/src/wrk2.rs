//! The same rate by wrk2, once: a check of our own generator's figures by one that others wrote.
//!
//! wrk2 sends what is due once a millisecond, so that it compares with bursts.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use crate::process::Snapshot;
use crate::record::Wrk2;
use crate::scenario::Scenario;
use crate::server::Server;

/// wrk2 spends the first ten seconds on calibration, and discards what it measured then; CPU time is counted from the
/// beginning.
const SECONDS: u32 = 12;

pub(crate) fn measure(
    program: &Path,
    server: &Server,
    scenario: &Scenario,
    rate: u32,
) -> Result<Wrk2, Box<dyn Error>> {
    let target = server.target(scenario.path);
    let before = Snapshot::take(server.pid())?;
    let output = Command::new(program)
        .args(["-t1", &format!("-c{}", scenario.connections), &format!("-d{SECONDS}s"), &format!("-R{rate}")])
        .arg(format!("http://{}{}", target.address, target.path))
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let spent = Snapshot::take(server.pid())?.since(&before).ok_or("a thread of the server has ended")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let requests = requests(&text).ok_or_else(|| format!("wrk2 names no number of requests:\n{text}"))?;
    #[expect(clippy::cast_precision_loss, reason = "counts and nanoseconds of seconds")]
    let cpu_us_per_request = spent.cpu_nanoseconds as f64 / 1e3 / requests.max(1) as f64;
    Ok(Wrk2 { name: scenario.name(), server: server.name.clone(), cpu_us_per_request, requests })
}

/// From the line `  11998 requests in 12.00s, 1.72MB read`.
fn requests(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_requests_is_found() {
        let text = "Running 12s test @ http://127.0.0.1:1/\n  11998 requests in 12.00s, 1.72MB read\nRequests/sec: 999.8";
        assert_eq!(requests(text), Some(11_998));
        assert_eq!(requests("unable to connect"), None);
    }
}
