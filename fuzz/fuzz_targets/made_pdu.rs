#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    roomserver::fuzzing::made_pdu(bytes);
});
