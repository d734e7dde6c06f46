//! `bench-measure`: what a request costs the servers, measured in turn. `scripts/bench.sh` builds everything and calls
//! it; what the figures mean is in `bench/README.md`.

mod calls;
mod process;
mod record;
mod report;
mod run;
mod scenario;
mod server;
mod settings;
mod slice;
mod statistics;
mod wrk2;

use std::error::Error;
use std::process::ExitCode;

use record::Record;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use settings::Command;

fn main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-measure: {error}");
            ExitCode::FAILURE
        }
    }
}

fn work() -> Result<(), Box<dyn Error>> {
    let settings = match Command::parse(std::env::args().skip(1))? {
        Command::Report(path) => {
            let text =
                std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            let records = text.lines().map(serde_json::from_str).collect::<Result<Vec<Record>, _>>()?;
            print!("{}", report::tables(&records));
            return Ok(());
        }
        Command::Measure(settings) => settings,
    };
    // The servers inherit it: 10,000 connections need as many descriptors.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    let journal = run::run(&settings)?;
    print!("{}", report::tables(&journal.records));
    println!("every measurement: {}", journal.path.display());
    Ok(())
}
