//! What is to be measured: from the environment and the command line.

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use load::Spacing;

use crate::scenario::{Kind, Scenario};

/// The servers that are known, and how they are started. A bare number would be a count of cores to kiang.
const COMMANDS: &[(&str, &str)] = &[
    ("floor", "bench/target/release/bench-floor {port}"),
    ("epoll", "bench/target/release/bench-epoll {port}"),
    ("may_minihttp", "bench/target/release/bench-may_minihttp {port}"),
    ("hyper", "bench/target/release/bench-hyper {port}"),
    ("actix-web", "bench/target/release/bench-actix-web {port}"),
    ("axum", "bench/target/release/bench-axum {port}"),
    ("kiang", "target/release/kiang serve --bind 127.0.0.1:{port} --cores {cpu}-{cpu}"),
];
const SCENARIOS: &[&str] = &["saturated", "pipelined", "json", "rate", "idle"];
/// Many connections are loaded at this rate, and at no other: what they add to a core that sleeps is the question.
const MANY: (u32, u32) = (1_000, 1_000);

pub(crate) struct Settings {
    pub(crate) servers: Vec<(String, String)>,
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) rounds: u32,
    pub(crate) slice: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) server_cpu: usize,
    pub(crate) client_cpu: usize,
    /// Slices that are refused count all the same: to try things out on a busy machine.
    pub(crate) believe_all: bool,
    pub(crate) wrk2: Option<PathBuf>,
}

pub(crate) enum Command {
    Measure(Settings),
    /// Only print the tables of an earlier run.
    Report(PathBuf),
}

impl Command {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut more = Vec::new();
        let mut scenarios = Vec::new();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} wants a value"));
            match argument.as_str() {
                "--report" => return Ok(Self::Report(value()?.into())),
                "--server" => {
                    let server = value()?;
                    let (name, command) = server.split_once('=').ok_or("--server wants NAME=COMMAND")?;
                    more.push((name.to_owned(), command.to_owned()));
                }
                scenario => scenarios.push(scenario.to_owned()),
            }
        }
        if scenarios.is_empty() {
            scenarios = words("SCENARIOS", &SCENARIOS.join(" "))?;
        }
        let mut servers = Vec::new();
        for name in words::<String>("SERVERS", &names().join(" "))? {
            let known = COMMANDS.iter().find(|(known, _)| *known == name);
            let (_, command) = known.ok_or_else(|| format!("no server {name:?}: {}", names().join(" ")))?;
            servers.push((name, (*command).to_owned()));
        }
        servers.append(&mut more);
        let settings = Settings {
            servers,
            scenarios: expand(&scenarios)?,
            rounds: number("ROUNDS", "5")?,
            slice: seconds("SLICE", "1")?,
            warm_up: seconds("WARMUP", "0.2")?,
            server_cpu: number("SERVER_CPU", "0")?,
            client_cpu: number("CLIENT_CPU", "1")?,
            believe_all: number::<u8>("REFUSE", "1")? == 0,
            wrk2: env::var_os("WRK2").filter(|path| !path.is_empty()).map(PathBuf::from),
        };
        settings.check()?;
        Ok(Self::Measure(settings))
    }
}

impl Settings {
    fn check(&self) -> Result<(), Box<dyn Error>> {
        if self.server_cpu == self.client_cpu {
            return Err("SERVER_CPU and CLIENT_CPU must differ: the generator spins".into());
        }
        let mut names = self.servers.iter().map(|(name, _)| name).collect::<Vec<_>>();
        names.sort();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("two servers have the same name".into());
        }
        if self.servers.is_empty() || self.rounds == 0 || self.slice.is_zero() {
            return Err("SERVERS, ROUNDS and SLICE must not be empty or zero".into());
        }
        Ok(())
    }
}

fn names() -> Vec<&'static str> {
    COMMANDS.iter().map(|(name, _)| *name).collect()
}

fn expand(names: &[String]) -> Result<Vec<Scenario>, Box<dyn Error>> {
    let (connections, depth) = (number("CONNECTIONS", "64")?, number("DEPTH", "16")?);
    let mut scenarios = Vec::new();
    for name in names {
        let (path, connections, kind) = match name.as_str() {
            "saturated" => ("/plaintext", connections, Kind::Saturated { depth: 1 }),
            "pipelined" => ("/plaintext", connections, Kind::Saturated { depth }),
            "json" => ("/json", connections, Kind::Saturated { depth: 1 }),
            "idle" => ("/plaintext", number("IDLE", "10000")?, Kind::Idle),
            "rate" => {
                rates(connections, &mut scenarios)?;
                continue;
            }
            _ => return Err(format!("no scenario {name:?}: {}", SCENARIOS.join(" ")).into()),
        };
        scenarios.push(Scenario { path, connections, kind });
    }
    Ok(scenarios)
}

fn rates(connections: u32, scenarios: &mut Vec<Scenario>) -> Result<(), Box<dyn Error>> {
    let rates = words::<u32>("RATES", "1000 10000 30000")?;
    let many = rates.contains(&MANY.0).then_some(MANY);
    for (rate, connections) in rates.into_iter().map(|rate| (rate, connections)).chain(many) {
        for spacing in words::<Spacing>("SPACINGS", "even poisson bursts")? {
            let kind = Kind::Rate { rate, spacing };
            scenarios.push(Scenario { path: "/plaintext", connections, kind });
        }
    }
    Ok(())
}

fn words<T: FromStr<Err: ToString>>(name: &str, default: &str) -> Result<Vec<T>, Box<dyn Error>> {
    let text = env::var(name).unwrap_or_else(|_| default.to_owned());
    let parse = |word: &str| {
        word.parse().map_err(|error: T::Err| format!("{name} {word:?}: {}", error.to_string()).into())
    };
    text.split_whitespace().map(parse).collect()
}

fn number<T: FromStr<Err: ToString>>(name: &str, default: &str) -> Result<T, Box<dyn Error>> {
    words(name, default)?.pop().ok_or_else(|| format!("{name} is empty").into())
}

fn seconds(name: &str, default: &str) -> Result<Duration, Box<dyn Error>> {
    Ok(Duration::try_from_secs_f64(number(name, default)?).map_err(|error| format!("{name}: {error}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_three_rates_and_many_connections_each_in_three_spacings() {
        let scenarios = expand(&["saturated".to_owned(), "rate".to_owned()]).unwrap();
        let names = scenarios.iter().map(|scenario| scenario.name().to_string()).collect::<Vec<_>>();
        assert_eq!(names.len(), 13);
        assert_eq!(names[0], "saturated, 64 connections");
        assert_eq!(names[1], "1000/s even, 64 connections");
        assert_eq!(names[12], "1000/s in bursts of 10, 1000 connections");
    }

    #[test]
    fn what_is_unknown_is_named() {
        let parse =
            |words: &[&str]| Command::parse(words.iter().map(ToString::to_string)).err().unwrap().to_string();
        assert!(parse(&["rr"]).contains("\"rr\""));
        assert!(parse(&["--server", "x"]).contains("NAME=COMMAND"));
        assert!(parse(&["--server", "kiang=x"]).contains("same name"));
    }
}
