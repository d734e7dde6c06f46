//! actix-web as its documentation would have it for speed: one worker per core (here one), connections that are kept
//! alive without a timer of actix's own, payloads made by the framework's own responders. Date and Content-Length are
//! actix's own. Beside the worker there is a thread that accepts.

use std::io;

use actix_web::http::KeepAlive;
use actix_web::http::header::{ContentType, SERVER};
use actix_web::{App, HttpResponse, HttpServer, web};

async fn text() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((SERVER, "actix"))
        .insert_header(ContentType::plaintext())
        .body("Hello, World!")
}

async fn json() -> HttpResponse {
    HttpResponse::Ok().insert_header((SERVER, "actix")).json(plaintext::MESSAGE)
}

fn main() -> io::Result<()> {
    let listener = plaintext::listen()?;
    let server = HttpServer::new(|| {
        App::new().route("/plaintext", web::get().to(text)).route("/json", web::get().to(json))
    });
    actix_web::rt::System::new().block_on(server.workers(1).keep_alive(KeepAlive::Os).listen(listener)?.run())
}
