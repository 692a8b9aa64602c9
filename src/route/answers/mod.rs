//! What webhooks answer, told to those who asked: the requester of a message, and whoever listens to the answers of a
//! route. It goes out as it is, once and without waiting: what can't be published now is counted, and is no reason to
//! attempt the message again.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use tracing::warn;

use crate::{
    base::{clock::Time, throttle::Throttle},
    config::{self, RouteName},
    message::{
        HeaderBlock, Message,
        answer::Content,
        header_names::{http, nats as names},
        header_safe,
        outcome::{Failure, Publication, Reason},
    },
    stats::RouteStats,
};

/// By what answers are published: a connection to NATS, or a list in tests.
pub trait Publish {
    /// Publishes a message, which may be lost all the same; it never waits.
    fn publish(&self, subject: &str, headers: &HeaderBlock, body: &[u8]) -> Publication;
}

/// The end of a message that is told to whoever waits for it or listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The webhook has taken it.
    Delivered,
    /// A filter does not want it, or the webhook said to drop it.
    Filtered,
    /// It will not be delivered, for this reason.
    Dead(Reason),
}

/// Publishes the answers to the messages of one route on one lane.
pub struct Answers {
    route: RouteName,
    settings: config::Answer,
    out: Rc<dyn Publish>,
    stats: Arc<RouteStats>,
    /// When it was said that one can't be published.
    told: Cell<Throttle>,
}

impl Answers {
    /// As the `settings` of `route` say, over `out`.
    pub fn new(
        route: RouteName,
        settings: config::Answer,
        out: Rc<dyn Publish>,
        stats: Arc<RouteStats>,
    ) -> Self {
        let told = Cell::new(Throttle::new(1, Duration::from_secs(60)));
        Self { route, settings, out, stats, told }
    }

    /// Tells what has become of `message` at `now`, and the answer of the webhook where there is one. Who waits for a
    /// reply gets one, once; who listens to answers gets those that there are.
    pub fn tell(&self, message: &mut Message, end: End, content: Option<&Content>, now: Time) {
        let reply = message.reply.take().filter(|_| self.settings.reply);
        // It was not the webhook's answer that has ended it.
        let is_last = !matches!(end, End::Dead(reason) if reason.is_ours());
        let listened = self.settings.publish.as_ref().filter(|_| content.is_some() && is_last);
        if let Some(subject) = &reply {
            self.publish(subject, message, end, content, now);
        }
        if let Some(subject) = listened {
            self.publish(subject.as_str(), message, end, content, now);
        }
    }

    fn publish(&self, subject: &str, message: &Message, end: End, content: Option<&Content>, now: Time) {
        let headers = self.headers(message, end, content);
        let body = content.map_or(&[][..], |content| &content.body);
        let publication = self.out.publish(subject, &headers, body);
        if publication == Publication::TooLarge && !body.is_empty() {
            // Who waits for it had better get a part than nothing.
            let left_out = Some("it is larger than NATS takes");
            let bare = content.map(|content| Content { left_out, body: Vec::new(), ..content.clone() });
            self.out.publish(subject, &self.headers(message, end, bare.as_ref()), &[]);
        }
        self.stats.publications[publication as usize].add(1);
        if publication != Publication::Sent {
            self.complain(message, publication, now);
        }
    }

    fn headers(&self, message: &Message, end: End, content: Option<&Content>) -> HeaderBlock {
        let mut headers = HeaderBlock::new();
        headers.put(names::ROUTE, self.route.as_str());
        headers.put(names::ID, message.id.to_string());
        headers.put(names::SUBJECT, &*header_safe(&message.subject));
        headers.put(names::ATTEMPTS, message.attempts.to_string());
        if let Some(content) = content {
            headers.put(names::STATUS, content.status.to_string());
            if let Some(content_type) = &content.content_type {
                headers.put(http::CONTENT_TYPE, content_type);
            }
            if let Some(why) = content.left_out {
                headers.put(names::BODY_LEFT_OUT, why);
            }
        }
        let failure = message.last_failure.filter(|_| matches!(end, End::Dead(_)));
        let reason = match end {
            End::Delivered => return headers,
            End::Filtered => "filtered",
            End::Dead(reason) => reason.label(),
        };
        headers.put(names::REASON, reason);
        if let Some(failure) = failure {
            headers.put(names::LAST_FAILURE, &*failure.label());
        }
        headers.put(names::SERVICE_ERROR, reason);
        headers.put(names::SERVICE_ERROR_CODE, code(end, content, failure).to_string());
        headers
    }

    fn complain(&self, message: &Message, publication: Publication, now: Time) {
        let mut told = self.told.get();
        if let Some(more_before) = told.pass(now) {
            let (route, why) = (self.route.as_str(), publication.label());
            let more_before = (more_before > 0).then_some(more_before);
            warn!(route, id = %message.id, why, more_before, "an answer can't be published as it is");
        }
        self.told.set(told);
    }
}

/// What went wrong, in the numbers of HTTP: the status of the webhook, where that is an error.
fn code(end: End, content: Option<&Content>, failure: Option<Failure>) -> u16 {
    let answered = content.map(|content| content.status).filter(|status| *status >= 400);
    match (end, failure) {
        (End::Filtered, _) => 404,
        (End::Dead(Reason::QueueFull | Reason::RetryQueueFull | Reason::Shutdown), _) => 503,
        (End::Dead(Reason::Unsendable), _) => 422,
        (_, Some(Failure::Timeout)) => 504,
        _ => answered.unwrap_or(502),
    }
}

#[cfg(test)]
mod tests;
