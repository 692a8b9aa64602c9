//! Whether answers arrive: a message to an inbox of our own comes back, or it does not.
//!
//! A round trip of the connection tells of the connection only; this, also of the permission to publish to inboxes and to
//! subscribe to them.

use std::time::Duration;

use tokio::time::timeout;

use crate::nats::{Connection, Outgoing, Subscription};

pub(super) struct Echo {
    connection: Connection,
    inbox: String,
    subscription: Subscription,
    called: u64,
}

impl Echo {
    /// An echo over `connection`, which may not be connected yet.
    pub(super) fn over(connection: &Connection) -> Self {
        let inbox = connection.new_inbox();
        let subscription = connection.subscribe(&inbox, None);
        Self { connection: connection.clone(), inbox, subscription, called: 0 }
    }

    /// Whether what is called comes back in time.
    pub(super) async fn is_heard(&mut self, patience: Duration) -> bool {
        self.called += 1;
        let token = self.called.to_string();
        if self.connection.publish(Outgoing::new(&self.inbox, token.as_bytes())).is_err() {
            return false;
        }
        let heard = async {
            // One that was waited for in vain may come late: it is not the one we want.
            while self.subscription.next().await.payload() != token {}
        };
        timeout(patience, heard).await.is_ok()
    }
}
