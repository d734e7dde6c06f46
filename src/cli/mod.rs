//! The command line: what was asked for, and the exit code it ends with.

mod apps;
mod banner;
mod doctor;
mod log;
mod serve;
mod settings;
mod units;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use settings::{Config, Settings};
use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// A thread-per-core, shared-nothing HTTP engine for Linux on `io_uring`
#[derive(Debug, Parser)]
#[command(version, disable_help_subcommand = true, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve HTTP until SIGTERM or SIGINT
    ///
    /// A flag wins over its environment variable, and that over the configuration file.
    Serve(Box<ServeArgs>),
    /// Check whether this machine can serve, and say what would mend it
    Doctor(DoctorArgs),
}

#[derive(Debug, clap::Args)]
struct ServeArgs {
    #[command(flatten)]
    file: FileArg,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, clap::Args)]
struct DoctorArgs {
    #[command(flatten)]
    file: FileArg,
    /// Address to check, as for `serve`; repeat it, or separate several with commas [default: 127.0.0.1:8080]
    #[arg(long, env = "KIANG_BIND", value_name = "ADDRESS", value_delimiter = ',')]
    bind: Option<Vec<kiang::ListenAddr>>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct FileArg {
    /// TOML file with settings: its keys are the long names of the flags of `serve`, without the dashes
    /// before
    #[arg(long, env = "KIANG_CONFIG", value_name = "FILE")]
    config: Option<String>,
}

/// How a command failed.
#[derive(Debug)]
enum Failure {
    /// The request makes no sense: exit code 2.
    Usage(String),
    /// The request could not be fulfilled: exit code 1.
    Fault(String),
}

impl From<kiang::Error> for Failure {
    fn from(error: kiang::Error) -> Self {
        Self::Fault(error.to_string())
    }
}

pub(crate) fn main() -> ExitCode {
    let args: Vec<_> = env::args_os().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, &args),
    };
    let done = match cli.command {
        Command::Serve(serve) => {
            serve::survive_early_signals();
            serve.config().and_then(|config| serve::serve(&config))
        }
        Command::Doctor(args) => args.config().and_then(|config| doctor::print(&config.bind, args.json)),
    };
    match done {
        Ok(code) => code,
        Err(Failure::Usage(message)) => {
            complain(&message);
            ExitCode::from(2)
        }
        Err(Failure::Fault(message)) => {
            complain(&message);
            ExitCode::FAILURE
        }
    }
}

impl ServeArgs {
    fn config(&self) -> Result<Config, Failure> {
        decide(self.settings.clone(), &self.file)
    }
}

impl DoctorArgs {
    fn config(&self) -> Result<Config, Failure> {
        decide(Settings::with_bind(self.bind.clone()), &self.file)
    }
}

fn decide(settings: Settings, file: &FileArg) -> Result<Config, Failure> {
    let from_file = file.config.as_deref().map(Settings::from_file).transpose().map_err(Failure::Usage)?;
    settings.or(from_file.unwrap_or_default()).decide().map_err(Failure::Usage)
}

/// Prints what clap has to say: help and version to stdout, a mistake to stderr in our form.
fn refuse(error: &clap::Error, args: &[OsString]) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print(); // As with `say`.
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            complain(&format!("no command given\n\n{}", Cli::command().render_help()));
            ExitCode::from(2)
        }
        _ => {
            complain(mistake(error, args).trim_end());
            ExitCode::from(2)
        }
    }
}

/// A usage error in clap's words. Where the value came from the environment clap names a flag that was never given, so
/// the variable's name is added.
fn mistake(error: &clap::Error, args: &[OsString]) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let flag = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(arg)) => arg.split([' ', '=']).next().unwrap_or_default(),
        _ => return text.to_owned(),
    };
    let given = |arg: &OsString| arg.to_str().is_some_and(|arg| arg.split('=').next() == Some(flag));
    match variable_of(flag) {
        Some(variable) if !args.iter().any(given) => {
            let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
            format!("{first} (from the environment variable {variable})\n{rest}")
        }
        _ => text.to_owned(),
    }
}

fn variable_of(flag: &str) -> Option<String> {
    let name = flag.strip_prefix("--")?;
    let cli = Cli::command();
    let mut args = cli.get_subcommands().flat_map(clap::Command::get_arguments);
    let arg = args.find(|arg| arg.get_long() == Some(name))?;
    Some(arg.get_env()?.to_string_lossy().into_owned())
}

/// Variables with our prefix that nothing reads. Most likely they are misspelled.
fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let cli = Cli::command();
    let args = cli.get_subcommands().flat_map(clap::Command::get_arguments);
    let known: Vec<_> = args.filter_map(clap::Arg::get_env).chain([log::VARIABLE.as_ref()]).collect();
    // Kubernetes sets such variables for a service named `kiang`, in every container of the namespace.
    let from_kubernetes =
        |name: &str| ["KIANG_SERVICE_", "KIANG_PORT"].iter().any(|start| name.starts_with(start));
    names
        .filter(|name| name.starts_with("KIANG_") && !from_kubernetes(name))
        .filter(|name| !known.iter().any(|known| *known == name.as_str()))
        .collect()
}

/// Prints a line to stdout. A stdout that nobody reads, or that is full, stops nothing.
fn say(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Prints the last message to stderr. A stderr that takes nothing must not change the exit code: `eprintln!` panics.
fn complain(message: &str) {
    let _ = writeln!(io::stderr().lock(), "kiang: {message}");
}

#[cfg(test)]
mod tests;
