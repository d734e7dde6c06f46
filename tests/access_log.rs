//! The access log: what its lines say, when they are written, and that writing them holds up nobody. And the name of a
//! request, which is the same in every log.

mod support;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use kiang::logging::Timestamp;
use kiang::{
    AccessLog, App, Body, Bytes, Cores, Deadlines, Error, Request, RequestId, Response, Server, StatusCode,
};
use serde_json::{Value, json};
use support::{Client, Embedded, End, Launch, PATIENCE, file, ms, until};

/// The members of every line, in their order.
const MEMBERS: [&str; 10] =
    ["time", "id", "core", "peer", "method", "target", "version", "status", "bytes", "duration_us"];

fn app() -> App {
    App::new()
        .get("/", || "Hello, World!")
        .post("/", || StatusCode::CREATED)
        .get("/long", || vec![b'x'; 1 << 20])
        .get("/stream", || Response::new(StatusCode::OK).body(Body::stream(Pieces(3))))
        .get("/id", |id: RequestId| id.to_string())
        .get("/late", async |id: RequestId| id.to_string())
        .get("/whole", async |request: Request| request.id().to_string())
        .get("/never", async || std::future::pending::<()>().await)
        .get("/panic", || -> StatusCode { panic!("of the test") })
        .get("/panic-late", async || -> StatusCode { panic!("of the test") })
        .get("/panic-whole", async |_: Request| -> StatusCode { panic!("of the test") })
        .get("/unsendable", || Response::new(StatusCode::CONTINUE))
}

/// A body of so many pieces of ten bytes.
struct Pieces(u32);

impl futures_core::Stream for Pieces {
    type Item = kiang::Result<Bytes>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let left = self.0.checked_sub(1).inspect(|left| self.0 = *left);
        std::task::Poll::Ready(left.map(|_| Ok(Bytes::from("0123456789"))))
    }
}

/// A server on one core, and its log.
struct Logged {
    server: Embedded,
    path: PathBuf,
}

impl Logged {
    fn start(name: &str) -> Self {
        Self::start_with(name, |server| server)
    }

    fn start_with(name: &str, configure: impl FnOnce(Server) -> Server) -> Self {
        let path = file(name, "");
        let log = AccessLog::file(&path);
        let configure = |server: Server| configure(server.cores(Cores::count(1)).access_log(log));
        Self { server: Embedded::start_with(configure, |_core| app()), path }
    }

    fn connect(&self) -> Client {
        self.server.connect()
    }

    /// The lines, when the server has ended.
    #[track_caller]
    fn ended(self) -> Vec<Value> {
        self.server.drained().expect("it ends in order");
        lines(&self.path)
    }
}

#[track_caller]
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("the log is there");
    assert!(text.is_empty() || text.ends_with('\n'), "a line without an end: {text}");
    text.lines().map(parse).collect()
}

#[track_caller]
fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// One member of every line.
fn all(lines: &[Value], member: &str) -> Vec<Value> {
    lines.iter().map(|line| line[member].clone()).collect()
}

fn named(target: &str, id: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: kiang.test\r\nX-Request-ID: {id}\r\n\r\n")
}

#[test]
fn a_line_says_who_asked_for_what_and_what_came_of_it() {
    let logged = Logged::start("fields.log");
    // The clocks of two threads agree to the millisecond, not better.
    let before = Timestamp::of(SystemTime::now() - ms(100));
    let mut client = logged.connect();
    let peer = client.stream().local_addr().expect("it is connected");
    assert_eq!(client.send(named("/?a=%22b", "of-the-peer")).response().status, 200);
    assert_eq!(client.post("/", "some body").status, 201);
    client.send("HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").response_to_head();
    assert_eq!(client.get("/long").body.len(), 1 << 20);
    assert_eq!(client.get("/stream").body.len(), 30);
    assert_eq!(client.get("/nowhere").status, 404);
    drop(client);
    let lines = logged.ended();
    let after = Timestamp::of(SystemTime::now() + ms(100));

    for line in &lines {
        let members: HashSet<_> = line.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(members, HashSet::from(MEMBERS), "{line}");
        let time = line["time"].as_str().expect("a text");
        assert!(*before <= *time && *time <= *after, "{before} {time} {after}");
        assert_eq!(line["core"], 0);
        assert_eq!(line["peer"].as_str().and_then(|peer| peer.parse::<SocketAddr>().ok()), Some(peer));
        assert!(line["duration_us"].as_u64().is_some(), "{line}");
    }
    assert_eq!(all(&lines, "method"), ["GET", "POST", "HEAD", "GET", "GET", "GET"]);
    assert_eq!(all(&lines, "target"), ["/?a=%22b", "/", "/", "/long", "/stream", "/nowhere"]);
    let versions = ["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1"];
    assert_eq!(all(&lines, "version"), versions);
    assert_eq!(all(&lines, "status"), [200, 201, 200, 200, 200, 404]);
    assert_eq!(all(&lines, "bytes")[..5], [13, 0, 0, 1 << 20, 30]);
    assert_eq!(lines[0]["id"], "of-the-peer");
}

#[test]
fn the_time_that_a_handler_takes_is_in_its_line() {
    let path = file("duration.log", "");
    let log = AccessLog::file(&path);
    let server = Embedded::start_with(
        |server| server.cores(Cores::count(1)).access_log(log),
        |core| {
            App::new().get("/", move || {
                let core = core.clone();
                async move { core.sleep(ms(50)).await }
            })
        },
    );
    server.connect().get("/");
    server.drained().expect("it ends in order");
    let took = lines(&path)[0]["duration_us"].as_u64().expect("a number");
    assert!(took >= 48_000, "{took} µs");
}

#[test]
fn nothing_a_peer_sends_forges_a_line() {
    let logged = Logged::start("forged.log");
    let forged = "x\",\"status\":200}\\n{\"time\":\"";
    let mut sent = 0;
    for request in [
        format!("GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: {forged}\r\n\r\n"),
        format!("GET /{forged} HTTP/1.1\r\nHost: x\r\n\r\n"),
        "GET /\u{1b}[2J\u{7f}\" HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "!#$%&'*+-.^_`|~ / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "GET /\\ HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
    ] {
        logged.connect().send(request).response();
        sent += 1;
    }
    let lines = logged.ended();
    assert_eq!(lines.len(), sent, "{lines:?}");
    let id = lines[0]["id"].as_str().expect("a text");
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "an id of our own: {id}");
    assert_eq!(lines[3]["method"], "!#$%&'*+-.^_`|~");
}

#[test]
fn a_refused_request_is_logged_with_the_reason() {
    let deadlines = Deadlines { head: ms(300), ..Deadlines::default() };
    let logged = Logged::start_with("refused.log", |server| server.deadlines(deadlines));
    // Behind a good one, whose head must not be taken for that of the bad.
    let mut client = logged.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\nG@T /secret HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((client.response().status, client.response().status), (200, 400));
    // What can be parsed is told.
    let too_much =
        "POST /?b HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\nContent-Length: 9999999999999\r\n\r\n";
    assert_eq!(logged.connect().send(too_much).response().status, 413);
    let without_host = "GET /?c HTTP/1.1\r\n\r\n";
    assert_eq!(logged.connect().send(without_host).response().status, 400);
    let begun = logged.connect().send("GET / HTT").response();
    assert_eq!(begun.status, 408);

    let lines = logged.ended();
    assert_eq!(all(&lines, "status"), [200, 400, 413, 400, 408]);
    assert_eq!(lines[0].get("refused"), None);
    assert_eq!(all(&lines, "method"), [json!("GET"), Value::Null, json!("POST"), json!("GET"), Value::Null]);
    assert_eq!(all(&lines, "target"), [json!("/"), Value::Null, json!("/?b"), json!("/?c"), Value::Null]);
    assert_eq!(lines[2]["id"], "mine");
    for line in &lines[1..] {
        assert!(line["refused"].as_str().is_some_and(|reason| reason.len() > 10), "{line}");
        assert_eq!(line["peer"].as_str().map(|peer| peer.starts_with("127.0.0.1:")), Some(true));
    }
    assert_eq!(lines[4]["refused"], "the request's head came too slowly");
    assert_eq!(lines[4]["bytes"], begun.body.len());
}

#[test]
fn a_request_that_gets_no_whole_answer_is_cut() {
    let logged = Logged::start("cut.log");
    let mut client = logged.connect();
    client.send(named("/never", "a"));
    // Once another request has been answered, this one's handler runs, too.
    logged.connect().get("/");
    client.reset();
    until(PATIENCE, "the line of a request whose peer is gone", || lines(&logged.path).len() == 2);
    let mut waiting = logged.connect();
    waiting.send(named("/never", "b"));
    logged.connect().get("/");
    let Logged { server, path } = logged;
    drop(server);
    assert!(matches!(waiting.end(), End::Closed | End::Reset));
    let lines = lines(&path);
    let cut: Vec<_> = lines.iter().filter(|line| line["cut"] == true).collect();
    assert_eq!(cut.iter().map(|line| line["id"].as_str()).collect::<Vec<_>>(), [Some("a"), Some("b")]);
    assert!(cut.iter().all(|line| line["status"].is_null() && line["bytes"] == 0), "{cut:?}");
    assert_eq!(lines.len(), 4);
}

#[test]
fn one_request_in_so_many_is_logged() {
    let path = file("sample.log", "");
    let log = AccessLog::file(&path).sample(3);
    let server = Embedded::start_with(|server| server.cores(Cores::count(1)).access_log(log), |_core| app());
    let mut client = server.connect();
    for count in 0..10 {
        client.get(&format!("/?{count}"));
    }
    drop(client);
    server.drained().expect("it ends in order");
    assert_eq!(all(&lines(&path), "target"), ["/?0", "/?3", "/?6", "/?9"]);
}

#[test]
fn a_line_is_written_soon_although_nothing_follows_it() {
    let logged = Logged::start("soon.log");
    let mut client = logged.connect();
    for count in 1..=3 {
        client.get("/");
        until(ms(2000), "a line", || lines(&logged.path).len() == count);
    }
}

#[test]
fn a_drain_leaves_no_line_behind() {
    const REQUESTS: usize = 500;
    let logged = Logged::start_with("drain.log", |server| server.cores(Cores::all()));
    let mut clients: Vec<_> = (0..4).map(|_| logged.connect()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(REQUESTS));
    }
    for client in &mut clients {
        (0..REQUESTS).for_each(|_| assert_eq!(client.response().status, 200));
    }
    let lines = logged.ended();
    assert_eq!(lines.len(), 4 * REQUESTS);
    let ids: HashSet<_> = lines.iter().map(|line| line["id"].as_str().expect("a text")).collect();
    assert_eq!(ids.len(), 4 * REQUESTS, "each has a name of its own");
}

/// A FIFO, and a server that logs to it. The target of each request is so long that little of it fits.
fn into_fifo(name: &str) -> (Embedded, PathBuf) {
    let path = file(name, "");
    fs::remove_file(&path).expect("it was just made");
    assert!(Command::new("mkfifo").arg(&path).status().expect("coreutils").success());
    let log = AccessLog::file(&path);
    let server = Embedded::start_with(|server| server.cores(Cores::count(1)).access_log(log), |_core| app());
    (server, path)
}

/// Has as many requests answered as more than fill the log: the client has no patience with one that waits for it.
fn overfill(server: &Embedded) -> u64 {
    const BATCH: u64 = 10;
    let request = format!("GET /?{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(8000));
    let batch = request.repeat(usize::try_from(BATCH).expect("small"));
    let mut client = server.connect();
    for _ in 0..200 {
        client.send(&batch);
        (0..BATCH).for_each(|_| assert_eq!(client.response().status, 200));
    }
    200 * BATCH
}

#[test]
fn a_log_that_nobody_reads_stalls_no_request_and_counts_what_it_drops() {
    let (server, path) = into_fifo("stuck.fifo");
    let sent = overfill(&server);
    // Now somebody reads.
    let mut read = BufReader::new(File::open(&path).expect("it is there")).lines();
    let mut next = || parse(&read.next().expect("the server has it open").expect("it is read"));
    let (mut written, mut dropped, mut notices) = (0, 0, 0);
    while written + dropped < sent {
        let line = next();
        match line["dropped"].as_u64() {
            Some(count) => {
                assert!(line["time"].is_string(), "{line}");
                (dropped, notices) = (dropped + count, notices + 1);
            }
            None => written += 1,
        }
    }
    assert_eq!(written + dropped, sent);
    assert!(dropped > 0 && written > 500 && notices < 10, "{written}, {dropped} in {notices}");
    // And all is well again.
    server.connect().send(named("/", "after")).response();
    assert_eq!(next()["id"], "after");
}

#[test]
fn a_log_that_nobody_reads_does_not_hold_up_the_end() {
    let (server, _path) = into_fifo("abandoned.fifo");
    overfill(&server);
    let since = Instant::now();
    server.drained().expect("it ends in order");
    assert!(since.elapsed() < PATIENCE, "it took {:?}", since.elapsed());
}

/// What was logged by this process.
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Listener;

impl log::Log for Listener {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.level() == log::Level::Error {
            SAID.lock().unwrap_or_else(PoisonError::into_inner).push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

#[test]
fn a_request_has_one_name_everywhere() {
    log::set_logger(&Listener).expect("only this test sets one");
    log::set_max_level(log::LevelFilter::Error);
    let deadlines = Deadlines { handler: ms(300), ..Deadlines::default() };
    let logged = Logged::start_with("names.log", |server| server.deadlines(deadlines));
    let mut client = logged.connect();
    let mut named_by_us = Vec::new();
    for target in ["/id", "/late", "/whole"] {
        assert_eq!(client.send(named(target, "of-the-peer.1")).response().text(), "of-the-peer.1");
        named_by_us.push(client.get(target).text().to_owned());
    }
    let targets =
        [("/panic", 500), ("/panic-late", 500), ("/panic-whole", 500), ("/unsendable", 500), ("/never", 503)];
    for (number, (target, status)) in targets.into_iter().enumerate() {
        let response = client.send(named(target, &format!("bad-{number}"))).response();
        assert_eq!(response.status, status, "{target}");
        assert_eq!(client.get(target).status, status);
    }
    drop(client);
    let lines = logged.ended();
    let of_us: Vec<_> = lines[..6].iter().skip(1).step_by(2).map(|line| line["id"].clone()).collect();
    assert_eq!(of_us, named_by_us);
    assert!(lines[..6].iter().step_by(2).all(|line| line["id"] == "of-the-peer.1"));
    let said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(lines.len(), 16);
    for line in &lines[6..] {
        let beginning = format!("request {}: its ", line["id"].as_str().expect("a text"));
        let told = said.iter().filter(|words| words.starts_with(&beginning)).count();
        assert_eq!(told, 1, "{line}: {said:?}");
    }
}

#[test]
fn handlers_know_names_without_any_log() {
    let server = Embedded::start(|_core| app());
    let mut client = server.connect();
    let ids: HashSet<_> = (0..10).map(|_| client.get("/id").text().to_owned()).collect();
    assert_eq!(ids.len(), 10);
    assert!(ids.iter().all(|id| id.len() == 32), "{ids:?}");
    let too_long = "x".repeat(65);
    for odd in ["a b", "\"", "\\", "", &too_long] {
        assert_eq!(client.send(named("/id", odd)).response().text().len(), 32, "{odd:?}");
    }
}

#[test]
fn the_binary_logs_to_a_file_and_appends() {
    let path = file("binary.log", "{\"from\":\"before\"}\n");
    let server = support::Server::start(&["--access-log", path.to_str().expect("a plain path")]);
    assert_eq!(server.connect().get("/plaintext").status, 200);
    server.signal(rustix::process::Signal::TERM);
    let finished = server.finished(PATIENCE);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let lines = lines(&path);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0]["from"], "before");
    assert_eq!((&lines[1]["target"], &lines[1]["bytes"]), (&json!("/plaintext"), &json!(13)));
}

#[test]
fn the_binary_logs_to_stdout_behind_its_banner() {
    let server = Launch::serve(&["--access-log-sample", "2"]).environment("KIANG_ACCESS_LOG", "-").start();
    let mut client = server.connect();
    (0..4).for_each(|_| assert_eq!(client.get("/plaintext").status, 200));
    drop(client);
    server.signal(rustix::process::Signal::TERM);
    let stdout = server.finished(PATIENCE).stdout;
    let logged: Vec<_> = stdout.lines().filter(|line| line.starts_with('{')).map(parse).collect();
    // Connections may have gone to several cores, each of which counts for itself; this was one.
    assert_eq!(logged.len(), 2, "{stdout}");
}

#[test]
fn a_log_that_cannot_be_opened_is_refused_in_words() {
    for (path, reason) in [("/no/such/folder/access.log", "No such file"), ("/dev", "directory")] {
        let finished = Launch::serve(&["--access-log", path]).finish();
        assert_eq!(finished.code, Some(1), "{finished:?}");
        let words = format!("kiang: the access log cannot go to `{path}`: ");
        assert!(finished.stderr.lines().any(|line| line.starts_with(&words)), "{finished:?}");
        assert!(finished.stderr.contains(reason), "{finished:?}");
        assert!(!finished.stdout.contains("listening"), "{finished:?}");
    }
}

#[test]
fn the_error_log_is_text_or_json() {
    let ended = |arguments: &[&str]| {
        let server = Launch::serve(arguments).environment("KIANG_MISSPELLED", "1").start();
        server.signal(rustix::process::Signal::TERM);
        let finished = server.finished(PATIENCE);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        finished.stderr
    };
    let stderr = ended(&["--log-format", "json"]);
    let records: Vec<_> = stderr.lines().map(parse).collect();
    let about = |words: &str| {
        let says = |record: &&Value| record["message"].as_str().is_some_and(|text| text.contains(words));
        records.iter().find(says).unwrap_or_else(|| panic!("nothing of {words}: {stderr}"))
    };
    assert_eq!(about("KIANG_MISSPELLED")["level"], "warn");
    assert_eq!(about("draining")["thread"], "kiang-signals");
    assert_eq!(about("draining")["target"], "kiang::server::signals");
    let stderr = ended(&[]);
    let draining = stderr.lines().find(|line| line.contains("draining")).expect("it is told");
    assert!(
        draining.starts_with("[20") && draining.contains("Z INFO  kiang::server::signals] "),
        "{draining}"
    );
}

#[test]
fn a_failure_of_the_handler_is_no_failure_of_the_log() {
    let path = file("failing.log", "");
    let log = AccessLog::file(&path);
    let failing = || -> kiang::Result<&'static str> { Err(Error::new("of the test")) };
    let server = Embedded::start_with(
        |server| server.cores(Cores::count(1)).access_log(log),
        move |_core| App::new().get("/", failing),
    );
    assert_eq!(server.connect().get("/").status, 500);
    server.drained().expect("it ends in order");
    assert_eq!(all(&lines(&path), "status"), [500]);
}
