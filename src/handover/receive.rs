//! Takes messages that other replicas offer, and tells them so. Nothing waits for room: what can't be taken at once is
//! refused.

use std::{future::poll_fn, pin::Pin, rc::Rc, sync::Arc, task::Poll, time::Duration};

use async_nats::{Client, Message as Received, Subject, Subscriber};
use futures_core::Stream as _;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::{Reply, SharedConnection, is_core, subject, wire};
use crate::{
    base::clock::{Clock, Time},
    config::{Nats, QueueGroup, RouteName},
    deliver::Deliver,
    message::Message,
    nats::{Barrier, Connections, NatsConnection, SetUpError, end_subscription},
    route::{pipeline::Pipeline, registry::Routes, shared::Route},
};

/// How long the server may take for a round trip.
const ROUND_TRIP: Duration = Duration::from_secs(2);

/// How long it may take here, where somebody waits for the answer to an offer, and gives up after a second.
const WHILE_OFFERED: Duration = Duration::from_millis(500);
/// For how long it is certain that an answer would reach its offerer, once that was seen: permissions may be taken away.
const CERTAIN: Duration = Duration::from_secs(1);

/// A message on its way to a lane.
#[derive(Debug)]
pub(super) struct Offer {
    route: RouteName,
    message: Message,
    /// The reply subject of whoever offers it.
    offerer: Subject,
}

/// Listens for all lanes, and passes on to them in turn.
pub(super) struct OfferReceiver {
    nats: Nats,
    routes: watch::Receiver<Arc<Routes>>,
    connections: Arc<Connections>,
    shared: SharedConnection,
    lanes: Vec<mpsc::Sender<Offer>>,
    /// The lane that was tried last.
    turn: usize,
    /// When an answer was last seen to arrive, and over which connection.
    seen: Option<(u64, Time)>,
    clock: Clock,
}

/// The subscription of a queue group.
struct Subscription {
    group: QueueGroup,
    /// None when it has ended.
    subscriber: Option<Subscriber>,
}

impl OfferReceiver {
    pub(super) const fn new(
        nats: Nats,
        routes: watch::Receiver<Arc<Routes>>,
        connections: Arc<Connections>,
        shared: SharedConnection,
        lanes: Vec<mpsc::Sender<Offer>>,
        clock: Clock,
    ) -> Self {
        Self { nats, routes, connections, shared, lanes, turn: 0, seen: None, clock }
    }

    /// Receives until `stop`, and returns when NATS knows that it has ended. A connection that can't be set up is
    /// logged: all but the hand-over works without it.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => return,
            () = self.needed() => {}
        }
        let (connection, mut barrier) = match self.connect().await {
            Ok(connected) => connected,
            Err(error) => return error!(%error, "nothing can be handed over"),
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = can_answer(&connection, &mut barrier) => {}
        }
        self.seen = Some((connection.connections(), self.clock.now()));
        let mut subscriptions = Vec::new();
        // The loop begins with the list as it is now.
        self.routes.mark_changed();
        loop {
            tokio::select! {
                // After a stop nothing may be taken any more, whatever else is ready.
                biased;
                () = stop.cancelled() => break,
                _ = self.routes.changed() => {
                    let routes = Arc::clone(&self.routes.borrow_and_update());
                    if self.follow(&routes, &connection, &mut subscriptions, &mut barrier).await.is_err() {
                        // The client has ended, and nothing will come over it any more.
                        return error!("nothing can be handed over any more: the NATS client has ended");
                    }
                }
                Some((group, request)) = next(&mut subscriptions) => {
                    if self.still_answers(&connection, &mut barrier).await && !stop.is_cancelled() {
                        self.pass_on(&connection, &group, request).await;
                    } else if let Some(offerer) = request.reply {
                        answer(connection.client(), offerer, Reply::Refused).await;
                    }
                }
            }
        }
        leave(&connection, subscriptions, &mut barrier).await;
    }

    /// Returns when there is a route whose messages can be handed over. The connection is opened only then.
    async fn needed(&mut self) {
        while !self.routes.borrow_and_update().iter().any(|route| is_core(&route.settings)) {
            // No list will come any more: whoever calls this ends by its stop.
            if self.routes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    async fn connect(&self) -> Result<(Arc<NatsConnection>, Barrier), SetUpError> {
        let connection = Arc::new(NatsConnection::open(&self.nats, "hand-over", None).await?);
        self.connections.add(Arc::clone(connection.state()));
        let barrier = Barrier::over(&connection).await?;
        let shared = self.shared.get_or_init(|| Arc::clone(&connection));
        debug_assert!(Arc::ptr_eq(shared, &connection), "it is opened once");
        Ok((connection, barrier))
    }

    /// Listens for the queue groups of `routes`, and leaves those that have no route any more.
    async fn follow(
        &self,
        routes: &Routes,
        connection: &NatsConnection,
        subscriptions: &mut Vec<Subscription>,
        barrier: &mut Barrier,
    ) -> Result<(), SetUpError> {
        // A group that stays is not left and joined again: what is offered in between would be refused.
        let core = || routes.iter().filter(|route| is_core(&route.settings));
        for route in core() {
            let group = &route.settings.queue_group;
            if subscriptions.iter().all(|subscription| subscription.group != *group) {
                let client = connection.client();
                let subscriber = client.queue_subscribe(subject(group), group.as_str().to_owned()).await?;
                subscriptions.push(Subscription { group: group.clone(), subscriber: Some(subscriber) });
            }
        }
        let is_needed = |subscription: &Subscription| {
            core().any(|route| route.settings.queue_group == subscription.group)
        };
        let (needed, others) = std::mem::take(subscriptions).into_iter().partition(is_needed);
        *subscriptions = needed;
        leave(connection, others, barrier).await;
        Ok(())
    }

    /// Whether an answer would reach its offerer now, as far as that was seen a moment ago, or is seen now.
    async fn still_answers(&mut self, connection: &NatsConnection, barrier: &mut Barrier) -> bool {
        let (number, now) = (connection.connections(), self.clock.now());
        if self.seen.is_some_and(|(seen_on, at)| seen_on == number && now.since(at) < CERTAIN) {
            return true;
        }
        let answers = barrier.pass(WHILE_OFFERED).await.is_ok();
        self.seen = answers.then(|| (number, self.clock.now()));
        answers
    }

    /// Passes a request to the next lane that can take it, in turn, or refuses it.
    async fn pass_on(&mut self, connection: &NatsConnection, group: &QueueGroup, request: Received) {
        let Some(offerer) = request.reply.clone() else {
            // Without a reply subject nobody could be told, and whoever sent it keeps it: taken, it would be delivered
            // twice.
            return debug!("a message was offered by nobody");
        };
        let route = self.route_of(group, &request);
        let message = route.zip(wire::unpack(request, self.clock.now()));
        let Some((route, message)) = message else {
            return answer(connection.client(), offerer, Reply::Refused).await;
        };
        let mut offer = Offer { route: route.name().clone(), message, offerer };
        for _ in 0..self.lanes.len() {
            self.turn = (self.turn + 1) % self.lanes.len();
            // A route with too little to divide runs on some lanes only.
            if route.source(self.turn).is_none() {
                continue;
            }
            match self.lanes[self.turn].try_send(offer) {
                Ok(()) => return,
                Err(refused) => offer = refused.into_inner(),
            }
        }
        answer(connection.client(), offer.offerer, Reply::Refused).await;
    }

    fn route_of(&self, group: &QueueGroup, request: &Received) -> Option<Arc<Route>> {
        let routes = Arc::clone(&self.routes.borrow());
        let name = wire::route_name(request)?;
        let route = routes.get(&name)?;
        let settings = &route.settings;
        let fits = is_core(settings) && settings.queue_group == *group && wire::is_for(request, settings);
        fits.then(|| Arc::clone(route))
    }
}

/// Waits until it is certain that an answer would reach its offerer: one that takes a message and can't say so would
/// have it delivered twice.
async fn can_answer(connection: &NatsConnection, barrier: &mut Barrier) {
    while !connection.is_connected() || barrier.pass(ROUND_TRIP).await.is_err() {
        // The client drops events when it has too many: so this asks again each second.
        drop(timeout(Duration::from_secs(1), connection.state().connected()).await);
    }
}

/// Leaves queue groups, and refuses what the server has sent before it heard of that: whoever offered it need not wait
/// for its patience to end.
async fn leave(connection: &NatsConnection, mut subscriptions: Vec<Subscription>, barrier: &mut Barrier) {
    if subscriptions.is_empty() || !connection.is_connected() {
        return;
    }
    for subscriber in subscriptions.iter_mut().filter_map(|subscription| subscription.subscriber.as_mut()) {
        end_subscription(subscriber).await;
    }
    if barrier.pass(ROUND_TRIP).await.is_err() {
        debug!("NATS does not confirm the end of the subscriptions for the hand-over");
    }
    // The barrier was passed, so all of it has arrived and nothing has to be waited for.
    while let Ok(Some((_, request))) = timeout(Duration::ZERO, next(&mut subscriptions)).await {
        if let Some(offerer) = request.reply {
            answer(connection.client(), offerer, Reply::Refused).await;
        }
    }
}

/// The next request of any group; None when all have ended.
async fn next(subscriptions: &mut [Subscription]) -> Option<(QueueGroup, Received)> {
    poll_fn(|cx| {
        // Always in the same order: groups are few, and none has so many requests that it keeps the others from being
        // heard.
        let mut ended = true;
        for subscription in subscriptions.iter_mut() {
            let Some(subscriber) = &mut subscription.subscriber else { continue };
            match Pin::new(subscriber).poll_next(cx) {
                Poll::Ready(Some(request)) => {
                    return Poll::Ready(Some((subscription.group.clone(), request)));
                }
                Poll::Ready(None) => subscription.subscriber = None,
                Poll::Pending => ended = false,
            }
        }
        if ended { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

async fn answer(client: &Client, offerer: Subject, reply: Reply) {
    if let Err(error) = client.publish(offerer, reply.payload()).await {
        debug!(%error, ?reply, "an offer can't be answered");
    }
}

/// Takes what is offered into the pipelines of a lane.
#[derive(Debug)]
pub struct LaneReceiver {
    offers: mpsc::Receiver<Offer>,
    connection: SharedConnection,
}

impl LaneReceiver {
    pub(super) const fn new(offers: mpsc::Receiver<Offer>, connection: SharedConnection) -> Self {
        Self { offers, connection }
    }

    /// Takes what is offered into the pipeline that `pipeline` finds for a route on this lane, until the process takes
    /// nothing more. An offer is answered only when the message is in the queue.
    pub async fn run<D: Deliver + 'static>(
        mut self,
        pipeline: impl Fn(&RouteName) -> Option<Rc<Pipeline<D>>>,
    ) {
        while let Some(Offer { route, message, offerer }) = self.offers.recv().await {
            // The route may have changed since the offer was passed on: without a pipeline it is refused.
            let taken = pipeline(&route).is_some_and(|pipeline| pipeline.take_over(message).is_ok());
            if let Some(connection) = self.connection.get() {
                answer(connection.client(), offerer, if taken { Reply::Taken } else { Reply::Refused }).await;
            }
        }
    }
}
