//! How often messages were attempted that are given back to their stream: replicas tell each other, as a stream counts
//! nothing but deliveries.

use std::rc::Rc;

use tracing::debug;

use crate::{
    base::clock::Time,
    config::Jetstream,
    message::ledger::{Ledgers, Returned},
    nats::{Attached, Connection, Incoming, Outgoing, Sink},
};

/// What replicas say to each other about one consumer.
pub(super) struct SharedAttempts {
    connection: Connection,
    subject: String,
}

struct Listener(Ledgers);

impl SharedAttempts {
    pub(super) fn over(connection: &Connection, jetstream: &Jetstream) -> Self {
        Self { connection: connection.clone(), subject: attempts_subject(jetstream) }
    }

    /// Has `ledgers` remember what the others say, for as long as the result is kept.
    pub(super) fn listen(&self, ledgers: &Ledgers) -> Attached {
        self.connection.attach(&self.subject, None, Rc::new(Listener(ledgers.clone())))
    }

    /// Tells the others. Where nobody hears it, they count from the beginning.
    pub(super) fn tell(&self, returned: Returned) {
        let text = write(returned);
        if let Err(error) = self.connection.publish(Outgoing::new(&self.subject, text.as_bytes())) {
            debug!(%error, "other replicas are not told of attempts");
        }
    }
}

/// Where replicas tell each other of attempts: below the subjects of the hand-over, which are nobody else's.
pub fn attempts_subject(jetstream: &Jetstream) -> String {
    format!("broadcaster.handover.attempts.{}.{}", jetstream.stream, jetstream.consumer)
}

impl Sink for Listener {
    fn take(&self, message: Incoming, _now: Time) {
        if let Some(returned) = read(&message.payload()) {
            self.0.note_returned(returned);
        }
    }

    fn taken(&self) {}
}

fn write(Returned { sequence, published, attempts }: Returned) -> String {
    format!("{sequence} {published} {attempts}")
}

/// Later versions may say more.
fn read(text: &[u8]) -> Option<Returned> {
    let mut words = str::from_utf8(text).ok()?.split(' ');
    let (sequence, published) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Returned { sequence, published, attempts: words.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let returned = Returned { sequence: 7, published: 1_700_000_000_000_000_000, attempts: 3 };
        assert_eq!(read(write(returned).as_bytes()), Some(returned));
        assert_eq!(read(b"7 1700000000000000000 3 and more"), Some(returned));
        for odd in [&b""[..], b"7 8", b"7 8 -1", b"\xff 8 9"] {
            assert_eq!(read(odd), None);
        }
    }
}
