//! Where a message from a stream comes from, as its reply subject tells.

/// The stream and the message's place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'r> {
    /// The stream.
    pub stream: &'r str,
    /// Which of the stream's messages it is.
    pub sequence: u64,
}

impl<'r> Origin<'r> {
    /// Reads a reply subject: `$JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<time>.<pending>`,
    /// or the newer form with domain and account before the stream (ADR-15).
    pub fn of(reply: &'r str) -> Option<Self> {
        let tokens: Vec<_> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let (stream, sequence) = match tokens[..] {
            [stream, _, _, sequence, _, _, _] => (stream, sequence),
            [_, _, stream, _, _, sequence, _, _, _, ..] => (stream, sequence),
            _ => return None,
        };
        Some(Self { stream, sequence: sequence.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_nothing_else() {
        let origin = |stream| Some(Origin { stream, sequence: 17 });
        assert_eq!(Origin::of("$JS.ACK.TODOS.worker.1.17.18.1700000000000000000.5"), origin("TODOS"));
        assert_eq!(
            Origin::of("$JS.ACK.hub.ACCT.TODOS.worker.1.17.18.1700000000000000000.5"),
            origin("TODOS")
        );
        assert_eq!(
            Origin::of("$JS.ACK._.ACCT.TODOS.worker.1.17.18.1700000000000000000.5.rnd"),
            origin("TODOS")
        );
        for other in ["_INBOX.a.b", "$JS.ACK.x", "$JS.ACK.TODOS.worker.1.x.18.1.5"] {
            assert_eq!(Origin::of(other), None, "{other}");
        }
    }
}
