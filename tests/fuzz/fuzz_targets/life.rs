#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringlog_tests::fuzz::target("life")(data));
