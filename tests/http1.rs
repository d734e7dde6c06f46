//! HTTP/1.1 over real sockets: what `TechEmpower`'s verifier asks, how messages may be cut up, pipelining,
//! persistence, and what a request that is too much or makes no sense is told.

mod support;

use std::time::{Duration, SystemTime};

use support::{Client, PATIENCE, Response, Server, ms, until};

const PLAINTEXT: &str = "GET /plaintext HTTP/1.1\r\nHost: kiang.test\r\n\r\n";

#[track_caller]
fn is_hello(response: &Response) {
    assert_eq!((response.status, response.reason.as_str()), (200, "OK"));
    assert_eq!(response.text(), "Hello, World!");
}

/// An error names its reason in a short text, and ends the connection: where the next request would begin is
/// in doubt, or the client does not keep to what was agreed.
#[track_caller]
fn is_final_error(client: &mut Client, status: u16) {
    let response = client.response();
    assert_eq!(response.status, status, "{response:?}");
    assert!(response.closes(), "{response:?}");
    has_a_reason(&response);
    client.closed();
}

#[track_caller]
fn has_a_reason(response: &Response) {
    let text = response.text();
    assert!((5..200).contains(&text.len()), "a short text that names the reason: {text:?}");
    let kind = response.header("content-type").expect("text has a type");
    assert!(kind.starts_with("text/plain"), "{kind}");
}

// ---- What TechEmpower's verifier wants ----

#[test]
fn plaintext_is_what_techempower_verifies() {
    let server = Server::start(&[]);
    let response = server.connect().get("/plaintext");
    is_hello(&response);
    // The verifier's own pattern: nothing but a charset, and no other than this.
    let kind = response.header("content-type").expect("a type");
    assert!(["text/plain", "text/plain; charset=utf-8"].contains(&kind), "{kind}");
    assert_eq!(response.header("content-length"), Some("13"));
    assert_eq!(response.header("server"), Some("kiang"));
    date(&response);
}

#[test]
fn json_is_what_techempower_verifies() {
    let server = Server::start(&[]);
    let response = server.connect().get("/json");
    assert_eq!(response.status, 200);
    assert_eq!(response.text(), r#"{"message":"Hello, World!"}"#);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("content-length"), Some("27"));
    assert_eq!(response.header("server"), Some("kiang"));
    date(&response);
}

/// The field in the one form that may be sent (RFC 9110, section 5.6.7), and near the present.
#[track_caller]
fn date(response: &Response) -> SystemTime {
    let text = response.header("date").expect("an origin server with a clock sends Date");
    let date = httpdate::parse_http_date(text).expect("Date parses");
    assert_eq!(httpdate::fmt_http_date(date), text, "the preferred format");
    let now = SystemTime::now();
    let off = now.duration_since(date).or_else(|_| date.duration_since(now)).expect("one of the two holds");
    assert!(off < Duration::from_secs(3), "Date is off by {off:?}");
    date
}

#[test]
fn date_goes_on_while_a_connection_is_busy_and_after_it_was_idle() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let first = date(&client.get("/plaintext"));
    until(ms(2500), "another Date on a busy connection", || date(&client.get("/plaintext")) > first);
    // Nothing happens on any core now: a clock that only traffic advances would stand still, and this waits
    // for time itself to pass.
    std::thread::sleep(ms(2100));
    let before = SystemTime::now();
    let date = date(&client.get("/plaintext"));
    assert!(before.duration_since(date).is_ok_and(|behind| behind < ms(1500)) || date >= before);
}

// ---- Persistence (RFC 9112, section 9.3) ----

#[test]
fn a_connection_of_1_1_persists() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for _ in 0..100 {
        let response = client.get("/plaintext");
        is_hello(&response);
        assert!(!response.closes());
    }
}

#[test]
fn connection_close_is_answered_and_obeyed() {
    let server = Server::start(&[]);
    for value in ["close", "Close", "keep-alive, close"] {
        let mut client = server.connect();
        client.send(format!("GET /plaintext HTTP/1.1\r\nHost: kiang.test\r\nConnection: {value}\r\n\r\n"));
        let response = client.response();
        is_hello(&response);
        assert!(response.closes(), "RFC 9112, section 9.6: send the close option in the final answer");
        client.closed();
    }
}

#[test]
fn a_connection_of_1_0_ends_after_its_answer() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send("GET /plaintext HTTP/1.0\r\n\r\n");
    is_hello(&client.response());
    client.closed();
}

#[test]
fn a_connection_of_1_0_persists_when_asked_to() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for _ in 0..3 {
        client.send("GET /plaintext HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let response = client.response();
        is_hello(&response);
        // A 1.0 client takes the connection for closed unless it is told otherwise.
        let connection = response.header("connection").expect("the answer agrees to persist");
        assert!(connection.eq_ignore_ascii_case("keep-alive"), "{connection}");
    }
}

#[test]
fn what_follows_a_final_request_is_ignored() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let last = "GET /plaintext HTTP/1.1\r\nHost: kiang.test\r\nConnection: close\r\n\r\n";
    client.send([last, "GET /json HTTP/1.1\r\nHost: kiang.test\r\n\r\n"].concat());
    is_hello(&client.response());
    client.closed();
}

// ---- Pipelining (RFC 9112, section 9.3.2) ----

#[test]
fn sixteen_pipelined_requests_are_answered_in_order() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for _ in 0..10 {
        answered_in_order(&mut client, 16);
    }
}

#[test]
fn a_thousand_pipelined_requests_are_answered_in_order() {
    let server = Server::start(&[]);
    answered_in_order(&mut server.connect(), 1000);
}

/// The sums differ, so an answer in another's place shows.
#[track_caller]
fn answered_in_order(client: &mut Client, count: usize) {
    let requests: Vec<_> = (0..count)
        .map(|number| format!("GET /baseline11?a={number}&b=1 HTTP/1.1\r\nHost: kiang.test\r\n\r\n"))
        .collect();
    client.send(requests.concat());
    for number in 0..count {
        let response = client.response();
        assert_eq!((response.status, response.text()), (200, (number + 1).to_string().as_str()));
    }
}

#[test]
fn answers_that_take_a_detour_keep_their_place() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let upload = "POST /upload HTTP/1.1\r\nHost: kiang.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let cores = "GET /cores HTTP/1.1\r\nHost: kiang.test\r\n\r\n";
    // Asking the other cores and reading a body have to be waited for; the plain answers between are there at once.
    client.send([PLAINTEXT, cores, PLAINTEXT, upload, cores, upload].concat().repeat(20));
    for _ in 0..20 {
        is_hello(&client.response());
        assert!(client.response().text().starts_with('['));
        is_hello(&client.response());
        assert_eq!(client.response().text(), "3");
        assert!(client.response().text().starts_with('['));
        assert_eq!(client.response().text(), "3");
    }
}

#[test]
fn pipelined_bodies_end_where_they_should() {
    let server = Server::start(&["--app", "echo"]);
    let mut client = server.connect();
    let head = "POST / HTTP/1.1\r\nHost: kiang.test\r\n";
    // The first body looks like a request: read as one it would be answered with other than itself.
    let requests = [
        format!("{head}Content-Length: {}\r\n\r\n{PLAINTEXT}", PLAINTEXT.len()),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n7;x=y\r\n, World\r\n0\r\n\r\n"),
        format!("{head}Content-Length: 0\r\n\r\n"),
    ];
    client.send(requests.concat().repeat(20));
    for _ in 0..20 {
        assert_eq!(client.response().text(), PLAINTEXT);
        assert_eq!(client.response().text(), "Hello, World");
        assert_eq!(client.response().text(), "");
    }
}

#[test]
fn a_chunked_body_that_nobody_reads_is_skipped_as_one_with_a_length_is() {
    let server = Server::start(&["--cores", "1"]);
    let mut client = server.connect();
    let unread = |chunk: usize| {
        let head = "POST /nowhere HTTP/1.1\r\nHost: kiang.test\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{head}{chunk:x}\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n", "x".repeat(chunk))
    };
    let get = "GET /plaintext HTTP/1.1\r\nHost: kiang.test\r\n\r\n";
    client.send([unread(1), unread(1000), get.to_owned()].concat().repeat(3));
    for _ in 0..3 {
        for _ in 0..2 {
            let response = client.response();
            assert_eq!((response.status, response.closes()), (404, false));
        }
        is_hello(&client.response());
    }
    // Beyond the bound the body is not worth reading, and nothing behind it is answered.
    client.send([unread(100_000), get.to_owned()].concat());
    let response = client.response();
    assert_eq!((response.status, response.closes()), (404, true));
    client.closed();
    // Of a body without its end nobody knows how long it is.
    let mut client = server.connect();
    client.send(unread(10).trim_end());
    let response = client.response();
    assert_eq!((response.status, response.closes()), (404, true));
}

// ---- How a request may be cut up ----

#[test]
fn a_request_one_byte_at_a_time_is_answered() {
    let server = Server::start(&["--app", "echo", "--cores", "1"]);
    let (mut client, mut other) = (server.connect(), server.connect());
    let request =
        "POST / HTTP/1.1\r\nHost: kiang.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for byte in request.bytes() {
        client.send([byte]);
        // An answer on another connection of the same core: the byte before has been looked at.
        assert_eq!(other.get("/").status, 200);
    }
    assert_eq!(client.response().text(), "abc");
}

#[test]
fn a_request_with_content_length_may_be_cut_anywhere() {
    cut_anywhere("POST /x HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: 11\r\n\r\nhello world");
}

#[test]
fn a_chunked_request_may_be_cut_anywhere() {
    cut_anywhere(
        "POST /x HTTP/1.1\r\nHost: kiang.test\r\nTransfer-Encoding: chunked\r\n\r\n\
         5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nT: railer\r\n\r\n",
    );
}

#[track_caller]
fn cut_anywhere(request: &str) {
    let server = Server::start(&["--app", "echo", "--cores", "1"]);
    let (mut client, mut other) = (server.connect(), server.connect());
    for cut in 1..request.len() {
        client.send(&request[..cut]);
        // An answer on another connection of the same core: the first part has been looked at.
        assert_eq!(other.get("/").status, 200);
        client.send(&request[cut..]);
        assert_eq!(client.response().text(), "hello world", "cut at {cut}");
    }
}

#[test]
fn empty_lines_before_a_request_are_ignored() {
    // RFC 9112, section 2.2: a server should ignore at least one.
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send(format!("\r\n{PLAINTEXT}"));
    is_hello(&client.response());
    is_hello(&client.get("/plaintext"));
}

// ---- Methods ----

#[test]
fn head_is_answered_as_get_without_the_body() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for (target, length) in [("/plaintext", "13"), ("/json", "27")] {
        let get = client.get(target);
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: kiang.test\r\n\r\n"));
        let head = client.response_to_head();
        assert_eq!((head.status, head.header("content-length")), (200, Some(length)));
        assert_eq!(head.header("content-type"), get.header("content-type"));
    }
    // A body after the head would be taken for the next answer's beginning.
    is_hello(&client.get("/plaintext"));
}

#[test]
fn a_path_is_the_same_with_characters_encoded_that_need_not_be() {
    // RFC 3986, section 6.2.2.2
    let server = Server::start(&[]);
    let mut client = server.connect();
    is_hello(&client.get("/plain%74ext"));
    is_hello(&client.get("/%70laintext?%"));
    assert_eq!(client.get("/%2Fplaintext").status, 404);
}

#[test]
fn an_unknown_path_is_404_and_the_connection_persists() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let response = client.get("/no/such/path");
    assert_eq!(response.status, 404);
    has_a_reason(&response);
    is_hello(&client.get("/plaintext"));
}

#[test]
fn an_unknown_method_on_a_known_path_is_405_and_names_those_allowed() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let response = client.post("/plaintext", "unwanted");
    assert_eq!(response.status, 405);
    has_a_reason(&response);
    // RFC 9110, section 15.5.6: the answer must name them.
    let allow = response.header("allow").expect("405 comes with Allow");
    let mut allowed: Vec<_> = allow.split(',').map(str::trim).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "OPTIONS"]);
    assert!(!response.closes());
    is_hello(&client.get("/plaintext"));
}

#[test]
fn options_names_the_methods_of_a_path_and_of_the_server() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for (target, allowed) in [("/baseline11", "GET, HEAD, OPTIONS, POST"), ("*", "GET, HEAD, OPTIONS, POST")]
    {
        let response =
            client.send(format!("OPTIONS {target} HTTP/1.1\r\nHost: kiang.test\r\n\r\n")).response();
        assert_eq!((response.status, response.header("allow")), (204, Some(allowed)), "{target}");
    }
    is_hello(&client.get("/plaintext"));
}

// ---- Expect: 100-continue (RFC 9110, section 10.1.1) ----

const EXPECT: &str = "Host: kiang.test\r\nExpect: 100-continue\r\n";

#[test]
fn a_wanted_body_is_asked_for_with_100_continue() {
    let server = Server::start(&["--app", "echo"]);
    let mut client = server.connect();
    for round in 0..3 {
        client.send(format!("POST /{round} HTTP/1.1\r\n{EXPECT}Content-Length: 5\r\n\r\n"));
        let interim = client.response();
        assert_eq!((interim.status, interim.reason.as_str()), (100, "Continue"));
        client.send("hello");
        let response = client.response();
        assert_eq!((response.status, response.text()), (200, "hello"));
    }
}

#[test]
fn no_100_continue_when_the_body_came_along() {
    let server = Server::start(&["--app", "echo"]);
    let mut client = server.connect();
    client.send(format!("POST / HTTP/1.1\r\n{EXPECT}Content-Length: 5\r\n\r\nhello"));
    let mut response = client.response();
    // A server may omit it then, and need not: either way exactly one final answer follows.
    if response.status == 100 {
        response = client.response();
    }
    assert_eq!((response.status, response.text()), (200, "hello"));
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn no_100_continue_for_a_request_of_1_0_or_without_a_body() {
    let server = Server::start(&["--app", "echo"]);
    let mut client = server.connect();
    client.send(format!("GET / HTTP/1.1\r\n{EXPECT}\r\n"));
    assert_eq!(client.response().status, 200);
    // Must ignore the expectation of a 1.0 client, which takes 100 for the final answer.
    client.send(format!("POST / HTTP/1.0\r\n{EXPECT}Content-Length: 5\r\n\r\n"));
    client.send("hello");
    let response = client.response();
    assert_eq!((response.status, response.text()), (200, "hello"));
}

#[test]
fn no_100_continue_before_an_error() {
    let server = Server::start(&["--max-body", "1000"]);
    for (request, status) in [
        ("POST /no/such/path HTTP/1.1\r\nContent-Length: 5\r\n", 404),
        ("POST /plaintext HTTP/1.1\r\nContent-Length: 5\r\n", 405),
        ("POST /upload HTTP/1.1\r\nContent-Length: 1001\r\n", 413),
    ] {
        let mut client = server.connect();
        client.send(format!("{request}{EXPECT}\r\n"));
        let response = client.response();
        assert_eq!(response.status, status, "{request}");
        // The client may send the body all the same or may not, so what follows cannot be read as a request.
        assert!(response.closes(), "{response:?}");
        client.closed();
    }
}

// ---- Too much ----

#[test]
fn a_head_that_is_too_large_is_431() {
    let server = Server::start(&["--max-head", "1000"]);
    let mut client = server.connect();
    client.send(format!("GET / HTTP/1.1\r\nHost: kiang.test\r\nX: {}\r\n\r\n", "x".repeat(1000)));
    is_final_error(&mut client, 431);
    // Also when it never ends: what is held for it is bounded.
    let mut client = server.connect();
    client.send(format!("GET / HTTP/1.1\r\nHost: kiang.test\r\nX: {}", "x".repeat(1000)));
    is_final_error(&mut client, 431);
    let mut client = server.connect();
    client.send(format!("GET /plaintext HTTP/1.1\r\nHost: kiang.test\r\nX: {}\r\n\r\n", "x".repeat(900)));
    is_hello(&client.response());
}

#[test]
fn too_many_headers_are_431() {
    let server = Server::start(&["--max-headers", "10"]);
    let request = |count: usize| {
        let headers: Vec<_> = (1..count).map(|number| format!("X-{number}: x\r\n")).collect();
        format!("GET /plaintext HTTP/1.1\r\nHost: kiang.test\r\n{}\r\n", headers.concat())
    };
    let mut client = server.connect();
    client.send(request(10));
    is_hello(&client.response());
    client.send(request(11));
    is_final_error(&mut client, 431);
}

#[test]
fn a_target_that_is_too_long_is_414() {
    let server = Server::start(&["--max-target", "100"]);
    let mut client = server.connect();
    let longest = format!("/plaintext?{}", "x".repeat(89));
    is_hello(&client.get(&longest));
    client.send(format!("GET {longest}x HTTP/1.1\r\nHost: kiang.test\r\n\r\n"));
    is_final_error(&mut client, 414);
}

#[test]
fn a_body_that_is_too_large_is_413() {
    let server = Server::start(&["--app", "echo", "--max-body", "1000"]);
    let mut client = server.connect();
    assert_eq!(client.post("/", [b'x'; 1000]).body.len(), 1000);
    // Announced: refused by its head alone.
    client.send("POST / HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: 1001\r\n\r\n");
    is_final_error(&mut client, 413);
    // Not announced: refused once it is.
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: kiang.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(format!("3e8\r\n{}\r\n", "x".repeat(1000))).send("1\r\n");
    is_final_error(&mut client, 413);
}

#[test]
fn a_body_that_is_too_large_is_refused_in_the_same_words_wherever_that_shows() {
    let refusal = |buffered: &str| {
        let server = Server::start(&["--max-body", "1000", "--max-buffered-body", buffered]);
        let mut client = server.connect();
        let length = if buffered == "1000" { 1001 } else { 11 };
        client.send("POST /baseline11 HTTP/1.1\r\nHost: kiang.test\r\n");
        client.send(format!("Content-Length: {length}\r\n\r\n{}", "1".repeat(length)));
        let response = client.response();
        assert_eq!(response.status, 413);
        response.text().to_owned()
    };
    assert_eq!(refusal("1000"), "the body is longer than this server reads\n", "by the engine");
    assert_eq!(refusal("10"), "the body is longer than this server reads\n", "by an extractor");
}

// ---- Senseless ----

#[test]
fn what_does_not_parse_is_400() {
    let server = Server::start(&["--app", "echo"]);
    for request in [
        "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03",
        "GET\r\n\r\n",
        "GET / HTTP/1.1\r\nHost kiang.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : kiang.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: kiang.test\r\nX: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: kiang.test\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: -1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: kiang.test\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "POST / HTTP/1.1\r\nHost: kiang.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        "POST / HTTP/1.1\r\nHost: kiang.test\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    ] {
        let mut client = server.connect();
        client.patience(PATIENCE / 2);
        client.send(request);
        let response = client.try_response().unwrap_or_else(|failure| panic!("{request:?}: {failure:?}"));
        assert_eq!(response.status, 400, "{request:?}: {response:?}");
        assert!(response.closes(), "{request:?}: {response:?}");
        has_a_reason(&response);
        client.closed();
    }
    assert_eq!(server.connect().get("/").status, 200);
}

#[test]
fn requests_before_one_that_does_not_parse_are_answered() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send(format!("{PLAINTEXT}{PLAINTEXT}nonsense\r\n\r\n{PLAINTEXT}"));
    is_hello(&client.response());
    is_hello(&client.response());
    is_final_error(&mut client, 400);
}
