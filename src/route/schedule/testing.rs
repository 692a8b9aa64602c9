//! What the tests of the decisions share: messages that are told apart by their payload, and literal times.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use super::{breaker::Failed, fault::Fault};
use crate::{
    base::{backoff::Jitter, clock::Time},
    config::{Bounds, Retry, Statuses},
    message::{Headers, Id, Message},
};

/// A message that carries its number.
pub(crate) fn message(number: usize) -> Message {
    let payload = number.to_string().into();
    Message::new(Id::fresh(), "todos.events".into(), Headers::default(), payload, Time::START)
}

/// The numbers of `messages`.
pub(crate) fn names(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| String::from_utf8_lossy(&message.payload).into_owned()).collect()
}

/// `seconds` after the start.
pub(crate) const fn at(seconds: u64) -> Time {
    Time::from_start(Duration::from_secs(seconds))
}

pub(crate) fn bounds(messages: usize, bytes: usize) -> Bounds {
    Bounds { messages: NonZeroUsize::new(messages).unwrap(), bytes: NonZeroUsize::new(bytes).unwrap() }
}

/// A connection error of a message that never failed before, from an attempt that took no time.
pub(crate) const fn down(now: Time) -> Failed {
    Failed { fault: Fault::Down, began: now, ended: now, before: None, is_part: false, proof: Time::START }
}

/// The defaults, without jitter.
pub(crate) fn retry() -> Retry {
    Retry {
        attempts: NonZeroU32::new(8).unwrap(),
        initial: Duration::from_millis(500),
        max: Duration::from_secs(300),
        multiplier: 2.0,
        jitter: Jitter::None,
        bounds: bounds(100, 1 << 20),
        statuses: Statuses::default(),
    }
}
