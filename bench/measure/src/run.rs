//! The rounds.

use std::error::Error;
use std::fs::{self, File};
use std::io::{IsTerminal, Write, stderr};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use load::{Load, Spacing};

use crate::calls::Tracer;
use crate::process::resident;
use crate::record::{Idle, Record, Run};
use crate::scenario::{Kind, Scenario};
use crate::server::Server;
use crate::settings::Settings;
use crate::{slice, wrk2};

/// What the server gets, once the connections are idle, for what it does when it has a moment.
const REST: Duration = Duration::from_secs(1);

/// Everything that was measured, in memory and in a file.
pub(crate) struct Journal {
    pub(crate) records: Vec<Record>,
    pub(crate) path: PathBuf,
    file: File,
}

impl Journal {
    fn write(&mut self, record: Record) -> Result<(), Box<dyn Error>> {
        writeln!(self.file, "{}", serde_json::to_string(&record)?)?;
        self.records.push(record);
        Ok(())
    }
}

/// Measures everything. The journal holds what was measured, also when an error ended it early.
pub(crate) fn run(settings: &Settings) -> Result<Journal, Box<dyn Error>> {
    load::pin(settings.client_cpu)?;
    fs::create_dir_all("target/bench")?;
    let first = header(settings);
    let path = PathBuf::from(format!("target/bench/{}.jsonl", first.began.replace(':', "")));
    let mut journal = Journal { records: Vec::new(), file: File::create(&path)?, path };
    journal.write(Record::Run(first))?;
    let tracer = Tracer::find();
    if tracer.is_none() {
        eprintln!("no system calls are counted: neither perf nor strace works here");
    }
    for scenario in &settings.scenarios {
        let measured = match scenario.kind {
            Kind::Idle => idle(scenario, settings, &mut journal),
            _ => rounds(scenario, settings, tracer, &mut journal),
        };
        measured.map_err(|error| {
            format!("{}: {error}\nso far: --report {}", scenario.name(), journal.path.display())
        })?;
    }
    Ok(journal)
}

/// All servers run at once, and each is loaded in turn. Speed changes from minute to minute on a shared machine; within
/// one round it hardly does.
fn rounds(
    scenario: &Scenario,
    settings: &Settings,
    tracer: Option<Tracer>,
    journal: &mut Journal,
) -> Result<(), Box<dyn Error>> {
    let mut servers = Vec::new();
    for (name, command) in &settings.servers {
        servers.push(Server::start(name, command, settings)?);
    }
    for round in 0..settings.rounds {
        progress(&format!("{}, round {} of {}", scenario.name(), round + 1, settings.rounds));
        // Each server takes each place in the order once in a while.
        let first = round as usize % servers.len();
        for server in servers[first..].iter().chain(&servers[..first]) {
            journal.write(Record::Slice(slice::measure(server, scenario, round, settings)?))?;
        }
    }
    for server in &servers {
        if let Some(tracer) = tracer {
            progress(&format!("{}, system calls of {}", scenario.name(), server.name));
            journal.write(Record::Calls(tracer.measure(server, scenario, settings)?))?;
        }
        if let Some(program) = &settings.wrk2
            && let Kind::Rate { rate, spacing: Spacing::Bursts(_) } = scenario.kind
        {
            progress(&format!("{}, wrk2 with {}", scenario.name(), server.name));
            journal.write(Record::Wrk2(wrk2::measure(program, server, scenario, rate)?))?;
        }
    }
    progress("");
    Ok(())
}

fn idle(scenario: &Scenario, settings: &Settings, journal: &mut Journal) -> Result<(), Box<dyn Error>> {
    for (name, command) in &settings.servers {
        progress(&format!("{}, {name}", scenario.name()));
        let server = Server::start(name, command, settings)?;
        let before = resident(server.pid())?;
        let load = Load::connect(&server.target(scenario.path), scenario.connections);
        let load = load.map_err(|error| server.fault(&error))?;
        thread::sleep(REST);
        let grown = resident(server.pid())?.saturating_sub(before);
        drop(load);
        journal.write(Record::Idle(Idle {
            name: scenario.name(),
            server: name.clone(),
            bytes_per_connection: grown / u64::from(scenario.connections),
        }))?;
    }
    progress("");
    Ok(())
}

fn progress(text: &str) {
    if stderr().is_terminal() {
        eprint!("\r{text:<70}\r");
    }
}

fn header(settings: &Settings) -> Run {
    let say = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        let text = output
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
            .unwrap_or_default();
        if text.is_empty() { format!("no {program}") } else { text }
    };
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo");
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let load_average = read("/proc/loadavg");
    Run {
        began: say("date", &["-u", "+%FT%TZ"]),
        revision: say("git", &["describe", "--always", "--dirty"]),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        processor: processor.map_or("unknown processor", |(_, name)| name).to_owned(),
        processors: read("/proc/cpuinfo").lines().filter(|line| line.starts_with("processor")).count(),
        load_average: load_average.split_whitespace().take(3).collect::<Vec<_>>().join(" "),
        rounds: settings.rounds,
        slice_seconds: settings.slice.as_secs_f64(),
        server_cpu: settings.server_cpu,
        client_cpu: settings.client_cpu,
    }
}
