//! An open loop: requests leave when they are due, whether earlier ones are answered or not.

use std::collections::VecDeque;

use super::{Load, PATIENCE, Tally};
use crate::{Outcome, Schedule};

/// What a connection is doing, with a time in nanoseconds since the run began.
#[derive(Clone, Copy)]
enum State {
    /// It may take a request since then.
    Idle(u64),
    /// The request on its way was due then.
    Waiting(u64),
    Lost,
}

struct Run<'load> {
    load: &'load mut Load,
    schedule: Schedule,
    /// The next planned start.
    due: Option<u64>,
    /// The last planned start that was sent, or given up.
    last: u64,
    planned: u64,
    /// By connection.
    states: Vec<State>,
    /// Those that are idle, the one that has been so for longest first.
    idle: VecDeque<u32>,
    waiting: usize,
    tally: Tally,
}

pub(super) fn run(load: &mut Load, schedule: Schedule) -> Outcome {
    let is_open = |connection: &Option<_>| connection.is_some();
    let states =
        load.connections.iter().map(|it| if is_open(it) { State::Idle(0) } else { State::Lost }).collect();
    let idle = (0..).zip(&load.connections).filter(|(_, it)| is_open(it)).map(|(number, _)| number).collect();
    let tally = Tally::begin();
    let mut run = Run { load, schedule, due: None, last: 0, planned: 0, states, idle, waiting: 0, tally };
    run.due = run.schedule.next();
    while run.turn() {}
    run.end()
}

impl Run<'_> {
    /// False: nothing more is due or waited for, or waiting is in vain.
    fn turn(&mut self) -> bool {
        let now = self.send();
        let (over, lost) = (self.due.is_none(), self.idle.is_empty());
        if self.waiting == 0 && (over || lost) {
            return false;
        }
        let Self { load, states, idle, waiting, tally, .. } = self;
        let looked = load.look(|load, number, event| {
            let state = &mut states[number as usize];
            let received = load.receive(number, event, tally);
            match (*state, received) {
                (State::Waiting(start), Some(1..)) => {
                    let now = tally.now();
                    tally.latencies.record(now - start);
                    *state = State::Idle(now);
                    *waiting -= 1;
                    idle.push_back(number);
                }
                (_, Some(_)) => {}
                (before, None) => {
                    *state = State::Lost;
                    *waiting -= usize::from(matches!(before, State::Waiting(_)));
                    idle.retain(|other| *other != number);
                }
            }
        });
        match looked {
            // The time is that before the look: a generator that did not run for long has not looked for long.
            Ok(0) => now.saturating_sub(self.due.unwrap_or(self.last)) <= PATIENCE,
            Ok(_) => true,
            Err(error) => {
                self.tally.note(&error);
                false
            }
        }
    }

    /// Sends what is due, while a connection is idle; returns the time.
    #[inline]
    fn send(&mut self) -> u64 {
        let mut now = self.tally.now();
        while let Some(start) = self.due.filter(|start| *start <= now) {
            let Some(number) = self.idle.pop_front() else { break };
            let state = &mut self.states[number as usize];
            let since = if let State::Idle(since) = *state { since } else { 0 };
            // A request that waited for a connection is the server's delay, and not the generator's.
            self.tally.late.record(now - start.max(since));
            if self.load.send(number, &mut self.tally) {
                *state = State::Waiting(start);
                self.waiting += 1;
            } else {
                *state = State::Lost;
            }
            self.next();
            now = self.tally.now();
        }
        now
    }

    fn next(&mut self) {
        self.last = self.due.unwrap_or(self.last);
        self.planned += 1;
        self.due = self.schedule.next();
    }

    /// What was never answered has taken until now, at least: without it the quantiles would flatter. An answer that
    /// comes later would be taken for another request's, so that its connection is given up.
    fn end(mut self) -> Outcome {
        let now = self.tally.now();
        for (number, state) in self.states.iter().enumerate() {
            if let State::Waiting(start) = state {
                self.tally.latencies.record(now - start);
                self.load.connections[number] = None;
            }
        }
        while let Some(start) = self.due {
            self.tally.latencies.record(now.saturating_sub(start));
            self.next();
        }
        self.tally.end(self.planned)
    }
}
