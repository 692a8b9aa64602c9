//! One route: what its lanes share, and on each lane the pipeline from the queue that takes a message in to the count of
//! what became of it.

mod capacity;
mod drain;
pub mod pipeline;
pub mod registry;
pub mod schedule;
pub mod settle;
pub mod shared;
pub mod source_status;
#[cfg(test)]
mod tests;
pub mod under_way;
pub mod webhook_health;
mod worker;

pub use capacity::Capacity;
