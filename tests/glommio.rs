//! A program that uses glommio, the executor under a core, itself: `Core::beat` lets glommio have its turn.

mod support;

use kiang::{App, Core, Cores, Server};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use support::{Embedded, Load, ms};

fn server() -> Embedded {
    Embedded::start_with(
        |server: Server| server.cores(Cores::count(1)),
        |core: Core| {
            let (sleeps, spawns, reads) = (core.clone(), core.clone(), core.clone());
            App::new()
                .get("/quick", || "quick")
                .get("/timer", async move || {
                    let _beat = sleeps.beat();
                    let since = Instant::now();
                    glommio::timer::sleep(ms(20)).await;
                    since.elapsed().as_millis().to_string()
                })
                .get("/task", async move || {
                    let _beat = spawns.beat();
                    let ran = Rc::new(Cell::new(0));
                    let tasks: Vec<_> = (0..10)
                        .map(|_| {
                            let ran = Rc::clone(&ran);
                            glommio::spawn_local(async move { ran.set(ran.get() + 1) })
                        })
                        .collect();
                    for task in tasks {
                        task.await;
                    }
                    ran.get().to_string()
                })
                .get("/file", async move || {
                    let _beat = reads.beat();
                    let file = glommio::io::BufferedFile::open("Cargo.toml").await.expect("it is there");
                    let read = file.read_at(0, 9).await.expect("it can be read");
                    let text = String::from_utf8_lossy(&read).into_owned();
                    file.close().await.expect("it can be closed");
                    text
                })
                .get("/switches", || {
                    let status = std::fs::read_to_string("/proc/thread-self/status").expect("it is there");
                    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
                    line.expect("the kernel counts them").trim().to_owned()
                })
        },
    )
}

fn everything_of_glommio_works(server: &Embedded) {
    let mut client = server.connect();
    for _ in 0..20 {
        let slept = client.get("/timer").text().parse::<u64>().expect("milliseconds");
        assert!(slept >= 20, "it slept {slept} ms");
        assert_eq!(client.get("/task").text(), "10");
        assert_eq!(client.get("/file").text(), "[package]");
        assert_eq!(client.get("/quick").text(), "quick");
    }
}

#[test]
fn timers_tasks_and_files_of_glommio_work_on_a_core_that_is_idle() {
    everything_of_glommio_works(&server());
}

#[test]
fn timers_tasks_and_files_of_glommio_work_on_a_core_that_is_busy() {
    let server = server();
    let load = Load::start(server.addr(), 2, 8, "/quick");
    load.answers(100);
    everything_of_glommio_works(&server);
    load.stop();
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "counts of hundreds")]
fn a_core_that_shared_its_thread_once_goes_back_to_its_own_ring() {
    const REQUESTS: u64 = 200;
    let server = server();
    let mut client = server.connect();
    client.get("/timer");
    let mut switches = || client.get("/switches").text().parse::<u64>().expect("a number");
    let before = switches();
    for _ in 0..REQUESTS - 1 {
        // The core is asleep when the next request comes; nothing to await: time itself has to pass.
        std::thread::sleep(ms(1));
        switches();
    }
    let each = (switches() - before) as f64 / REQUESTS as f64;
    assert!(each <= 1.05, "{each:.3} context switches per request");
}
