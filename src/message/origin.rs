//! Where a message of a stream comes from: the server says so in the reply subject of each message, so nobody has to
//! ask.

/// What the reply subject of a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The stream.
    pub stream: &'a str,
    /// The message's sequence in the stream.
    pub sequence: u64,
    /// When the stream took the message, in nanoseconds since 1970. A stream that is made anew counts its sequences from
    /// the beginning: only with the time they say which message it is.
    pub published: u64,
    /// How often the consumer has delivered it, this time included.
    pub delivered: u64,
    /// How many messages the consumer had not delivered yet.
    pub pending: u64,
    /// What the reply subjects of all messages of this consumer begin with.
    pub consumer: &'a str,
}

impl<'a> Origin<'a> {
    /// Reads `$JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<time>.<pending>`, also
    /// with the domain and the hash of the NATS account behind `ACK`, and with whatever may be added at the end (NATS
    /// ADR-15). None for any other subject.
    pub fn parse(reply: &'a str) -> Option<Self> {
        let mut rest = reply.strip_prefix("$JS.ACK.")?;
        // With domain and hash, and perhaps more at the end, it is as without them from the third token on. Eight tokens
        // are neither form.
        match rest.bytes().filter(|byte| *byte == b'.').count() {
            6 => {}
            8.. => rest = rest.split_once('.')?.1.split_once('.')?.1,
            _ => return None,
        }
        let (stream, rest) = rest.split_once('.')?;
        let (_, numbers) = rest.split_once('.')?;
        let consumer = reply.strip_suffix(numbers)?.strip_suffix('.')?;
        let mut tokens = numbers.split('.');
        let mut number = || tokens.next()?.parse().ok();
        let (delivered, sequence, _consumer_sequence) = (number()?, number()?, number()?);
        let (published, pending) = (number()?, number()?);
        Some(Self { stream, sequence, published, delivered, pending, consumer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        for (consumer, more) in [
            ("$JS.ACK.TODOS.broadcaster", ""),
            ("$JS.ACK._.hash.TODOS.broadcaster", ""),
            ("$JS.ACK.hub.hash.TODOS.broadcaster", ".random"),
        ] {
            let reply = format!("{consumer}.2.17.30.1700000000000000000.5{more}");
            let published = 1_700_000_000_000_000_000;
            let expected =
                Origin { stream: "TODOS", sequence: 17, published, delivered: 2, pending: 5, consumer };
            assert_eq!(Origin::parse(&reply), Some(expected), "{reply}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        for reply in ["", "_INBOX.x", "$JS.ACK.", "$JS.ACK.a.b.c.d.e.f.g", "$JS.ACK.a.b.1.2.3.4"] {
            assert_eq!(Origin::parse(reply), None, "{reply}");
        }
    }
}
