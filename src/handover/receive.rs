//! Takes messages that other replicas offer, and tells them so. Nothing waits for room: what can't be taken at once is
//! refused.

use std::{
    collections::{HashMap, HashSet},
    future::poll_fn,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Reply, echo::Echo, is_core, queue, subject, wire::Parcel};
use crate::{
    base::clock::{Clock, Time},
    config::{self, QueueGroup, RouteName},
    deliver::Deliver,
    message::Message,
    nats::{Connection, Incoming, OnDemand, Outgoing, Subscription},
    route::{pipeline::Pipeline, registry::Routes, shared::Route},
};

/// How long the server may take for a round trip.
const ROUND_TRIP: Duration = Duration::from_secs(2);
/// How long it may take here, where somebody waits for the answer to an offer, and gives up after a second.
const WHILE_OFFERED: Duration = Duration::from_millis(500);
/// For how long it is certain that an answer would reach its offerer, once that was seen: permissions may be taken away.
const CERTAIN: Duration = Duration::from_secs(1);
/// After so many echoes that were not heard, one a second, it is said that nothing is taken over.
const UNHEARD: u32 = 3;

/// A message on its way to a lane.
#[derive(Debug)]
pub(super) struct Offer {
    route: RouteName,
    message: Message,
    /// The reply subject of whoever offers it.
    offerer: Box<str>,
}

/// What a lane says to an offer.
#[derive(Debug)]
pub(super) struct Answer {
    offerer: Box<str>,
    reply: Reply,
}

/// Listens for all lanes, and passes on to them in turn.
pub(super) struct OfferReceiver {
    routes: watch::Receiver<Arc<Routes>>,
    connection: Rc<OnDemand>,
    lanes: Vec<mpsc::Sender<Offer>>,
    answers: mpsc::Receiver<Answer>,
    /// The lane that was tried last.
    turn: usize,
    clock: Clock,
}

/// What there is once the connection is needed.
struct Listening {
    connection: Connection,
    echo: Echo,
    /// When an answer was last seen to arrive, and over which connection.
    seen: Option<(u64, Time)>,
    groups: Vec<Group>,
}

/// The membership of a queue group.
struct Group {
    name: QueueGroup,
    offers: Subscription,
}

impl OfferReceiver {
    pub(super) const fn new(
        routes: watch::Receiver<Arc<Routes>>,
        connection: Rc<OnDemand>,
        lanes: Vec<mpsc::Sender<Offer>>,
        answers: mpsc::Receiver<Answer>,
        clock: Clock,
    ) -> Self {
        Self { routes, connection, lanes, answers, turn: 0, clock }
    }

    /// Receives until `stop`, and returns when NATS knows that it has ended, and all that was taken is answered.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut listening = tokio::select! {
            () = stop.cancelled() => return,
            listening = self.begin() => listening,
        };
        // The loop begins with the list as it is now.
        self.routes.mark_changed();
        loop {
            tokio::select! {
                // After a stop nothing may be taken any more, whatever else is ready.
                biased;
                () = stop.cancelled() => break,
                Some(answer) = self.answers.recv() => listening.answer(&answer),
                _ = self.routes.changed() => {
                    let routes = Arc::clone(&self.routes.borrow_and_update());
                    listening.follow(&routes).await;
                }
                (group, offer) = next(&mut listening.groups) => {
                    if listening.still_answers(self.clock).await && !stop.is_cancelled() {
                        self.pass_on(&listening, &group, &offer);
                    } else {
                        listening.refuse(&offer);
                    }
                }
            }
        }
        let groups = std::mem::take(&mut listening.groups);
        listening.leave(groups).await;
        self.finish(&listening).await;
    }

    /// Waits until there is a route whose messages can be handed over, and until it is certain that an answer would reach
    /// its offerer: one that takes a message and can't say so would have it delivered twice.
    async fn begin(&mut self) -> Listening {
        while !self.routes.borrow_and_update().iter().any(|route| is_core(&route.settings)) {
            // No list will come any more: whoever calls this ends by its stop.
            if self.routes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
        let connection = self.connection.get();
        let echo = Echo::over(&connection);
        let mut listening = Listening { connection, echo, seen: None, groups: Vec::new() };
        listening.can_answer(self.clock).await;
        listening
    }

    /// Passes an offer to the next lane that can take it, in turn, or refuses it.
    fn pass_on(&mut self, listening: &Listening, group: &QueueGroup, offer: &Incoming) {
        let Some(offerer) = offer.reply() else {
            // Without a reply subject nobody could be told, and whoever sent it keeps it: taken, it would be delivered
            // twice.
            return debug!("a message was offered by nobody");
        };
        let parcel = Parcel { headers: offer.headers(), payload: offer.payload() };
        let Some(route) = self.route_of(group, &parcel) else { return listening.refuse(offer) };
        let Some(mut message) = parcel.unpack(self.clock.now()) else { return listening.refuse(offer) };
        // It goes to another thread, and stays there for longer than what else came with it.
        message.detach();
        let mut offered = Offer { route: route.name().clone(), message, offerer: offerer.into() };
        for _ in 0..self.lanes.len() {
            self.turn = (self.turn + 1) % self.lanes.len();
            // A route with too little to divide runs on some lanes only.
            if route.source(self.turn).is_none() {
                continue;
            }
            match self.lanes[self.turn].try_send(offered) {
                Ok(()) => return,
                Err(refused) => offered = refused.into_inner(),
            }
        }
        listening.refuse(offer);
    }

    fn route_of(&self, group: &QueueGroup, parcel: &Parcel) -> Option<Arc<Route>> {
        let routes = Arc::clone(&self.routes.borrow());
        let route = routes.get(&parcel.route_name()?)?;
        let settings = &route.settings;
        let fits = is_core(settings) && settings.queue_group == *group && parcel.is_for(settings);
        fits.then(|| Arc::clone(route))
    }

    /// Passes on what the lanes still have to say about offers, and returns when NATS has it.
    async fn finish(mut self, listening: &Listening) {
        // Their channels end with this, and with those their answers.
        self.lanes.clear();
        while let Some(answer) = self.answers.recv().await {
            listening.answer(&answer);
        }
        if listening.connection.is_connected() && listening.connection.round_trip(ROUND_TRIP).await.is_err() {
            debug!("NATS does not confirm the last answers to offers");
        }
    }
}

impl Listening {
    async fn can_answer(&mut self, clock: Clock) {
        let mut unheard = 0;
        loop {
            self.connection.state().connected().await;
            if self.echo.is_heard(ROUND_TRIP).await {
                self.seen = Some((self.connection.connections(), clock.now()));
                return;
            }
            unheard += 1;
            if unheard == UNHEARD && self.connection.is_connected() {
                warn!(
                    inboxes = self.connection.inboxes(),
                    "nothing is taken over from other replicas: answers would not reach them (the user needs the \
                     permission to publish and subscribe to inboxes; shutdown.hand_over = false does without)"
                );
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Whether an answer would reach its offerer now, as far as that was seen a moment ago, or is seen now.
    async fn still_answers(&mut self, clock: Clock) -> bool {
        let (number, now) = (self.connection.connections(), clock.now());
        if self.seen.is_some_and(|(seen_on, at)| seen_on == number && now.since(at) < CERTAIN) {
            return true;
        }
        let answers = self.echo.is_heard(WHILE_OFFERED).await;
        self.seen = answers.then(|| (number, clock.now()));
        answers
    }

    /// Listens for the queue groups of `routes`, and leaves those that have no route any more.
    async fn follow(&mut self, routes: &Routes) {
        // A group that stays is not left and joined again: what is offered in between would be refused.
        let mut members = HashMap::<&QueueGroup, Vec<&config::Route>>::new();
        for route in routes.iter().filter(|route| is_core(&route.settings)) {
            members.entry(&route.settings.queue_group).or_default().push(&route.settings);
        }
        let known: HashSet<_> = self.groups.iter().map(|group| group.name.clone()).collect();
        for (name, settings) in &members {
            if !known.contains(*name) {
                let queue = queue(name, settings.iter().copied());
                let offers = self.connection.subscribe(&subject(name), Some(&queue));
                self.groups.push(Group { name: (*name).clone(), offers });
            }
        }
        let is_needed = |group: &Group| members.contains_key(&group.name);
        let (needed, others) = std::mem::take(&mut self.groups).into_iter().partition(is_needed);
        self.groups = needed;
        self.leave(others).await;
    }

    /// Leaves queue groups, and refuses what the server has sent before it heard of that: whoever offered it need not wait
    /// for its patience to end.
    async fn leave(&self, mut groups: Vec<Group>) {
        if groups.is_empty() || !self.connection.is_connected() {
            return;
        }
        groups.iter().for_each(|group| group.offers.end());
        if self.connection.round_trip(ROUND_TRIP).await.is_err() {
            debug!("NATS does not confirm the end of the subscriptions for the hand-over");
        }
        for group in &mut groups {
            while let Some(offer) = group.offers.try_next() {
                self.refuse(&offer);
            }
        }
    }

    fn refuse(&self, offer: &Incoming) {
        if let Some(offerer) = offer.reply() {
            self.answer(&Answer { offerer: offerer.into(), reply: Reply::Refused });
        }
    }

    fn answer(&self, Answer { offerer, reply }: &Answer) {
        if let Err(error) = self.connection.publish(Outgoing::new(offerer, reply.payload())) {
            debug!(%error, ?reply, "an offer can't be answered");
        }
    }
}

/// The next offer to any group; none ever comes where there is no group.
async fn next(groups: &mut [Group]) -> (QueueGroup, Incoming) {
    poll_fn(|cx| {
        // Always in the same order: groups are few, and none has so many offers that it keeps the others from being
        // heard.
        for group in groups.iter_mut() {
            if let Poll::Ready(offer) = pin!(group.offers.next()).poll(cx) {
                return Poll::Ready((group.name.clone(), offer));
            }
        }
        Poll::Pending
    })
    .await
}

/// Takes what is offered into the pipelines of a lane.
#[derive(Debug)]
pub struct LaneReceiver {
    offers: mpsc::Receiver<Offer>,
    answers: mpsc::Sender<Answer>,
}

impl LaneReceiver {
    pub(super) const fn new(offers: mpsc::Receiver<Offer>, answers: mpsc::Sender<Answer>) -> Self {
        Self { offers, answers }
    }

    /// Takes what is offered into the pipeline that `pipeline` finds for a route on this lane, until the process takes
    /// nothing more. An offer is answered only when the message is in the queue.
    pub async fn run<D: Deliver + 'static>(
        mut self,
        pipeline: impl Fn(&RouteName) -> Option<Rc<Pipeline<D>>>,
    ) {
        while let Some(Offer { route, message, offerer }) = self.offers.recv().await {
            // Without a way back for the answer nothing is taken.
            let Ok(way_back) = self.answers.reserve().await else { return };
            // The route may have changed since the offer was passed on: without a pipeline it is refused.
            let taken = pipeline(&route).is_some_and(|pipeline| pipeline.take_over(message).is_ok());
            way_back.send(Answer { offerer, reply: if taken { Reply::Taken } else { Reply::Refused } });
        }
    }
}
