//! A closed loop: each connection asks again as soon as it is answered.

use std::time::Duration;

use super::{Load, PATIENCE, Tally};
use crate::Outcome;

pub(super) fn run(load: &mut Load, duration: Duration) -> Outcome {
    let mut tally = Tally::begin();
    // When the batch on its way was sent, by connection. Without one: the time does not matter.
    let mut starts = vec![0; load.connections.len()];
    let mut busy = 0_usize;
    for (number, start) in (0..).zip(&mut starts) {
        *start = tally.now();
        busy += usize::from(load.send(number, &mut tally));
    }
    let end = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let patience = end.saturating_add(PATIENCE);
    while busy > 0 {
        let before = tally.now();
        let looked = load.look(|load, number, event| {
            let start = &mut starts[number as usize];
            let Some(answered) = load.receive(number, event, &mut tally) else {
                busy -= 1;
                return;
            };
            let now = tally.now();
            for _ in 0..answered {
                tally.latencies.record(now - *start);
            }
            if answered > 0 && load.is_idle(number) {
                *start = now;
                busy -= usize::from(now >= end || !load.send(number, &mut tally));
            }
        });
        match looked {
            // The time is that before the look: a generator that did not run for long has not looked for long.
            Ok(0) if before > patience => break,
            Ok(_) => {}
            Err(error) => {
                tally.note(&error);
                break;
            }
        }
    }
    // An answer that comes later would be taken for another request's.
    for connection in &mut load.connections {
        connection.take_if(|connection| !connection.is_idle());
    }
    let planned = tally.sent;
    tally.end(planned)
}
