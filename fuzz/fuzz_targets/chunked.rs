//! See `kiang::fuzzing::chunked`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kiang::fuzzing::chunked(data));
