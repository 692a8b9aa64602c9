//! What came of attempts, for whoever wants to know it message by message: published to a subject (`[history]`), and told to
//! those who listen at the moment. Nothing of it ever holds an attempt up: what finds no room is counted, and gone.

mod confirmations;
mod feed;
mod keeper;
mod publisher;
pub mod record;

pub use self::{
    feed::{Counts, Feed, Listener, Wanted},
    keeper::Keeping,
    publisher::Publisher,
};
