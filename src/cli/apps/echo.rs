//! `--app echo`: the answer is the request, for conformance suites and for looking at a client.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kiang::{App, Bytes, Headers, Json, Request, Response, StatusCode};
use serde::Serialize;

/// Any method and path answer 200 with the request's body and Content-Type. `/inspect` answers the parsed request as
/// JSON.
pub(super) fn app(longest_body: usize) -> App {
    App::new().any("/inspect", move |request| inspect(request, longest_body)).fallback(echo)
}

#[allow(clippy::needless_pass_by_value)] // A handler's arguments are its own.
fn echo(headers: Headers, body: Bytes) -> kiang::Result<Response> {
    let mut response = Response::new(StatusCode::OK);
    if let Some(content_type) = headers.get("content-type") {
        response = response.try_header("Content-Type", content_type.to_vec())?;
    }
    Ok(response.body(body))
}

/// A request as it was parsed.
#[derive(Debug, Serialize)]
struct Inspection {
    method: String,
    target: String,
    version: String,
    /// Name and value of every field, in order and spelling as received.
    headers: Vec<(String, String)>,
    /// The body in base64, since any bytes may come.
    body: String,
}

async fn inspect(request: Request, longest_body: usize) -> kiang::Result<Json<Inspection>> {
    let mut inspection = Inspection {
        method: request.method().to_string(),
        target: request.target().to_owned(),
        version: format!("{:?}", request.version()),
        headers: request.headers().iter().map(|(name, value)| (name.to_owned(), text(value))).collect(),
        body: String::new(),
    };
    inspection.body = BASE64.encode(request.into_body().bytes(longest_body).await?);
    Ok(Json(inspection))
}

/// A field's value as text. A value that is not UTF-8 is read as ISO-8859-1, which loses nothing (RFC 9110 section 5.5).
fn text(value: &[u8]) -> String {
    match str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().copied().map(char::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_not_utf8_lose_nothing() {
        assert_eq!(text("día".as_bytes()), "día");
        assert_eq!(text(b"d\xEDa"), "día");
    }
}
