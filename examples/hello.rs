use kiang::{App, Json, Path, Server};
use std::{cell::Cell, rc::Rc};

#[derive(serde::Serialize)]
struct Greeting {
    message: String,
    answered_by_this_core: u64,
}

fn main() -> kiang::Result<()> {
    Server::bind("127.0.0.1:8080")?.run(|_core| {
        // Called once on every core. What is made here stays here: no Arc, no Mutex, no Send.
        let answered = Rc::new(Cell::new(0));
        App::new().get("/plaintext", || "Hello, World!").get(
            "/hello/{name}",
            move |Path(name): Path<String>| {
                let answered = answered.clone();
                async move {
                    answered.set(answered.get() + 1);
                    Json(Greeting {
                        message: format!("Hello, {name}!"),
                        answered_by_this_core: answered.get(),
                    })
                }
            },
        )
    })
}
