//! Offers what is left to other replicas, and keeps what nobody confirms. In bounded time, since the process is about
//! to end.

use std::{collections::HashMap, time::Duration};

use tokio::{
    sync::Mutex,
    time::{Instant, timeout, timeout_at},
};
use tracing::{debug, info, warn};

use super::{Reply, echo::Echo, is_core, subject, wire};
use crate::{
    base::clock::Clock,
    config::Route,
    deliver::Deliver,
    message::Message,
    nats::{Connection, Incoming, Outgoing, PublishError, Replies},
    route::pipeline::Pipeline,
};

/// How long all of it may take, after the grace.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long NATS may take to show that it is there, and the other replicas to give any answer at all. Answers take a
/// few milliseconds: after such a silence there will be none.
const SILENCE: Duration = Duration::from_secs(1);
/// How many offers may be without an answer: enough for round trips not to matter, few enough that little is in doubt
/// when the connection breaks.
const WINDOW: usize = 512;
/// How many bytes those may have, about. A server closes the connection of a receiver that is too far behind in
/// reading.
const WINDOW_BYTES: usize = 4 * 1024 * 1024;
/// After so many refusals in a row nothing more is offered unless one of the open offers is taken: those that have no
/// room are the quickest to say so.
const REFUSALS: usize = 128;

/// Hands over what is left in the pipelines of a lane.
pub struct Offerer {
    connection: Connection,
    /// Where answers come to, made when it is first needed. Locked by the route that makes its offers: one route after the
    /// other.
    /// Each offer has its own number, so that no answer can be taken for another.
    inbox: Mutex<Option<Replies>>,
    clock: Clock,
}

impl Offerer {
    /// Offers over `connection`, that of the lane.
    pub fn over(connection: Connection, clock: Clock) -> Self {
        Self { connection, inbox: Mutex::default(), clock }
    }

    /// Offers what is left in `pipeline` of `route`, which was aborted, to other replicas with the same route. What
    /// nobody confirms is in the pipeline again when this ends, in bounded time.
    pub async fn offer<D: Deliver + 'static>(&self, route: &Route, pipeline: &Pipeline<D>) {
        if pipeline.is_empty() || !is_core(route) {
            return;
        }
        let end = Instant::now() + PATIENCE;
        let mut slot = self.inbox.lock().await;
        let inbox = match slot.take() {
            Some(inbox) => Some(inbox),
            None => self.inbox().await,
        };
        let Some(inbox) = inbox else {
            return debug!("nothing can be handed over: NATS is away, or answers don't arrive");
        };
        let mut offers = Offers::new(route, pipeline, &self.connection, slot.insert(inbox), self.clock);
        if timeout_at(end, offers.run()).await.is_err() {
            debug!(route = route.name.as_str(), "no time is left to hand over");
        }
        offers.close();
    }

    /// An inbox, once an echo has shown that answers arrive: an offer whose answer can't would be in doubt.
    async fn inbox(&self) -> Option<Replies> {
        let replies = Replies::over(&self.connection);
        let is_heard = self.connection.is_connected() && Echo::over(&self.connection).is_heard(SILENCE).await;
        is_heard.then_some(replies)
    }
}

/// The offers of one route.
struct Offers<'a, D> {
    subject: String,
    route: &'a Route,
    pipeline: &'a Pipeline<D>,
    connection: &'a Connection,
    inbox: &'a mut Replies,
    clock: Clock,
    /// Offers without an answer, by their number.
    open: HashMap<u64, Message>,
    open_bytes: usize,
    /// Messages to be offered again.
    refused: Vec<Message>,
    /// Messages that are not offered again.
    kept: Vec<Message>,
    refusals_in_a_row: usize,
    handed_over: usize,
    /// Whether somebody may be there to take more.
    hopeful: bool,
}

impl<'a, D: Deliver + 'static> Offers<'a, D> {
    fn new(
        route: &'a Route,
        pipeline: &'a Pipeline<D>,
        connection: &'a Connection,
        inbox: &'a mut Replies,
        clock: Clock,
    ) -> Self {
        Self {
            subject: subject(&route.queue_group),
            route,
            pipeline,
            connection,
            inbox,
            clock,
            open: HashMap::new(),
            open_bytes: 0,
            refused: Vec::new(),
            kept: Vec::new(),
            refusals_in_a_row: 0,
            handed_over: 0,
            hopeful: true,
        }
    }

    /// Offers everything, until all offers have their answer or nobody answers any more. Can be dropped at any time:
    /// every message is then in one of the collections, and [`Self::close`] puts it back.
    async fn run(&mut self) {
        loop {
            while let Some(message) = self.next() {
                self.offer(message);
            }
            if self.open.is_empty() {
                return;
            }
            let Ok((number, answer)) = timeout(SILENCE, self.inbox.next()).await else { return };
            self.hear(number, &answer);
        }
    }

    /// The next message to offer, while there is hope and room in the window.
    fn next(&mut self) -> Option<Message> {
        let room = self.open.len() < WINDOW && self.open_bytes < WINDOW_BYTES;
        let hopeful = self.hopeful && self.refusals_in_a_row < REFUSALS;
        if !room || !hopeful || !self.connection.is_connected() {
            return None;
        }
        while let Some(message) = self.pipeline.take_left() {
            if message.ack.is_none() {
                return Some(message);
            }
            // From the time when the route took from a stream, which would deliver it again.
            self.kept.push(message);
        }
        // What was refused comes last: by then another replica may be asked, or the same one may have room.
        self.refused.pop()
    }

    fn offer(&mut self, message: Message) {
        let (number, reply) = self.inbox.expect();
        let headers = wire::pack(&message, self.route, self.clock.now());
        let offer = Outgoing {
            subject: &self.subject,
            reply: Some(&reply),
            headers: Some(&headers),
            payload: &message.payload,
        };
        if let Err(error) = self.connection.publish(offer) {
            // One that is too large with its headers stays here, and the others may still go. Any other error is about
            // the connection, and all would meet it.
            self.hopeful &= error == PublishError::TooLarge;
            return self.kept.push(message);
        }
        self.open_bytes += message.cost();
        self.open.insert(number, message);
    }

    fn hear(&mut self, number: u64, answer: &Incoming) {
        let Some(said) = Reply::read(answer) else { return };
        // An answer to an offer that is not open any more came too late: its message is somewhere else by now.
        let Some(message) = self.close_offer(number) else { return };
        match said {
            Reply::Taken => {
                self.refusals_in_a_row = 0;
                self.handed_over += 1;
                self.pipeline.handed_over(message);
            }
            Reply::Refused => {
                self.refusals_in_a_row += 1;
                self.refused.push(message);
            }
            Reply::Nobody => {
                // The others would meet the same. Offers that are open may still be answered.
                self.hopeful = false;
                self.kept.push(message);
            }
        }
    }

    /// Takes an offer back, if it is still open.
    fn close_offer(&mut self, number: u64) -> Option<Message> {
        let message = self.open.remove(&number)?;
        self.open_bytes -= message.cost();
        Some(message)
    }

    /// Puts back what was not taken.
    fn close(self) {
        let (route, handed_over, unanswered) = (self.route.name.as_str(), self.handed_over, self.open.len());
        if unanswered > 0 {
            // Perhaps somebody has them, and only the answer was lost. Delivered twice with the same id is better than
            // not at all.
            warn!(route, unanswered, "offered to another replica without an answer");
        }
        for message in self.open.into_values().chain(self.refused).chain(self.kept) {
            self.pipeline.put_back(message);
        }
        if handed_over > 0 {
            info!(route, handed_over, "handed over to other replicas");
        }
    }
}
