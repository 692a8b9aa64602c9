//! How a webhook is reached: names, addresses, TLS, descriptors; and what is said where it can't be.

use std::time::Duration;

mod addresses;
mod causes;
mod descriptors;
mod names;
mod trust;

const SOON: Duration = Duration::from_secs(60);
