//! The applications that the binary brings along.

mod bench;
mod echo;
mod items;

use kiang::{App, Core, Limits};
use std::fmt;
use std::str::FromStr;

/// An application of `--app`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AppName {
    /// The endpoints of two public benchmarks, `TechEmpower` and `HttpArena`.
    #[default]
    Bench,
    /// Answers what it was sent.
    Echo,
}

impl AppName {
    const ALL: [Self; 2] = [Self::Bench, Self::Echo];

    fn name(self) -> &'static str {
        match self {
            Self::Bench => "bench",
            Self::Echo => "echo",
        }
    }

    /// The application for one core.
    pub(crate) fn build(self, core: Core, limits: &Limits) -> App {
        match self {
            Self::Bench => bench::app(core),
            Self::Echo => echo::app(limits.buffered_body_bytes),
        }
    }
}

impl FromStr for AppName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|app| app.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(|app| format!("`{}`", app.name())).join(", ");
            format!("no such app: there are {names}")
        })
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
