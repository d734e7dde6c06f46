//! Flags, environment and file together, and the documentation of them all.

use super::log::LogFormat;
use super::settings::{Config, Settings};
use super::units::{Mode, Owner};
use super::{Cli, Command, mistake, unknown_variables};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use kiang::{AccessLog, Deadlines, Limits};
use std::ffi::OsString;
use std::process;
use std::time::Duration;

/// What `kiang serve` with these flags and this file would do. The environment of the tests is left alone:
/// other tests run beside this one and read it too.
fn config(flags: &str, file: &str) -> Result<Config, String> {
    let args = ["kiang", "serve"].into_iter().chain(flags.split_whitespace());
    let cli = Cli::try_parse_from(args).map_err(|error| error.to_string())?;
    let Command::Serve(serve) = cli.command else { panic!("`serve` was asked for") };
    serve.settings.or(Settings::from_toml(file)?).decide()
}

#[track_caller]
fn refused(flags: &str, file: &str) -> String {
    config(flags, file).map(|config| format!("{config:?}")).expect_err("must be refused")
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn nothing_set_means_the_defaults() {
    let config = config("", "").expect("the defaults are valid");
    assert_eq!(config.bind, ["127.0.0.1:8080".parse().expect("valid")]);
    assert_eq!(config.cores.to_string(), "all");
    assert_eq!(config.app.to_string(), "bench");
    assert_eq!(config.drain, Duration::from_secs(10));
    assert!(!config.takeover && !config.balance);
    assert_eq!(config.access_log, None);
    assert_eq!(config.log_format, LogFormat::Text);
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.deadlines, Deadlines::default());
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let file = "max-head = \"8KiB\"\ncores = 1\napp = \"echo\"";
    let config =
        config("--max-head 4KiB --bind 127.0.0.1:1,[::1]:2 --bind 127.0.0.1:3", file).expect("valid");
    assert_eq!(config.limits.head_bytes, 4096);
    assert_eq!(config.cores.to_string(), "1");
    assert_eq!(config.app.to_string(), "echo");
    assert_eq!(
        config.bind.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["127.0.0.1:1", "[::1]:2", "127.0.0.1:3"]
    );
    assert_eq!(config.limits.headers, Limits::default().headers);
}

#[test]
fn a_variable_wins_over_the_file_and_a_flag_over_the_variable() {
    // Variables can only be set safely for another process: this one again, with the test below.
    let child = process::Command::new(std::env::current_exe().expect("a running test has a program"))
        .args(["--exact", "cli::tests::a_process_with_variables", "--nocapture"])
        .env("KIANG_MAX_HEAD", "2KiB")
        .env("KIANG_MAX_HEADERS", "3")
        .env("KIANG_BIND", "127.0.0.1:1,[::1]:2")
        .env("TEST_FLAGS", "--max-headers 4")
        .env("TEST_FILE", "max-head = \"1KiB\"\nmax-target = \"1KiB\"")
        .output()
        .expect("the test runs");
    let printed = String::from_utf8_lossy(&child.stdout);
    for part in ["head_bytes: 2048", "headers: 4", "target_bytes: 1024", "[127.0.0.1:1, [::1]:2]"] {
        assert!(printed.contains(part), "no `{part}` in {printed}");
    }
}

#[test]
fn a_process_with_variables() {
    if let (Ok(flags), Ok(file)) = (std::env::var("TEST_FLAGS"), std::env::var("TEST_FILE")) {
        println!("{:?}", config(&flags, &file).expect("valid"));
    }
}

#[test]
fn a_misspelled_variable_is_noticed() {
    let names =
        ["KIANG_MAX_HAED", "KIANG_MAX_HEAD", "KIANG_LOG", "HOME", "KIANG_SERVICE_HOST", "KIANG_PORT_80_TCP"];
    assert_eq!(unknown_variables(names.iter().map(ToString::to_string)), ["KIANG_MAX_HAED"]);
}

#[test]
fn every_setting_reaches_its_place_by_flag_and_by_file() {
    let flags = "--bind 127.0.0.1:1 --cores 1 --app echo --drain 1s --access-log a.log \
        --access-log-sample 12 --log-format json --max-head 4B --max-headers 3 --max-target 2 \
        --max-body 5kB --max-buffered-body 6 --max-connections 7 --head-timeout 8ms --body-timeout 9s \
        --idle-timeout 10m --write-timeout 11h --max-requests 12 --max-connections-per-peer 13 --min-body-rate 14 \
        --handler-timeout 15s --unix-mode 600 --unix-owner 7:8";
    let file: Vec<_> = flags
        .trim_start_matches("--")
        .split(" --")
        .map(|pair| {
            let (key, value) = pair.trim().split_once(' ').expect("a flag and a value");
            format!("{key} = \"{value}\"")
        })
        .collect();
    for config in [config(flags, ""), config("", &file.join("\n"))] {
        let config = config.expect("valid");
        assert_eq!(config.bind, ["127.0.0.1:1".parse().expect("valid")]);
        assert_eq!(config.unix_mode, Mode(0o600));
        assert_eq!(config.unix_owner, Some(Owner { user: Some(7), group: Some(8) }));
        assert_eq!(config.cores.to_string(), "1");
        assert_eq!(config.app.to_string(), "echo");
        assert_eq!(config.drain, Duration::from_secs(1));
        assert_eq!(config.access_log, Some(AccessLog::file("a.log").sample(12)));
        assert_eq!(config.log_format, LogFormat::Json);
        let limits = Limits {
            head_bytes: 4,
            headers: 3,
            target_bytes: 2,
            body_bytes: 5000,
            buffered_body_bytes: 6,
            requests: Some(12),
            connections: 7,
            connections_per_peer: 13,
            ..Limits::default()
        };
        assert_eq!(config.limits, limits);
        let deadlines = Deadlines {
            head: Duration::from_millis(8),
            body: Duration::from_secs(9),
            min_body_rate: 14,
            idle: Duration::from_secs(600),
            handler: Duration::from_secs(15),
            write: Duration::from_secs(39_600),
        };
        assert_eq!(config.deadlines, deadlines);
    }
}

#[test]
fn a_switch_is_on_by_its_name_and_says_yes_or_no() {
    let balance = |flags: &str, file: &str| config(flags, file).expect("valid").balance;
    assert!(balance("--balance", ""));
    assert!(
        config("--takeover", "").expect("valid").takeover
            && config("", "takeover = true").expect("valid").takeover
    );
    assert!(balance("--balance --drain 1s", "balance = false"));
    assert!(balance("", "balance = true"));
    assert!(!balance("--balance=false", "balance = true"));
    assert!(refused("--balance=perhaps", "").contains("'perhaps'"));
    assert!(refused("", "balance = \"perhaps\"").contains("line 1, `balance = \"perhaps\"`"));
}

#[test]
fn the_file_takes_numbers_and_lists_where_they_make_sense() {
    let config =
        config("", "bind = [\"127.0.0.1:1\", \"[::1]:1\"]\nmax-body = 1000\ncores = 1").expect("valid");
    assert_eq!(config.bind.len(), 2);
    assert_eq!(config.limits.body_bytes, 1000);
    assert!(
        refused("", "bind = 8080").contains("line 1, `bind = 8080`: expected a text in quotes, or a list")
    );
    assert!(refused("", "max-body = 1.5").contains("expected a text in quotes or a whole number"));
}

#[test]
fn a_mistake_in_the_file_names_line_and_remedy() {
    let unknown = refused("", "app = \"echo\"\n\nmax-haed = \"1KiB\"\n");
    assert!(
        unknown.starts_with("line 3, `max-haed = \"1KiB\"`: unknown field `max-haed`, expected one of"),
        "{unknown}"
    );
    assert!(unknown.contains("`max-head`"), "{unknown}");
    let unit = refused("", "head-timeout = 10");
    assert!(unit.contains("line 1, `head-timeout = 10`: a unit is missing"), "{unit}");
    let app = refused("", "app = \"gateway\"");
    assert!(app.contains("no such app: there are `bench`, `echo`"), "{app}");
    assert!(refused("", "app = \"echo").starts_with("line 1, `app = \"echo`: "));
    assert!(refused("", "[limits]\nmax-head = 1").contains("unknown field `limits`"));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Settings::from_file("no/such/file.toml").expect_err("there is none");
    assert!(error.starts_with("cannot read the configuration file `no/such/file.toml`: "), "{error}");
}

#[test]
fn what_contradicts_itself_is_refused() {
    assert!(refused("--bind 127.0.0.1:1,127.0.0.1:1", "").contains("names 127.0.0.1:1 twice"));
    assert!(config("--bind 127.0.0.1:0,127.0.0.1:0", "").is_ok());
    assert!(refused("--bind unix:/run/a,unix:/run/a", "").contains("names unix:/run/a twice"));
    assert!(refused("", "unix-mode = 660").contains("as a text in quotes"));
    assert!(refused("", "bind = []").contains("names no address"));
    assert!(refused("--max-head 64KiB", "").contains("at most 65535"));
    assert!(refused("--max-headers 129", "").contains("at most 128"));
    assert!(refused("--max-trailers 65534", "").contains("at most 65533"));
    assert!(
        refused("--max-head 1KiB --max-target 2KiB", "").contains("`max-target` is 2048 bytes, more than")
    );
    assert_eq!(config("--max-head 1KiB", "").expect("valid").limits.target_bytes, 1024);
}

#[test]
fn a_mistake_in_a_flag_names_flag_and_remedy() {
    let args = |flags: &str| flags.split_whitespace().map(OsString::from).collect::<Vec<_>>();
    let said = |flags: &str| {
        let args = args(flags);
        mistake(&Cli::try_parse_from(&args).expect_err("a mistake"), &args)
    };
    let unit = said("kiang serve --drain 10");
    assert!(unit.starts_with("invalid value '10' for '--drain <DURATION>': a unit is missing"), "{unit}");
    assert!(!unit.contains("environment"), "{unit}");
    assert!(said("kiang serve --drain=10").contains("for '--drain <DURATION>'"));
    assert!(said("kiang serve --max-haed 1").contains("'--max-head'"));
    assert!(said("kiang sevre").contains("'serve'"));
}

#[test]
fn a_mistake_in_the_environment_names_the_variable() {
    // The error that a variable leads to, but with the flag left out of the arguments that are searched for
    // it.
    let error = Cli::try_parse_from(["kiang", "serve", "--drain", "10"]).expect_err("a mistake");
    let args = [OsString::from("kiang"), OsString::from("serve")];
    let said = mistake(&error, &args);
    assert!(said.contains("a unit is missing"), "{said}");
    assert!(said.contains("(from the environment variable KIANG_DRAIN)"), "{said}");
}

#[test]
fn no_command_is_answered_with_the_help() {
    let error = Cli::try_parse_from(["kiang"]).expect_err("a command is required");
    assert_eq!(error.kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
}

/// Keeps `docs/configuration.md`, the flags, their variables, and the defaults in step.
#[test]
fn every_flag_is_documented_with_variable_key_and_default() {
    let doc = include_str!("../../docs/configuration.md");
    let limits = Limits::default();
    let deadlines = Deadlines::default();
    let size = |bytes: u64| super::units::Size(bytes).to_string();
    let span = |duration| super::units::Span(duration).to_string();
    let defaults = [
        ("bind", "127.0.0.1:8080".to_owned()),
        ("unix-mode", "660".to_owned()),
        ("unix-owner", "process".to_owned()),
        ("cores", "all".to_owned()),
        ("app", "bench".to_owned()),
        ("drain", span(config("", "").expect("the defaults are valid").drain)),
        ("takeover", "false".to_owned()),
        ("balance", "false".to_owned()),
        ("access-log", "off".to_owned()),
        ("access-log-sample", "1".to_owned()),
        ("log-format", "text".to_owned()),
        ("max-head", size(limits.head_bytes as u64)),
        ("max-headers", limits.headers.to_string()),
        ("max-target", size(limits.target_bytes as u64)),
        ("max-body", size(limits.body_bytes)),
        ("max-buffered-body", size(limits.buffered_body_bytes as u64)),
        ("max-chunk-extensions", size(limits.chunk_extension_bytes as u64)),
        ("max-trailers", size(limits.trailer_bytes as u64)),
        ("max-requests", super::units::Bound(limits.requests).to_string()),
        ("max-connections", limits.connections.to_string()),
        ("max-connections-per-peer", limits.connections_per_peer.to_string()),
        ("head-timeout", span(deadlines.head)),
        ("body-timeout", span(deadlines.body)),
        ("min-body-rate", super::units::Rate(deadlines.min_body_rate).to_string()),
        ("idle-timeout", span(deadlines.idle)),
        ("handler-timeout", span(deadlines.handler)),
        ("write-timeout", span(deadlines.write)),
    ];
    let cli = Cli::command();
    let serve = cli.find_subcommand("serve").expect("there is `serve`");
    let mut documented = 0;
    for arg in serve.get_arguments() {
        let Some(long) = arg.get_long() else { continue };
        let variable = format!("KIANG_{}", long.to_uppercase().replace('-', "_"));
        assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(&*variable), "of --{long}");
        let key_and_default = match defaults.iter().find(|(key, _)| *key == long) {
            Some((key, default)) => {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains(&format!("[default: {default}]")), "the help of --{long}: {help}");
                format!(" `{key}` | `{default}` |")
            }
            // The file cannot name itself.
            None if long == "config" => " - | - |".to_owned(),
            None => panic!("--{long} has no default in this test"),
        };
        let row = format!("| `--{long}` | `{variable}` |{key_and_default}");
        assert!(doc.lines().any(|line| line.starts_with(&row)), "docs/configuration.md has no row `{row}`");
        documented += 1;
    }
    assert_eq!(
        documented,
        doc.lines().filter(|line| line.starts_with("| `--")).count(),
        "rows of flags that are none"
    );
}
