use kiang::{App, Path, Server};
use std::cell::Cell;

fn main() -> kiang::Result<()> {
    Server::bind("127.0.0.1:8080")?.run(|_core| {
        // Called once on every core. What is made here stays here: no Arc, no Mutex, no Send.
        let greeted = Cell::new(0);
        App::new().get("/hello/{name}", async move |Path(name): Path<String>| {
            greeted.set(greeted.get() + 1);
            format!("Hello, {name}! You are number {} on this core.\n", greeted.get())
        })
    })
}
