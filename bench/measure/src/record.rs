//! What is written down: one line of JSON each, from which the tables are made.

use load::Outcome;
use serde::{Deserialize, Serialize};

use crate::scenario::Name;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum Record {
    /// The machine and the settings: the first line.
    Run(Run),
    Slice(Slice),
    Calls(Calls),
    Idle(Idle),
    Wrk2(Wrk2),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) began: String,
    pub(crate) revision: String,
    pub(crate) kernel: String,
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) load_average: String,
    pub(crate) rounds: u32,
    pub(crate) slice_seconds: f64,
    pub(crate) server_cpu: usize,
    pub(crate) client_cpu: usize,
}

/// One server under one load for one slice of time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Slice {
    pub(crate) name: Name,
    pub(crate) round: u32,
    pub(crate) server: String,
    /// Why it does not count; none as a rule.
    pub(crate) refused: Option<String>,
    /// Of all the server's threads, user and system.
    pub(crate) cpu_us_per_request: f64,
    pub(crate) voluntary_switches_per_request: f64,
    pub(crate) involuntary_switches_per_request: f64,
    /// The share of the time for which the server ran.
    pub(crate) busy: f64,
    /// The share of the time for which the server was ready, and something else ran on its core.
    pub(crate) waited: f64,
    /// The share of the time that the hypervisor took from the server's core, and from the generator's.
    pub(crate) server_steal: f64,
    pub(crate) client_steal: f64,
    pub(crate) outcome: Outcome,
}

/// How many system calls a request took, counted in a pass of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Calls {
    pub(crate) name: Name,
    pub(crate) server: String,
    /// `perf`, or `strace`, which slows the server down.
    pub(crate) counted_by: String,
    pub(crate) per_request: f64,
    /// Why the count is not to be believed; none as a rule.
    pub(crate) refused: Option<String>,
}

/// What idle connections take.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Idle {
    pub(crate) name: Name,
    pub(crate) server: String,
    pub(crate) bytes_per_connection: u64,
}

/// The same rate by wrk2, as a check.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Wrk2 {
    pub(crate) name: Name,
    pub(crate) server: String,
    pub(crate) cpu_us_per_request: f64,
    pub(crate) requests: u64,
}
