#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roomserver_fuzz::run(roomserver::fuzzing::event_row, 64, bytes));
