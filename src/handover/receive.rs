//! Takes what other replicas offer, and says so to them.

use std::{future::poll_fn, pin::Pin, rc::Rc, sync::Arc, task::Poll, thread, time::Duration};

use async_nats::{Client, Message as Received, Subject, Subscriber};
use futures_core::Stream as _;
use tokio::{sync::mpsc, task::coop::unconstrained, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{Answer, is_core, subject, wire};
use crate::{
    base::clock::Clock,
    config::{Config, QueueGroup},
    deliver::Deliver,
    message::Message,
    nats::{Echo, Link, LinkError},
    route::pipeline::Line,
};

/// How long the server may take for an echo.
const ECHO: Duration = Duration::from_secs(2);

/// A message on its way to a lane.
#[derive(Debug)]
pub(super) struct Offer {
    /// Which route it is for, in the order of the configuration.
    route: usize,
    message: Message,
    /// Who wants to know what became of it.
    giver: Subject,
}

/// Listens for all lanes, and passes on to them in turn.
pub(super) struct Taker {
    config: Arc<Config>,
    link: Arc<Link>,
    lanes: Vec<mpsc::Sender<Offer>>,
    /// Whose turn it is.
    turn: usize,
    clock: Clock,
}

/// The subscription of a queue group.
struct Intake {
    group: QueueGroup,
    /// None when it has ended.
    subscriber: Option<Subscriber>,
}

impl Taker {
    pub(super) fn new(
        config: Arc<Config>,
        link: Arc<Link>,
        lanes: Vec<mpsc::Sender<Offer>>,
        clock: Clock,
    ) -> Self {
        Self { config, link, lanes, turn: 0, clock }
    }

    /// Takes until `stop`, and until NATS knows that.
    pub(super) async fn run(mut self, mut echo: Echo, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => return,
            () = self.can_answer(&mut echo) => {}
        }
        let Ok(mut intakes) = self.subscribe().await else { return };
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                request = next(&mut intakes) => match request {
                    Some((group, request)) => self.pass_on(&group, request).await,
                    None => return,
                },
            }
        }
        if self.unsubscribe(&mut intakes, &mut echo).await {
            while let Some((_, request)) = next(&mut intakes).await {
                self.refuse(request.reply).await;
            }
        }
    }

    /// Waits until it is certain that an answer would reach its giver: one that takes a message and can't say so would
    /// have it delivered twice.
    async fn can_answer(&self, echo: &mut Echo) {
        while !self.link.is_connected() || echo.call(ECHO).await.is_err() {
            // The event of it may get lost.
            drop(timeout(Duration::from_secs(1), self.link.state().connection()).await);
        }
    }

    async fn subscribe(&self) -> Result<Vec<Intake>, LinkError> {
        let mut intakes: Vec<Intake> = Vec::new();
        for route in self.config.routes.iter().filter(|route| is_core(route)) {
            let group = &route.queue_group;
            if intakes.iter().all(|intake| intake.group != *group) {
                let client = self.link.client();
                let subscriber = client.queue_subscribe(subject(group), group.as_str().to_owned()).await?;
                intakes.push(Intake { group: group.clone(), subscriber: Some(subscriber) });
            }
        }
        Ok(intakes)
    }

    /// Passes a request to the next lane that has a hand free.
    async fn pass_on(&mut self, group: &QueueGroup, request: Received) {
        let Some(giver) = request.reply.clone() else {
            return debug!("a message was offered by nobody");
        };
        let mut routes = self.config.routes.iter();
        let route = routes
            .position(|route| is_core(route) && route.queue_group == *group && wire::is_for(&request, route));
        let message = route.zip(wire::unpack(request, self.clock.now()));
        let Some((route, message)) = message else {
            return self.refuse(Some(giver)).await;
        };
        let mut offer = Offer { route, message, giver };
        for _ in 0..self.lanes.len() {
            self.turn = (self.turn + 1) % self.lanes.len();
            match self.lanes[self.turn].try_send(offer) {
                Ok(()) => return,
                Err(refused) => offer = refused.into_inner(),
            }
        }
        self.refuse(Some(offer.giver)).await;
    }

    async fn refuse(&self, giver: Option<Subject>) {
        if let Some(giver) = giver {
            answer(self.link.client(), giver, Answer::Refused).await;
        }
    }

    /// Leaves the queue groups. True when what the server has sent before will still come, to be refused.
    async fn unsubscribe(&self, intakes: &mut [Intake], echo: &mut Echo) -> bool {
        if !self.link.is_connected() {
            return false;
        }
        let Ok(round_trip) = echo.call(ECHO / 4).await else { return false };
        // All commands reach the client in one go, and it may not wake up until everything has arrived: see
        // `Session::leave_connected`.
        let told = unconstrained(async {
            for subscriber in intakes.iter_mut().filter_map(|intake| intake.subscriber.as_mut()) {
                if subscriber.drain().await.is_err() {
                    return false;
                }
            }
            matches!(timeout(Duration::from_secs(1), self.link.client().flush()).await, Ok(Ok(())))
        })
        .await;
        thread::sleep((round_trip * 4).clamp(Duration::from_millis(10), Duration::from_millis(500)));
        told
    }
}

/// The next request of any group; None when all have ended.
async fn next(intakes: &mut [Intake]) -> Option<(QueueGroup, Received)> {
    poll_fn(|cx| {
        let mut ended = true;
        for intake in intakes.iter_mut() {
            let Some(subscriber) = &mut intake.subscriber else { continue };
            match Pin::new(subscriber).poll_next(cx) {
                Poll::Ready(Some(request)) => return Poll::Ready(Some((intake.group.clone(), request))),
                Poll::Ready(None) => intake.subscriber = None,
                Poll::Pending => ended = false,
            }
        }
        if ended { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

async fn answer(client: &Client, giver: Subject, answer: Answer) {
    if let Err(error) = client.publish(giver, answer.payload()).await {
        debug!(%error, ?answer, "an offer can't be answered");
    }
}

/// Takes into the lines of a lane.
#[derive(Debug)]
pub struct LaneTaker {
    offers: mpsc::Receiver<Offer>,
    client: Client,
}

impl LaneTaker {
    pub(super) const fn new(offers: mpsc::Receiver<Offer>, client: Client) -> Self {
        Self { offers, client }
    }

    /// Takes into `lines`, which are in the order of the configuration, until the process takes nothing more.
    pub async fn run<D: Deliver + 'static>(mut self, lines: Vec<Rc<Line<D>>>) {
        while let Some(Offer { route, message, giver }) = self.offers.recv().await {
            let taken = lines[route].take_over(message).is_ok();
            answer(&self.client, giver, if taken { Answer::Taken } else { Answer::Refused }).await;
        }
    }
}
