//! What can come of an attempt and of a message: the closed sets that logs, metric labels and dead letters share.
//!
//! Each set is spelled once, here, so that the three can't disagree. Whoever counts by one
//! of them has an array with an element for each member.

use std::{borrow::Cow, sync::Arc, time::Duration};

use super::answer::{Content, EntryVerdict};

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The webhook has taken it, or has said to drop it.
    Delivered {
        /// The status that it answered with, from 200 to 299 where it was not to be dropped.
        status: u16,
        /// What was wrong with the rest of its answer, if anything was.
        odd: Option<&'static str>,
        /// Whether it was to be dropped.
        unwanted: bool,
        /// The answer, where the route looks into it.
        content: Option<Box<Content>>,
    },
    /// It answered with another status, or not at all, or not in time.
    Failed {
        /// What went wrong.
        failure: Failure,
        /// How long the webhook asked us to wait (`Retry-After`, RFC 9110 section 10.2.3).
        retry_after: Option<Duration>,
        /// How its answer began, where there was one with a body, made safe for a header.
        excerpt: Option<Arc<str>>,
        /// Why, in the words of whoever knows (the system, TLS, the reader of answers), with the host where that
        /// matters: never a path, a query or a secret. One line.
        cause: Option<Arc<str>>,
        /// The answer, where there was one and the route looks into it.
        content: Option<Box<Content>>,
    },
}

impl Attempt {
    /// A delivery with nothing wrong.
    pub const fn delivered(status: u16) -> Self {
        Self::Delivered { status, odd: None, unwanted: false, content: None }
    }

    /// A failure with nothing more to say about it.
    pub const fn failed(failure: Failure) -> Self {
        Self::Failed { failure, retry_after: None, excerpt: None, cause: None, content: None }
    }

    /// The answer, where there was one and the route looks into it.
    pub fn content(&self) -> Option<&Content> {
        let (Self::Delivered { content, .. } | Self::Failed { content, .. }) = self;
        content.as_deref()
    }

    /// What the answer says of each message of a batch; empty where it says nothing of any.
    pub fn verdicts(&self) -> &[Option<EntryVerdict>] {
        self.content().map_or(&[], |content| &content.verdicts)
    }
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The webhook answered, but with this status.
    Status(u16),
    /// The deadline passed before the whole answer was there.
    Timeout,
    /// The webhook's name did not resolve.
    Dns,
    /// No connection could be made.
    Connect,
    /// The TLS handshake failed, most often because of a certificate.
    Tls,
    /// The connection broke before the whole answer was there.
    Reset,
    /// What came back was not HTTP, or broke its rules.
    Protocol,
    /// We were short of something: descriptors, ports, memory. It tells nothing about the webhook.
    Local,
    /// No request can be made of the message, as the route is configured. The webhook was not asked.
    Unsendable,
    /// The proxy before the webhook can't be reached, or passes nothing on. The webhook has had no say.
    Proxy,
    /// The webhook took it, and asked for it again.
    AskedAgain,
    /// There was nothing to log in with, or the webhook did not take the token any more and another one is fetched.
    Login,
}

impl Failure {
    /// The failures that are not a status, in the order in which they are counted.
    pub const TRANSPORT: [Self; 11] = [
        Self::Timeout,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Reset,
        Self::Protocol,
        Self::Local,
        Self::Unsendable,
        Self::Proxy,
        Self::AskedAgain,
        Self::Login,
    ];

    /// The index in [`Failure::TRANSPORT`]; none for a status.
    pub const fn transport_index(self) -> Option<usize> {
        // By hand, because an enum with a field has no numbers; a test holds it against the array.
        match self {
            Self::Status(_) => None,
            Self::Timeout => Some(0),
            Self::Dns => Some(1),
            Self::Connect => Some(2),
            Self::Tls => Some(3),
            Self::Reset => Some(4),
            Self::Protocol => Some(5),
            Self::Local => Some(6),
            Self::Unsendable => Some(7),
            Self::Proxy => Some(8),
            Self::AskedAgain => Some(9),
            Self::Login => Some(10),
        }
    }

    /// The status, where the webhook answered.
    pub const fn status(self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status),
            _ => None,
        }
    }

    /// Its name in logs, in the metric label `code` and in dead letters; a status is its number. Operators' queries
    /// depend on these: they never change.
    pub fn label(self) -> Cow<'static, str> {
        match self {
            Self::Status(status) => status.to_string().into(),
            Self::Timeout => "timeout".into(),
            Self::Dns => "dns".into(),
            Self::Connect => "connect".into(),
            Self::Tls => "tls".into(),
            Self::Reset => "reset".into(),
            Self::Protocol => "protocol".into(),
            Self::Local => "local".into(),
            Self::Unsendable => "unsendable".into(),
            Self::Proxy => "proxy".into(),
            Self::AskedAgain => "asked_again".into(),
            Self::Login => "login".into(),
        }
    }

    /// The failure with this label; none where no failure has it. Another replica wrote it, perhaps of another version.
    pub fn labelled(label: &str) -> Option<Self> {
        let transport = Self::TRANSPORT.into_iter().find(|failure| failure.label() == label);
        transport.or_else(|| label.parse().ok().map(Self::Status))
    }
}

/// What became of a message in the end. Every message that was received comes to exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The webhook accepted it.
    Delivered,
    /// It was published as a dead letter, and NATS has confirmed that.
    DeadLettered,
    /// It was given up, and nobody keeps it.
    Dropped,
    /// Another replica took it over.
    HandedOver,
    /// It went back to the stream it came from.
    Returned,
    /// It is not wanted: the route's filter does not hold for it, or the webhook said to drop it.
    Filtered,
}

impl Outcome {
    /// All of them, each at the index that it is as a number.
    pub const ALL: [Self; 6] = [
        Self::Delivered,
        Self::DeadLettered,
        Self::Dropped,
        Self::HandedOver,
        Self::Returned,
        Self::Filtered,
    ];

    /// Its value in the metric label `outcome`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::DeadLettered => "dead_lettered",
            Self::Dropped => "dropped",
            Self::HandedOver => "handed_over",
            Self::Returned => "returned",
            Self::Filtered => "filtered",
        }
    }
}

/// Why a message will not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The webhook answered with a status that no retry would mend.
    Rejected,
    /// No request can be made of it, as the route is configured.
    Unsendable,
    /// Every attempt failed.
    AttemptsExhausted,
    /// It found the queue full.
    QueueFull,
    /// It was to be tried again, but the retry queue was full.
    RetryQueueFull,
    /// The process stopped before it could be delivered.
    Shutdown,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Rejected,
        Self::Unsendable,
        Self::AttemptsExhausted,
        Self::QueueFull,
        Self::RetryQueueFull,
        Self::Shutdown,
    ];

    /// Whether the message died for want of room or time here, and might be delivered another time or by another
    /// replica. Such a message goes back to its stream, if it came from one.
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::QueueFull | Self::RetryQueueFull | Self::Shutdown)
    }

    /// Its name in logs and dead letters.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Unsendable => "unsendable",
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::QueueFull => "queue_full",
            Self::RetryQueueFull => "retry_queue_full",
            Self::Shutdown => "shutdown",
        }
    }
}

/// What became of an answer that was to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publication {
    /// It was written to the connection.
    Sent,
    /// With its headers it is larger than NATS takes: only those were sent.
    TooLarge,
    /// There was no connection.
    Disconnected,
    /// The server does not read what is sent.
    Full,
}

impl Publication {
    /// All of them, each at the index that it is as a number.
    pub const ALL: [Self; 4] = [Self::Sent, Self::TooLarge, Self::Disconnected, Self::Full];

    /// Its value in the metric label `result`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::TooLarge => "too_large",
            Self::Disconnected => "disconnected",
            Self::Full => "full",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_of_a_set_is_at_its_place() {
        for (index, failure) in Failure::TRANSPORT.into_iter().enumerate() {
            assert_eq!(failure.transport_index(), Some(index), "{failure:?}");
        }
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index, "{outcome:?}");
        }
        for (index, publication) in Publication::ALL.into_iter().enumerate() {
            assert_eq!(publication as usize, index, "{publication:?}");
        }
    }
}
