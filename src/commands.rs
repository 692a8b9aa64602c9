//! What the program does beside delivering.

pub mod dead_letters;
pub mod health;
