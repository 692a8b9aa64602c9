//! Where a message of a stream comes from: the server says so in the reply subject of each message, so nobody has to
//! ask.

use memchr::memchr;

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
    /// The number of this delivery among those of the consumer, from 1.
    pub consumer_sequence: u64,
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
        const BEGINNING: &str = "$JS.ACK.";
        let mut rest = reply.strip_prefix(BEGINNING)?;
        // With domain and hash, and perhaps more at the end, it is as without them from the third token on. Eight tokens
        // are neither form.
        match rest.bytes().filter(|byte| *byte == b'.').count() {
            6 => {}
            8.. => {
                token(&mut rest)?;
                token(&mut rest)?;
            }
            _ => return None,
        }
        let (stream, _) = (token(&mut rest)?, token(&mut rest)?);
        let consumer = reply.strip_suffix(rest)?.strip_suffix('.')?;
        let (delivered, sequence, consumer_sequence) =
            (number(&mut rest)?, number(&mut rest)?, number(&mut rest)?);
        let (published, pending) = (number(&mut rest)?, number(&mut rest)?);
        Some(Self { stream, sequence, published, delivered, consumer_sequence, pending, consumer })
    }
}

/// Takes what stands before the next dot.
fn token<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let dot = memchr(b'.', rest.as_bytes())?;
    let token = rest.get(..dot)?;
    *rest = rest.get(dot + 1..)?;
    Some(token)
}

/// Takes a whole number in decimal digits that stands before the next dot, or the end. Each message has five of them.
fn number(rest: &mut &str) -> Option<u64> {
    /// So many digits always fit.
    const FIT: usize = 19;
    let (mut number, mut length) = (0_u64, 0);
    for digit in rest.bytes().take_while(u8::is_ascii_digit) {
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        length += 1;
    }
    if length == 0 || length > FIT {
        number = rest.get(..length)?.parse().ok()?;
    }
    *rest = match rest.as_bytes().get(length) {
        None => "",
        Some(b'.') => rest.get(length + 1..)?,
        Some(_) => return None,
    };
    Some(number)
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
            let expected = Origin {
                stream: "TODOS",
                sequence: 17,
                published,
                delivered: 2,
                consumer_sequence: 30,
                pending: 5,
                consumer,
            };
            assert_eq!(Origin::parse(&reply), Some(expected), "{reply}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        for reply in ["", "_INBOX.x", "$JS.ACK.", "$JS.ACK.a.b.c.d.e.f.g", "$JS.ACK.a.b.1.2.3.4"] {
            assert_eq!(Origin::parse(reply), None, "{reply}");
        }
        for odd in ["", "+1", "-1", "x", "1 ", "18446744073709551616", "99999999999999999999999"] {
            for reply in [format!("$JS.ACK.a.b.1.{odd}.3.4.5"), format!("$JS.ACK.a.b.1.2.3.4.{odd}")] {
                assert_eq!(Origin::parse(&reply), None, "{reply}");
            }
        }
        let largest = Origin::parse("$JS.ACK.a.b.0.18446744073709551615.3.4.5").unwrap();
        assert_eq!((largest.delivered, largest.sequence, largest.pending), (0, u64::MAX, 5));
    }
}
