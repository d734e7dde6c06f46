//! One server, loaded for one slice of time.

use std::error::Error;
use std::thread;
use std::time::Duration;

use load::{Load, Outcome};

use crate::process::{Snapshot, Spent, Steal};
use crate::record::Slice;
use crate::scenario::Scenario;
use crate::server::Server;
use crate::settings::Settings;

/// How long the server gets to close a slice's connections before the next server has the core.
const SETTLE: Duration = Duration::from_millis(50);
/// For how much of a slice something else may have run on the server's core while the server was ready.
const MOST_WAITED: f64 = 0.05;

/// Opens the connections, loads the server until it is warm, and then measures.
pub(crate) fn measure(
    server: &Server,
    scenario: &Scenario,
    round: u32,
    settings: &Settings,
) -> Result<Slice, Box<dyn Error>> {
    let seed = u64::from(round);
    let target = server.target(scenario.path);
    let mut load = Load::connect(&target, scenario.connections).map_err(|error| server.fault(&error))?;
    let _ = scenario.run(&mut load, settings.warm_up, seed);
    let steal = || (Steal::read(settings.server_cpu), Steal::read(settings.client_cpu));
    let (steal_before, before) = (steal(), Snapshot::take(server.pid())?);
    let outcome = scenario.run(&mut load, settings.slice, seed);
    let (after, steal_after) = (Snapshot::take(server.pid())?, steal());
    drop(load);
    thread::sleep(SETTLE);
    let spent = after.since(&before);
    let mut slice = slice(scenario, round, &server.name, spent.unwrap_or_default(), outcome);
    slice.server_steal = steal_after.0.since(steal_before.0);
    slice.client_steal = steal_after.1.since(steal_before.1);
    if spent.is_none() {
        slice.refused = Some("a thread of the server has ended, and its CPU time is lost".to_owned());
    }
    if let Some(reason) = &slice.refused {
        let fate = if settings.believe_all { "would be refused" } else { "refused" };
        eprintln!("\r{}, round {}, {}: {fate}: {reason}", slice.name, round + 1, slice.server);
    }
    if settings.believe_all {
        slice.refused = None;
    }
    Ok(slice)
}

#[expect(clippy::cast_precision_loss, reason = "counts and nanoseconds of seconds")]
fn slice(scenario: &Scenario, round: u32, server: &str, spent: Spent, outcome: Outcome) -> Slice {
    let requests = outcome.answered.max(1) as f64;
    let nanoseconds = outcome.seconds * 1e9;
    let waited = spent.waited_nanoseconds as f64 / nanoseconds;
    let crowded = || format!("something else ran on the server's core, {:.0} % of the time", waited * 100.0);
    Slice {
        name: scenario.name(),
        round,
        server: server.to_owned(),
        refused: outcome.refusal().or_else(|| (waited > MOST_WAITED).then(crowded)),
        cpu_us_per_request: spent.cpu_nanoseconds as f64 / 1e3 / requests,
        voluntary_switches_per_request: spent.voluntary as f64 / requests,
        involuntary_switches_per_request: spent.involuntary as f64 / requests,
        busy: spent.cpu_nanoseconds as f64 / nanoseconds,
        waited,
        server_steal: 0.0,
        client_steal: 0.0,
        outcome,
    }
}
