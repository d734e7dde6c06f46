//! Persistence: which connections go on (RFC 9112 sections 9.3 and 9.6).

use crate::case::{Case, accept, get, post, shown};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for fields in [
        "",
        "Connection: keep-alive\r\n",
        "Connection: Keep-Alive\r\n",
        "Connection:\r\n",
        "Connection: x\r\n",
        "Connection: closed\r\n",
        "Connection: xclose\r\n",
        "Connection: not-close\r\n",
        "Connection: te\r\nTE: trailers\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        "Upgrade: h2c\r\n",
        "Proxy-Connection: close\r\n",
        "X-Connection: close\r\n",
        "Keep-Alive: timeout=5, max=1\r\n",
        "Close: close\r\n",
    ] {
        cases.push(accept("9112 9.3", format!("goes on: {}", shown(fields)), get(fields)));
    }
    for fields in [
        "Connection: close\r\n",
        "Connection: Close\r\n",
        "Connection: CLOSE\r\n",
        "cONNECTION: close\r\n",
        "Connection:close\r\n",
        "Connection: \t close \t \r\n",
        "Connection: close, x\r\n",
        "Connection: x, close\r\n",
        "Connection: x,close,y\r\n",
        "Connection: , close\r\n",
        "Connection: close,\r\n",
        "Connection: x ,\tclose\r\n",
        "Connection: close, close\r\n",
        "Connection: keep-alive, close\r\n",
        "Connection: close, keep-alive\r\n",
        "Connection: x\r\nConnection: close\r\n",
        "Connection: close\r\nConnection: keep-alive\r\n",
        "Connection: keep-alive\r\nConnection: close\r\n",
    ] {
        cases.push(accept("9112 9.6", format!("ends: {}", shown(fields)), get(fields)).closes());
    }
    for fields in [
        "",
        "Connection: x\r\n",
        "Connection: close\r\n",
        "Connection: keep-alive, close\r\n",
        "Connection: keep-alivex\r\n",
        "Keep-Alive: timeout=5\r\n",
        "Proxy-Connection: keep-alive\r\n",
    ] {
        let bytes = format!("GET / HTTP/1.0\r\n{fields}\r\n");
        cases.push(
            accept("9112 9.3", format!("1.0 ends: {}", shown(fields)), bytes).version("HTTP/1.0").closes(),
        );
    }
    for fields in [
        "Connection: keep-alive\r\n",
        "Connection: Keep-Alive\r\n",
        "Connection: x, keep-alive\r\n",
        "Connection: x\r\nConnection: KEEP-ALIVE\r\n",
    ] {
        let bytes = format!("GET / HTTP/1.0\r\n{fields}\r\n");
        cases.push(accept("9112 9.3", format!("1.0 goes on: {}", shown(fields)), bytes).version("HTTP/1.0"));
    }
    cases.extend([
        accept("9112 9.3", "goes on behind a body", post("Content-Length: 5\r\n", "hello")).body("hello"),
        accept(
            "9112 9.3",
            "goes on behind chunks",
            post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        )
        .body("hello"),
        accept("9112 9.6", "ends behind a body", post("Connection: close\r\nContent-Length: 5\r\n", "hello"))
            .body("hello")
            .closes(),
        accept(
            "9112 9.6",
            "ends behind chunks",
            post("Connection: close\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        )
        .body("hello")
        .closes(),
        accept(
            "9112 9.6",
            "ends behind HEAD",
            "HEAD / HTTP/1.1\r\nHost: kiang.test\r\nConnection: close\r\n\r\n",
        )
        .closes(),
        accept(
            "9112 9.3",
            "1.0 goes on behind a body",
            "POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
        )
        .version("HTTP/1.0")
        .body("hello"),
    ]);
    cases
}
