//! What `serve` says when it serves.

use super::apps::AppName;
use kiang::Started;
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Version, app, cores, kernel and features, then an address a line.
pub(crate) fn banner(app: AppName, started: &Started) -> String {
    let mut text = format!(
        "kiang {} serves the app `{app}` on {}\nkernel {}, io_uring with {}",
        env!("CARGO_PKG_VERSION"),
        cpus(&started.cores),
        started.kernel,
        started.features.join(", ")
    );
    for addr in &started.addrs {
        // The form of this line is a promise: scripts wait for it.
        let _ = write!(text, "\nlistening on http://{addr}/");
        if let Some(local) = local(*addr) {
            let _ = write!(text, "\n    from this machine: http://{local}/");
        }
    }
    text
}

/// The address to open from this machine, for one that stands for all addresses of this machine.
fn local(addr: SocketAddr) -> Option<SocketAddr> {
    match addr {
        SocketAddr::V4(addr) if addr.ip().is_unspecified() => Some((Ipv4Addr::LOCALHOST, addr.port()).into()),
        SocketAddr::V6(addr) if addr.ip().is_unspecified() => Some((Ipv6Addr::LOCALHOST, addr.port()).into()),
        _ => None,
    }
}

/// `2 cores (CPUs 0-1)`: runs of numbers are drawn together, since a large machine has hundreds.
fn cpus(cpus: &[usize]) -> String {
    let mut cpus = cpus.to_vec();
    cpus.sort_unstable();
    let runs: Vec<_> = cpus
        .chunk_by(|one, next| one + 1 == *next)
        .map(|run| match run {
            [one] => one.to_string(),
            run => format!("{}-{}", run[0], run[run.len() - 1]),
        })
        .collect();
    match cpus.len() {
        1 => format!("1 core (CPU {})", runs.join(",")),
        count => format!("{count} cores (CPUs {})", runs.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_cpus_are_drawn_together() {
        assert_eq!(cpus(&[3]), "1 core (CPU 3)");
        assert_eq!(cpus(&[0, 1]), "2 cores (CPUs 0-1)");
        assert_eq!(cpus(&[5, 0, 2, 3, 4, 9]), "6 cores (CPUs 0,2-5,9)");
    }

    #[test]
    fn an_address_for_all_is_shown_as_one_to_open() {
        let shown = |addr: &str| local(addr.parse().expect("valid")).map(|addr| addr.to_string());
        assert_eq!(shown("0.0.0.0:80").as_deref(), Some("127.0.0.1:80"));
        assert_eq!(shown("[::]:80").as_deref(), Some("[::1]:80"));
        assert_eq!(shown("127.0.0.1:80"), None);
        assert_eq!(shown("192.0.2.1:80"), None);
    }
}
