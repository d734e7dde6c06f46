//! The `kiang` binary: [`cli`] parses, dispatches and says how it ended.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
