//! Anything at all as a response.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/reading.rs"]
mod reading;

fuzz_target!(|input: &[u8]| reading::check(input));
