//! The tests of broadcaster as a whole: real parts, counted from outside.

mod apply;
mod bad_input;
mod breaker;
mod check;
mod cli;
mod dead_letters;
mod delivery;
mod documents;
mod durable;
mod fault;
mod hand_over;
mod http1;
mod invariants;
mod kit;
mod load;
mod memory;
mod nats_auth;
mod nats_faults;
mod probe;
mod reach;
mod reading;
mod servers;
mod shutdown;
mod signals;
mod supervisor;
mod telemetry;
