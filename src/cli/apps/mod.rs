//! The applications that the binary brings along.

mod bench;
mod echo;
mod items;

use items::Item;
use kiang::{App, Core, Limits};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// An application of `--app`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AppName {
    /// The endpoints of two public benchmarks, `TechEmpower` and `HttpArena`.
    #[default]
    Bench,
    /// Answers each request with the request itself.
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

    /// Reads the data that the application serves.
    pub(crate) fn load(self, dataset: Option<&Path>) -> Result<Loaded, String> {
        Ok(match (self, dataset) {
            (Self::Bench, Some(path)) => Loaded::Bench(Item::read(path)?),
            (Self::Bench, None) => Loaded::Bench(Item::built_in()),
            (Self::Echo, _) => Loaded::Echo,
        })
    }
}

/// An application with its data, to be built on each core.
pub(crate) enum Loaded {
    Bench(Vec<Item>),
    Echo,
}

impl Loaded {
    /// The application for one core.
    pub(crate) fn build(&self, core: Core, limits: &Limits) -> App {
        match self {
            Self::Bench(items) => bench::app(core, items),
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
