//! The tables.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::record::{Record, Slice};
use crate::scenario::Name;
use crate::statistics::Spread;

/// What the others are compared with.
const FLOOR: &str = "floor";
const NOTHING: &str = "-";
/// Behind a count of calls whose load was not what was asked for.
const DOUBTFUL: &str = "?";

/// Tables of everything that was measured, in the order in which it was.
pub(crate) fn tables(records: &[Record]) -> String {
    let mut text = String::new();
    if let Some(Record::Run(run)) = records.first() {
        let _ = writeln!(
            text,
            "{}, {}, Linux {}\n{}, {} CPUs, load average {}\n{} rounds, slices of {} s, server on CPU {}, generator on CPU {}",
            run.began,
            run.revision,
            run.kernel,
            run.processor,
            run.processors,
            run.load_average,
            run.rounds,
            run.slice_seconds,
            run.server_cpu,
            run.client_cpu
        );
    }
    for name in names(records) {
        let _ = writeln!(text, "\n{name}");
        let rows = rows(records, &name);
        let widths = (0..rows[0].len())
            .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or_default())
            .collect::<Vec<_>>();
        for row in rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(line, "{cell:<width$}  ");
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    text + &remarks(records)
}

fn names(records: &[Record]) -> Vec<Name> {
    let mut names = Vec::new();
    for record in records {
        let name = match record {
            Record::Slice(slice) => &slice.name,
            Record::Idle(idle) => &idle.name,
            Record::Calls(_) | Record::Run(_) | Record::Wrk2(_) => continue,
        };
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn rows(records: &[Record], name: &Name) -> Vec<Vec<String>> {
    let idle = records.iter().filter_map(|record| match record {
        Record::Idle(idle) if idle.name == *name => {
            Some(vec![idle.server.clone(), idle.bytes_per_connection.to_string()])
        }
        _ => None,
    });
    let idle = idle.collect::<Vec<_>>();
    if !idle.is_empty() {
        return [vec![vec!["server".to_owned(), "resident bytes per connection".to_owned()]], idle].concat();
    }
    let heads = [
        "server",
        "ratio to floor",
        "CPU us/request",
        "calls",
        "switches",
        "requests/s",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "busy",
        "slices",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let slices = slices(records, name);
    let floor = costs(&slices, FLOOR);
    let mut servers = Vec::new();
    for slice in &slices {
        if !servers.contains(&slice.server) {
            servers.push(slice.server.clone());
        }
    }
    for server in servers {
        let all = slices.iter().filter(|slice| slice.server == server).count();
        let good = slices.iter().filter(|slice| slice.server == server && slice.refused.is_none());
        let good = good.copied().collect::<Vec<_>>();
        let spread = |value: fn(&Slice) -> f64, decimals| {
            Spread::of(good.iter().map(|slice| value(slice)))
                .map_or(NOTHING.to_owned(), |it| it.show(decimals))
        };
        let median = |value: fn(&Slice) -> f64, decimals: usize| {
            let middle = Spread::of(good.iter().map(|slice| value(slice)));
            middle.map_or(NOTHING.to_owned(), |it| format!("{:.decimals$}", it.median))
        };
        // The ratio is taken within each round, when both ran under the same weather.
        let own = costs(&slices, &server);
        let ratios = own.iter().filter_map(|(round, cost)| Some(cost / floor.get(round)?));
        rows.push(vec![
            server.clone(),
            Spread::of(ratios).map_or(NOTHING.to_owned(), |ratio| ratio.show(3)),
            spread(|slice| slice.cpu_us_per_request, 3),
            calls(records, name, &server),
            median(|slice| slice.voluntary_switches_per_request + slice.involuntary_switches_per_request, 3),
            #[expect(clippy::cast_precision_loss, reason = "requests of seconds")]
            median(|slice| slice.outcome.answered as f64 / slice.outcome.seconds, 0),
            median(|slice| slice.outcome.latency.p50_us, 0),
            spread(|slice| slice.outcome.latency.p99_us, 0),
            spread(|slice| slice.outcome.latency.p999_us, 0),
            median(|slice| slice.busy, 2),
            if good.len() == all { all.to_string() } else { format!("{} of {all}", good.len()) },
        ]);
    }
    rows
}

fn slices<'a>(records: &'a [Record], name: &Name) -> Vec<&'a Slice> {
    let slices = records
        .iter()
        .filter_map(|record| if let Record::Slice(slice) = record { Some(slice) } else { None });
    slices.filter(|slice| slice.name == *name).collect()
}

/// CPU time per request by round, of slices that count.
fn costs(slices: &[&Slice], server: &str) -> BTreeMap<u32, f64> {
    let good = slices.iter().filter(|slice| slice.server == server && slice.refused.is_none());
    good.map(|slice| (slice.round, slice.cpu_us_per_request)).collect()
}

fn calls(records: &[Record], name: &Name, server: &str) -> String {
    let found = records.iter().find_map(|record| match record {
        Record::Calls(calls) if calls.name == *name && calls.server == server => Some(calls),
        _ => None,
    });
    found.map_or(NOTHING.to_owned(), |calls| {
        format!("{:.3}{}", calls.per_request, if calls.refused.is_some() { DOUBTFUL } else { "" })
    })
}

/// What a reader must know before believing the tables.
fn remarks(records: &[Record]) -> String {
    let mut text = String::new();
    let mut refused = BTreeMap::<String, u32>::new();
    let (mut all, mut worst) = (0, 0.0_f64);
    for record in records {
        match record {
            Record::Slice(slice) => {
                all += 1;
                worst = worst.max(slice.server_steal).max(slice.client_steal);
                if let Some(reason) = &slice.refused {
                    // One line for each kind of reason, whatever the numbers in it.
                    let kind = reason.split(|letter: char| letter.is_ascii_digit() || letter == ',').next();
                    *refused
                        .entry(kind.filter(|kind| !kind.is_empty()).unwrap_or(reason).to_owned())
                        .or_default() += 1;
                }
            }
            Record::Wrk2(wrk2) => {
                let _ = writeln!(
                    text,
                    "wrk2, {}: {} {:.3} CPU us/request, {} requests",
                    wrk2.name, wrk2.server, wrk2.cpu_us_per_request, wrk2.requests
                );
            }
            _ => {}
        }
    }
    if records.iter().any(|record| matches!(record, Record::Calls(calls) if calls.counted_by == "strace")) {
        text += "calls: counted by strace, which slows the servers down: the more load, the fewer\n";
    }
    if records.iter().any(|record| matches!(record, Record::Calls(calls) if calls.refused.is_some())) {
        let _ = writeln!(text, "calls{DOUBTFUL} were counted while the load was not what was asked for");
    }
    if all > 0 {
        let _ = writeln!(text, "steal: at most {:.1} % of a slice on either core", worst * 100.0);
    }
    for (reason, times) in refused {
        let _ = writeln!(text, "REFUSED {times} of {all} slices: {}", reason.trim_end());
    }
    format!("\n{text}")
}

#[cfg(test)]
mod tests {
    use load::{Outcome, Summary};

    use super::*;

    fn slice(round: u32, server: &str, cost: f64, refused: Option<&str>) -> Record {
        let (latency, late) = (Summary::default(), Summary::default());
        let outcome = Outcome {
            planned: 10,
            sent: 10,
            answered: 10,
            errors: 0,
            error: None,
            seconds: 1.0,
            latency,
            late,
            preempted_us: 0.0,
        };
        Record::Slice(Slice {
            name: Name { scenario: "saturated".to_owned(), connections: 64 },
            round,
            server: server.to_owned(),
            refused: refused.map(str::to_owned),
            cpu_us_per_request: cost,
            voluntary_switches_per_request: 1.0,
            involuntary_switches_per_request: 0.25,
            busy: 0.5,
            waited: 0.0,
            server_steal: 0.125,
            client_steal: 0.0,
            outcome,
        })
    }

    #[test]
    fn a_ratio_is_taken_within_its_round_whatever_the_weather_of_the_others() {
        let records = [
            slice(0, "floor", 10.0, None),
            slice(0, "other", 11.0, None),
            slice(1, "floor", 20.0, None),
            slice(1, "other", 22.0, None),
            // A round without a floor has no ratio.
            slice(2, "floor", 1.0, Some("the generator was late: by 9 us")),
            slice(2, "other", 90.0, None),
        ];
        let text = tables(&records);
        let row = text.lines().find(|line| line.starts_with("other")).unwrap();
        assert!(row.contains("1.100 (1.100-1.100)  22.000 (16.500-56.000)"), "{text}");
        assert!(text.lines().any(|line| line.starts_with("floor") && line.ends_with("2 of 3")), "{text}");
        assert!(text.contains("REFUSED 1 of 6 slices: the generator was late: by\n"), "{text}");
        assert!(text.contains("steal: at most 12.5 %"), "{text}");
    }

    #[test]
    fn a_count_of_calls_under_a_wrong_load_is_marked() {
        let calls = |refused: Option<&str>| {
            Record::Calls(crate::record::Calls {
                name: Name { scenario: "saturated".to_owned(), connections: 64 },
                server: "floor".to_owned(),
                counted_by: "perf".to_owned(),
                per_request: 0.5,
                refused: refused.map(str::to_owned),
            })
        };
        let text = tables(&[slice(0, "floor", 10.0, None), calls(None)]);
        assert!(text.contains("0.500 ") && !text.contains('?'), "{text}");
        let text = tables(&[slice(0, "floor", 10.0, None), calls(Some("late"))]);
        assert!(text.contains("0.500? ") && text.contains("calls? were counted"), "{text}");
    }

    #[test]
    fn a_record_is_the_same_after_it_was_written_down() {
        let record = slice(0, "floor", 10.0, None);
        let line = serde_json::to_string(&record).unwrap();
        let read = serde_json::from_str::<Record>(&line).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), line);
        assert_eq!(tables(&[read]), tables(&[record]));
    }
}
