//! Any message at all in templates.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/rendering.rs"]
mod rendering;

fuzz_target!(|input: &[u8]| rendering::check(input));
