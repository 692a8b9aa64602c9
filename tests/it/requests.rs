//! What of a message gets into its request beside the body: the publisher's headers, the address, headers that are made, events.

mod addresses;
pub(crate) mod cloud_events;
mod forwarding;
