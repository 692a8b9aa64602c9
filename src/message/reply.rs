//! Where an answer to a message may go. Whoever publishes the message says where, and the answer goes out with our
//! permissions.

/// The longest subject that is answered to, in bytes. A server reads no line that is longer than 4 KiB by default, and
/// ends a connection over it.
const LONGEST: usize = 1024;

/// Subjects at which an answer would mean something else: those of NATS itself, and those that replicas talk by.
const KEPT: [&str; 3] = ["$", "broadcaster.handover.", "broadcaster.replay."];

/// Whether an answer may be published to `subject`: it can be published to at all, and is kept for nothing else.
pub fn is_answerable(subject: &str) -> bool {
    let is_token = |token: &str| {
        !token.is_empty()
            && !token.contains(|letter: char| {
                matches!(letter, '*' | '>') || letter.is_whitespace() || letter.is_control()
            })
    };
    subject.len() <= LONGEST
        && subject.split('.').all(is_token)
        && !KEPT.iter().any(|kept| subject.starts_with(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_an_inbox_is_answered_to() {
        for good in ["_INBOX.a.b", "_R_.x.7", "replies", "réponses.1", &"a".repeat(1024)] {
            assert!(is_answerable(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a b",
            "a\tb",
            "a\r\nPUB x 0",
            "a\0",
            "a\u{85}b",
            "a.*",
            "a.>",
            "a>b",
            "$JS.ACK.S.c.1.1.1.1.1",
            "$JS.API.STREAM.DELETE.S",
            "$SYS.REQ.SERVER.PING",
            "$KV.bucket.key",
            "broadcaster.handover.workers",
            "broadcaster.replay.DEAD",
            &"a".repeat(1025),
        ] {
            assert!(!is_answerable(bad), "{bad:?}");
        }
    }
}
