//! What is said about messages whose requests can't be quite what their publishers meant: once a minute for each route, on
//! all lanes, since every message may be one of them.

use std::time::Duration;

use tracing::warn;

use super::request::forward::Oddity;
use crate::{
    base::{clock::Time, throttle::SharedThrottle},
    config::RouteName,
};

/// The notices of one route. Clones are of the same ones.
#[derive(Clone, Debug)]
pub struct Notices {
    route: RouteName,
    throttle: SharedThrottle,
}

/// No more of a header's name is said, in bytes.
const SHOWN: usize = 64;

impl Notices {
    /// Those of the route that is called `route`.
    pub fn of(route: RouteName) -> Self {
        Self { route, throttle: SharedThrottle::new(1, Duration::from_secs(60)) }
    }

    /// Says that a publisher's header, whose name is of ASCII, does not go with a request as it came.
    pub fn odd_header(&self, name: &str, why: Oddity, now: Time) {
        if let Some(more) = self.throttle.pass(now) {
            let (route, header) = (self.route.as_str(), name.get(..SHOWN).unwrap_or(name));
            let more_before = (more > 0).then_some(more);
            warn!(route, header, more_before, "a header of a publisher is {}", why.words());
        }
    }
}
