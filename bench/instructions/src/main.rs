//! Answers the requests of one case without a socket, for callgrind to count the instructions:
//! `instructions CASE ROUNDS`. The README beside it says how.

use kiang::instructions::{Batch, Offline};
use kiang::{App, Json, StatusCode};
use serde::Deserialize;
use std::fmt::Write as _;
use std::process::ExitCode;

/// What wrk sends to `http://127.0.0.1:8080/plaintext`.
const PLAIN: &str = "GET /plaintext HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

/// Twelve fields, as a browser sends them that asks for part of a page.
const BROWSER: &str = "GET /plaintext HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    Connection: keep-alive\r\n\
    Cache-Control: max-age=0\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-Mode: cors\r\n\
    Sec-Fetch-Dest: empty\r\n\
    Referer: https://www.example.com/products/overview?page=2\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Cookie: session=4bf92f3577b34da6a3ce929d0e0e4736; theme=dark\r\n\r\n";

/// How many events the body of a POST has: as many as fit a kilobyte.
const EVENTS: usize = 11;

/// An event as the body of a POST has it.
#[derive(Deserialize)]
struct Event {
    id: u64,
    name: String,
    value: f64,
    tags: Vec<String>,
    seen: bool,
}

/// The application: one handler for each kind of request.
fn app() -> App {
    App::new().get("/plaintext", || "Hello, World!").post("/events", |Json(events): Json<Vec<Event>>| {
        let good = events.iter().all(|event| {
            event.seen && event.value > 0.0 && event.id > 0 && event.tags.len() == 2 && !event.name.is_empty()
        });
        if good { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY }
    })
}

/// A POST of a kilobyte of JSON.
fn post() -> String {
    let events: Vec<_> = (1..=EVENTS)
        .map(|id| {
            format!(
                r#"{{"id":{id},"name":"purchase-{id}","value":{id}.25,"tags":["shop","ios"],"seen":true}}"#
            )
        })
        .collect();
    let body = format!("[{}]", events.join(","));
    let mut request = String::from("POST /events HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n");
    // Writing to a string cannot fail.
    let _ = write!(request, "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    request
}

/// The batches of a case, sent in turn; none for a case that there is not.
fn batches(case: &str) -> Vec<String> {
    let numbered =
        |request: &str, at: usize| request.replacen("/plaintext", &format!("/plaintext?n={at:02}"), 1);
    match case {
        "plain" => vec![PLAIN.repeat(16)],
        "plain-new" => vec![(10..26).map(|at| numbered(PLAIN, at)).collect()],
        "browser" => vec![BROWSER.to_owned()],
        "browser-new" => {
            (10..14).map(|at| BROWSER.replace("4736; theme", &format!("47{at}; theme"))).collect()
        }
        "post" => vec![post()],
        _ => Vec::new(),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let requests = batches(arguments.first().map_or("", String::as_str));
    let rounds = arguments.get(1).and_then(|rounds| rounds.parse().ok());
    let (Some(rounds), false) = (rounds, requests.is_empty()) else {
        eprintln!("usage: instructions plain|plain-new|browser|browser-new|post ROUNDS");
        return ExitCode::from(2);
    };
    let count = requests[0].matches(" HTTP/1.1\r\n").count();
    let batches: Vec<_> = requests.into_iter().map(|requests| Batch::new(requests.into_bytes())).collect();
    let mut connection = Offline::new(app());
    let answers = String::from_utf8_lossy(connection.answer(&batches[0]));
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), count, "{answers}");
    let length = answers.len();
    for batch in batches.iter().cycle().take(rounds) {
        assert_eq!(connection.answer(batch).len(), length);
    }
    ExitCode::SUCCESS
}
