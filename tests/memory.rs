//! The memory of all requests together is bounded: what finds no room is told so, others are served meanwhile, and what a
//! burst took goes back.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kiang::{App, Core, Cores, Json, Memory};
use socket2::SockRef;
use support::{Client, Embedded, Launch, PATIENCE, Server, raise_open_files, skip, until};

const MIB: u64 = 1 << 20;

/// A control group with a limit of memory, gone with the value. Only root can make one.
struct Group(PathBuf);

impl Group {
    fn new(bytes: u64) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let mut candidates = mounts.lines().filter_map(|line| {
            let (mount, kind) = line.split_once(" - ")?;
            let is_it =
                kind.starts_with("cgroup2 ") || kind.split([' ', ',']).skip(2).any(|word| word == "memory");
            let point = Path::new(mount.split(' ').nth(4)?);
            is_it.then(|| point.join(format!("kiang-memory-{}", std::process::id())))
        });
        candidates.find_map(|path| {
            fs::create_dir(&path).ok()?;
            let group = Self(path);
            let set = ["memory.max", "memory.limit_in_bytes"].iter().any(|name| {
                let file = group.0.join(name);
                file.exists() && fs::write(file, bytes.to_string()).is_ok()
            });
            set.then_some(group)
        })
    }

    /// What makes a process one of the group.
    fn wrapper(&self) -> Vec<String> {
        let join = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", self.0.display());
        ["sh", "-c", &join].map(str::to_owned).to_vec()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel lets go of it when the last process is gone.
        until(PATIENCE, "the group is empty", || fs::remove_dir(&self.0).is_ok());
    }
}

/// Says that something is done, also if it panics: whoever waits for that would hide the failure.
struct EndsWith<'a>(&'a AtomicBool);

impl Drop for EndsWith<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An integer, and so many bytes long: the bench application collects it and answers 200.
fn number(length: usize) -> Vec<u8> {
    let mut body = vec![b' '; length];
    body[length - 1] = b'5';
    body
}

/// All of these bodies at the same time, of one length. How many were answered 200, and how many 503; nothing else is
/// allowed.
fn all_at_once(server: &Server, clients: usize, length: usize) -> (usize, usize) {
    let (body, halfway) = (number(length), Barrier::new(clients));
    let one = || {
        let mut client = server.connect();
        // On a loaded machine 120 MiB take their time.
        client.patience(3 * PATIENCE);
        let head =
            format!("POST /baseline11?a=1 HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: {length}\r\n\r\n");
        client.send(head).send(&body[..length / 2]);
        // No body is whole before all have begun.
        halfway.wait();
        client.send(&body[length / 2..]);
        let response = client.response();
        match response.status {
            200 => assert_eq!(response.text(), "6"),
            503 => assert_eq!(response.header("retry-after"), Some("1"), "{response:?}"),
            _ => panic!("neither answered nor told that there is no room: {response:?}"),
        }
        response.status
    };
    let statuses: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().expect("every client is answered")).collect()
    });
    let good = statuses.iter().filter(|status| **status == 200).count();
    (good, statuses.len() - good)
}

#[test]
fn sixty_bodies_of_2_mb_do_not_kill_a_container_of_64_mib_and_their_memory_goes_back() {
    let group = Group::new(64 * MIB);
    let launch = if let Some(group) = &group {
        Launch::serve(&["--cores", "1"]).wrapped_in(&group.wrapper())
    } else {
        skip("only root can make a control group with a limit of memory; the limit is a flag instead");
        Launch::serve(&["--cores", "1", "--max-memory", "32MiB"])
    };
    let server = launch.start();
    assert!(server.stdout().contains("unsent answers: 32768 KiB a core"), "{}", server.stdout());
    assert_eq!(server.connect().get("/plaintext").status, 200);
    let before = server.rss();
    let done = AtomicBool::new(false);
    let (good, refused, peak) = thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut peak = 0;
            let mut client = server.connect();
            while !done.load(Ordering::Relaxed) {
                assert_eq!(client.get("/plaintext").status, 200, "others are served meanwhile");
                peak = peak.max(server.rss());
            }
            peak
        });
        let (good, refused) = {
            let _ends = EndsWith(&done);
            all_at_once(&server, 60, 2 << 20)
        };
        (good, refused, others.join().expect("others are served"))
    });
    let after = server.rss();
    eprintln!(
        "{good} answered, {refused} refused; resident: {before} before, {peak} at most, {after} after the burst"
    );
    assert!(good >= 15, "as many as fit are answered: {good}");
    assert!(peak < before + 48 * MIB, "{peak} bytes were resident");
    assert!(after < before + 4 * MIB, "what the burst took has not gone back: {before}, then {after}");
    assert_eq!(server.cores("memory"), 0);
    assert_eq!(server.cores("refused_for_memory"), refused as u64);
    server.says("bytes more for a request find no room: ");
    let told = server.stderr().matches("find no room").count();
    assert_eq!(told, 1, "said at most once a minute");
    assert_eq!(all_at_once(&server, 12, 2 << 20), (12, 0), "all that fits is answered, also afterwards");
    assert_eq!(server.cores("memory"), 0);
    drop(server);
    drop(group);
}

#[test]
fn a_body_that_never_finds_room_is_told_so_and_the_log_says_why() {
    let server = Server::start(&["--cores", "1", "--max-memory", "1MiB"]);
    server.says("so no body of 2097152 can be collected");
    let long = number(3 << 19);
    let response = server.connect().post("/baseline11?a=1", &long);
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")), "{response:?}");
    server.says("1572864 bytes more for a request find no room, and never will: 0 of 1048576 bytes");
    // Of an unknown length it grows until there is no room.
    let response = server.connect().post_chunked("/baseline11?a=1", &[&long[..1 << 19], &long[..1 << 20]]);
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")), "{response:?}");
    assert_eq!(server.stderr().matches("find no room").count(), 1);
    let short = number(1 << 19);
    assert_eq!(server.connect().post("/baseline11?a=1", &short).text(), "6");
    assert_eq!(server.connect().post_chunked("/baseline11?a=1", &[&short]).text(), "6");
    assert_eq!((server.cores("memory"), server.cores("refused_for_memory")), (0, 2));
}

#[test]
fn heads_that_are_gathered_take_no_more_than_their_share() {
    const SLOW: usize = 2000;
    if raise_open_files() < SLOW as u64 + 200 {
        return skip("the hard limit of open files forbids 2000 connections");
    }
    let server = Server::start(&["--cores", "1", "--max-memory", "1MiB"]);
    assert_eq!(server.connect().get("/plaintext").status, 200);
    let head = format!("GET / HTTP/1.1\r\nHost: kiang.test\r\nX-Long: {}", "x".repeat(3000));
    let mut slow: Vec<_> = (0..SLOW)
        .map(|_| {
            let mut client = server.connect();
            client.send(&head);
            client
        })
        .collect();
    until(PATIENCE, "all that find no room are told", || server.cores("refused_for_memory") > 1000);
    let held = server.cores("memory");
    assert!((MIB - 4096..=MIB).contains(&held), "{held} bytes are held");
    // Those that found room finish; the others have been told.
    let (mut good, mut refused) = (0, 0);
    for client in &mut slow {
        let _ = client.try_send("\r\n\r\n");
        match client.response() {
            response if response.status == 200 => good += 1,
            response => {
                assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
                assert!(response.closes());
                refused += 1;
            }
        }
    }
    eprintln!("{good} heads found room, {refused} did not");
    assert!(good >= 300, "{good} of 3 KB fit 1 MiB");
    drop(slow);
    until(PATIENCE, "the memory is back", || server.cores("memory") == 0);
    assert_eq!(server.connect().get("/plaintext").status, 200);
}

/// The bytes of one answer of the application below.
const BIG: usize = 4 << 20;

/// An application with answers of 4 MiB, made for each request, or one for all.
fn big_answers(core: &Core) -> App {
    let shared = kiang::Bytes::from(vec![b's'; BIG]);
    let core = core.clone();
    App::new()
        .get("/own", || vec![b'x'; BIG])
        .get("/shared", move || shared.clone())
        .get("/small", || "small")
        .get("/memory", move || Json((core.counts().memory, core.counts().refused_for_memory)))
}

fn memory(server: &Embedded) -> (u64, u64) {
    serde_json::from_slice(&server.connect().get("/memory").body).expect("two numbers")
}

/// A client that asks and does not read, and has the kernel hold little for it.
fn asks(server: &Embedded, target: &str) -> Client {
    let mut client = server.connect();
    SockRef::from(client.stream()).set_recv_buffer_size(64 << 10).expect("SO_RCVBUF is settable");
    client.send(format!("GET {target} HTTP/1.1\r\nHost: kiang.test\r\n\r\n"));
    client
}

#[test]
fn answers_that_nobody_takes_have_their_share_and_no_more() {
    const SLOW: usize = 40;
    let server = Embedded::start_with(
        |server| server.cores(Cores::count(1)).memory(Memory::AtMost(32 * MIB)),
        |core| big_answers(&core),
    );
    let mut slow: Vec<_> = (0..SLOW).map(|_| asks(&server, "/own")).collect();
    until(PATIENCE, "there is no room for most", || memory(&server).1 > 0);
    for client in &mut slow {
        client.patience(3 * PATIENCE);
        assert_eq!(server.connect().get("/small").text(), "small", "small answers find room");
        let response = client.response();
        match response.status {
            200 => assert_eq!(response.body.len(), BIG),
            503 => assert!(response.closes()),
            _ => panic!("{response:?}"),
        }
    }
    until(PATIENCE, "the memory is back", || memory(&server).0 == 0);
    let refused = memory(&server).1;
    assert!((1..=SLOW as u64).contains(&refused), "{refused} of {SLOW}");
    drop(slow);
    // One body in the hands of many is no memory of theirs.
    let mut slow: Vec<_> = (0..SLOW).map(|_| asks(&server, "/shared")).collect();
    for client in &mut slow {
        assert_eq!(client.response().body.len(), BIG);
    }
    assert_eq!(memory(&server), (0, refused));
}

#[test]
fn who_pipelines_and_reads_nothing_holds_little_and_is_served_when_it_reads() {
    const SLOW: usize = 50;
    const REQUESTS: usize = 4000;
    let server = Server::start(&["--cores", "1", "--max-memory", "256KiB"]);
    let request = "GET / HTTP/1.1\r\nHost: kiang.test\r\n\r\n";
    let length = server.connect().get("/").body.len();
    let mut slow: Vec<_> = (0..SLOW)
        .map(|_| {
            let client = server.connect();
            SockRef::from(client.stream()).set_recv_buffer_size(16 << 10).expect("SO_RCVBUF is settable");
            client
        })
        .collect();
    let requests = request.repeat(REQUESTS);
    thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut most = 0;
            for _ in 0..200 {
                assert_eq!(server.connect().get("/plaintext").status, 200);
                most = most.max(server.cores("memory"));
            }
            most
        });
        for client in &mut slow {
            let requests = &requests;
            scope.spawn(move || {
                let mut writer = client.stream().try_clone().expect("a second descriptor");
                let write = thread::spawn({
                    let requests = requests.clone();
                    move || std::io::Write::write_all(&mut writer, requests.as_bytes())
                });
                for _ in 0..REQUESTS {
                    let response = client.response();
                    assert_eq!((response.status, response.body.len()), (200, length));
                }
                write.join().expect("no panic").expect("all is taken");
            });
        }
        let most = others.join().expect("others are served");
        eprintln!("at most {most} bytes were held");
        assert!(most < SLOW as u64 * (128 << 10), "one batch of each at the most: {most}");
    });
    drop(slow);
    until(PATIENCE, "the memory is back", || server.cores("memory") == 0);
}
