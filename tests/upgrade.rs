//! Switching a connection to another protocol: only when it was offered, with every byte in its place.

mod support;

use kiang::{App, Response, Upgraded};
use std::io::Write;
use support::{Client, Embedded, PATIENCE};

const OFFER: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: shout\r\n";

fn server() -> Embedded {
    let switch = || {
        Response::upgrade("shout", async |mut connection: Upgraded| {
            while let Ok(Some(bytes)) = connection.read().await {
                if connection.write(bytes.to_ascii_uppercase()).await.is_err() {
                    break;
                }
            }
        })
        .header("X-Extra", "1")
    };
    Embedded::start(move |_core| {
        App::new().get("/now", switch).get("/later", async move || switch()).get("/fine", || "fine")
    })
}

fn request(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n")
}

#[track_caller]
fn hears(client: &mut Client, expected: &[u8]) {
    let heard = client.bytes(expected.len());
    assert!(heard == expected, "{:?}", heard[..heard.len().min(100)].escape_ascii().to_string());
}

#[test]
fn a_connection_that_switches_carries_bytes_both_ways() {
    let server = server();
    for path in ["/now", "/later"] {
        let mut client = server.connect();
        // A request before it, and bytes of the new protocol right behind it.
        client.send(format!("{}{}early", request("/fine", ""), request(path, OFFER)));
        assert_eq!(client.response().text(), "fine");
        let switched = client.response();
        assert_eq!((switched.status, switched.header("upgrade")), (101, Some("shout")));
        assert_eq!((switched.header("connection"), switched.header("x-extra")), (Some("upgrade"), Some("1")));
        hears(&mut client, b"EARLY");
        let long = vec![b'a'; 3 << 20];
        let mut writer = client.stream().try_clone().expect("a socket can be cloned");
        let sent = long.clone();
        let writing = std::thread::spawn(move || writer.write_all(&sent));
        hears(&mut client, &long.to_ascii_uppercase());
        writing.join().expect("no panic").expect("all was taken");
        client.half_close().closed();
    }
}

#[test]
fn a_switch_that_was_not_offered_is_426() {
    let server = server();
    let mut client = server.connect();
    let other = "Connection: upgrade\r\nUpgrade: h2c, shouts\r\n";
    for fields in ["", "Upgrade: shout\r\n", "Connection: upgrade\r\n", other] {
        let response = client.send(request("/now", fields)).response();
        assert_eq!((response.status, response.header("upgrade")), (426, Some("shout")), "{fields:?}");
    }
    assert_eq!(client.get("/fine").text(), "fine");
    let among_others = "Connection: upgrade\r\nUpgrade: h2c, Shout\r\n";
    assert_eq!(server.connect().send(request("/now", among_others)).response().status, 101);
    let old = client.send(format!("GET /now HTTP/1.0\r\n{OFFER}\r\n")).response();
    assert_eq!(old.status, 426, "HTTP/1.0 knows no upgrade");
}

#[test]
fn a_drain_ends_what_has_switched() {
    let server = server();
    let mut client = server.connect();
    assert_eq!(client.send(request("/now", OFFER)).response().status, 101);
    client.send("a");
    hears(&mut client, b"A");
    let since = std::time::Instant::now();
    server.drained().expect("a clean end");
    assert!(since.elapsed() < PATIENCE / 2, "the drain did not wait for its deadline");
    client.closed();
}
