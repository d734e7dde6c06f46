//! `kiang serve`: makes sure that the machine will do, then runs the chosen app until it is told to stop.

use super::log::Log;
use super::settings::Config;
use super::units::Owner;
use super::{Failure, banner, say};
use kiang::doctor::{MEMLOCK_NEEDED, Verdict, examine};
use kiang::{ListenAddr, Server};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGUSR1};
use signal_hook::flag;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;

/// Serves until SIGTERM or SIGINT.
pub(super) fn serve(config: &Config) -> Result<ExitCode, Failure> {
    let _log = Log::start(config.log_format)?;
    raise_limits();
    refuse_unless_fit(config)?;
    let (app, asked) = (config.app, config.bind.clone());
    let loaded = app.load(config.dataset.as_deref()).map_err(Failure::Fault)?;
    let banner = print_later()?;
    let mut server = bind(config)?
        .cores(config.cores.clone())
        .drain(config.drain)
        .takeover(config.takeover)
        .notify(true)
        .signals_until_exit(true)
        .balance(config.balance)
        .limits(config.limits.clone())
        .deadlines(config.deadlines.clone())
        .memory(config.memory)
        .on_start(move |started| {
            // The receiver lives as long as the process.
            let _ = banner.send(banner::banner(app, &asked, started));
        });
    if let Some(access_log) = &config.access_log {
        server = server.access_log(access_log.clone());
    }
    let limits = config.limits.clone();
    server.run(move |core| loaded.build(core, &limits))?;
    Ok(ExitCode::SUCCESS)
}

/// Keeps the signals of a rotation from ending a process that has not begun to serve: a rotation signals every
/// process of the service, also a successor that is just starting. The server gives them their meaning.
pub(super) fn survive_early_signals() {
    for signal in [SIGHUP, SIGUSR1] {
        // Nobody reads the flag. Without a handler, the default action is no worse than before.
        let _ = flag::register(signal, Arc::default());
    }
}

/// Starts a thread that prints one text to stdout: a stdout that nobody reads must not keep the process from its end.
fn print_later() -> Result<Sender<String>, Failure> {
    let (give, given) = channel::<String>();
    let print = move || {
        if let Ok(text) = given.recv() {
            say(&text);
        }
    };
    match thread::Builder::new().name("kiang-banner".into()).spawn(print) {
        Ok(_) => Ok(give),
        Err(error) => Err(Failure::Fault(format!(
            "cannot start a thread: {error}; allow more: pids.max of the cgroup (Docker: --pids-limit, systemd: \
            TasksMax=), or `ulimit -u` of the user"
        ))),
    }
}

fn bind(config: &Config) -> kiang::Result<Server> {
    let Owner { user, group } = config.unix_owner;
    Ok(Server::bind(config.bind.as_slice())?.unix_mode(config.unix_mode.0).unix_owner(user, group))
}

/// Fails with every failing check, in the doctor's words.
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

/// Raises the soft limits to the hard ones. No privilege is needed for that.
fn raise_limits() {
    let files = raise(Resource::Nofile);
    if files.is_some_and(|files| files < FEW_FILES) {
        log::warn!(
            "only {} files can be open at a time, each connection takes one: see `kiang doctor`",
            files.unwrap_or_default()
        );
    }
    if getrlimit(Resource::Memlock).current.is_some_and(|locked| locked < MEMLOCK_NEEDED) {
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
