//! The parts of a message's way, each alone: `cargo bench --bench micro`, with a part of a name for only some of them.
//!
//! They show which part a change has made slower. What a message costs in all is for `load` to say.

mod body;
mod breaker;
mod config;
mod filter;
mod id;
mod intake;
mod limiter;
mod metrics;
mod policy;
mod queue;
mod request;
mod response;
mod retry_queue;
mod sample;
mod schedule;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    // Short, so that all of them together take a minute: enough to see a tenth more or less on a quiet machine.
    let mut criterion = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50)
        .nresamples(10_000)
        .configure_from_args();
    let subjects = [
        intake::bench,
        filter::bench,
        id::bench,
        queue::bench,
        retry_queue::bench,
        limiter::bench,
        breaker::bench,
        policy::bench,
        schedule::bench,
        request::bench,
        body::bench,
        response::bench,
        metrics::bench,
        config::bench,
    ];
    for bench in subjects {
        bench(&mut criterion);
    }
    criterion.final_summary();
}
