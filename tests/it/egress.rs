//! Where requests go, and by which way: proxies, the guard, certificates.

use std::time::Duration;

mod certificates;
mod guard;
mod proxies;
mod socks;

const SOON: Duration = Duration::from_secs(60);
