//! The command line: its options, and what the program does beside delivering.

pub mod acts;
mod bucket;
pub mod check;
pub mod daemon;
pub mod dead_letters;
pub mod health;
pub mod history;
pub mod keys;
pub mod listen;
pub mod options;
pub mod routes;
pub mod send;
pub mod status;
pub mod tail;
mod terminal;
