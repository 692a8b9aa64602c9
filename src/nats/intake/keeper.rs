//! Keeps a connection alive: connects, again and again where that fails, and moves to another server when the present one
//! is about to stop.

use std::{pin::pin, rc::Rc, time::Duration};

use tokio::{
    sync::oneshot,
    task::spawn_local,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    connection::Shared,
    crossing::cross,
    link::{Event, Link, Lost},
};
use crate::base::backoff::{Backoff, Jitter};

/// How long a server that is about to stop may take to confirm that it has heard of the end of the subscriptions.
const LEAVING: Duration = Duration::from_secs(5);

pub(super) struct Keeper {
    shared: Rc<Shared>,
    backoff: Backoff,
}

impl Keeper {
    pub(super) fn new(shared: Rc<Shared>) -> Self {
        Self {
            shared,
            // With jitter, as all lanes and replicas lose a server at the same moment.
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(2), 2.0, Jitter::Full),
        }
    }

    /// Keeps it alive until `end`.
    pub(super) async fn run(mut self, end: CancellationToken) {
        tokio::select! {
            () = end.cancelled() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&mut self) {
        loop {
            let Present { mut link, server, mut subscribed } = self.dial().await;
            let (mut is_subscribed, mut is_leaving) = (false, false);
            let lost = loop {
                tokio::select! {
                    event = link.run() => match event {
                        Event::Lost(lost) => break lost,
                        Event::LameDuck => {
                            self.shared.state.lame_duck_began();
                            is_leaving = true;
                        }
                    },
                    // Not before: what is published until then would not come here.
                    answered = &mut subscribed, if !is_subscribed => {
                        is_subscribed = true;
                        if answered.is_ok() {
                            self.shared.state.connected_to(&server);
                        }
                    }
                    // There may be no other server for a long time: meanwhile life goes on.
                    next = self.dial(), if is_leaving => {
                        (is_subscribed, is_leaving) = (true, false);
                        self.shared.state.connected_to(&next.server);
                        let former = std::mem::replace(&mut link, next.link);
                        drop(spawn_local(leave(Rc::clone(&self.shared), former, next.subscribed)));
                    }
                }
            };
            self.shared.ended(&link.wire);
            self.shared.state.lost(&lost, link.was_cut(&lost));
        }
    }

    /// Connects to a server, over which everything goes from now on.
    async fn dial(&mut self) -> Present {
        let mut failures = 0;
        let established = loop {
            match self.shared.dialer.connect().await {
                Ok(established) => break established,
                Err(error) => self.shared.state.trouble_with(&error),
            }
            failures += 1;
            sleep(self.backoff.delay(failures)).await;
        };
        let (info, server) = (established.info.clone(), established.server.clone());
        let link = Link::new(Rc::clone(&self.shared), established);
        let subscribed = self.shared.switch_to(&link.wire, &info);
        Present { link, server, subscribed }
    }
}

/// A connection that has just been made.
struct Present {
    link: Link,
    server: String,
    /// Answered when the server has handled all subscriptions.
    subscribed: oneshot::Receiver<()>,
}

/// Returns when `link` has ended. That its server is about to stop is known.
async fn lost(link: &mut Link) -> Lost {
    loop {
        if let Event::Lost(lost) = link.run().await {
            return lost;
        }
    }
}

/// Leaves a server without losing a message that it has sent already, once another one has taken the subscriptions.
async fn leave(shared: Rc<Shared>, mut link: Link, elsewhere: oneshot::Receiver<()>) {
    let wire = Rc::clone(&link.wire);
    {
        let mut ended = pin!(lost(&mut link));
        // Where the other server is gone again before it has answered, this one serves until it stops.
        let has_moved = tokio::select! {
            _ = &mut ended => false,
            answered = elsewhere => answered.is_ok(),
        };
        if has_moved {
            let leaving = async {
                cross(&shared, &wire).await;
                drop(timeout(LEAVING, shared.leave(&wire)).await);
            };
            tokio::select! {
                _ = &mut ended => {}
                () = leaving => {}
            }
        } else {
            ended.await;
        }
    }
    shared.ended(&wire);
}
