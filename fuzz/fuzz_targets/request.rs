//! Any message at all, made into the requests of several routes.
#![no_main]

use std::sync::LazyLock;

use broadcaster::base::clock::Time;
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/forging.rs"]
mod forging;

thread_local! {
    static ROUTES: LazyLock<forging::Forging> = LazyLock::new(forging::Forging::new);
}

fuzz_target!(|input: &[u8]| ROUTES.with(|routes| routes.check(input, Time::START)));
