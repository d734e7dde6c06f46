//! `bench-load [option]... http://ADDRESS:PORT/PATH`: one run, told as one line of JSON.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use load::{Load, Outcome, Schedule, Spacing, Target};

const USAGE: &str = "\
usage: bench-load [option]... http://ADDRESS:PORT/PATH

Loads an HTTP/1.1 server from one thread that spins, and prints one line of JSON. Exit code 1: the run is not to be
believed, and `refused` says why.

  --rate N          requests a second in all; without it: as many as are answered
  --spacing NAME    even (default), poisson, or bursts (of ten), with --rate
  --depth N         requests that are sent at once on a connection, without --rate (1)
  --connections N   (64)
  --duration S      seconds that are measured (5)
  --warm-up S       seconds before, not counted (1)
  --seed N          of the Poisson spacing (1)
  --cpu N           the processor to spin on; give it one that nothing else uses
";

struct Options {
    target: Target,
    rate: Option<u32>,
    spacing: Spacing,
    depth: u32,
    connections: u32,
    duration: Duration,
    warm_up: Duration,
    seed: u64,
    cpu: Option<usize>,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)) {
        Ok(Some(options)) => run(&options).unwrap_or_else(|error| {
            eprintln!("bench-load: {error}");
            ExitCode::FAILURE
        }),
        Ok(None) => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench-load: {error}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    if let Some(cpu) = options.cpu {
        load::pin(cpu)?;
    }
    let mut load = Load::connect(&options.target, options.connections)?;
    once(&mut load, options, options.warm_up);
    let outcome = once(&mut load, options, options.duration);
    let refused = outcome.refusal();
    let mut line = serde_json::to_value(&outcome)?;
    line["refused"] = serde_json::to_value(&refused)?;
    println!("{line}");
    Ok(if refused.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn once(load: &mut Load, options: &Options, duration: Duration) -> Outcome {
    match options.rate {
        Some(rate) => {
            let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
            load.at_rate(Schedule::new(options.spacing, rate, nanoseconds, options.seed))
        }
        None => load.saturated(options.depth, duration),
    }
}

/// None: help was asked for.
fn options(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, Box<dyn Error>> {
    let mut options = Options {
        target: Target { address: "127.0.0.1:0".parse()?, path: String::new(), body: None },
        rate: None,
        spacing: Spacing::Even,
        depth: 1,
        connections: 64,
        duration: Duration::from_secs(5),
        warm_up: Duration::from_secs(1),
        seed: 1,
        cpu: None,
    };
    while let Some(argument) = arguments.next() {
        if argument == "--help" {
            return Ok(None);
        }
        let Some(name) = argument.strip_prefix("--") else {
            let url = argument.strip_prefix("http://").ok_or("the URL must begin with http://")?;
            let (address, path) = url.split_once('/').ok_or("the URL must have a path")?;
            options.target.address = address.parse().map_err(|error| format!("{address}: {error}"))?;
            options.target.path = format!("/{path}");
            continue;
        };
        let value = arguments.next().ok_or_else(|| format!("--{name} wants a value"))?;
        let wrong = |error: &dyn Error| format!("--{name} {value}: {error}");
        match name {
            "rate" => options.rate = Some(positive(&value).map_err(|error| wrong(&*error))?),
            "spacing" => options.spacing = value.parse()?,
            "depth" => options.depth = positive(&value).map_err(|error| wrong(&*error))?,
            "connections" => options.connections = positive(&value).map_err(|error| wrong(&*error))?,
            "duration" => options.duration = seconds(&value).map_err(|error| wrong(&*error))?,
            "warm-up" => options.warm_up = seconds(&value).map_err(|error| wrong(&*error))?,
            "seed" => options.seed = value.parse().map_err(|error| wrong(&error))?,
            "cpu" => options.cpu = Some(value.parse().map_err(|error| wrong(&error))?),
            _ => return Err(format!("there is no option --{name}").into()),
        }
    }
    if options.target.path.is_empty() {
        return Err("which server? Give its URL.".into());
    }
    Ok(Some(options))
}

fn positive(value: &str) -> Result<u32, Box<dyn Error>> {
    match value.parse()? {
        0 => Err("must be more than zero".into()),
        number => Ok(number),
    }
}

fn seconds(value: &str) -> Result<Duration, Box<dyn Error>> {
    Ok(Duration::try_from_secs_f64(value.parse()?)?)
}
