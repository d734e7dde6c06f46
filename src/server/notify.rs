//! What the service manager is told (`sd_notify(3)`): ready, stopping, and that the cores are alive.

use std::env;
use std::fmt::Write;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::runtime::{Mailbox, Message};
use crate::threads;

/// Where the service manager listens. A clone tells the same one.
#[derive(Clone)]
pub(super) struct Notifier(Arc<Ear>);

struct Ear {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Notifier {
    /// The one that the environment names, if it names one (`NOTIFY_SOCKET`).
    pub(super) fn of_environment() -> Option<Self> {
        let named = env::var_os("NOTIFY_SOCKET")?;
        Self::at(named.as_bytes())
            .inspect_err(|error| {
                log::warn!(
                    "the service manager cannot be told anything at `{}` (NOTIFY_SOCKET): {error}",
                    named.to_string_lossy()
                );
            })
            .ok()
    }

    /// At this path, or this abstract name if it begins with `@`.
    fn at(named: &[u8]) -> io::Result<Self> {
        let address = match named {
            [b'/', ..] => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(named))?,
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "a path or `@name` is expected")),
        };
        let socket = UnixDatagram::unbound()?;
        // Neither the end of the server nor a core's may wait for a service manager that takes nothing.
        socket.set_nonblocking(true)?;
        Ok(Self(Arc::new(Ear { socket, address })))
    }

    /// Every core serves. One that took over from another process is the service's main process from now on.
    pub(super) fn ready(&self, addrs: &[Address], was_taken: bool) {
        let addrs: Vec<_> = addrs.iter().map(ToString::to_string).collect();
        let mut text = format!("READY=1\nSTATUS=serving on {}", addrs.join(", "));
        if was_taken {
            // Writing to a text cannot fail.
            let _ = write!(text, "\nMAINPID={}", std::process::id());
        }
        self.say(&text);
    }

    /// No new connections are accepted any more.
    pub(super) fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=draining");
    }

    fn say(&self, text: &str) {
        if let Err(error) = self.0.socket.send_to_addr(text.as_bytes(), &self.0.address) {
            log::warn!(
                "the service manager was not told `{}`: {error}",
                text.lines().next().unwrap_or_default()
            );
        }
    }
}

/// Waits until every core has run a message. Whether all have; if one has ended instead, it will not.
pub(super) fn every_core_answers(mailboxes: &[Arc<Mailbox>]) -> bool {
    let (answer, answers) = channel();
    for mailbox in mailboxes {
        let answer = answer.clone();
        mailbox.post(Message::Run(Box::new(move |_| {
            // The receiver is there as long as anybody is to answer.
            let _ = answer.send(());
        })));
    }
    drop(answer);
    answers.iter().count() == mailboxes.len()
}

/// Tells the service manager that the server is alive, on a thread of its own, until it is dropped.
///
/// Alive is a server of which every core runs a message: one that a handler holds, or that hangs in the kernel, is not,
/// and the service manager starts it anew (`WatchdogSec=` in `systemd.service(5)`).
pub(super) struct Watchdog {
    news: Sender<News>,
    thread: Option<JoinHandle<()>>,
}

enum News {
    /// A core has run the message, or has ended, as every core does some time while the server drains.
    Answer,
    Stop,
}

/// Answers when it is dropped, with the message that it is in.
struct Answer(Sender<News>);

impl Drop for Answer {
    fn drop(&mut self) {
        // Nobody waits for it once the server is over.
        let _ = self.0.send(News::Answer);
    }
}

impl Watchdog {
    /// The one that the environment asks of this process, if it asks for one (`WATCHDOG_USEC`, `WATCHDOG_PID`).
    pub(super) fn of_environment(notifier: Notifier, mailboxes: Arc<[Arc<Mailbox>]>) -> Option<Self> {
        let read = |name| env::var(name).ok();
        let limit = limit(read("WATCHDOG_USEC").as_deref(), read("WATCHDOG_PID").as_deref())?;
        Self::start(notifier, mailboxes, limit / 2)
            .inspect_err(|error| log::warn!("the service manager's watchdog gets no sign of life: {error}"))
            .ok()
    }

    fn start(notifier: Notifier, mailboxes: Arc<[Arc<Mailbox>]>, every: Duration) -> io::Result<Self> {
        let (news, heard) = channel();
        let answers = news.clone();
        let thread = threads::start("kiang-watchdog", move || {
            let mut next = Instant::now();
            loop {
                for mailbox in &*mailboxes {
                    let answer = Answer(answers.clone());
                    mailbox.post(Message::Run(Box::new(move |_| drop(answer))));
                }
                // Nothing is asked again before all have answered: no mailbox ever holds two of these.
                for _ in 0..mailboxes.len() {
                    // A sender is here: the channel does not end.
                    let Ok(News::Answer) = heard.recv() else { return };
                }
                notifier.say("WATCHDOG=1");
                next = (next + every).max(Instant::now());
                match heard.recv_timeout(next.saturating_duration_since(Instant::now())) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(_) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(Self { news, thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let _ = self.news.send(News::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How long the service manager waits for a sign of life of this process.
fn limit(micros: Option<&str>, pid: Option<&str>) -> Option<Duration> {
    if pid.is_some_and(|pid| pid != std::process::id().to_string()) {
        return None;
    }
    let micros = micros?.parse().ok().filter(|micros| *micros > 0);
    if micros.is_none() {
        log::warn!(
            "WATCHDOG_USEC is no number of microseconds above zero: the service manager is told nothing"
        );
    }
    micros.map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_for_the_process_it_names() {
        let own = std::process::id().to_string();
        assert_eq!(limit(Some("2000000"), Some(&own)), Some(Duration::from_secs(2)));
        assert_eq!(limit(Some("2000000"), None), Some(Duration::from_secs(2)));
        assert_eq!(limit(Some("2000000"), Some("1")), None);
        for none in [None, Some("0"), Some("soon")] {
            assert_eq!(limit(none, None), None);
        }
    }
}
