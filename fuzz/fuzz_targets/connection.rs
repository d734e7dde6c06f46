//! See `kiang::fuzzing::connection`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kiang::fuzzing::connection(data));
