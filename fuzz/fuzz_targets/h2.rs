//! Anything at all done with an HTTP/2 connection.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/multiplexing.rs"]
mod multiplexing;

fuzz_target!(|input: &[u8]| drop(multiplexing::check(input)));
