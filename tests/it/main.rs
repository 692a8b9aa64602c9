//! The tests of broadcaster as a whole: real parts, counted from outside.

#[path = "../support/mod.rs"]
mod support;

mod kit;
