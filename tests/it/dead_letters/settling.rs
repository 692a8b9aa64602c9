//! What a stream is told about a message that became a dead letter, and when.

use std::sync::Arc;

use async_nats::Subscriber;
use broadcaster::{
    base::clock::{Clock, Time},
    config::{self, Config, Sources},
    dead_letter::{Destination, Letter, Publisher, Sender, queue},
    message::{
        Headers, Id, Message,
        acknowledgement::AckHandle,
        outcome::{Outcome, Reason},
    },
    nats::Connection,
    stats::{RouteStats, Tally},
};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use super::{SOON, count, make_stream};
use testkit::nats::{NatsServer, next};

fn config(nats: &NatsServer) -> Config {
    let flag = |key: &str, value: &str| (key.to_owned(), value.to_owned(), "--set".to_owned());
    let flags = vec![
        flag("nats.url", &nats.url()),
        flag("routes.default.webhook.url", "http://127.0.0.1:1/"),
        flag("routes.default.dead_letter.stream", "DEAD"),
    ];
    config::load(Sources { flags, ..Sources::default() }).expect("the configuration is right")
}

/// A message that wants its stream to be told at `reply`, as a dead letter.
fn letter(payload: Vec<u8>, reply: &str, stats: &Arc<RouteStats>) -> Letter {
    let mut message =
        Message::new(Id::fresh(), "todos.events".into(), Headers::default(), payload.into(), Time::START);
    message.ack = Some(AckHandle::new(reply));
    stats.received.add(1);
    let route = "default".parse().expect("it is a name");
    Letter::new(message, Reason::Rejected, &route, Arc::clone(stats), &Clock::start())
}

/// What a queue of letters does with what `fill` puts in, and what it says to `replies`.
async fn outcome(
    nats: &NatsServer,
    give_up: CancellationToken,
    fill: impl FnOnce(&Sender, &Arc<RouteStats>),
) -> (Tally, Subscriber) {
    let config = config(nats);
    let route = &config.routes[0];
    let replies = nats.client().await.subscribe("replies.>").await.expect("the server takes it");
    nats.wait_subscriptions("replies.>", 1, SOON).await;
    let to = route.dead_letter.clone().expect("it is configured");
    let destination = Destination { route: route.name.clone(), to, is_durable: true };
    let stats = Arc::default();
    let publishing = async {
        let connection = Connection::open(&config.nats, "test", Clock::start());
        connection.state().connected().await;
        let publisher = Publisher::over(connection, destination, Clock::start());
        let (sender, queue) = queue(Clock::start());
        fill(&sender, &stats);
        drop(sender);
        queue.run(publisher, give_up).await;
    };
    LocalSet::new().run_until(publishing).await;
    (stats.tally(), replies)
}

#[tokio::test]
async fn it_is_acknowledged_when_the_letter_is_stored_and_given_back_when_that_can_never_be() {
    let nats = NatsServer::start().await;
    make_stream(&nats).await;
    let (tally, mut replies) = outcome(&nats, CancellationToken::new(), |sender, stats| {
        sender.send(letter(b"0".to_vec(), "replies.stored", stats)).unwrap();
        sender.send(letter(vec![0; 1024 * 1024 + 1], "replies.giant", stats)).unwrap();
    })
    .await;
    let mut said = [next(&mut replies, SOON).await, next(&mut replies, SOON).await];
    said.sort_by_key(|message| message.subject.to_string());
    let said = said.map(|message| (message.subject.to_string(), message.payload));
    assert_eq!(
        said,
        [
            ("replies.giant".to_owned(), "-NAK {\"delay\": 300000000000}".into()),
            ("replies.stored".to_owned(), "+ACK".into())
        ]
    );
    let ends = (tally.of(Outcome::DeadLettered), tally.of(Outcome::Returned));
    assert_eq!((ends, tally.in_hand()), ((1, 1), 0));
    assert_eq!(count(&nats).await, 1);
}

#[tokio::test]
async fn what_is_not_confirmed_before_the_end_comes_back() {
    const ASKED: &str = "$JS.API.STREAM.NAMES";
    let nats = NatsServer::start().await;
    let give_up = CancellationToken::new();
    let stop = give_up.clone();
    let mut questions = nats.client().await.subscribe(ASKED).await.expect("the server takes it");
    nats.wait_subscriptions(ASKED, 1, SOON).await;
    let stopping = async {
        // The stream is missing, and the publisher has asked for it.
        next(&mut questions, SOON).await;
        stop.cancel();
    };
    let running = outcome(&nats, give_up, |sender, stats| {
        sender.send(letter(b"0".to_vec(), "replies.open", stats)).unwrap();
    });
    let ((tally, mut replies), ()) = tokio::join!(running, stopping);
    let said = next(&mut replies, SOON).await;
    assert_eq!(said.payload, "-NAK {\"delay\": 2000000000}");
    let ends = (tally.of(Outcome::Returned), tally.of(Outcome::DeadLettered));
    assert_eq!((ends, tally.in_hand()), ((1, 0), 0));
}
