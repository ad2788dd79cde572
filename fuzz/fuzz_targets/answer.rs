#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kinetail_fuzz::answer(data));
