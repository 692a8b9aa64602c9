//! `method` of `[routes.NAME.webhook]`.

use crate::config::parse::Choice;

/// With what method a webhook is called (RFC 9110, section 9.3; RFC 5789): one that has a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The webhook decides what becomes of the message.
    Post,
    /// The message takes the place of what is at the address.
    Put,
    /// The message changes what is at the address.
    Patch,
}

impl Method {
    /// The method in upper case, as the request line has it.
    pub fn as_str(self) -> &'static str {
        self.word()
    }
}

impl Choice for Method {
    const ALL: &'static [(&'static str, Self)] =
        &[("POST", Self::Post), ("PUT", Self::Put), ("PATCH", Self::Patch)];
}
