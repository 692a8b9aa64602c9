//! Where a message of a stream comes from: the server says so in the reply subject of each message, so nobody has to
//! ask.

/// What the reply subject of a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The stream.
    pub stream: &'a str,
    /// The message's sequence in the stream.
    pub sequence: u64,
    /// How often the consumer has delivered it, this time included.
    pub delivered: u64,
    /// How many messages the consumer had not delivered yet.
    pub pending: u64,
}

impl<'a> Origin<'a> {
    /// Reads `$JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<time>.<pending>`, also
    /// with the domain and the hash of the NATS account behind `ACK`, and with whatever may be added at the end (NATS
    /// ADR-15). None for any other subject.
    pub fn parse(reply: &'a str) -> Option<Self> {
        let tokens: Vec<_> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let tokens = match tokens.len() {
            7 => tokens.as_slice(),
            // With domain and hash, and perhaps more at the end: from here on it is as above. Eight tokens are neither
            // form.
            9.. => tokens.get(2..)?,
            _ => return None,
        };
        Some(Self {
            stream: tokens.first()?,
            delivered: tokens.get(2)?.parse().ok()?,
            sequence: tokens.get(3)?.parse().ok()?,
            pending: tokens.get(6)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let expected = Origin { stream: "TODOS", sequence: 17, delivered: 2, pending: 5 };
        for reply in [
            "$JS.ACK.TODOS.broadcaster.2.17.30.1700000000000000000.5",
            "$JS.ACK._.hash.TODOS.broadcaster.2.17.30.1700000000000000000.5",
            "$JS.ACK.hub.hash.TODOS.broadcaster.2.17.30.1700000000000000000.5.random",
        ] {
            assert_eq!(Origin::parse(reply), Some(expected), "{reply}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        for reply in ["", "_INBOX.x", "$JS.ACK.", "$JS.ACK.a.b.c.d.e.f.g", "$JS.ACK.a.b.1.2.3.4"] {
            assert_eq!(Origin::parse(reply), None, "{reply}");
        }
    }
}
