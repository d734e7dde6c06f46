//! axum as its documentation serves it, by `axum::serve`, on tokio's current-thread runtime: one core, no work to
//! steal. Date and Content-Length are hyper's, beneath it.

use std::io;

use axum::http::header::{CONTENT_TYPE, SERVER};
use axum::http::{HeaderName, HeaderValue};
use axum::routing::get;
use axum::{Json, Router};
use plaintext::Message;
use tokio::net::TcpListener;

const AXUM: (HeaderName, HeaderValue) = (SERVER, HeaderValue::from_static("axum"));
const TEXT_PLAIN: (HeaderName, HeaderValue) = (CONTENT_TYPE, HeaderValue::from_static("text/plain"));

async fn text() -> ([(HeaderName, HeaderValue); 2], &'static str) {
    ([AXUM, TEXT_PLAIN], "Hello, World!")
}

async fn json() -> ([(HeaderName, HeaderValue); 1], Json<Message>) {
    ([AXUM], Json(plaintext::MESSAGE))
}

fn main() -> io::Result<()> {
    let listener = plaintext::listen()?;
    listener.set_nonblocking(true)?;
    let app = Router::new().route("/plaintext", get(text)).route("/json", get(json));
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        // Spawned, because polling a task of the scheduler is cheaper than polling the future given to `block_on`.
        tokio::spawn(async { axum::serve(TcpListener::from_std(listener)?, app).await }).await?
    })
}
