//! Anything at all as what a NATS server says.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/intake_reading.rs"]
mod intake_reading;

fuzz_target!(|input: &[u8]| intake_reading::check(input));
