//! What `serve` says when it serves.

use super::apps::AppName;
use kiang::{Address, ListenAddr, Started};
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Version, app, cores, kernel and features, then an address a line. `bind` is what was asked for.
pub(crate) fn banner(app: AppName, bind: &[ListenAddr], started: &Started) -> String {
    let mut text = format!(
        "kiang {} serves the app `{app}` on {}\nkernel {}, io_uring with {}",
        env!("CARGO_PKG_VERSION"),
        cpus(&started.cores),
        started.kernel,
        started.features.join(", ")
    );
    let _ = match started.memory {
        Some(bytes) => write!(text, "\nmemory for requests and unsent answers: {} KiB a core", bytes >> 10),
        None => write!(text, "\nmemory for requests and unsent answers: unlimited"),
    };
    // A socket that was passed may take both.
    let is_ours = bind.iter().any(|addr| addr.to_string().starts_with("[::]:"));
    for addr in &started.addrs {
        // The form of these lines is a promise: scripts wait for them.
        let Some(tcp) = addr.tcp() else {
            let _ = write!(text, "\nlistening on {addr}");
            continue;
        };
        let _ = write!(text, "\nlistening on http://{tcp}/");
        if let Some(local) = local(tcp) {
            let _ = write!(text, "\n    from this machine: http://{local}/");
        }
        if let Some(ipv4) = missing_ipv4(tcp, &started.addrs).filter(|_| is_ours) {
            let _ = write!(
                text,
                "\n    IPv6 only: clients of IPv4 need --bind {ipv4} beside it, or --bind :{} for both",
                tcp.port()
            );
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

/// The same port of every IPv4 address, if only that of every IPv6 address is among these: people expect one to be both.
fn missing_ipv4(addr: SocketAddr, all: &[Address]) -> Option<SocketAddr> {
    let ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, addr.port()));
    let is_alone = addr.ip() == Ipv6Addr::UNSPECIFIED && !all.contains(&ipv4.into());
    is_alone.then_some(ipv4)
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

    #[test]
    fn every_ipv6_address_alone_is_said_to_be_ipv6_only() {
        let addr = |text: &str| text.parse::<SocketAddr>().expect("valid");
        let all = |texts: &[&str]| texts.iter().map(|text| addr(text).into()).collect::<Vec<Address>>();
        assert_eq!(missing_ipv4(addr("[::]:80"), &all(&["[::]:80", "0.0.0.0:81"])), Some(addr("0.0.0.0:80")));
        assert_eq!(missing_ipv4(addr("[::]:80"), &all(&["[::]:80", "0.0.0.0:80"])), None);
        assert_eq!(missing_ipv4(addr("[::1]:80"), &all(&["[::1]:80"])), None);
    }
}
