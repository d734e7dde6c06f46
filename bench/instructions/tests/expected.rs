//! The instructions of each case are those of `expected.txt`, within 2 %.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Requests in a batch of each case.
const CASES: [(&str, u64); 5] =
    [("plain", 16), ("plain-new", 16), ("browser", 1), ("browser-new", 1), ("post", 1)];

/// Two lengths of the loop: their difference has nothing of the start in it.
const BATCHES: [u64; 2] = [100, 400];

#[test]
fn each_request_takes_the_instructions_that_are_written_down() {
    if cfg!(debug_assertions) {
        return skip("only an optimized build counts: cargo test --release");
    }
    if !cfg!(target_arch = "x86_64") {
        return skip("the figures are of x86-64");
    }
    if !is_installed("valgrind") {
        return skip("valgrind is not installed");
    }
    let expected = expected();
    let mut report = String::new();
    let mut differs = false;
    for (case, requests) in CASES {
        let [short, long] = BATCHES.map(|batches| instructions(case, batches));
        let found = (long - short) / (BATCHES[1] - BATCHES[0]) / requests;
        let wanted = expected[case];
        differs |= found.abs_diff(wanted) * 50 > wanted;
        report.push_str(&[case, &format!(" {found} (expected {wanted})\n")].concat());
    }
    eprint!("{report}");
    assert!(
        !differs,
        "instructions per request differ from expected.txt by more than 2 %:\n{report}\
         If that is meant, or rustc is another one, write the new figures there and say why in the commit."
    );
}

/// The figures of `expected.txt` by case.
fn expected() -> BTreeMap<String, u64> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("expected.txt");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (case, figure) = line.split_once(' ').unwrap_or_else(|| panic!("{line:?} is no figure"));
            (case.to_owned(), figure.parse().unwrap_or_else(|_| panic!("{line:?} is no figure")))
        })
        .collect()
}

/// How many instructions the program takes in all.
fn instructions(case: &str, batches: u64) -> u64 {
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            env!("CARGO_BIN_EXE_instructions"),
            case,
        ])
        .arg(batches.to_string())
        .output()
        .expect("valgrind starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{case}: {text}");
    let collected = text.lines().find_map(|line| line.split_once("Collected :"));
    let count = collected.and_then(|(_, count)| count.trim().parse().ok());
    count.unwrap_or_else(|| panic!("callgrind tells no count: {text}"))
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Says why the test did not run. With `KIANG_CI` set it must run.
#[track_caller]
fn skip(reason: &str) {
    assert!(std::env::var_os("KIANG_CI").is_none(), "KIANG_CI is set and this test cannot run: {reason}");
    eprintln!("SKIPPED: {reason}");
}
