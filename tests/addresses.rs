//! Addresses: the forms that people type, and one server for each.

mod support;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::thread;

use kiang::{App, Cores, Server as Library};
use rustix::process::Signal;
use support::{Client, Finished, Launch, PATIENCE, Server, skip};

/// How many pairs of servers are started at once.
const PAIRS: usize = 15;

/// A port of 127.0.0.1 that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address").port()
}

fn bind(address: &str) -> Launch {
    Launch::new(&["serve", "--bind", address])
}

fn ends(server: Server) -> Finished {
    server.signal(Signal::TERM);
    let finished = server.finished(PATIENCE);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    finished
}

fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

// ---- One server for each ----

/// Begins both at once, and sees that exactly one serves and that the other names this one.
#[track_caller]
fn exactly_one_serves(one: &Launch, other: &Launch) -> Server {
    let (one, other) = (one.begin(), other.begin());
    let (winner, loser) = match (one.serves(), other.serves()) {
        (true, false) => (one, other),
        (false, true) => (other, one),
        both => panic!(
            "who serves: {both:?}\n{}\n{}\n{}\n{}",
            one.stdout(),
            other.stdout(),
            one.stderr(),
            other.stderr()
        ),
    };
    let loser = loser.finished(PATIENCE);
    assert_eq!(loser.code, Some(1), "{loser:?}");
    let named = format!("taken by `kiang`, process {}", winner.pid());
    assert!(loser.stderr.contains(&named), "{named} is not in {loser:?}");
    winner
}

#[test]
fn of_two_servers_started_at_once_exactly_one_serves() {
    for _ in 0..PAIRS {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let server = bind(&addr.to_string());
        let winner = exactly_one_serves(&server, &server);
        assert_eq!(Client::connect(addr).get("/plaintext").text(), "Hello, World!");
        ends(winner);
    }
}

#[test]
fn an_address_for_all_excludes_one_of_them() {
    for _ in 0..PAIRS / 3 {
        let port = free_port();
        let winner =
            exactly_one_serves(&bind(&format!("0.0.0.0:{port}")), &bind(&format!("127.0.0.1:{port}")));
        assert_eq!(Client::connect((Ipv4Addr::LOCALHOST, port).into()).get("/plaintext").status, 200);
        ends(winner);
    }
}

#[test]
fn of_two_servers_started_at_once_to_take_over_exactly_one_is_left() {
    for _ in 0..PAIRS / 3 {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let server = Launch::new(&["serve", "--takeover", "--bind", &addr.to_string()]);
        let servers = [server.begin(), server.begin()];
        // One may be refused, or may take over from the other, which then drains.
        let mut left: Vec<_> = servers.into_iter().filter(Server::serves).collect();
        let gives_way = |server: &Server| server.stderr().contains("a successor serves");
        if left.len() == 2 {
            support::until(PATIENCE, "one gives way", || left.iter().any(gives_way));
            left.retain(|server| !gives_way(server));
        }
        assert_eq!(left.len(), 1);
        assert_eq!(Client::connect(addr).get("/plaintext").status, 200);
        for server in left {
            ends(server);
        }
    }
}

#[test]
fn of_two_that_were_bound_only_the_first_that_runs_serves() {
    // Nothing is left to chance here: both are bound before either listens.
    let bound =
        |address: &str| Library::bind(address).expect("a free port").signals(false).cores(Cores::count(1));
    let path = std::env::temp_dir().join(format!("kiang-second-{}.sock", std::process::id()));
    let first = bound("127.0.0.1:0");
    let addr = first.addrs()[0].tcp().expect("a port");
    let second = bound(&format!("unix:{}", path.display())).and_bind(addr).expect("nobody listens yet");
    // Should it serve all the same, the test must end.
    let not_second = second.handle();
    let second = second.on_start(move |_| not_second.shutdown());
    let handle = first.handle();
    let (started, starts) = std::sync::mpsc::channel();
    let first = first.on_start(move |_| started.send(()).expect("the test waits"));
    let serving = thread::spawn(move || first.run(|_| App::new().get("/", || "first")));
    starts.recv_timeout(PATIENCE).expect("it serves");
    let error =
        second.run(|_| App::new().get("/", || "second")).expect_err("two would share the port").to_string();
    assert_eq!(error, format!("cannot listen on {addr}: taken by this process itself"));
    assert!(!path.exists(), "a server that does not serve leaves no file");
    for _ in 0..20 {
        assert_eq!(Client::connect(addr).get("/").text(), "first");
    }
    handle.shutdown();
    serving.join().expect("no panic").expect("no error");
}

#[test]
fn cores_share_a_port_that_nobody_else_gets() {
    let server = Server::start(&["--cores", "all"]);
    let addr = server.addr().to_string();
    // The kernel deals connections out to all cores, and still lets no other server in.
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut clients: Vec<_> = (0..32 * cores).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/plaintext").status, 200);
    }
    let response = server.connect().get("/cores");
    let cores: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
    let cores = cores.as_array().expect("an array");
    assert!(cores.iter().all(|core| core["accepted"].as_u64() > Some(0)), "{cores:?}");
    for _ in 0..3 {
        let refused = bind(&addr).finish();
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(
            Library::bind(addr.as_str())
                .err()
                .is_some_and(|error| error.to_string().contains("taken by `kiang`"))
        );
    }
}

#[test]
fn a_server_that_was_killed_leaves_its_port_to_the_next() {
    for _ in 0..5 {
        let server = Server::start(&["--cores", "all"]);
        let addr = server.addr();
        let _client = server.connect();
        server.signal(Signal::KILL);
        assert_eq!(server.finished(PATIENCE).signal, Some(9));
        // At once, though the kernel takes down a ring, and with it the sockets, a moment later.
        Library::bind(addr).expect("nobody has it any more");
        ends(bind(&addr.to_string()).start());
    }
}

// ---- What people type ----

#[test]
fn a_port_alone_is_every_address_of_this_machine() {
    for form in ["PORT", ":PORT", "*:PORT"] {
        let port = free_port();
        let server = bind(&form.replace("PORT", &port.to_string())).start();
        assert_eq!(Client::connect((Ipv4Addr::LOCALHOST, port).into()).get("/plaintext").status, 200);
        if has_ipv6() {
            support::until(PATIENCE, "the banner is out", || {
                server.stdout().contains(&format!("http://[::]:{port}/"))
            });
            assert_eq!(Client::connect((Ipv6Addr::LOCALHOST, port).into()).get("/plaintext").status, 200);
            assert!(!server.stdout().contains("IPv6 only"), "{}", server.stdout());
        }
        ends(server);
    }
}

#[test]
fn a_name_is_all_of_its_addresses_that_this_machine_has() {
    let port = free_port();
    let server = bind(&format!("localhost:{port}")).start();
    assert_eq!(Client::connect((Ipv4Addr::LOCALHOST, port).into()).get("/plaintext").status, 200);
    let named: Vec<_> =
        std::net::ToSocketAddrs::to_socket_addrs(&("localhost", port)).expect("resolves").collect();
    if has_ipv6() && named.contains(&(Ipv6Addr::LOCALHOST, port).into()) {
        assert_eq!(Client::connect((Ipv6Addr::LOCALHOST, port).into()).get("/plaintext").status, 200);
    }
    ends(server);
}

#[test]
fn a_name_that_has_no_address_is_refused_by_name() {
    let finished = bind("nowhere.invalid:8080").finish();
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("the name `nowhere.invalid` cannot be resolved"), "{finished:?}");
}

#[test]
fn every_ipv6_address_alone_is_said_to_be_ipv6_only() {
    if !has_ipv6() {
        return skip("this machine has no ::1");
    }
    let server = bind("[::]:0").start();
    let said = format!("IPv6 only: clients of IPv4 need --bind 0.0.0.0:{}", server.addr().port());
    support::until(PATIENCE, "the banner says so", || server.stdout().contains(&said));
    let ipv4 = SocketAddr::from((Ipv4Addr::LOCALHOST, server.addr().port()));
    assert!(Client::try_connect(ipv4).is_err(), "it would serve what the banner says it does not");
    ends(server);
}

#[test]
fn a_link_local_address_names_its_interface() {
    // An address, its interface's number, three further fields, and the interface's name (`proc_net(5)`).
    let interfaces = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let Some(line) = interfaces.lines().find(|line| line.starts_with("fe80")) else {
        return skip("this machine has no link-local address");
    };
    let fields: Vec<_> = line.split_whitespace().collect();
    let ip = Ipv6Addr::from(u128::from_str_radix(fields[0], 16).expect("hexadecimal"));
    let server = bind(&format!("[{ip}%{}]:0", fields[5])).start();
    assert_eq!(server.connect().get("/plaintext").status, 200);
}

#[test]
fn what_is_no_address_is_a_usage_error_that_says_what_to_write() {
    for (address, words) in [
        ("127.0.0.1:70000", "the port 70000 is too large"),
        ("127.0.0.1", "write `127.0.0.1:8080`"),
        ("http://127.0.0.1:8080/", "write `127.0.0.1:8080`"),
        ("::1:8080", "stands in brackets"),
        ("/run/kiang.sock", "write `unix:/run/kiang.sock`"),
    ] {
        let finished = bind(address).finish();
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(finished.stderr.contains(words), "{words}: {finished:?}");
    }
}

#[test]
fn an_address_bound_twice_is_an_error() {
    let port = free_port();
    let named = Library::bind(format!("localhost:{port}")).expect("a free port");
    let error = named.and_bind((Ipv4Addr::LOCALHOST, port)).err().expect("it is there already").to_string();
    assert_eq!(error, format!("the address 127.0.0.1:{port} is bound twice"));
}
