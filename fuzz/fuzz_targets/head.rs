//! See `kiang::fuzzing::head`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kiang::fuzzing::head(data));
