//! Unix sockets: the file and who may use it, requests, drain and takeover.

mod support;

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use kiang::{App, Cores, Peer, Server as Library};
use rustix::process::Signal;
use support::{Client, Finished, Launch, PATIENCE, Server, until};

const PLAINTEXT: &str = "GET /plaintext HTTP/1.1\r\nHost: kiang.test\r\n\r\n";
const ONE_SHOT: &str = "GET /plaintext HTTP/1.1\r\nHost: kiang.test\r\nConnection: close\r\n\r\n";

/// A folder for one test, in the folder for temporary files: the path of a socket must be short.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kiang-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("the folder for temporary files is writable");
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("k.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn serve(path: &Path, arguments: &[&str]) -> Launch {
    let address = format!("unix:{}", path.display());
    Launch::new(&[&["serve", "--bind", &address], arguments].concat())
}

#[track_caller]
fn ends(server: Server) -> Finished {
    server.signal(Signal::TERM);
    let finished = server.finished(PATIENCE);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    finished
}

/// A file that a server left behind which was killed.
fn leave_stale(path: &Path) {
    drop(UnixListener::bind(path).expect("a path that is free"));
    assert!(fs::symlink_metadata(path).expect("it stays").file_type().is_socket());
}

#[test]
fn requests_are_answered_and_the_file_is_removed_at_the_end() {
    let folder = Folder::new("serves");
    let path = folder.socket();
    let server = serve(&path, &["--app", "echo"]).start();
    assert!(
        server.stdout().contains(&format!("listening on unix:{}", path.display())),
        "{}",
        server.stdout()
    );
    let mut client = Client::connect_unix(&path);
    assert_eq!(client.post("/", "hello").text(), "hello");
    assert_eq!(client.post_chunked("/", &[b"hel", b"lo"]).text(), "hello");
    let large = vec![b'x'; 1 << 20];
    assert_eq!(client.post("/", &large).body, large);
    ends(server);
    assert!(!path.exists(), "the file stays");
}

#[test]
fn a_port_and_a_unix_socket_are_served_together() {
    let folder = Folder::new("both");
    let path = folder.socket();
    let server = serve(&path, &["--bind", "127.0.0.1:0"]).start();
    assert_eq!(Client::connect_unix(&path).get("/plaintext").text(), "Hello, World!");
    assert_eq!(server.connect().get("/plaintext").text(), "Hello, World!");
    ends(server);
}

#[test]
fn mode_and_owner_of_the_file_are_as_asked() {
    let folder = Folder::new("mode");
    let path = folder.socket();
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let server = serve(&path, &[]).start();
    assert_eq!(mode(&path), 0o660, "the default");
    ends(server);
    let server = serve(&path, &["--unix-mode", "606"]).start();
    assert_eq!(mode(&path), 0o606);
    ends(server);
    if rustix::process::geteuid().is_root() {
        let server = serve(&path, &["--unix-owner", "65534:65533"]).start();
        let metadata = fs::metadata(&path).expect("it is there");
        assert_eq!((metadata.uid(), metadata.gid()), (65534, 65533));
        ends(server);
    } else {
        let refused = serve(&path, &["--unix-owner", "0:0"]).finish();
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("cannot be given to that user and group"), "{refused:?}");
        assert!(!path.exists());
    }
    let refused = serve(&path, &["--unix-owner", "nobody-at-all"]).finish();
    assert_eq!(refused.code, Some(2), "{refused:?}");
}

#[test]
fn a_stale_file_is_replaced() {
    let folder = Folder::new("stale");
    let path = folder.socket();
    leave_stale(&path);
    let server = serve(&path, &[]).start();
    assert_eq!(Client::connect_unix(&path).get("/plaintext").status, 200);
    // A server that is killed leaves its file. The next server replaces the file, though the kernel may not have closed
    // the socket yet.
    server.signal(Signal::KILL);
    assert_eq!(server.finished(PATIENCE).signal, Some(9));
    let server = serve(&path, &[]).start();
    assert_eq!(Client::connect_unix(&path).get("/plaintext").status, 200);
    ends(server);
}

#[test]
fn a_live_socket_is_not_replaced_and_its_server_is_named() {
    let folder = Folder::new("live");
    let path = folder.socket();
    let server = serve(&path, &[]).start();
    for arguments in [&[][..], &["--takeover"]] {
        let refused = serve(&path, arguments).finish();
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(
            refused.stderr.contains(&format!("taken by `kiang`, process {}", server.pid())),
            "{refused:?}"
        );
    }
    assert_eq!(Client::connect_unix(&path).get("/plaintext").status, 200);
    ends(server);
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let folder = Folder::new("file");
    let path = folder.socket();
    fs::write(&path, "precious").expect("our own folder");
    let refused = serve(&path, &[]).finish();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("no socket"), "{refused:?}");
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "precious");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let folder = Folder::new("absent");
    let refused = serve(&folder.0.join("no/k.sock"), &[]).finish();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("the folder for the socket is not there"), "{refused:?}");
}

#[test]
fn of_two_servers_started_at_once_exactly_one_serves() {
    let folder = Folder::new("pairs");
    for round in 0..12 {
        let path = folder.0.join(format!("{round}.sock"));
        if round % 2 == 1 {
            leave_stale(&path);
        }
        let (one, other) = (serve(&path, &[]).begin(), serve(&path, &[]).begin());
        let (winner, loser) = match (one.serves(), other.serves()) {
            (true, false) => (one, other),
            (false, true) => (other, one),
            both => panic!("who serves: {both:?}\n{}\n{}", one.stderr(), other.stderr()),
        };
        let loser = loser.finished(PATIENCE);
        assert_eq!(loser.code, Some(1), "{loser:?}");
        assert!(loser.stderr.contains(&format!("process {}", winner.pid())), "{loser:?}");
        assert_eq!(Client::connect_unix(&path).get("/plaintext").status, 200);
        ends(winner);
        assert!(!path.exists());
    }
}

#[test]
fn a_peer_has_no_address_and_the_access_log_says_so() {
    let folder = Folder::new("peer");
    let (path, log) = (folder.socket(), folder.0.join("access.log"));
    let server = serve(&path, &["--access-log", log.to_str().expect("a plain path")]).start();
    assert_eq!(Client::connect_unix(&path).get("/plaintext").status, 200);
    ends(server);
    let log = fs::read_to_string(log).expect("the log is written");
    let line: serde_json::Value = serde_json::from_str(log.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&line["peer"], &line["target"]), (&serde_json::Value::Null, &"/plaintext".into()));

    let library = Library::bind(format!("unix:{}", path.display())).expect("a free path");
    let library = library.signals(false).cores(Cores::count(1));
    let handle = library.handle();
    let running = thread::spawn(move || {
        library
            .run(|_| App::new().get("/peer", |Peer(peer): Peer| peer.to_string()).get("/other", || "served"))
    });
    until(PATIENCE, "it listens", || Client::try_connect_unix(&path).is_ok());
    let mut client = Client::connect_unix(&path);
    assert_eq!(client.get("/peer").status, 500, "a handler that must have an address gets none");
    assert_eq!(client.get("/other").text(), "served");
    handle.shutdown();
    running.join().expect("no panic").expect("no error");
    assert!(!path.exists());
}

#[test]
fn connections_are_not_limited_for_each_peer() {
    let folder = Folder::new("many");
    let path = folder.socket();
    let server = serve(&path, &["--max-connections-per-peer", "1"]).start();
    let mut clients: Vec<_> = (0..10).map(|_| Client::connect_unix(&path)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/plaintext").status, 200);
    }
    ends(server);
}

#[test]
fn cores_that_have_one_socket_share_its_connections() {
    let folder = Folder::new("cores");
    let path = folder.socket();
    let server = serve(&path, &["--cores", "all"]).start();
    let mut clients: Vec<_> = (0..200).map(|_| Client::connect_unix(&path)).collect();
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

// ---- Drain ----

#[test]
fn requests_that_wait_in_the_accept_queue_are_answered() {
    let folder = Folder::new("queue");
    let path = folder.socket();
    for _ in 0..5 {
        let server = serve(&path, &["--cores", "all"]).start();
        Client::connect_unix(&path).get("/plaintext");
        server.drains_answering(PLAINTEXT, |_| (0..100).map(|_| Client::connect_unix(&path)).collect());
        assert!(!path.exists());
    }
}

/// Clients with a connection for each request, until told to stop or refused.
struct Clients {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    fn start(path: &Path, threads: usize) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..threads)
            .map(|_| {
                let (stop, answered, path) = (stop.clone(), answered.clone(), path.to_owned());
                thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        match Client::try_connect_unix(&path) {
                            Ok(mut client) => {
                                assert_eq!(client.send(ONE_SHOT).response().text(), "Hello, World!");
                                answered.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(error) if is_refused(&error) => return,
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            })
            .collect();
        Self { stop, answered, threads }
    }

    #[track_caller]
    fn go_on(&self, answers: u64) {
        let goal = self.answered.load(Ordering::Relaxed) + answers;
        until(2 * PATIENCE, "further requests are answered", || {
            self.answered.load(Ordering::Relaxed) >= goal
        });
        assert!(self.threads.iter().all(|thread| !thread.is_finished()), "a client was refused");
    }

    /// All of them end, having lost nothing.
    #[track_caller]
    fn end(self) {
        self.threads.into_iter().for_each(|thread| thread.join().expect("no request was lost"));
    }
}

/// The file is gone, or nobody listens.
fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

#[test]
fn sigterm_under_load_loses_no_request() {
    let folder = Folder::new("term");
    let path = folder.socket();
    for _ in 0..5 {
        let server = serve(&path, &["--cores", "all"]).start();
        let clients = Clients::start(&path, 6);
        clients.go_on(300);
        server.signal(Signal::TERM);
        clients.end();
        assert_eq!(server.finished(PATIENCE).code, Some(0));
    }
}

// ---- Takeover ----

#[test]
fn restarts_under_load_lose_no_request_and_refuse_no_client() {
    let folder = Folder::new("restart");
    let path = folder.socket();
    let mut server = serve(&path, &["--takeover", "--unix-mode", "600"]).start();
    let clients = Clients::start(&path, 4);
    for cores in ["1", "all", "1", "all", "all", "1"] {
        clients.go_on(100);
        let new = serve(&path, &["--takeover", "--cores", cores]).start();
        assert_eq!(server.finished(PATIENCE).code, Some(0));
        server = new;
    }
    clients.go_on(100);
    assert!(path.exists(), "the file is the last server's");
    clients.stop.store(true, Ordering::Relaxed);
    clients.end();
    ends(server);
    assert!(!path.exists());
}
