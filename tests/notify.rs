//! What the service manager is told, here the test (`sd_notify(3)`).

mod support;

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kiang::{App, Cores, Server as Library};
use rustix::process::Signal;
use support::{Client, Launch, PATIENCE, Server, ms};

/// Where a service manager listens.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kiang-notify-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self { socket: UnixDatagram::bind(&path).expect("a free path"), path }
    }

    fn watches(&self, launch: Launch) -> Launch {
        launch.environment("NOTIFY_SOCKET", self.path.to_str().expect("a plain path"))
    }

    /// The next message, if one comes in time.
    fn heard_within(&self, patience: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(patience)).expect("our own socket");
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).ok()?;
        Some(String::from_utf8_lossy(&message[..length]).into_owned())
    }

    /// The next message that is no sign of life.
    #[track_caller]
    fn heard(&self) -> String {
        loop {
            let message = self.heard_within(PATIENCE).expect("the service manager is told something");
            if message != "WATCHDOG=1" {
                return message;
            }
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn has_line(message: &str, line: &str) -> bool {
    message.lines().any(|said| said == line)
}

#[test]
fn ready_is_told_when_it_serves_and_stopping_when_it_drains() {
    let manager = Manager::new("ready");
    let server = manager.watches(Launch::serve(&["--app", "echo"])).begin();
    let ready = manager.heard();
    assert!(has_line(&ready, "READY=1"), "{ready}");
    assert!(!ready.contains("MAINPID"), "{ready}");
    let addr = ready.split("serving on ").nth(1).expect("the status names the address").trim();
    let addr = addr.parse().expect("an address");
    // No word of the banner was waited for: ready is ready.
    let mut client = Client::connect(addr);
    client.send("POST / HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.response().status, 100);
    server.signal(Signal::TERM);
    let stopping = manager.heard();
    assert!(has_line(&stopping, "STOPPING=1"), "{stopping}");
    // The word comes at the beginning of the drain, not at its end.
    assert_eq!(client.send("helloworld").response().text(), "helloworld");
    assert_eq!(server.finished(PATIENCE).code, Some(0));
    assert_eq!(manager.heard_within(ms(50)), None, "nothing is told twice");
}

#[test]
fn an_abstract_name_is_told_too() {
    let name = format!("kiang-notify-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a short name");
    let socket = UnixDatagram::bind_addr(&address).expect("a free name");
    socket.set_read_timeout(Some(PATIENCE)).expect("our own socket");
    let _server = Launch::serve(&[]).environment("NOTIFY_SOCKET", &format!("@{name}")).begin();
    let mut message = [0; 256];
    let length = socket.recv(&mut message).expect("it is told");
    assert!(message[..length].starts_with(b"READY=1\n"));
}

#[test]
fn a_service_manager_that_is_not_there_stops_nothing() {
    let server = Launch::serve(&[]).environment("NOTIFY_SOCKET", "/nonexistent/notify").start();
    server.says("the service manager was not told `READY=1`");
    assert_eq!(server.connect().get("/plaintext").status, 200);
    server.signal(Signal::TERM);
    assert_eq!(server.finished(PATIENCE).code, Some(0));
}

#[test]
fn a_server_that_cannot_start_is_never_ready() {
    let manager = Manager::new("never");
    let occupant = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = occupant.local_addr().expect("a bound address").to_string();
    let refused = manager.watches(Launch::new(&["serve", "--bind", &addr])).finish();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(manager.heard_within(ms(50)), None);
}

#[test]
fn a_successor_names_itself_and_its_predecessor_says_nothing() {
    let manager = Manager::new("successor");
    let old = manager.watches(Launch::serve(&["--takeover"])).start();
    assert!(has_line(&manager.heard(), "READY=1"));
    let addr = old.addr().to_string();
    let new = manager.watches(Launch::new(&["serve", "--takeover", "--bind", &addr])).start();
    let ready = manager.heard();
    assert!(has_line(&ready, "READY=1") && has_line(&ready, &format!("MAINPID={}", new.pid())), "{ready}");
    assert_eq!(old.finished(PATIENCE).code, Some(0));
    assert_eq!(
        manager.heard_within(ms(50)),
        None,
        "the service does not stop: another process goes on with it"
    );
    new.signal(Signal::TERM);
    assert!(has_line(&manager.heard(), "STOPPING=1"));
    assert_eq!(new.finished(PATIENCE).code, Some(0));
}

#[test]
fn the_watchdog_is_told_twice_as_often_as_asked_and_only_if_asked() {
    let manager = Manager::new("watchdog");
    let serve = || manager.watches(Launch::serve(&["--cores", "all"]));
    let server: Server = serve().environment("WATCHDOG_USEC", "400000").start();
    assert!(has_line(&manager.heard(), "READY=1"));
    let since = Instant::now();
    for _ in 0..5 {
        assert_eq!(manager.heard_within(PATIENCE).as_deref(), Some("WATCHDOG=1"));
    }
    // The first comes at once, the others 200 ms apart, however late they were.
    assert!(since.elapsed() >= ms(700), "five within {:?}", since.elapsed());
    drop(server);
    while manager.heard_within(ms(300)).is_some() {}
    let _other = serve().environment("WATCHDOG_USEC", "100000").environment("WATCHDOG_PID", "1").start();
    assert!(has_line(&manager.heard(), "READY=1"));
    assert_eq!(manager.heard_within(ms(300)), None, "it is for another process");
}

const LIMIT: Duration = ms(400);
/// How long the handler holds its core.
const HELD: Duration = ms(2500);

#[test]
fn a_core_that_a_handler_holds_is_no_sign_of_life() {
    let manager = Manager::new("held");
    // Variables can only be set safely for another process: this one again, with the test below.
    let mut child =
        std::process::Command::new(std::env::current_exe().expect("a running test has a program"))
            .args(["--exact", "a_server_whose_handler_blocks", "--nocapture"])
            .env("NOTIFY_SOCKET", &manager.path)
            .env("WATCHDOG_USEC", LIMIT.as_micros().to_string())
            .spawn()
            .expect("the test runs");
    let ready = manager.heard();
    assert!(has_line(&ready, "READY=1"), "{ready}");
    let addr = ready.split("serving on ").nth(1).expect("the status names the address").trim();
    let mut client = Client::connect(addr.parse().expect("an address"));
    assert_eq!(manager.heard_within(PATIENCE).as_deref(), Some("WATCHDOG=1"));
    client.send("GET /block HTTP/1.1\r\nHost: kiang.test\r\n\r\n");
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    // Until the handler is done and the signs of life have come back.
    let until = Instant::now() + HELD + ms(1000);
    while Instant::now() < until {
        assert_eq!(manager.heard_within(PATIENCE).as_deref(), Some("WATCHDOG=1"), "they never come back");
        (longest, last) = (longest.max(last.elapsed()), Instant::now());
    }
    assert!(longest > 3 * LIMIT, "a core was held for {HELD:?}, and the longest silence was {longest:?}");
    assert_eq!(client.response().text(), "done");
    let _ = client.send("GET /stop HTTP/1.1\r\nHost: kiang.test\r\n\r\n");
    assert!(child.wait().expect("a child of ours").success());
}

#[test]
fn a_server_whose_handler_blocks() {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let server = Library::bind("127.0.0.1:0").expect("a free port").cores(Cores::count(1)).notify(true);
    let handle = server.handle();
    server
        .run(move |_| {
            let handle = handle.clone();
            App::new()
                .get("/block", || {
                    std::thread::sleep(HELD);
                    "done"
                })
                .get("/stop", move || {
                    handle.shutdown();
                    "stopping"
                })
        })
        .expect("it serves");
}
