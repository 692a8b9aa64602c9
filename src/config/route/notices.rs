//! What is no mistake, and an operator should know all the same.

use super::{Route, Signing, default_subject};

impl Route {
    /// What a start says of this route, and `check`: what becomes of messages that an operator may not expect.
    pub fn notices(&self) -> Vec<String> {
        let mut notices = Vec::new();
        if self.dead_letter.is_none() {
            notices.push("messages that are given up are dropped: there is no dead_letter".to_owned());
        }
        if self.subject == default_subject() && self.jetstream.is_none() {
            notices.push(format!(
                "takes what is published to {}, the default subject; another one is set by subject, or NATS_SUBJECT",
                self.subject
            ));
        }
        if let Some(until) = self.webhook.signing.as_ref().and_then(Signing::until) {
            let until = humantime::format_rfc3339(until);
            notices.push(format!(
                "nothing is sent any more after {until}, when the last key of webhook.signing ends"
            ));
        }
        notices
    }
}
