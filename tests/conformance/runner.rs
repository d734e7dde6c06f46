//! Sends the cases of one theme, each in four manners, and compares what comes back.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use kiang::{App, Cores, Deadlines, Json, Limits, Request};
use serde::{Deserialize, Serialize};

use crate::case::{Case, Parsed, Verdict, shown};
use crate::support::{Client, Embedded, End, Failure, Response};

/// A request that is known to be good: what may be answered beside the case, or must not.
const GOOD: &[u8] = b"GET /good HTTP/1.1\r\nHost: good.test\r\n\r\n";

/// Connections at a time.
const CLIENTS: usize = 8;

/// What is accepted from a peer here: little, so that the cases at the limits are short.
pub(crate) fn limits() -> Limits {
    Limits {
        head_bytes: 2048,
        headers: 16,
        target_bytes: 512,
        body_bytes: 4096,
        buffered_body_bytes: 4096,
        ..Limits::default()
    }
}

/// How a case is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    /// In one write.
    Whole,
    /// A byte in each write.
    ByteByByte,
    /// In one write with a good request before it.
    BehindAnother,
    /// In one write with a good request behind it.
    BeforeAnother,
}

const MANNERS: [Manner; 4] =
    [Manner::Whole, Manner::ByteByByte, Manner::BehindAnother, Manner::BeforeAnother];

/// A request as the application sees it. Bytes are shown as the characters of the same numbers.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Seen {
    method: String,
    target: String,
    version: String,
    host: Option<String>,
    fields: Vec<(String, String)>,
    body: String,
}

/// Runs all cases of a theme, and panics with every one that came out otherwise.
pub(crate) fn run(theme: &str, cases: &[Case]) {
    let mut names = HashSet::new();
    for case in cases {
        assert!(names.insert(&case.name), "{theme}: two cases are named {:?}", case.name);
    }
    // What waits for more where a verdict was due fails soon, as a 408.
    let second = Duration::from_secs(1);
    let deadlines = Deadlines { head: 5 * second, body: 5 * second, ..Deadlines::default() };
    let server = Embedded::start_with(
        |server| server.cores(Cores::count(1)).limits(limits()).deadlines(deadlines),
        |_core| App::new().fallback(inspect),
    );
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(failure) = judge(server.addr(), case) {
                        failures.lock().expect("no one panics with the lock held").push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no one panics with the lock held");
    assert!(failures.is_empty(), "{theme}: {} of {}\n\n{}", failures.len(), cases.len(), failures.concat());
}

/// Sends one case in every manner; all that went wrong, in words.
fn judge(addr: SocketAddr, case: &Case) -> Result<(), String> {
    let mut wrong = String::new();
    for manner in MANNERS {
        // What follows a request without its end is its end.
        if manner == Manner::BeforeAnother && matches!(case.verdict, Verdict::Incomplete) {
            continue;
        }
        if let Err(reason) = Exchange::new(addr, case, manner).and_then(Exchange::run) {
            let _ = writeln!(wrong, "    {manner:?}: {reason}");
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let mut sent = shown(&case.bytes);
    sent.truncate(300);
    Err(format!("{} (RFC {})\n    sent {sent}\n{wrong}\n", case.name, case.rule))
}

/// One case on one connection.
struct Exchange<'a> {
    client: Client,
    case: &'a Case,
    manner: Manner,
}

impl<'a> Exchange<'a> {
    fn new(addr: SocketAddr, case: &'a Case, manner: Manner) -> Result<Self, String> {
        let client = Client::try_connect(addr).map_err(|error| format!("cannot connect: {error}"))?;
        Ok(Self { client, case, manner })
    }

    fn run(mut self) -> Result<(), String> {
        let case = self.case;
        self.send();
        if self.manner == Manner::BehindAnother {
            self.good("the request before it")?;
        }
        match &case.verdict {
            Verdict::Accepted(parsed) => self.accepted(parsed),
            Verdict::Refused(statuses) => self.refused(statuses),
            Verdict::Answered(statuses) => self.answered(statuses),
            Verdict::Incomplete => self.incomplete(),
        }
    }

    /// A refused request may find its connection closed before it is all sent, so a failure to send is left to
    /// show in the answer.
    fn send(&mut self) {
        let case = &self.case.bytes[..];
        let _ = match self.manner {
            Manner::Whole => self.client.try_send(&case[..self.first_part()]),
            Manner::ByteByByte => case.iter().try_for_each(|byte| self.client.try_send([*byte])),
            Manner::BehindAnother => self.client.try_send([GOOD, case].concat()),
            Manner::BeforeAnother => self.client.try_send([case, GOOD].concat()),
        };
    }

    /// How much is sent before an answer is waited for: the head, if the body is to be asked for.
    fn first_part(&self) -> usize {
        match &self.case.verdict {
            Verdict::Accepted(Parsed { continues: true, .. }) => head(&self.case.bytes).len() + 4,
            _ => self.case.bytes.len(),
        }
    }

    fn accepted(mut self, parsed: &Parsed) -> Result<(), String> {
        let expected = written(&self.case.bytes, parsed);
        let to_head = expected.method == "HEAD";
        let mut response = self.response(to_head)?;
        if response.status == 100 && parsed.continues {
            let rest = self.first_part();
            if self.manner == Manner::Whole {
                self.client.try_send(&self.case.bytes[rest..]).map_err(|error| error.to_string())?;
            }
            response = self.response(to_head)?;
        } else if parsed.continues && self.manner == Manner::Whole {
            return Err(format!("the body was not asked for, but {}", said(&response)));
        }
        if response.status != 200 {
            return Err(format!("to be accepted, but {}", said(&response)));
        }
        if !to_head {
            let seen: Seen = serde_json::from_slice(&response.body).map_err(|error| error.to_string())?;
            compare(&expected, &seen, parsed)?;
        }
        if response.closes() != parsed.closes {
            return Err(format!("to be the last: {}, but it says otherwise", parsed.closes));
        }
        if parsed.closes {
            return self.ended();
        }
        if self.manner != Manner::BeforeAnother {
            let _ = self.client.try_send(GOOD);
        }
        self.good("the request after it")
    }

    fn refused(mut self, statuses: &[u16]) -> Result<(), String> {
        let response = self.response(self.case.bytes.starts_with(b"HEAD "))?;
        if !statuses.contains(&response.status) {
            return Err(format!("to be refused with {statuses:?}, but {}", said(&response)));
        }
        if !response.closes() {
            return Err(format!("{} does not say that the connection ends", response.status));
        }
        self.ended()
    }

    fn answered(mut self, statuses: &[u16]) -> Result<(), String> {
        let response = self.response(false)?;
        if !statuses.contains(&response.status) {
            return Err(format!("to be answered with {statuses:?}, but {}", said(&response)));
        }
        if String::from_utf8_lossy(&response.body).contains("kiang.test") {
            return Err("the answer gives back what was sent".into());
        }
        if response.closes() {
            return self.ended();
        }
        if self.manner != Manner::BeforeAnother {
            let _ = self.client.try_send(GOOD);
        }
        self.good("the request after it")
    }

    fn incomplete(mut self) -> Result<(), String> {
        self.client.half_close();
        match self.client.try_response() {
            Err(Failure::Closed) => Ok(()),
            Ok(response) if response.status == 400 && response.closes() => self.ended(),
            Ok(response) => Err(format!("to be waited for, but {}", said(&response))),
            Err(failure) => Err(format!("to end in order, but {failure:?}")),
        }
    }

    fn response(&mut self, to_head: bool) -> Result<Response, String> {
        let response = if to_head { self.client.try_response_to_head() } else { self.client.try_response() };
        response.map_err(|failure| format!("no answer: {failure:?}"))
    }

    /// The answer to the good request.
    fn good(&mut self, which: &str) -> Result<(), String> {
        let response = self.response(false).map_err(|failure| format!("{which}: {failure}"))?;
        let seen = serde_json::from_slice::<Seen>(&response.body).ok().map(|seen| seen.target);
        if response.status == 200 && !response.closes() && seen.as_deref() == Some("/good") {
            return Ok(());
        }
        Err(format!("{which} was not answered as if alone: {}", said(&response)))
    }

    fn ended(&mut self) -> Result<(), String> {
        match self.client.end() {
            End::Closed => Ok(()),
            End::Bytes(more) => {
                Err(format!("the connection is to be closed, but there came {}", shown(more)))
            }
            other => Err(format!("the connection is to be closed, but is {other:?}")),
        }
    }
}

fn compare(expected: &Seen, seen: &Seen, parsed: &Parsed) -> Result<(), String> {
    for (name, value) in &parsed.fields {
        let values: Vec<_> = seen.fields.iter().filter(|(other, _)| other == name).collect();
        if !values.iter().any(|(_, seen)| seen == value) {
            return Err(format!("{name} is to be {value:?}, but is {values:?}"));
        }
    }
    if parsed.host.is_some() && seen.host.as_deref() != parsed.host {
        return Err(format!("the host is to be {:?}, but is {:?}", parsed.host, seen.host));
    }
    let same = (&expected.method, &expected.target, &expected.version, &expected.fields, &expected.body)
        == (&seen.method, &seen.target, &seen.version, &seen.fields, &seen.body);
    if same { Ok(()) } else { Err(format!("to be parsed as {expected:?}, but is {seen:?}")) }
}

/// The application: answers what it sees.
async fn inspect(request: Request) -> kiang::Result<Json<Seen>> {
    let mut seen = Seen {
        method: request.method().to_string(),
        target: request.target().to_owned(),
        version: format!("{:?}", request.version()),
        host: host(&request),
        fields: request.headers().iter().map(|(name, value)| (name.to_owned(), latin1(value))).collect(),
        body: String::new(),
    };
    seen.body = latin1(&request.into_body().bytes(limits().buffered_body_bytes).await?);
    Ok(Json(seen))
}

/// The host a request is addressed to, as an application learns it.
fn host(request: &Request) -> Option<String> {
    request.host().map(str::to_owned)
}

/// What a good request says of itself, read in the simplest way that is right for good requests only.
fn written(bytes: &[u8], parsed: &Parsed) -> Seen {
    let text = latin1(head(bytes));
    let mut lines = text.trim_start_matches("\r\n").split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let fields = lines.map(|line| {
        let (name, value) = line.split_once(':').unwrap_or_default();
        (name.to_owned(), value.trim_matches([' ', '\t']).to_owned())
    });
    Seen {
        method: words.next().unwrap_or_default(),
        target: words.next().unwrap_or_default(),
        version: parsed.version.to_owned(),
        host: None,
        fields: fields.collect(),
        body: latin1(&parsed.body),
    }
}

/// A message up to the line end before its empty line, empty lines before it left out of the search.
fn head(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(0);
    let end = bytes[start..].windows(4).position(|window| window == b"\r\n\r\n");
    &bytes[..end.map_or(bytes.len(), |end| start + end)]
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn said(response: &Response) -> String {
    format!("the answer is {} {}", response.status, String::from_utf8_lossy(&response.body).trim_end())
}
