//! The bench application's endpoints of `HttpArena`, and the page and counts beside them.

mod support;

use serde_json::Value;
use support::{Launch, Server, file, ms};

const UPLOAD_LIMIT: usize = 20 * 1024 * 1024;

#[test]
fn baseline11_sums_the_query_and_the_body() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for (target, sum) in
        [("/baseline11?a=13&b=42", "55"), ("/baseline11?a=-5&b=7", "2"), ("/baseline11?a=0&b=0", "0")]
    {
        let response = client.get(target);
        assert_eq!((response.status, response.text()), (200, sum), "{target}");
        assert!(response.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
    }
    assert_eq!(client.post("/baseline11?a=13&b=42", "20").text(), "75");
    assert_eq!(client.post_chunked("/baseline11?a=13&b=42", &[b"20"]).text(), "75");
    assert_eq!(client.post_chunked("/baseline11?a=13&b=42", &[b"2", b"0"]).text(), "75");
    assert_eq!(client.get("/baseline11?a=1&b=1").text(), "2", "the connection is in step after the bodies");
}

#[test]
fn baseline11_of_what_is_no_number_is_an_error_of_the_client() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let response = client.post("/baseline11?a=13&b=42", "twenty");
    assert_eq!(response.status, 400, "{response:?}");
    assert_eq!(client.get("/baseline11?a=1&b=1").text(), "2", "framing was never in doubt");
}

#[test]
fn pipeline_says_ok() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send("GET /pipeline HTTP/1.1\r\nHost: kiang.test\r\n\r\n".repeat(16));
    for _ in 0..16 {
        let response = client.response();
        assert_eq!((response.status, response.text()), (200, "ok"));
        assert!(response.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
    }
}

#[test]
fn json_items_are_counted_and_totalled() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for (count, multiplier) in [(0, 1), (1, 1), (10, 3), (50, 7)] {
        let response = client.get(&format!("/json/{count}?m={multiplier}"));
        assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
        let answer: Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!(answer["count"], count);
        let items = answer["items"].as_array().expect("an array");
        assert_eq!(items.len(), count);
        for item in items {
            is_item(item);
            let total = item["price"].as_i64().unwrap() * item["quantity"].as_i64().unwrap() * multiplier;
            assert_eq!(item["total"].as_i64(), Some(total), "{item}");
        }
    }
}

#[track_caller]
fn is_item(item: &Value) {
    assert!(item["id"].is_i64(), "{item}");
    assert!(item["name"].is_string(), "{item}");
    assert!(item["category"].is_string(), "{item}");
    assert!(item["price"].is_i64(), "{item}");
    assert!(item["quantity"].is_i64(), "{item}");
    assert!(item["active"].is_boolean(), "{item}");
    assert!(item["tags"].as_array().is_some_and(|tags| tags.iter().all(Value::is_string)), "{item}");
    assert!(item["rating"]["score"].is_number() && item["rating"]["count"].is_i64(), "{item}");
}

#[test]
fn json_items_beyond_the_dataset_hurt_nobody() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let answer: Value = serde_json::from_slice(&client.get("/json/51?m=1").body).unwrap_or_default();
    assert!(answer["count"].as_i64().is_none_or(|count| count <= 50), "{answer}");
    assert!((400..500).contains(&client.get("/json/many?m=1").status));
    assert_eq!(client.get("/json/1?m=1").status, 200);
}

/// Two items in the shape of `HttpArena`'s dataset, one a line.
const DATASET: &str = r#"[
{"id":1,"name":"Alpha","category":"a","price":328,"quantity":15,"active":true,"tags":["x","y"],"rating":{"score":48,"count":127}},
{"id":2,"name":"Beta \"é\"","category":"b","price":7,"quantity":2,"active":false,"tags":[],"rating":{"score":1,"count":0}}
]"#;

#[test]
fn json_items_come_from_the_dataset_that_is_named() {
    let path = file("dataset.json", DATASET);
    let dataset: Value = serde_json::from_str(DATASET).expect("JSON");
    let config = file("dataset.toml", &format!("dataset = \"{}\"\n", path.display()));
    let path = path.to_str().expect("a plain path");
    for server in [
        Server::start(&["--dataset", path]),
        Launch::serve(&[]).environment("KIANG_DATASET", path).start(),
        Server::start(&["--config", config.to_str().expect("a plain path")]),
    ] {
        let mut client = server.connect();
        for (asked, count) in [(1, 1), (2, 2), (50, 2)] {
            let answer: Value =
                serde_json::from_slice(&client.get(&format!("/json/{asked}?m=3")).body).expect("JSON");
            assert_eq!(answer["count"], count);
            for (item, expected) in
                answer["items"].as_array().expect("a list").iter().zip(dataset.as_array().expect("a list"))
            {
                let mut expected = expected.clone();
                let number = |key: &str| expected[key].as_i64().expect("a number");
                expected["total"] = (number("price") * number("quantity") * 3).into();
                assert_eq!(*item, expected);
            }
        }
    }
}

#[test]
fn a_dataset_that_cannot_be_used_is_refused_with_the_place() {
    let cases = [
        ("cut.json", &DATASET[..60], "EOF while parsing a string at line 2 column "),
        ("missing.json", "[\n{\"id\":1}\n]", "missing field `name` at line 2 column 8"),
        ("odd.json", "[{\"id\":1,\n\"colour\":2}]", "unknown field `colour`"),
        ("text.json", "[{\"id\":\"one\"}]", "invalid type: string \"one\", expected u32 at line 1 column 12"),
        ("none.json", "[]", "its list is empty"),
    ];
    for (name, content, words) in cases {
        let path = file(name, content);
        let finished = Launch::serve(&["--dataset", path.to_str().expect("a plain path")]).finish();
        let beginning = format!("kiang: the dataset `{}` cannot be used: ", path.display());
        assert_eq!(finished.code, Some(1), "{finished:?}");
        let last = finished.stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with(&beginning) && last.contains(words), "{words}: {finished:?}");
    }
    for (path, words) in [
        ("/no/such/items.json", "No such file"),
        ("/dev/zero", "more than 16777216 bytes"),
        ("/", "directory"),
    ] {
        let finished = Launch::serve(&["--dataset", path]).finish();
        assert!(finished.code == Some(1) && finished.stderr.contains(words), "{finished:?}");
    }
}

#[test]
fn upload_counts_twenty_mebibytes_without_holding_them() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(client.post("/upload", "0123456789").text(), "10");
    assert_eq!(client.post("/upload", "").text(), "0");
    let before = server.rss();
    let chunk = vec![b'x'; 64 * 1024];
    let mut peak = before;
    client
        .send(format!("POST /upload HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: {UPLOAD_LIMIT}\r\n\r\n"));
    for _ in 0..UPLOAD_LIMIT / chunk.len() {
        client.send(&chunk);
        peak = peak.max(server.rss());
    }
    assert_eq!(client.response().text(), UPLOAD_LIMIT.to_string());
    let chunks = vec![chunk.as_slice(); UPLOAD_LIMIT / chunk.len()];
    assert_eq!(client.post_chunked("/upload", &chunks).text(), UPLOAD_LIMIT.to_string());
    peak = peak.max(server.rss());
    assert!(peak - before < 4 * 1024 * 1024, "resident memory grew by {} KiB", (peak - before) / 1024);
}

#[test]
fn upload_of_more_is_413() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let length = UPLOAD_LIMIT + 1;
    client.send(format!("POST /upload HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: {length}\r\n\r\n"));
    let response = client.response();
    assert_eq!(response.status, 413, "by its head alone: {response:?}");
    assert!(response.closes());
    client.closed();

    let mut client = server.connect();
    client.send("POST /upload HTTP/1.1\r\nHost: kiang.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; 64 * 1024], b"\r\n"].concat();
    // The refusal may come before the last chunk, and the close after it makes a later write fail.
    let _ = (0..=UPLOAD_LIMIT / (64 * 1024)).try_for_each(|_| client.try_send(&chunk));
    client.patience(ms(20_000));
    let response = client.response();
    assert_eq!(response.status, 413, "{response:?}");
}

#[test]
fn the_front_page_lists_the_endpoints() {
    let server = Server::start(&[]);
    let response = server.connect().get("/");
    assert_eq!(response.status, 200);
    assert!(response.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    for path in ["/plaintext", "/json", "/baseline11", "/pipeline", "/upload", "/json/", "/cores"] {
        assert!(response.text().contains(path), "{path} is missing in\n{}", response.text());
    }
}

#[test]
fn cores_counts_connections_and_requests_of_every_core() {
    let server = Server::start(&["--cores", "all"]);
    let idle: Vec<_> = (0..20)
        .map(|_| {
            let mut client = server.connect();
            assert_eq!(client.get("/plaintext").status, 200);
            client
        })
        .collect();
    let mut client = server.connect();
    let cores: Value = serde_json::from_slice(&client.get("/cores").body).expect("JSON");
    let cores = cores.as_array().expect("an array");
    let available = std::thread::available_parallelism().expect("the number of CPUs is known");
    assert_eq!(cores.len(), available.get());
    for (number, core) in cores.iter().enumerate() {
        assert_eq!(core["core"], number, "{core}");
        assert!(core["cpu"].is_u64() && core["runs_on"] == core["cpu"], "{core}");
    }
    let sum = |member: &str| cores.iter().map(|core| core[member].as_u64().expect("a count")).sum::<u64>();
    assert_eq!((sum("connections"), sum("accepted")), (21, 21));
    assert!((20..=21).contains(&sum("requests")), "whether the one that asks is counted yet is left open");
    drop((idle, client));
    server.quiet();
}
