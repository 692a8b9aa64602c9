//! What a stream says about a message that was published to it. No I/O.

use std::sync::Arc;

use serde::Deserialize;

use super::jetstream::{NO_RESPONDERS, Refusal};

/// What was said about a message.
#[derive(Debug, PartialEq, Eq)]
pub enum PubAck {
    /// The stream has it.
    Stored,
    /// The stream has had one with its id, and takes no second.
    Duplicate,
    /// It is larger than the stream takes, so that trying again as it is is of no use.
    TooLarge,
    /// The stream does not have it at present, for this reason.
    Refused(Arc<str>),
}

/// `JSStreamMessageExceedsMaximumErr`, `JSStreamHeaderExceedsMaximumErr`.
const TOO_LARGE: [u64; 2] = [10054, 10097];

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    stream: String,
    #[serde(default)]
    duplicate: bool,
    error: Option<Refusal>,
}

impl PubAck {
    /// Reads what came back for a message: with this status, or none, and this payload. An acknowledgement of another stream
    /// than `wanted` does not count, where there is one: the operator would look for the message in the wrong one.
    pub fn read(status: Option<u16>, payload: &[u8], wanted: Option<&str>) -> Self {
        let refused = |reason: String| Self::Refused(reason.into());
        if status == Some(NO_RESPONDERS) {
            return refused("no stream keeps the subject".to_owned());
        }
        match serde_json::from_slice(payload) {
            Ok(Raw { error: Some(refusal), .. }) if TOO_LARGE.contains(&refusal.err_code) => Self::TooLarge,
            Ok(Raw { error: Some(refusal), .. }) => refused(refusal.description),
            // Whoever listens may answer anything.
            Ok(Raw { stream, .. }) if stream.is_empty() => refused("its answer makes no sense".to_owned()),
            Ok(Raw { stream, duplicate, .. }) => match wanted {
                Some(wanted) if wanted != stream => {
                    refused(format!("the stream {stream} has it, not {wanted}"))
                }
                _ if duplicate => Self::Duplicate,
                _ => Self::Stored,
            },
            Err(_) => refused("its answer makes no sense".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_acknowledgement_of_the_right_stream_counts() {
        let read = |text: &str| PubAck::read(None, text.as_bytes(), Some("DEAD"));
        assert_eq!(read(r#"{ "stream": "DEAD", "seq": 7 }"#), PubAck::Stored);
        assert_eq!(read(r#"{ "stream": "DEAD", "seq": 7, "duplicate": true }"#), PubAck::Duplicate);
        let refused = |reason: &str| PubAck::Refused(reason.into());
        assert_eq!(read(r#"{ "stream": "X", "seq": 7 }"#), refused("the stream X has it, not DEAD"));
        for nonsense in ["", "thanks", "{}", "[]", "{\"stream\":7}", "\u{0}"] {
            assert_eq!(read(nonsense), refused("its answer makes no sense"), "{nonsense}");
        }
        let error =
            |code| format!(r#"{{ "error": {{ "code": 400, "err_code": {code}, "description": "no" }} }}"#);
        assert_eq!([10054, 10097].map(|code| read(&error(code))), [PubAck::TooLarge, PubAck::TooLarge]);
        assert_eq!(read(&error(10077)), refused("no"));
        let nobody = PubAck::read(Some(NO_RESPONDERS), b"", None);
        assert_eq!(nobody, refused("no stream keeps the subject"));
        assert_eq!(PubAck::read(None, br#"{ "stream": "ANY", "seq": 7 }"#, None), PubAck::Stored);
    }
}
