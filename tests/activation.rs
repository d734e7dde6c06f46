//! Socket activation: sockets that a service manager has opened, here the test (`sd_listen_fds(3)`).

mod support;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::process::Signal;
use socket2::SockRef;
use support::{Client, Finished, Launch, PATIENCE, Server};

const PLAINTEXT: &str = "GET /plaintext HTTP/1.1\r\nHost: kiang.test\r\n\r\n";

/// A socket as a service manager keeps it: its number is above 9, and a program that is started inherits it.
struct Passed(OwnedFd);

impl Passed {
    fn new(socket: impl AsFd) -> Self {
        let fd = fcntl_dupfd_cloexec(socket, 20).expect("a further descriptor");
        fcntl_setfd(&fd, FdFlags::empty()).expect("our own descriptor");
        Self(fd)
    }

    fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn listen() -> (Passed, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let addr = listener.local_addr().expect("a bound address");
    (Passed::new(listener), addr)
}

#[track_caller]
fn ends(server: Server) -> Finished {
    server.signal(Signal::TERM);
    let finished = server.finished(PATIENCE);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    finished
}

#[test]
fn a_passed_socket_is_served_if_asked_for_or_if_nothing_is() {
    let (socket, addr) = listen();
    for arguments in [&["serve", "--bind", "systemd"][..], &["serve"]] {
        let server = Launch::new(arguments).passing(&[socket.number()], "http").start();
        assert_eq!(server.addr(), addr, "the banner names it");
        assert_eq!(server.connect().get("/plaintext").text(), "Hello, World!");
        ends(server);
    }
    // A user who names another address means that one.
    let server = Launch::serve(&[]).passing(&[socket.number()], "http").start();
    assert_ne!(server.addr(), addr);
}

#[test]
fn connections_of_a_passed_socket_have_the_options_of_any_other() {
    let (socket, _) = listen();
    let _server = Launch::new(&["serve"]).passing(&[socket.number()], "http").start();
    // The options are the socket's, whoever has it open.
    let socket = SockRef::from(&socket.0);
    assert!(socket.tcp_nodelay().expect("a TCP socket"));
    assert_eq!(socket.tcp_notsent_lowat().expect("a TCP socket"), 256 << 10);
}

#[test]
fn one_socket_is_served_by_all_cores() {
    let (socket, _) = listen();
    let server = Launch::new(&["serve", "--cores", "all"]).passing(&[socket.number()], "http").start();
    let mut clients: Vec<_> = (0..200).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/plaintext").status, 200);
    }
    let cores: serde_json::Value = serde_json::from_slice(&clients[0].get("/cores").body).expect("JSON");
    let open: Vec<_> = cores
        .as_array()
        .expect("an array")
        .iter()
        .map(|core| core["connections"].as_u64().expect("a count"))
        .collect();
    let (most, all) = (open.iter().max().expect("a core"), open.iter().sum::<u64>());
    assert_eq!(all, 200);
    assert!(*most <= 3 * all / (2 * open.len() as u64), "they are not balanced: {open:?}");
    eprintln!("{open:?}");
    ends(server);
}

#[test]
fn sockets_are_chosen_by_name() {
    let ((http, http_addr), (admin, admin_addr)) = (listen(), listen());
    let passed = [http.number(), admin.number()];
    let server = Launch::new(&["serve", "--bind", "systemd:admin"]).passing(&passed, "http:admin").start();
    assert_eq!(server.addrs(), [admin_addr]);
    assert_eq!(server.connect().get("/plaintext").status, 200);
    ends(server);
    let server = Launch::new(&["serve", "--bind", "systemd:admin", "--bind", "systemd:http"])
        .passing(&passed, "http:admin")
        .start();
    assert_eq!(server.addrs(), [admin_addr, http_addr]);
    ends(server);
    let refused = Launch::new(&["serve", "--bind", "systemd:other"]).passing(&passed, "http:admin").finish();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("no socket with the name `other` was passed, but `http`, `admin`"),
        "{refused:?}"
    );
}

#[test]
fn the_queue_outlives_the_server() {
    let (socket, addr) = listen();
    let launch = || Launch::new(&["serve", "--cores", "all"]).passing(&[socket.number()], "http");
    // Before the first, between two, and while one stands still and then drains: nobody is refused.
    let mut clients = vec![Client::connect(addr)];
    for _ in 0..3 {
        let server = launch().start();
        for client in &mut clients {
            assert_eq!(client.send(PLAINTEXT).response().text(), "Hello, World!");
        }
        clients.clear();
        server.drains_answering(PLAINTEXT, |server| (0..50).map(|_| server.connect()).collect());
        clients.extend((0..3).map(|_| Client::connect(addr)));
    }
}

#[test]
fn a_unix_socket_can_be_passed_and_its_file_stays() {
    let path = std::env::temp_dir().join(format!("kiang-passed-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let socket = Passed::new(UnixListener::bind(&path).expect("a free path"));
    let server = Launch::new(&["serve"]).passing(&[socket.number()], "http").start();
    assert!(
        server.stdout().contains(&format!("listening on unix:{}", path.display())),
        "{}",
        server.stdout()
    );
    assert_eq!(Client::connect_unix(&path).get("/plaintext").status, 200);
    ends(server);
    assert!(path.exists(), "it is the service manager's");
    assert!(Client::try_connect_unix(&path).is_ok(), "and so is the socket");
    std::fs::remove_file(&path).expect("our own file");
}

#[test]
fn a_socket_that_does_not_block_is_served() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.set_nonblocking(true).expect("our own socket");
    let socket = Passed::new(listener);
    let server = Launch::new(&["serve"]).passing(&[socket.number()], "http").start();
    for _ in 0..5 {
        assert_eq!(server.connect().get("/plaintext").status, 200);
    }
    ends(server);
}

#[test]
fn a_peer_of_a_socket_for_both_families_has_its_ipv4_address() {
    let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None);
    let Ok(socket) = socket else { return support::skip("this machine has no IPv6") };
    socket.set_only_v6(false).expect("our own socket");
    let any = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0));
    if socket.bind(&any.into()).is_err() {
        return support::skip("this machine has no IPv6");
    }
    socket.listen(16).expect("it is bound");
    let port = socket.local_addr().expect("a bound address").as_socket().expect("of IPv6").port();
    let log = support::file("both.log", "");
    let socket = Passed::new(socket);
    let server = Launch::new(&["serve", "--access-log", log.to_str().expect("a plain path")])
        .passing(&[socket.number()], "http")
        .start();
    assert_eq!(Client::connect((Ipv4Addr::LOCALHOST, port).into()).get("/plaintext").status, 200);
    ends(server);
    let log = std::fs::read_to_string(log).expect("the log is written");
    assert!(log.contains("\"peer\":\"127.0.0.1:"), "{log}");
}

#[test]
fn what_cannot_be_served_is_named() {
    let refused = Launch::new(&["serve", "--bind", "systemd"]).finish();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("no sockets were passed"), "{refused:?}");
    let datagrams = Passed::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    let refused = Launch::new(&["serve"]).passing(&[datagrams.number()], "udp").finish();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("the descriptor 3 (`udp`) that was passed is no listening"),
        "{refused:?}"
    );
    let (_socket, _) = listen();
    let refused = Launch::new(&["serve", "--bind", "systemd"])
        .environment("LISTEN_PID", "1")
        .environment("LISTEN_FDS", "1")
        .finish();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("are for process 1"), "{refused:?}");
}
