//! One route: what its lanes share, and on each lane the pipeline from the queue that takes a message in to the count
//! of what became of it.
//!
//! Decisions and waiting are apart. [`schedule`] decides and never waits; [`pipeline`] and its workers wait and decide
//! nothing. Nothing here knows NATS or HTTP: messages are offered by a source, and attempted by a
//! [`Deliver`](crate::deliver::Deliver).

mod alarm;
pub mod answers;
mod capacity;
mod drain;
pub mod failures;
pub mod filter;
mod gone;
pub mod hold;
pub mod in_hand;
pub mod pipeline;
pub mod registry;
pub mod schedule;
pub mod settle;
pub mod shared;
pub mod source_status;
#[cfg(test)]
mod tests;
pub mod trouble;
pub mod under_way;
pub mod webhook_health;
mod worker;

pub use capacity::Capacity;
