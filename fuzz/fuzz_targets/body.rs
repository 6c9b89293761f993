#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roomserver_fuzz::run(roomserver::fuzzing::body, 2048, bytes));
