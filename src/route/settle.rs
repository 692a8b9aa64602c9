//! The end of every message on its route: what became of it is counted here, exactly once, and its stream is told.
//!
//! Messages are taken by value, so one that was settled can't be settled again. Nothing here waits for NATS: acks and
//! dead letters go to queues. What has become a dead letter is counted later, when NATS has confirmed it: until then it
//! may still be lost, and its stream must not be told that it is done with.

use std::{sync::Arc, time::Duration};

use tracing::{debug, warn};

use super::answers::{Answers, End};
use crate::{
    base::clock::{Clock, Time},
    config::RouteName,
    dead_letter::{Letter, Sender},
    message::{
        Message,
        acknowledgement::AckKind,
        answer::Content,
        outcome::{Outcome, Reason},
    },
    stats::RouteStats,
};

/// When the stream delivers a message again that found no room here. At once it would find none either, and messages
/// would only go to and fro.
const RETURN: Duration = Duration::from_secs(2);

/// Settles the messages of one route on one lane.
pub struct Settle {
    route: RouteName,
    stats: Arc<RouteStats>,
    dead_letters: Option<Sender>,
    answers: Option<Answers>,
    clock: Clock,
}

impl Settle {
    /// Counts in `stats`, and sends what is dead to `dead_letters` where the route keeps dead letters.
    pub const fn new(
        route: RouteName,
        stats: Arc<RouteStats>,
        dead_letters: Option<Sender>,
        clock: Clock,
    ) -> Self {
        Self { route, stats, dead_letters, answers: None, clock }
    }

    /// The same, for a route whose answers are told.
    #[must_use]
    pub fn answering(self, answers: Option<Answers>) -> Self {
        Self { answers, ..self }
    }

    /// Tells who waits for it what has become of `message`, and the answer of the webhook where there is one: at the
    /// latest when it is settled, and once.
    pub fn answer(&self, message: &mut Message, end: End, content: Option<&Content>, now: Time) {
        if let Some(answers) = &self.answers {
            answers.tell(message, end, content, now);
        }
    }

    /// The webhook accepted `message` at `now`.
    #[inline]
    pub fn delivered(&self, mut message: Message, now: Time) {
        self.stats.count(Outcome::Delivered);
        self.stats.delivery_latency.observe(now.since(message.received));
        debug!(route = self.route.as_str(), id = %message.id, attempts = message.attempts, "delivered");
        message.end_way(Outcome::Delivered, None, || now);
        if let Some(ack) = message.ack {
            ack.settle(AckKind::Ack);
        }
    }

    /// `message` is not wanted, which is known since `now`.
    pub fn filtered(&self, mut message: Message, now: Time) {
        self.answer(&mut message, End::Filtered, None, now);
        self.stats.count(Outcome::Filtered);
        debug!(route = self.route.as_str(), id = %message.id, "filtered");
        message.end_way(Outcome::Filtered, None, || now);
        if let Some(ack) = message.ack {
            ack.settle(AckKind::Ack);
        }
    }

    /// `message` goes back to its stream, which delivers it again after `delay`.
    pub fn returned(&self, mut message: Message, delay: Duration) {
        self.stats.count(Outcome::Returned);
        debug!(route = self.route.as_str(), id = %message.id, ?delay, "given back");
        message.end_way(Outcome::Returned, None, || self.clock.now());
        if let Some(ack) = message.ack.take() {
            ack.give_back(delay, message.attempts);
        }
        drop(message);
    }

    /// Another replica has taken `message` over.
    pub fn handed_over(&self, mut message: Message) {
        self.stats.count(Outcome::HandedOver);
        message.end_way(Outcome::HandedOver, None, || self.clock.now());
        debug!(route = self.route.as_str(), id = %message.id, attempts = message.attempts, "handed over");
        drop(message);
    }

    /// `message` will not be delivered, after the webhook's answer with this `content` where there was one: it becomes a
    /// dead letter, or is dropped where the route keeps none. What dies only for want of room or time goes back to its
    /// stream, where that would deliver it again: there it is safe.
    pub fn dead(&self, mut message: Message, reason: Reason, content: Option<&Content>, now: Time) {
        if reason.is_ours() && comes_back(&message, now) {
            return self.returned(message, RETURN);
        }
        if let Some(dead_letters) = &self.dead_letters {
            let Some(room) = dead_letters.reserve(&message) else {
                return self.without_letter(message, reason, content, now);
            };
            // Told only now: a message that found no room may have gone back to its stream.
            self.answer(&mut message, End::Dead(reason), content, now);
            debug!(route = self.route.as_str(), id = %message.id, reason = reason.label(), "dead");
            room.put(Letter::new(message, reason, &self.route, Arc::clone(&self.stats), &self.clock));
        } else {
            self.answer(&mut message, End::Dead(reason), content, now);
            self.dropped(message, reason, now);
        }
    }

    /// There is no room for a letter about `message`: letters come faster than NATS takes them, or NATS is away for too long.
    /// Waiting for room would hold up the messages that can be delivered.
    fn without_letter(&self, mut message: Message, reason: Reason, content: Option<&Content>, now: Time) {
        if comes_back(&message, now) {
            return self.returned(message, RETURN);
        }
        self.answer(&mut message, End::Dead(reason), content, now);
        self.dropped(message, reason, now);
    }

    /// Returns when there is room for `message` among the dead letters; at once where the route keeps none, or where
    /// the message goes back to a stream. Only for the end of a pipeline, where nothing else is held up by waiting.
    pub async fn room_for(&self, message: &Message) {
        if let Some(dead_letters) = &self.dead_letters
            && message.ack.is_none()
        {
            dead_letters.room().await;
        }
    }

    /// Whether messages had better be left where they are: were they to die, there would hardly be room for their letters.
    pub fn is_full_of_letters(&self) -> bool {
        self.dead_letters.as_ref().is_some_and(Sender::is_full)
    }

    /// `message` is given up, and nobody keeps it; but what comes from a stream, and finds no room here, goes back to it.
    pub fn dropped(&self, mut message: Message, reason: Reason, now: Time) {
        if reason.is_ours() && comes_back(&message, now) {
            return self.returned(message, RETURN);
        }
        self.answer(&mut message, End::Dead(reason), None, now);
        self.stats.count(Outcome::Dropped);
        if let Some(unnamed) = self.stats.named_drops.pass(now) {
            warn!(
                route = self.route.as_str(),
                id = %message.id,
                reason = reason.label(),
                last_failure = message.last_failure.map(|failure| failure.label()).as_deref(),
                attempts = message.attempts,
                trace_id = message.trace().map(tracing::field::display),
                more_before = (unnamed > 0).then_some(unnamed),
                "message dropped"
            );
        }
        message.end_way(Outcome::Dropped, Some(reason), || now);
        if let Some(ack) = message.ack.take() {
            // To be dropped is the end that was decided for it: its stream must not deliver it again.
            ack.settle(AckKind::Term);
        }
        drop(message);
    }
}

/// Whether `message` comes from a stream that would deliver it again, were it given back now.
fn comes_back(message: &Message, now: Time) -> bool {
    message.ack.as_ref().is_some_and(|ack| ack.comes_back(now + RETURN))
}
