//! The binary's surface: banner, flags, file, environment, exit codes, and words when something is wrong.

mod support;

use std::net::{Ipv6Addr, TcpListener};

use support::{Finished, Launch, Server, file, skip};

fn run(arguments: &[&str]) -> Finished {
    Launch::new(arguments).finish()
}

/// Refused: this exit code, and words on stderr that contain these.
#[track_caller]
fn refused(finished: &Finished, code: i32, words: &[&str]) {
    assert_eq!(finished.code, Some(code), "{finished:?}");
    assert!(!finished.stderr.contains("panicked"), "{finished:?}");
    assert!(!finished.stdout.contains("listening on"), "{finished:?}");
    for word in words {
        assert!(finished.stderr.contains(word), "{word:?} is missing: {finished:?}");
    }
}

// ---- Banner ----

#[test]
fn the_banner_says_kernel_cores_and_where_to_look() {
    let server = Server::start(&["--cores", "1"]);
    let banner = server.stdout();
    let kernel = rustix::system::uname();
    let release = kernel.release().to_string_lossy();
    let number = release.split(['-', '+']).next().expect("a release has a number");
    assert!(banner.contains(number), "kernel {number} is missing: {banner}");
    assert!(banner.to_lowercase().contains("core"), "{banner}");
    assert!(banner.contains("io_uring"), "{banner}");
    assert!(banner.contains(env!("CARGO_PKG_VERSION")), "{banner}");
    assert!(banner.contains(&format!("listening on http://{}/", server.addr())), "{banner}");
    assert_ne!(server.addr().port(), 0);
}

#[test]
fn several_addresses_are_served() {
    let server = Server::start(&["--bind", "127.0.0.2:0", "--bind", "127.0.0.3:0"]);
    assert_eq!(server.addrs().len(), 3);
    for (addr, ip) in server.addrs().iter().zip(["127.0.0.1", "127.0.0.2", "127.0.0.3"]) {
        assert_eq!(addr.ip().to_string(), ip);
        assert_eq!(support::Client::connect(*addr).get("/plaintext").status, 200);
    }
}

#[test]
fn ipv6_is_served() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return skip("this machine has no ::1");
    }
    let server = Launch::new(&["serve", "--bind", "[::1]:0"]).start();
    assert!(server.addr().is_ipv6());
    assert_eq!(server.connect().get("/plaintext").status, 200);
}

// ---- Cores ----

/// CPU numbers of the cores that serve.
#[track_caller]
fn cpus(server: &Server) -> Vec<u64> {
    let response = server.connect().get("/cores");
    let cores: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
    cores.as_array().expect("an array").iter().map(|core| core["cpu"].as_u64().expect("a number")).collect()
}

#[test]
fn cores_are_all_or_a_count_or_a_list() {
    let available: Vec<_> =
        core_affinity::get_core_ids().expect("the CPUs are known").iter().map(|cpu| cpu.id as u64).collect();
    let (first, last) = (available[0], available[available.len() - 1]);
    assert_eq!(cpus(&Server::start(&["--cores", "all"])), available);
    assert_eq!(cpus(&Server::start(&[])), available, "all is the default");
    assert_eq!(cpus(&Server::start(&["--cores", "1"])).len(), 1);
    assert_eq!(cpus(&Server::start(&["--cores", &format!("{last}-{last}")])), [last]);
    if first != last {
        assert_eq!(cpus(&Server::start(&["--cores", &format!("{first},{last}")])), [first, last]);
    }
    let contiguous = available.iter().zip(first..).all(|(cpu, expected)| *cpu == expected);
    if contiguous {
        assert_eq!(cpus(&Server::start(&["--cores", &format!("{first}-{last}")])), available);
    }
}

#[test]
fn cores_are_pinned() {
    let server = Server::start(&[]);
    let expected = cpus(&server);
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.pid())).expect("the process lives");
    let mut pinned: Vec<u64> = threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("status")).ok())
        .filter_map(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
            line.trim().parse().ok()
        })
        .collect();
    pinned.sort_unstable();
    pinned.dedup();
    if expected.len() > 1 {
        assert_eq!(pinned, expected, "threads that may run on one CPU only");
    }
}

#[test]
fn cores_that_do_not_exist_are_refused_by_name() {
    let available = core_affinity::get_core_ids().expect("the CPUs are known");
    let absent = available.iter().map(|cpu| cpu.id).max().expect("at least one") + 1;
    for cores in
        [format!("{absent}-{absent}"), format!("0,{absent}"), format!("0-{absent}"), format!("{absent},")]
    {
        let finished = run(&["serve", "--bind", "127.0.0.1:0", "--cores", &cores]);
        refused(&finished, 2, &["kiang: ", &absent.to_string()]);
    }
    let more = (available.len() + 1).to_string();
    refused(&run(&["serve", "--bind", "127.0.0.1:0", "--cores", &more]), 2, &["kiang: ", &more]);
}

#[test]
fn what_is_no_choice_of_cores_is_refused() {
    for cores in ["0", "many", "", "2-1", "-1", "1,,2", "99999999999999999999", "0-99999999999"] {
        let finished = run(&["serve", "--bind", "127.0.0.1:0", &format!("--cores={cores}")]);
        refused(&finished, 2, &["kiang: ", "core"]);
    }
}

// ---- Where settings come from ----

#[test]
fn settings_come_from_a_file() {
    let config =
        file("all.toml", "bind = [\"127.0.0.1:0\"]\ncores = \"1\"\napp = \"echo\"\ndrain = \"2s\"\n");
    let server = Launch::new(&["serve", "--config", config.to_str().expect("a plain path")]).start();
    assert_eq!(server.connect().post("/", "hello").text(), "hello");
}

#[test]
fn settings_come_from_the_environment() {
    let server = Launch::new(&["serve"])
        .environment("KIANG_BIND", "127.0.0.1:0")
        .environment("KIANG_APP", "echo")
        .environment("KIANG_CORES", "1")
        .start();
    assert_eq!(server.connect().post("/", "hello").text(), "hello");
}

#[test]
fn a_flag_outdoes_the_environment_and_that_the_file() {
    let config = file("rank.toml", "bind = [\"127.0.0.1:0\"]\napp = \"bench\"\n");
    let config = config.to_str().expect("a plain path");
    let server = Launch::new(&["serve", "--config", config]).environment("KIANG_APP", "echo").start();
    assert_eq!(server.connect().get("/nowhere").status, 200, "echo answers everything");
    let server = Launch::new(&["serve", "--config", config, "--app", "bench"])
        .environment("KIANG_APP", "echo")
        .start();
    assert_eq!(server.connect().get("/nowhere").status, 404);
}

#[test]
fn a_wrong_file_is_refused_by_the_name_of_what_is_wrong() {
    let unknown = file("unknown.toml", "bind = [\"127.0.0.1:0\"]\ncoers = \"all\"\n");
    let broken = file("broken.toml", "bind = [\n");
    let value = file("value.toml", "bind = [\"127.0.0.1:0\"]\ndrain = \"soon\"\n");
    for (path, word) in [(&unknown, "coers"), (&broken, "broken.toml"), (&value, "drain")] {
        let finished = run(&["serve", "--config", path.to_str().expect("a plain path")]);
        refused(&finished, 2, &[word]);
    }
    refused(&run(&["serve", "--config", "/nonexistent/kiang.toml"]), 2, &["/nonexistent/kiang.toml"]);
}

// ---- What goes wrong ----

#[test]
fn wrong_flags_are_a_usage_error() {
    refused(&run(&["serve", "--no-such-flag"]), 2, &["--no-such-flag"]);
    refused(&run(&["no-such-command"]), 2, &["no-such-command"]);
    refused(&run(&["serve", "--app", "nothing"]), 2, &["nothing"]);
    refused(&run(&["serve", "--bind", "nowhere"]), 2, &["nowhere"]);
    refused(&run(&["serve", "--drain", "soon"]), 2, &["soon"]);
}

#[test]
fn a_wrong_environment_is_a_usage_error() {
    let finished = Launch::serve(&[]).environment("KIANG_DRAIN", "soon").finish();
    refused(&finished, 2, &["soon"]);
}

#[test]
fn a_port_in_use_is_refused_by_its_address() {
    let occupant = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = occupant.local_addr().expect("a bound address").to_string();
    let finished = run(&["serve", "--bind", &addr]);
    refused(&finished, 1, &["kiang: ", &addr, "taken by"]);
    let finished = run(&["serve", "--bind", "127.0.0.1:0", "--bind", &addr]);
    refused(&finished, 1, &["kiang: ", &addr, "taken by"]);
}

#[test]
fn the_port_of_another_kiang_is_refused_too() {
    // SO_REUSEPORT would let both listen, and each would get half of the connections.
    let server = Server::start(&[]);
    let addr = server.addr().to_string();
    refused(&run(&["serve", "--bind", &addr]), 1, &["kiang: ", &addr, "taken by"]);
}

#[test]
fn an_address_of_another_machine_is_refused() {
    let finished = run(&["serve", "--bind", "192.0.2.1:0"]);
    refused(&finished, 1, &["kiang: ", "192.0.2.1"]);
}

#[test]
fn help_and_version_are_no_errors() {
    let help = run(&["--help"]);
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.contains("serve") && help.stdout.contains("doctor"), "{help:?}");
    let serve = run(&["serve", "--help"]);
    for flag in ["--bind", "--cores", "--app", "--config", "--drain", "KIANG_BIND"] {
        assert!(serve.stdout.contains(flag), "{flag} is missing: {serve:?}");
    }
    let version = run(&["--version"]);
    assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")), "{version:?}");
}

// ---- Doctor ----

#[test]
fn doctor_names_what_it_looked_at() {
    let finished = run(&["doctor", "--bind", "127.0.0.1:0"]);
    let words = finished.stdout.to_lowercase();
    for what in [
        "kernel",
        "io_uring",
        "memlock",
        "open files",
        "somaxconn",
        "tcp_migrate_req",
        "governor",
        "cpu quota",
        "memory limit",
        "port",
    ] {
        assert!(words.contains(what), "{what} is missing: {finished:?}");
    }
    assert_eq!(finished.code, Some(0), "this machine runs the tests, so it will do: {finished:?}");
}

#[test]
fn doctor_finds_an_occupied_port() {
    let occupant = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = occupant.local_addr().expect("a bound address").to_string();
    let finished = run(&["doctor", "--bind", &addr]);
    assert!(finished.stdout.contains(&addr), "{finished:?}");
    assert_ne!(finished.code, Some(0), "{finished:?}");
}
