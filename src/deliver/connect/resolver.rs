//! The addresses of a webhook's host: asks the system's resolver, and remembers what it said.

use std::{cell::Cell, net::SocketAddr, rc::Rc, time::Duration};

use tokio::{net::lookup_host, sync::Mutex, task::JoinHandle};
use url::Host;

use crate::base::clock::{Clock, Time};

/// The addresses of one host, for the workers of a route on one lane.
///
/// One question at a time for each route and lane: when the name server is away, a question can take half a minute on a
/// thread of its own that nothing can stop, and sixty-four workers would ask it all at once.
#[derive(Debug)]
pub(super) struct Resolver {
    host: Host,
    port: u16,
    clock: Clock,
    /// A lock of the runtime: whoever asks holds it while it waits, so that the others wait for the same answer.
    state: Mutex<State>,
    /// How often addresses were given out: which one comes first next.
    turn: Cell<usize>,
}

#[derive(Debug, Default)]
struct State {
    known: Option<Rc<[SocketAddr]>>,
    /// When the known addresses are to be asked for again, or the next question is allowed after a failure.
    fresh_until: Time,
    /// The question that is under way. It outlives the attempt that asked it.
    asking: Option<JoinHandle<Option<Rc<[SocketAddr]>>>>,
}

/// How long an answer is used before it is asked for again. The system does not tell for how long it is valid.
const FRESH: Duration = Duration::from_secs(30);
/// How long a failure stands before it is asked again: workers that retry must not keep asking a name server in
/// trouble.
const FAILED: Duration = Duration::from_secs(1);

impl Resolver {
    pub(super) fn new(host: Host, port: u16, clock: Clock) -> Self {
        Self { host, port, clock, state: Mutex::default(), turn: Cell::new(0) }
    }

    /// All addresses, beginning with another one each time, so that connections spread over them. None where the name
    /// has never been resolved. The list is never empty.
    pub(super) async fn addresses(&self) -> Option<Vec<SocketAddr>> {
        let name = match &self.host {
            Host::Domain(name) => name,
            Host::Ipv4(address) => return Some(vec![(*address, self.port).into()]),
            Host::Ipv6(address) => return Some(vec![(*address, self.port).into()]),
        };
        let mut state = self.state.lock().await;
        if self.clock.now() >= state.fresh_until {
            let asking = state.asking.get_or_insert_with(|| {
                let (name, port) = (name.clone(), self.port);
                tokio::task::spawn_local(async move {
                    let addresses: Rc<[_]> = lookup_host((name.as_str(), port)).await.ok()?.collect();
                    (!addresses.is_empty()).then_some(addresses)
                })
            });
            // This may be dropped at the attempt's deadline: the question stays, and the next attempt awaits it.
            let answer = asking.await.ok().flatten();
            state.asking = None;
            let fresh_for = if answer.is_some() { FRESH } else { FAILED };
            state.fresh_until = self.clock.now() + fresh_for;
            // Old addresses stay where there are no new ones: a name server that is away does not mean that the webhook
            // is.
            state.known = answer.or_else(|| state.known.take());
        }
        let mut addresses = state.known.as_ref()?.to_vec();
        let first = self.turn.replace(self.turn.get().wrapping_add(1)) % addresses.len();
        addresses.rotate_left(first);
        Some(addresses)
    }

    /// Has the name asked for again soon, when none of its addresses answered. Not at once: while a webhook is down,
    /// each attempt comes here.
    pub(super) async fn doubt(&self) {
        let mut state = self.state.lock().await;
        let soon = self.clock.now() + FAILED;
        state.fresh_until = state.fresh_until.min(soon);
    }
}
