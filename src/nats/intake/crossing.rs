//! Whether one server of a cluster knows of what was subscribed to at another one.
//!
//! That the other one has confirmed a subscription does not say so: the news of it may still be on its way between the two,
//! behind messages for members that the first one had. It would have nobody to give those to when the members have left.
//! What is published at the one and comes back from the other takes the way of that news, after it.

use std::{rc::Rc, time::Duration};

use tokio::{sync::Notify, time::timeout};
use tracing::debug;

use super::{
    Incoming,
    connection::Shared,
    subscriptions::{Sink, Subscriptions},
    wire::{Outgoing, Wire},
};
use crate::base::clock::Time;

/// How long a message may take before it is sent again; twice as long each time. It is dropped where the news of the inbox
/// itself has not arrived yet.
const FIRST_WAIT: Duration = Duration::from_millis(10);
/// How long it is tried. A user without permission for inboxes tries in vain.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Default)]
struct Arrival(Notify);

impl Sink for Arrival {
    fn take(&self, _message: Incoming, _now: Time) {
        self.0.notify_one();
    }

    fn taken(&self) {}
}

/// Returns when the server of `there` has heard what the present server of `shared` was told before, as well as can be told.
pub(super) async fn cross(shared: &Shared, there: &Wire) {
    let arrival = Rc::<Arrival>::default();
    let inbox = shared.new_inbox();
    let entry = shared.subscriptions.add(&inbox, None, Rc::clone(&arrival) as Rc<dyn Sink>);
    // It is for that link alone: no other one is to make it again, and it is forgotten also where that link ends first.
    Subscriptions::end(&entry);
    let _forgotten = Forgotten(shared, entry.sid);
    there.subscribe(&entry);
    let asking = async {
        let mut wait = FIRST_WAIT;
        loop {
            let sent = shared.publish(Outgoing::new(&inbox, b""));
            if sent.is_ok() && timeout(wait, arrival.0.notified()).await.is_ok() {
                return;
            }
            if sent.is_err() {
                // Without a connection there is nothing to wait for but another one.
                tokio::time::sleep(wait).await;
            }
            wait *= 2;
        }
    };
    if timeout(PATIENCE, asking).await.is_err() {
        debug!("the NATS server that is left does not confirm the subscriptions at the other one");
    }
}

struct Forgotten<'s>(&'s Shared, u64);

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        self.0.subscriptions.forget(self.1);
    }
}
