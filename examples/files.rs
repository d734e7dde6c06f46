//! Notes that are on the disk when they are acknowledged.
//!
//! ```console
//! $ mkdir -p notes && cargo run --release --example files
//! $ curl -X PUT -d 'Feed the kiang.' http://127.0.0.1:8080/notes/today && curl http://127.0.0.1:8080/notes/today
//! ```

use kiang::fs::{Dir, OpenOptions};
use kiang::{App, Bytes, Core, Error, Path, Server, StatusCode};
use std::io::{self, ErrorKind};
use std::{cell::Cell, rc::Rc};

/// The whole note, or the one before, also after a crash: it is written beside the old one, which it then replaces.
async fn keep(core: &Core, name: &str, temporary: &str, note: Bytes) -> io::Result<()> {
    let notes = Dir::open(core, "notes").await?;
    let file = notes.open_file(temporary, &OpenOptions::new().write(true).create_new(true)).await?;
    file.write_and_sync(0, note).await?;
    notes.rename(temporary, name).await?;
    notes.sync().await
}

async fn read(core: &Core, name: &str) -> io::Result<Bytes> {
    let notes = Dir::open(core, "notes").await?;
    let file = notes.open_file(name, &OpenOptions::new().read(true)).await?;
    let length = file.metadata().await?.len();
    file.read_at(0, usize::try_from(length).unwrap_or(usize::MAX)).await
}

fn status(error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::with_status(StatusCode::NOT_FOUND, "there is no such note"),
        ErrorKind::InvalidInput | ErrorKind::PermissionDenied => {
            Error::with_status(StatusCode::FORBIDDEN, "that is no name for a note")
        }
        _ => error.into(),
    }
}

fn main() -> kiang::Result<()> {
    Server::bind("127.0.0.1:8080")?.run(|core| {
        let (reader, kept) = (core.clone(), Rc::new(Cell::new(0)));
        App::new()
            .get("/notes/{name}", async move |Path(name): Path<String>| {
                read(&reader, &name).await.map_err(status)
            })
            .put("/notes/{name}", async move |Path(name): Path<String>, note: Bytes| {
                kept.set(kept.get() + 1);
                let temporary = format!(".{}-{}-{}", std::process::id(), core.id(), kept.get());
                keep(&core, &name, &temporary, note).await.map_err(status)
            })
    })
}
