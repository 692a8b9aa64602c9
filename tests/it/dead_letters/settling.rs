//! What a stream is told about a message that became a dead letter, and when.

use std::{rc::Rc, sync::Arc};

use async_nats::Subscriber;
use broadcaster::{
    base::clock::{Clock, Time},
    config::{self, Config, Sources},
    dead_letter::{Letter, Outlet, Place, Post, outbox},
    message::{Headers, Id, Message, acknowledgement::Receipt, outcome::Reason},
    nats::Link,
    stats::{Account, RouteStats},
};
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
    message.receipt = Some(Receipt::new(reply));
    stats.received.add(1);
    let route = "default".parse().expect("it is a name");
    Letter::new(message, Reason::Rejected, &route, Arc::clone(stats), &Clock::start())
}

/// What an outbox does with what `fill` puts in, and what it says to `replies`.
async fn outcome(
    nats: &NatsServer,
    give_up: CancellationToken,
    fill: impl FnOnce(&Outlet, &Arc<RouteStats>),
) -> (Account, Subscriber) {
    let config = config(nats);
    let route = &config.routes[0];
    let replies = nats.client().await.subscribe("replies.>").await.expect("the server takes it");
    nats.wait_subscriptions("replies.>", 1, SOON).await;
    let link = Link::open(&config.nats, "test", None).await.expect("the client can be set up");
    link.state().connection().await;
    let to = route.dead_letter.clone().expect("it is configured");
    let place = Place { route: route.name.clone(), to };
    let post = Post::over(Rc::new(link), place, Clock::start()).await.expect("the client takes it");
    let (outlet, outbox) = outbox();
    let stats = Arc::default();
    fill(&outlet, &stats);
    drop(outlet);
    outbox.run(post, give_up).await;
    (stats.account(), replies)
}

#[tokio::test]
async fn it_is_acknowledged_when_the_letter_is_stored_and_terminated_when_that_can_never_be() {
    let nats = NatsServer::start().await;
    make_stream(&nats).await;
    let (account, mut replies) = outcome(&nats, CancellationToken::new(), |outlet, stats| {
        outlet.send(letter(b"0".to_vec(), "replies.stored", stats)).unwrap();
        outlet.send(letter(vec![0; 1024 * 1024 + 1], "replies.giant", stats)).unwrap();
    })
    .await;
    let mut said = [next(&mut replies, SOON).await, next(&mut replies, SOON).await];
    said.sort_by_key(|message| message.subject.to_string());
    let said = said.map(|message| (message.subject.to_string(), message.payload));
    assert_eq!(
        said,
        [("replies.giant".to_owned(), "+TERM".into()), ("replies.stored".to_owned(), "+ACK".into())]
    );
    assert_eq!((account.dead_lettered, account.dropped, account.in_hand()), (1, 1, 0));
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
        // The stream is missing, and the outbox has asked for it.
        next(&mut questions, SOON).await;
        stop.cancel();
    };
    let running = outcome(&nats, give_up, |outlet, stats| {
        outlet.send(letter(b"0".to_vec(), "replies.open", stats)).unwrap();
    });
    let ((account, mut replies), ()) = tokio::join!(running, stopping);
    let said = next(&mut replies, SOON).await;
    assert_eq!(said.payload, "-NAK {\"delay\": 2000000000}");
    assert_eq!((account.returned, account.dead_lettered, account.in_hand()), (1, 0, 0));
}
