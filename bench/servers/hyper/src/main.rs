//! hyper, tuned as its `TechEmpower` entry is: tokio's current-thread runtime, a task per connection, `pipeline_flush`,
//! header values made once. Date and Content-Length are hyper's own. Unlike there, the body is not boxed.

use std::convert::Infallible;
use std::io;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

const HYPER: HeaderValue = HeaderValue::from_static("hyper");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT_PLAIN: HeaderValue = HeaderValue::from_static("text/plain");

fn main() -> io::Result<()> {
    let listener = plaintext::listen()?;
    listener.set_nonblocking(true)?;
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        // Spawned, because polling a task of the scheduler is cheaper than polling the future given to `block_on`.
        tokio::spawn(accept(TcpListener::from_std(listener)?)).await?
    })
}

async fn accept(listener: TcpListener) -> io::Result<()> {
    let mut http = http1::Builder::new();
    http.pipeline_flush(true);
    loop {
        let (stream, _) = listener.accept().await?;
        let connection = http.serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::spawn(async {
            if let Err(error) = connection.await {
                eprintln!("connection: {error}");
            }
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let get = request.method() == Method::GET;
    let (status, media, body) = match request.uri().path() {
        "/plaintext" if get => (StatusCode::OK, TEXT_PLAIN, Full::from("Hello, World!")),
        "/json" if get => {
            let json = serde_json::to_vec(&plaintext::MESSAGE).expect("a string serializes");
            (StatusCode::OK, JSON, Full::from(json))
        }
        _ => (StatusCode::NOT_FOUND, TEXT_PLAIN, Full::from("Not Found")),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(SERVER, HYPER);
    response.headers_mut().insert(CONTENT_TYPE, media);
    Ok(response)
}
