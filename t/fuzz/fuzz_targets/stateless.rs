#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| git_mirror_fetch_fuzz::stateless(bytes));
