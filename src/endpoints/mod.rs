//! Routes that stand in a key-value bucket of NATS: every replica follows it, so that no replica has to be told of a change,
//! nor restarted for one.
//!
//! [`Follower`] watches the bucket and reads its values, [`Catalogue`] decides which of them run, and [`Status`] shows what
//! came of each. [`Store`] is for whoever writes the bucket, [`Fleet`] for whoever holds routes. What came of each value is written
//! beside it, and what a webhook says of its end is told to all replicas.

mod catalogue;
mod fleet;
mod follower;
mod gone;
mod key;
mod named_files;
mod notices;
mod state;
mod status;
mod store;
mod watch;

pub use self::{
    catalogue::{Catalogue, Changes, Resolved, Standing, State, Value},
    fleet::{Fleet, Reach},
    follower::{Follower, Replica, Update},
    key::{Key, Keys},
    status::{Counts, Status},
    store::{Store, StoreError, Stored},
};
