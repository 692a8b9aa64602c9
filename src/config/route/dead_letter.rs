//! `[routes.NAME.dead_letter]`: where messages go that will not be delivered.

use crate::config::{
    PublishSubject, StreamName, parse,
    reader::{Reported, Section},
};

/// `[routes.NAME.dead_letter]`: where messages go that will not be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// `subject`: the subject they are published to. No route may subscribe to it. Default `broadcaster.dead.NAME`.
    pub subject: PublishSubject,
    /// `stream`: the stream that has to keep them. Default: the one that has the subject, if any.
    pub stream: Option<StreamName>,
    /// `create`: whether that stream is made where it is missing. Default false.
    pub create: bool,
}

/// Reads the section of the route that is called `route`.
pub(in crate::config) fn read(at: &Section<'_>, route: &str) -> Result<DeadLetter, Reported> {
    let default =
        || format!("broadcaster.dead.{route}").parse().expect("a route's name is good for a subject");
    let subject = at.optional("subject", parse::name).map(|subject| subject.unwrap_or_else(default));
    let stream = at.optional("stream", parse::name);
    let create = at.or("create", false, parse::switch);
    if let (Ok(None), Ok(true)) = (&stream, create) {
        at.missing("stream");
    }
    Ok(DeadLetter { subject: subject?, stream: stream?, create: create? })
}
