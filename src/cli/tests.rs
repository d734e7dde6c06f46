//! Flags, environment and file together, and their documentation.

use super::log::LogFormat;
use super::settings::{Config, KEYS, Settings};
use super::units::{Mode, Owner};
use super::{Cli, Command, mistake, unknown_variables};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use kiang::{AccessLog, Deadlines, Limits, Memory, Server};
use std::ffi::OsString;
use std::process;
use std::time::Duration;

/// The configuration of `kiang serve` with these flags and this file. The environment is left alone: tests that run
/// beside this one read it too.
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
    assert_eq!((config.dataset, config.drain), (None, Server::DEFAULT_DRAIN));
    assert!(!config.takeover && !config.balance);
    assert_eq!(config.access_log, None);
    assert_eq!(config.log_format, LogFormat::Text);
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.memory, Memory::Derived);
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
    // Variables can only be set safely for another process: a second one of this program runs the test below.
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
    let flags = "--bind 127.0.0.1:1 --unix-mode 600 --unix-owner 7:8 --cores 1 --app bench --dataset items.json \
        --drain 1s --takeover=true --balance=true --access-log a.log --access-log-sample 12 --log-format json \
        --max-head 4B --max-headers 3 --max-target 2 --max-body 5kB --max-buffered-body 6 \
        --max-chunk-extensions 16 --max-trailers 17 --max-requests 12 --max-connections 7 \
        --max-connections-per-peer 13 --max-memory 19MiB --head-timeout 8ms --body-timeout 9s --min-body-rate 14 \
        --idle-timeout 10m --handler-timeout 15s --write-timeout 11h --linger-timeout 16s --drain-idle-timeout 17ms \
        --shed-timeout 18ms";
    let pairs: Vec<_> = flags
        .trim_start_matches("--")
        .split(" --")
        .map(|pair| pair.trim().split_once([' ', '=']).expect("a flag and a value"))
        .collect();
    let cli = Cli::command();
    let serve = cli.find_subcommand("serve").expect("there is `serve`");
    for long in serve.get_arguments().filter_map(clap::Arg::get_long).filter(|long| *long != "config") {
        assert!(pairs.iter().any(|(key, _)| *key == long), "--{long} is not in this test");
    }
    let line = |(key, value): &(&str, &str)| match *value {
        "true" => format!("{key} = true"),
        value => format!("{key} = \"{value}\""),
    };
    let file: Vec<_> = pairs.iter().map(line).collect();
    for config in [config(flags, ""), config("", &file.join("\n"))] {
        // Without `..`, as with the two structs below: the compiler names what is forgotten.
        let Config {
            bind,
            unix_mode,
            unix_owner,
            cores,
            app,
            dataset,
            drain,
            takeover,
            balance,
            access_log,
            log_format,
            limits,
            memory,
            deadlines,
        } = config.expect("valid");
        assert_eq!(bind, ["127.0.0.1:1".parse().expect("valid")]);
        assert_eq!(unix_mode, Mode(0o600));
        assert_eq!(unix_owner, Owner { user: Some(7), group: Some(8) });
        assert_eq!(cores.to_string(), "1");
        assert_eq!(app.to_string(), "bench");
        assert_eq!(dataset, Some("items.json".into()));
        assert_eq!(drain, Duration::from_secs(1));
        assert_eq!((takeover, balance), (true, true));
        assert_eq!(access_log, Some(AccessLog::file("a.log").sample(12)));
        assert_eq!(log_format, LogFormat::Json);
        assert_eq!(memory, Memory::AtMost(19 << 20));
        let expected = Limits {
            head_bytes: 4,
            headers: 3,
            target_bytes: 2,
            body_bytes: 5000,
            buffered_body_bytes: 6,
            chunk_extension_bytes: 16,
            trailer_bytes: 17,
            requests: Some(12),
            connections: 7,
            connections_per_peer: 13,
        };
        assert_eq!(limits, expected);
        let expected = Deadlines {
            head: Duration::from_millis(8),
            body: Duration::from_secs(9),
            min_body_rate: 14,
            idle: Duration::from_secs(600),
            handler: Duration::from_secs(15),
            write: Duration::from_secs(39_600),
            linger: Duration::from_secs(16),
            drain_idle: Duration::from_millis(17),
            shed: Duration::from_millis(18),
        };
        assert_eq!(deadlines, expected);
    }
}

#[test]
fn every_limit_and_deadline_of_the_library_has_a_flag() {
    let cli = Cli::command();
    let serve = cli.find_subcommand("serve").expect("there is `serve`");
    let shown = format!("{:?}{:?}", Limits::default(), Deadlines::default());
    let fields = shown.split(['{', ',', '}']).filter_map(|part| Some(part.split_once(": ")?.0.trim()));
    assert!(fields.eq(KEYS.iter().map(|(field, _)| *field)), "{shown}");
    for (_, key) in KEYS {
        assert!(serve.get_arguments().any(|arg| arg.get_long() == Some(key)), "--{key}");
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
    assert!(refused("--max-headers 129", "").contains("`max-headers` is 129: at most 128"));
    assert!(refused("--app echo --dataset items.json", "").contains("`dataset` is for the app `bench`"));
    assert!(refused("--max-trailers 65534", "").contains("at most 65533"));
    assert!(
        refused("--max-head 1KiB --max-target 2KiB", "").contains("`max-target` is 2048, more than the 1024")
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
    // A variable leads to the same error as a flag. The arguments that are searched for the flag lack it here.
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
    let cli = Cli::command();
    let serve = cli.find_subcommand("serve").expect("there is `serve`");
    // The default, written out, must change nothing.
    let shown = |flags: &str| format!("{:?}", config(flags, "").expect("the defaults are valid"));
    let given = |long: &str, default: &str| match long {
        // This default is no path.
        "dataset" => String::new(),
        _ => format!("--{long}={default}"),
    };
    let mut documented = 0;
    for arg in serve.get_arguments() {
        let Some(long) = arg.get_long() else { continue };
        let variable = format!("KIANG_{}", long.to_uppercase().replace('-', "_"));
        assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(&*variable), "of --{long}");
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let default = help.split_once("[default: ").and_then(|(_, rest)| rest.strip_suffix(']'));
        let key_and_default = match default {
            Some(default) => {
                assert_eq!(shown(&given(long, default)), shown(""), "of --{long}");
                format!(" `{long}` | `{default}` |")
            }
            // The file cannot name itself.
            None if long == "config" => " - | - |".to_owned(),
            None => panic!("the help of --{long} ends without its default: {help}"),
        };
        let row = format!("| `--{long}` | `{variable}` |{key_and_default}");
        assert!(doc.lines().any(|line| line.starts_with(&row)), "docs/configuration.md has no row `{row}`");
        documented += 1;
    }
    let most = [
        ("max-head", Limits::MOST_HEAD_BYTES),
        ("max-headers", Limits::MOST_HEADERS),
        ("max-trailers", Limits::MOST_TRAILER_BYTES),
    ];
    for (key, most) in most {
        let row = doc.lines().find(|line| line.starts_with(&format!("| `--{key}`"))).expect("as above");
        assert!(row.ends_with(&format!(" At most {most}. |")), "{row}");
    }
    assert_eq!(
        documented,
        doc.lines().filter(|line| line.starts_with("| `--")).count(),
        "rows of flags that are none"
    );
}
