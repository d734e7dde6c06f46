//! `kiang serve`: makes sure that the machine will do, then runs the chosen app until it is told to stop.

use super::log::Log;
use super::settings::Config;
use super::{Failure, banner, say};
use kiang::doctor::{Verdict, examine};
use kiang::{ListenAddr, Server};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::process::ExitCode;
use std::thread;

/// Serves until SIGTERM or SIGINT.
pub(super) fn serve(config: &Config) -> Result<ExitCode, Failure> {
    let _log = Log::start(config.log_format)?;
    raise_limits();
    refuse_unless_fit(config)?;
    let (app, asked) = (config.app, config.bind.clone());
    let mut server = bind(config)?
        .cores(config.cores.clone())
        .drain(config.drain)
        .takeover(config.takeover)
        .notify(true)
        .balance(config.balance)
        .limits(config.limits.clone())
        .deadlines(config.deadlines.clone())
        .on_start(move |started| {
            let banner = banner::banner(app, &asked, started);
            // On a thread of its own: a stdout that nobody reads must not keep the process from its end.
            if let Err(error) = thread::Builder::new().spawn(move || say(&banner)) {
                log::warn!("there is no thread to print the banner: {error}");
            }
        });
    if let Some(access_log) = &config.access_log {
        server = server.access_log(access_log.clone());
    }
    let limits = config.limits.clone();
    server.run(move |core| app.build(core, &limits))?;
    Ok(ExitCode::SUCCESS)
}

fn bind(config: &Config) -> kiang::Result<Server> {
    let server = Server::bind(config.bind.as_slice())?.unix_mode(config.unix_mode.0);
    Ok(match config.unix_owner {
        Some(owner) => server.unix_owner(owner.user, owner.group),
        None => server,
    })
}

/// Every failing check in the doctor's words, or nothing.
fn refuse_unless_fit(config: &Config) -> Result<(), Failure> {
    let addrs = if config.takeover { to_examine(&config.bind)? } else { config.bind.clone() };
    let findings = examine(&addrs);
    let failing: Vec<_> = findings.iter().filter(|finding| finding.verdict == Verdict::Fails).collect();
    if failing.is_empty() {
        let warnings: Vec<_> = findings
            .iter()
            .filter(|finding| finding.verdict == Verdict::Warning)
            .map(|finding| finding.check.as_str())
            .collect();
        if !warnings.is_empty() {
            log::info!("this machine could serve better ({}): `kiang doctor` says how", warnings.join(", "));
        }
        return Ok(());
    }
    let failing: Vec<_> = failing.iter().map(ToString::to_string).collect();
    Err(Failure::Fault(format!("cannot serve here\n{}", failing.join("\n"))))
}

/// The addresses that no other server offers: who is to be followed holds its own until it is.
fn to_examine(bind: &[ListenAddr]) -> Result<Vec<ListenAddr>, Failure> {
    let mut all = Vec::new();
    for written in bind {
        all.extend(written.resolve()?);
    }
    all.retain(|addr| !Server::can_take_over(addr.clone()));
    Ok(all.into_iter().map(ListenAddr::from).collect())
}

/// Below this many descriptors a busy server runs out of them.
const FEW_FILES: u64 = 10_000;
const FEW_LOCKED: u64 = 512 * 1024;

/// Raises the soft limits to the hard ones, which needs no privilege.
fn raise_limits() {
    let files = raise(Resource::Nofile);
    if files.is_some_and(|files| files < FEW_FILES) {
        log::warn!(
            "only {} files can be open at a time, each connection takes one: see `kiang doctor`",
            files.unwrap_or_default()
        );
    }
    if getrlimit(Resource::Memlock).current.is_some_and(|locked| locked < FEW_LOCKED) {
        raise(Resource::Memlock);
    }
}

/// The soft limit that is in force afterwards.
fn raise(resource: Resource) -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(resource);
    if current != maximum && setrlimit(resource, Rlimit { current: maximum, maximum }).is_ok() {
        return maximum;
    }
    current
}
