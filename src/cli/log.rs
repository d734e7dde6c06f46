//! The log on stderr, as text or as JSON. A thread of its own writes, so that a stderr that nobody reads holds up no
//! core.

use super::{Failure, unknown_variables};
use env_logger::{Env, Target};
use kiang::AccessLog;
use kiang::logging::{Timestamp, Writer};
use log::Level;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;
use std::panic::{self, PanicHookInfo};
use std::str::FromStr;
use std::time::{Duration, SystemTime};
use std::{env, fmt, thread};

/// The variable that says what is logged.
pub(super) const VARIABLE: &str = "KIANG_LOG";
/// The records of glommio below a warning are about glommio's own work, and help no operator.
const FILTER: &str = "info,glommio=warn";
/// How long the end of the process waits until its last words are written.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// How the log on stderr is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Where the access log goes, as `off`, `-` for stdout, or a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AccessLogTo(pub(crate) Option<AccessLog>);

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("no such format: there are `text`, `json`"),
        }
    }
}

impl FromStr for AccessLogTo {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Err("expected a path, `-` for stdout, or `off`"),
            "off" => Ok(Self(None)),
            "-" => Ok(Self(Some(AccessLog::stdout()))),
            path => Ok(Self(Some(AccessLog::file(path)))),
        }
    }
}

/// The log while it is open. Its drop waits until everything is written.
pub(super) struct Log(Writer);

impl Log {
    /// Starts the log, and says which variables are misspelled.
    pub(super) fn start(format: LogFormat) -> Result<Self, Failure> {
        let notice = move |dropped: u64| {
            let message = format!("{dropped} records of this log were dropped: it is read too slowly");
            format.line(Level::Warn, "kiang::logging", &message)
        };
        let writer = Writer::stderr("kiang-log", notice)
            .map_err(|error| Failure::Fault(format!("cannot start the log on stderr: {error}")))?;
        // An error would mean that another log was started before. No other place starts one.
        let _ = env_logger::Builder::from_env(Env::default().filter_or(VARIABLE, FILTER))
            .format(move |line, record| {
                let message = record.args().to_string();
                line.write_all(format.line(record.level(), record.target(), &message).as_bytes())
            })
            .target(Target::Pipe(Box::new(writer.clone())))
            .try_init();
        let panics = writer.clone();
        panic::set_hook(Box::new(move |panic| tell_panic(panic, format, &panics)));
        let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        for name in unknown_variables(names) {
            log::warn!(
                "the environment variable {name} sets nothing: docs/configuration.md lists those that do"
            );
        }
        Ok(Self(writer))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Records that are not written by now have no other place to go to.
        let _ = self.0.wait(CLOSE_WITHIN);
    }
}

/// Logs a panic, whatever the filter. A core goes on after a panic, and must not wait for the log. Any other thread
/// waits, since the process may be about to end.
fn tell_panic(panic: &PanicHookInfo<'_>, format: LogFormat, writer: &Writer) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("unnamed");
    let place = panic.location().map(|place| format!(" at {place}")).unwrap_or_default();
    let text = match panic.payload().downcast_ref::<String>() {
        Some(text) => text,
        None => panic.payload().downcast_ref::<&str>().copied().unwrap_or("without a message"),
    };
    let mut message = format!("thread {name} panicked{place}: {text}");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        message = format!("{message}\n{backtrace}");
    }
    let line = format.line(Level::Error, "kiang::panic", message.trim_end());
    // A writer never fails.
    let _ = writer.clone().write_all(line.as_bytes());
    // A core's thread is `kiang-` and a number. Other threads have words in place of the number.
    let is_core =
        name.strip_prefix("kiang-").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if !is_core {
        let _ = writer.wait(CLOSE_WITHIN);
    }
}

impl LogFormat {
    /// One record, with the end of its line.
    fn line(self, level: Level, target: &str, message: &str) -> String {
        let time = Timestamp::of(SystemTime::now());
        match self {
            Self::Text => format!("[{time} {level:<5} {target}] {}\n", Printable(message)),
            Self::Json => {
                let thread = thread::current();
                let record = serde_json::json!({
                    "time": &*time,
                    "level": level.as_str().to_ascii_lowercase(),
                    "target": target,
                    "thread": thread.name(),
                    "message": message,
                });
                format!("{record}\n")
            }
        }
    }
}

/// A message for people. Further lines are set in, so that none can pass for a record. Other control characters are
/// escaped.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, line) in self.0.split('\n').enumerate() {
            if number > 0 {
                f.write_str("\n    ")?;
            }
            for part in line.split_inclusive(char::is_control) {
                match part.char_indices().next_back() {
                    Some((at, last)) if last.is_control() => {
                        write!(f, "{}{}", &part[..at], last.escape_default())?;
                    }
                    _ => f.write_str(part)?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_be_made_to_look_like_another_record() {
        let line = LogFormat::Text.line(Level::Info, "here", "a\n[now ERROR there] b\r\x1b[2Jc");
        let (stamp, rest) = line.split_at("[2026-11-22T05:52:10.123Z".len());
        assert!(stamp.starts_with("[20") && stamp.ends_with('Z'), "{stamp}");
        assert_eq!(rest, " INFO  here] a\n    [now ERROR there] b\\r\\u{1b}[2Jc\n");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let line = LogFormat::Json.line(Level::Warn, "here", "a\n\"b\"");
        assert_eq!(line.matches('\n').count(), 1);
        let record: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&record["level"], &record["message"]), (&"warn".into(), &"a\n\"b\"".into()));
        assert_eq!(record["target"], "here");
    }

    #[test]
    fn an_access_log_goes_to_a_file_to_stdout_or_nowhere() {
        let parsed = |text: &str| text.parse::<AccessLogTo>().map(|to| to.0);
        assert_eq!(parsed("off"), Ok(None));
        assert_eq!(parsed("-"), Ok(Some(AccessLog::stdout())));
        assert_eq!(parsed("./off"), Ok(Some(AccessLog::file("./off"))));
        assert!(parsed("").is_err());
    }
}
