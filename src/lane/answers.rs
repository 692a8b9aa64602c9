//! Answers of webhooks, on their way out over the lane's connection.

use crate::{
    message::{HeaderBlock, outcome::Publication},
    nats::{Connection, Outgoing, PublishError},
    route::answers::Publish,
};

/// How many bytes may wait to be written when an answer is published. Beyond that, a server that does not read gets none:
/// there has to be room left for acknowledgements.
const MOST: usize = 4 << 20;

impl Publish for Connection {
    fn publish(&self, subject: &str, headers: &HeaderBlock, body: &[u8]) -> Publication {
        if self.backlog() > MOST {
            return Publication::Full;
        }
        let message = Outgoing { headers: Some(headers), ..Outgoing::new(subject, body) };
        match Self::publish(self, message) {
            Ok(()) => Publication::Sent,
            Err(PublishError::TooLarge) => Publication::TooLarge,
            Err(PublishError::Disconnected) => Publication::Disconnected,
            Err(PublishError::Full) => Publication::Full,
        }
    }
}
