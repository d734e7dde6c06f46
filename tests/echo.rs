//! The echo application, which conformance suites talk to.

mod support;

use serde_json::{Value, json};
use support::{Random, Server, ms};

fn echo() -> Server {
    Server::start(&["--app", "echo"])
}

#[test]
fn any_method_and_path_is_answered_with_the_body() {
    let server = echo();
    let mut client = server.connect();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "M-SEARCH"] {
        for target in ["/", "/a/b/c?d=e", "/%7Ekiang"] {
            client.send(format!(
                "{method} {target} HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: 5\r\n\r\nhello"
            ));
            let response = client.response();
            assert_eq!((response.status, response.text()), (200, "hello"), "{method} {target}");
            assert_eq!(response.header("content-length"), Some("5"));
        }
    }
    client.send("OPTIONS * HTTP/1.1\r\nHost: kiang.test\r\n\r\n");
    assert_eq!(client.response().status, 200, "RFC 9112, section 3.2.4: the asterisk form");
}

#[test]
fn content_type_is_echoed() {
    let server = echo();
    let mut client = server.connect();
    client.send(
        "POST / HTTP/1.1\r\nHost: kiang.test\r\nContent-Type: application/x-kiang; v=1\r\nContent-Length: 2\r\n\r\nhi",
    );
    assert_eq!(client.response().header("content-type"), Some("application/x-kiang; v=1"));
}

#[test]
fn chunked_bodies_come_back_with_content_length() {
    let server = echo();
    let mut client = server.connect();
    let response = client.post_chunked("/", &[b"hel", b"lo ", b"world"]);
    assert_eq!((response.text(), response.header("content-length")), ("hello world", Some("11")));
    assert_eq!(client.post_chunked("/", &[]).text(), "");
}

#[test]
fn bodies_of_all_sizes_come_back_unchanged() {
    let server = echo();
    let mut client = server.connect();
    client.patience(ms(20_000));
    let mut random = Random::new(11);
    // Around the sizes that buffers have, where a part is easily lost or doubled.
    for size in
        [0, 1, 1023, 1024, 2047, 2048, 4095, 4096, 4097, 16_383, 16_384, 16_385, 65_536, 262_145, 1_000_003]
    {
        let body = random.bytes(size);
        assert!(client.post("/", &body).body == body, "{size} bytes with Content-Length");
        let chunks: Vec<_> = body.chunks(1 + size / 7).collect();
        assert!(client.post_chunked("/", &chunks).body == body, "{size} bytes, chunked");
    }
}

#[test]
fn head_is_answered_without_a_body() {
    let server = echo();
    let mut client = server.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: kiang.test\r\n\r\n");
    assert_eq!(client.response_to_head().status, 200);
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn inspect_shows_the_request_as_it_was_parsed() {
    let server = echo();
    let mut client = server.connect();
    client.send(
        "PUT /inspect?a=%20b&c HTTP/1.1\r\nHost: kiang.test\r\nx-Twice:  one \r\nContent-Length: 5\r\n\
         X-TWICE: two\r\nX-Empty:\r\n\r\nhe\0\u{7f}o",
    );
    let response = client.response();
    assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
    let seen: Value = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!(seen["method"], "PUT");
    assert_eq!(seen["target"], "/inspect?a=%20b&c", "raw, as received");
    assert_eq!(seen["version"], "HTTP/1.1");
    assert_eq!(
        seen["headers"],
        json!([
            ["Host", "kiang.test"],
            ["x-Twice", "one"],
            ["Content-Length", "5"],
            ["X-TWICE", "two"],
            ["X-Empty", ""],
        ]),
        "in the order and the letters received"
    );
    assert_eq!(seen["body"], "aGUAf28=", "in base64");
}

#[test]
fn inspect_shows_a_chunked_body_decoded_and_http_1_0() {
    let server = echo();
    let mut client = server.connect();
    let seen: Value =
        serde_json::from_slice(&client.post_chunked("/inspect", &[b"he", b"llo"]).body).expect("JSON");
    assert_eq!(seen["body"], "aGVsbG8=");
    client.send("GET /inspect HTTP/1.0\r\n\r\n");
    let seen: Value = serde_json::from_slice(&client.response().body).expect("JSON");
    assert_eq!(
        (&seen["version"], &seen["headers"], &seen["body"]),
        (&json!("HTTP/1.0"), &json!([]), &json!(""))
    );
}
