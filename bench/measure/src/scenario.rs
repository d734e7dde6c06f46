//! What the servers are loaded with.

use std::fmt;
use std::time::Duration;

use load::{Load, Outcome, Schedule, Spacing};
use serde::{Deserialize, Serialize};

/// One kind of load, which all servers get in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scenario {
    pub(crate) path: &'static str,
    pub(crate) connections: u32,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As fast as answers come, so many requests at a time on each connection.
    Saturated { depth: u32 },
    /// So many a second, whatever the answers.
    Rate { rate: u32, spacing: Spacing },
    /// Connections that do nothing.
    Idle,
}

/// What a scenario is called; rows with the same one belong to one table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Name {
    pub(crate) scenario: String,
    pub(crate) connections: u32,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} connections", self.scenario, self.connections)
    }
}

impl Scenario {
    pub(crate) fn name(&self) -> Name {
        let json = if self.path == "/json" { "json " } else { "" };
        let scenario = match self.kind {
            Kind::Saturated { depth: 1 } => format!("{json}saturated"),
            Kind::Saturated { depth } => format!("{json}pipelined by {depth}"),
            Kind::Rate { rate, spacing } => {
                let spacing = match spacing {
                    Spacing::Even => "even".to_owned(),
                    Spacing::Poisson => "Poisson".to_owned(),
                    Spacing::Bursts(size) => format!("in bursts of {size}"),
                };
                format!("{rate}/s {spacing}")
            }
            Kind::Idle => "idle".to_owned(),
        };
        Name { scenario, connections: self.connections }
    }

    /// Loads a server for so long. The same seed gives the same load.
    pub(crate) fn run(&self, load: &mut Load, duration: Duration, seed: u64) -> Outcome {
        match self.kind {
            Kind::Rate { rate, spacing } => {
                let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
                load.at_rate(Schedule::new(spacing, rate, nanoseconds, seed))
            }
            Kind::Saturated { depth } => load.saturated(depth, duration),
            Kind::Idle => unreachable!("idle connections are not loaded"),
        }
    }
}
