//! See `kiang::fuzzing::reference`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kiang::fuzzing::reference(data));
