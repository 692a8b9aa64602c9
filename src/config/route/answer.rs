//! `[routes.NAME.answer]`: what is made of the webhook's answers.

use std::num::NonZeroUsize;

use super::Jetstream;
use crate::config::{
    PublishSubject, parse,
    reader::{Reported, Section},
    tree::Value,
};

const LIMIT: NonZeroUsize = NonZeroUsize::new(64 << 10).expect("64 KiB are not 0");

/// `[routes.NAME.answer]`: what is made of the webhook's answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `reply`: whether they are published to the reply subjects of messages. Not for messages from a stream. Default
    /// false.
    pub reply: bool,
    /// `publish`: the subject that they are published to. No route may subscribe to it. Default: none.
    pub publish: Option<PublishSubject>,
    /// `verdict`: whether the webhook may say in them what to do with a message. Default false.
    pub verdict: bool,
    /// `limit`: how much of a body is kept, in bytes, 64 KiB or more; of a longer one nothing is. Default `64KiB`.
    pub limit: NonZeroUsize,
}

/// Reads the section of a route that takes its messages as `jetstream` says.
pub(super) fn read(
    at: &Section<'_>,
    jetstream: &Result<Option<Jetstream>, Reported>,
) -> Result<Answer, Reported> {
    let reply = at.or("reply", false, parse::switch);
    if let (Ok(true), Ok(Some(_))) = (reply, jetstream) {
        at.report(
            "reply",
            "expected false where messages come from a stream: what they are to be replied to is the stream itself, which \
             takes acknowledgements; answer.publish tells the answers",
        );
    }
    let publish = at.optional("publish", subject);
    let verdict = at.or("verdict", false, parse::switch);
    let limit = at.or("limit", LIMIT, parse::size);
    Ok(Answer { reply: reply?, publish: publish?, verdict: verdict?, limit: limit? })
}

/// A subject that is not one of NATS's own: of those, some are commands, whatever is sent there.
fn subject(value: &Value) -> Result<PublishSubject, String> {
    let subject: PublishSubject = parse::name(value)?;
    if subject.as_str().starts_with('$') {
        return Err(format!("expected a subject of your own, not \"{subject}\": those with a $ are NATS's"));
    }
    Ok(subject)
}
