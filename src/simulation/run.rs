//! One run: a server, its peers and its kernel, all made from one number.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use super::application::Application;
use super::peer::Peer;
use super::plan::Plan;
use super::rules::{LATE, Rules, micros};
use super::world::World;
use crate::Limits;
use crate::runtime::{Faults, Machine, Random, Simulated, Stub};
use crate::server::Deadlines;
use crate::server::simulated::serve;

/// What a run was.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Everything that happened, in one number.
    pub(super) trace: u64,
    pub(super) enters: u64,
    pub(super) answers: u64,
}

/// Runs a seed; the first promise that is broken.
pub(super) fn run(seed: u64, tells: bool) -> Result<Outcome, String> {
    match catch_unwind(AssertUnwindSafe(|| simulate(seed, tells))) {
        Ok(result) => result,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            Err(format!("a panic: {}", text.unwrap_or_default()))
        }
    }
}

/// Far more entries of the kernel than any run needs.
const MOST_ENTERS: u64 = 400_000;

fn simulate(seed: u64, tells: bool) -> Result<Outcome, String> {
    let mut random = Random::new(seed);
    let second = |least, most, random: &mut Random| Duration::from_millis(random.between(least, most));
    let deadlines = Deadlines {
        head: second(1_000, 10_000, &mut random),
        body: second(2_000, 10_000, &mut random),
        min_body_rate: if random.one_in(2) { 0 } else { 240 },
        idle: second(1_000, 20_000, &mut random),
        handler: second(1_000, 6_000, &mut random),
        write: second(1_000, 10_000, &mut random),
        linger: second(1_000, 4_000, &mut random),
        ..Deadlines::default()
    };
    let limits = Limits {
        connections: if random.one_in(4) { random.between(1, 4) as usize } else { 1_000 },
        requests: random.one_in(6).then(|| random.between(1, 4)),
        ..Limits::default()
    };
    let drain = second(500, 8_000, &mut random);
    let peers: Vec<_> =
        (0..random.between(1, 7)).map(|id| Peer::new(id, Plan::new(&mut random, id, &deadlines))).collect();
    let world = Rc::new(RefCell::new(World {
        rules: Rules {
            deadlines: deadlines.clone(),
            most_requests: limits.requests,
            may_shed: limits.connections < peers.len(),
            drain_began: None,
            drain_ends: None,
        },
        peers,
        drain_at: if random.one_in(2) { random.below(2_000_000) } else { random.below(60_000_000) },
        drain: Box::new(|| ()),
        drain_takes: micros(drain),
        broken: None,
    }));
    let stub = Stub::new(random.next(), weather(&mut random), Rc::clone(&world) as _);
    stub.machine(|machine| machine.net.tells = tells);
    if tells {
        println!("{deadlines:?}\n{limits:?}");
        for peer in &world.borrow().peers {
            peer.tell();
        }
    }
    let simulated = Simulated::new(stub.clone()).map_err(failed("a core cannot start"))?;
    world.borrow_mut().drain = Box::new(simulated.drain());
    let calls = Rc::new(Cell::new(0));
    let application = Application::new(simulated.core(), Rc::clone(&calls));
    let listener = simulated.listener().map_err(failed("no listener"))?;
    serve(simulated.core(), Box::new(application), listener, (limits, deadlines, drain));
    loop {
        let turned = simulated.turn();
        if let Some(broken) = broken(&stub, &world) {
            return Err(broken);
        }
        if !turned.map_err(failed("the ring failed"))? {
            break;
        }
        if stub.machine(|machine| machine.enters()) > MOST_ENTERS {
            return Err("the run does not end".to_owned());
        }
    }
    end(&simulated, &stub, &world).map_err(failed("the ring failed at its end"))?;
    let counts = simulated.core().counts();
    // A ring that is dropped gives way to other threads for as long as something is late: few runs have the time.
    if !seed.is_multiple_of(16) {
        stub.machine(Machine::hurry);
    }
    drop(simulated);
    let left = stub.machine(|machine| machine.all_held());
    if let Some(broken) = broken(&stub, &world) {
        return Err(broken);
    }
    if left > 0 || counts.connections > 0 {
        return Err(format!("at the end there are {left} operations and {} connections", counts.connections));
    }
    let world = world.borrow();
    let answers = world.peers.iter().map(|peer| peer.answered as u64).sum();
    Ok(stub.machine(|machine| Outcome { trace: machine.net.trace(), enters: machine.enters(), answers }))
}

/// After the core has stopped: everything goes back, and every connection has its end.
fn end(simulated: &Simulated, stub: &Stub, world: &Rc<RefCell<World>>) -> std::io::Result<()> {
    let now = stub.machine(|machine| machine.net.now);
    let drain_ends = world.borrow().rules.drain_ends;
    if drain_ends.is_none_or(|end| end + LATE < now) {
        world.borrow_mut().broken.get_or_insert(format!("the core stops at {now} us, not by {drain_ends:?}"));
    }
    let (sockets, buffers) = simulated.clear()?;
    let (held, waiting) = stub.machine(|machine| (machine.held(), machine.net.waiting()));
    if (sockets, buffers, held, waiting) != (0, 0, 0, 0) {
        world.borrow_mut().broken.get_or_insert(format!(
            "left over: {sockets} sockets, {buffers} buffers, {held} operations, {waiting} connections in the queue"
        ));
    }
    stub.machine(|machine| world.borrow_mut().conclude(&mut machine.net));
    Ok(())
}

fn failed(what: &str) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{what}: {error}")
}

fn broken(stub: &Stub, world: &Rc<RefCell<World>>) -> Option<String> {
    stub.machine(|machine| machine.violations().first().cloned()).or_else(|| world.borrow().broken.clone())
}

/// How often the kernel does what.
fn weather(random: &mut Random) -> Faults {
    let completions = if random.one_in(4) { random.between(2, 16) as usize } else { 8_192 };
    let calm = Faults {
        enter: 0,
        partial: 0,
        short: 0,
        no_buffers: 0,
        end: 0,
        late: 0,
        accept: 0,
        slow: 200,
        completions,
    };
    match random.below(6) {
        0 => calm,
        1 => Faults { short: 2, ..calm },
        2 => Faults { late: 3, end: 10, ..calm },
        3 => Faults { enter: 4, partial: 4, ..calm },
        4 => Faults { no_buffers: 10, end: 5, short: 3, ..calm },
        _ => Faults {
            enter: 40,
            partial: 40,
            short: 4,
            no_buffers: 40,
            end: 20,
            late: 10,
            accept: 30,
            slow: 100,
            completions,
        },
    }
}
