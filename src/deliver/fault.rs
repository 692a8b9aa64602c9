//! Why an attempt has no answer, as the stages that find out tell it.

use std::{fmt::Display, sync::Arc};

use crate::message::outcome::{Attempt, Failure};

/// A failure, and its cause in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What an operator counts it as.
    pub failure: Failure,
    /// Why, on one line: see [`Attempt::Failed`].
    pub cause: Option<Arc<str>>,
}

/// Why a request has no answer, by what may have become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeError {
    /// Nothing of it was sent, or the webhook says that it has done nothing with it: it can be sent again without being
    /// delivered twice. It says why.
    NotSent(Fault),
    /// It was sent, but the other end has not acknowledged all of it, nor said anything, until the kernel gave the
    /// connection up: most likely it has not arrived.
    NotAcknowledged(Fault),
    /// It, or a part of it, was sent: whether the webhook has taken it is not known.
    Failed(Fault),
}

/// No cause is longer, in bytes: names in a certificate, say, are a stranger's, and there may be hundreds.
const LONGEST: usize = 300;

impl Fault {
    /// `failure` for this cause.
    pub fn new(failure: Failure, cause: impl Display) -> Self {
        let mut cause = cause.to_string().replace(char::is_control, " ");
        if cause.len() > LONGEST {
            let end = (0..=LONGEST).rev().find(|&end| cause.is_char_boundary(end)).unwrap_or_default();
            cause.truncate(end);
            cause.push('…');
        }
        Self { failure, cause: Some(cause.into()) }
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self { failure, cause: None }
    }
}

impl From<Fault> for Attempt {
    fn from(Fault { failure, cause }: Fault) -> Self {
        Self::Failed { failure, retry_after: None, excerpt: None, cause, content: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_one_line_of_bounded_length() {
        let cause = |text: &str| Fault::new(Failure::Tls, text).cause.unwrap();
        assert_eq!(&*cause("expired\r\nforged"), "expired  forged");
        let long = cause(&"é".repeat(400));
        assert!(long.len() <= LONGEST + '…'.len_utf8() && long.ends_with("é…"), "{long}");
    }
}
