//! The lost wake-up: an executor that goes to sleep with a runnable task does so only when a timer fires
//! between two of its instructions. What makes that likely is a thread per CPU that takes the CPU away.
//!
//! Ten seconds each, or as many as `KIANG_STRESS_SECONDS` says.

mod support;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use support::{Hogs, Load, Server, ms, stress_time, until};

/// The scheduler alone makes a request wait for some turns of the hogs, each of some milliseconds. Whoever
/// waits for longer than this waits for a wake-up that is not coming.
const STALL: Duration = ms(1000);

/// One stress at a time: two sets of hogs would only test the scheduler.
static ALONE: Mutex<()> = Mutex::new(());

#[track_caller]
fn nobody_stalls(threads: usize, connections: usize, target: &str, usual: Duration) {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let server = Server::start(&[]);
    let _hogs = Hogs::on_all_cpus();
    // Without a pause the cores never come to rest. With some, of 0 to 4 ms in steps that do not repeat with the
    // heartbeat of 1 ms, they are met before, in and after going to sleep.
    let pause = |round: u64| (round % 8 >= 3).then(|| Duration::from_micros(round * 137 % 4000));
    let load = Load::with_pauses(server.addr(), threads, connections, target, pause);
    let (since, time) = (Instant::now(), stress_time(usual));
    until(time + support::PATIENCE, "the time of the stress", || since.elapsed() >= time);
    let answered = load.answered();
    let worst = load.stop();
    eprintln!(
        "{target} on {} connections: {answered} answers, the slowest after {worst:?}",
        threads * connections
    );
    assert!(worst < STALL, "a request on {} connections waited {worst:?}", threads * connections);
    assert!(answered > 100, "only {answered} answers");
}

#[test]
fn one_connection_never_stalls_while_hogs_take_the_cpus() {
    nobody_stalls(1, 1, "/plaintext", ms(10_000));
}

#[test]
fn sixty_four_connections_never_stall_while_hogs_take_the_cpus() {
    nobody_stalls(8, 8, "/plaintext", ms(10_000));
}

#[test]
fn a_message_wakes_a_core_that_sleeps() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let server = Server::start(&[]);
    let mut client = server.connect();
    let cores = std::thread::available_parallelism().expect("the number of CPUs is known").get();
    for round in 0..100 {
        // Long enough for every core to fall asleep, or to be about to: a beat is a millisecond.
        std::thread::sleep(Duration::from_micros(round * 370 % 20_000));
        let since = Instant::now();
        let answer: serde_json::Value = serde_json::from_slice(&client.get("/cores").body).expect("JSON");
        let took = since.elapsed();
        assert_eq!(answer.as_array().map(Vec::len), Some(cores), "every core answers: {answer}");
        assert!(took < ms(500), "it took {took:?} in round {round}");
    }
}

#[test]
fn messages_between_cores_never_stall_while_hogs_take_the_cpus() {
    // The answer needs every core, among them those that sleep.
    nobody_stalls(4, 1, "/cores", ms(5000));
}
