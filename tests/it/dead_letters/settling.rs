//! What a stream is told about a message that became a dead letter, and when.

use std::{sync::Arc, time::Duration};

use broadcaster::{
    base::clock::{Clock, Time},
    config::{self, Config, Sources},
    dead_letter::{Destination, Letter, Publisher, Sender, queue},
    message::{
        Headers, Id, Message,
        acknowledgement::{AckKind, Origin},
        ledger::{Ledger, Ledgers},
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

/// A message with this sequence in a stream, as a dead letter.
fn letter(payload: Vec<u8>, sequence: u64, ledger: &Ledger, stats: &Arc<RouteStats>) -> Letter {
    let mut message =
        Message::new(Id::fresh(), "todos.events".into(), Headers::default(), payload.into(), Time::START);
    let reply = format!("$JS.ACK.TODOS.worker.1.{sequence}.{sequence}.1700000000000000000.0");
    let origin = Origin::parse(&reply).expect("it is a stream's");
    let (ack, _) = ledger.arrived(&origin, &reply, Time::START).expect("it comes for the first time");
    message.ack = Some(ack);
    stats.received.add(1);
    let route = "default".parse().expect("it is a name");
    Letter::new(message, Reason::Rejected, &route, Arc::clone(stats), &Clock::start())
}

fn put(sender: &Sender, letter: Letter) {
    sender.reserve(&letter.message).expect("there is room").put(letter);
}

/// What the stream is to be told of which sequence.
fn said(ledger: &Ledger) -> Vec<(u64, AckKind)> {
    let mut said = Vec::new();
    ledger.say(1, usize::MAX, Time::START, |saying| {
        let origin = Origin::parse(saying.subject).expect("it is a stream's");
        said.push((origin.sequence, saying.kind));
        true
    });
    said.sort_by_key(|(sequence, _)| *sequence);
    said
}

/// What a queue of letters does with what `fill` puts in, and what its stream is told of that.
async fn outcome(
    nats: &NatsServer,
    give_up: CancellationToken,
    fill: impl FnOnce(&Sender, &Ledger, &Arc<RouteStats>),
) -> (Tally, Vec<(u64, AckKind)>) {
    let config = config(nats);
    let route = &config.routes[0];
    let ledger = Ledgers::default().open("TODOS", Duration::from_secs(30));
    let to = route.dead_letter.clone().expect("it is configured");
    let destination = Destination { route: route.name.clone(), to, is_durable: true };
    let stats = Arc::default();
    let publishing = async {
        let connection = Connection::open(&config.nats, "test", Clock::start());
        connection.state().connected().await;
        let publisher = Publisher::over(connection, destination, Clock::start());
        let (sender, queue) = queue(Clock::start());
        fill(&sender, &ledger, &stats);
        drop(sender);
        queue.run(publisher, give_up).await;
    };
    LocalSet::new().run_until(publishing).await;
    (stats.tally(), said(&ledger))
}

#[tokio::test]
async fn it_is_acknowledged_when_the_letter_is_stored_and_given_back_when_that_can_never_be() {
    let nats = NatsServer::start().await;
    make_stream(&nats).await;
    let (tally, said) = outcome(&nats, CancellationToken::new(), |sender, ledger, stats| {
        put(sender, letter(b"0".to_vec(), 1, ledger, stats));
        put(sender, letter(vec![0; 1024 * 1024 + 1], 2, ledger, stats));
    })
    .await;
    assert_eq!(said, [(1, AckKind::Ack), (2, AckKind::Nak(Duration::from_secs(300)))]);
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
    let running = outcome(&nats, give_up, |sender, ledger, stats| {
        put(sender, letter(b"0".to_vec(), 1, ledger, stats));
    });
    let ((tally, said), ()) = tokio::join!(running, stopping);
    assert_eq!(said, [(1, AckKind::Nak(Duration::from_secs(2)))]);
    let ends = (tally.of(Outcome::Returned), tally.of(Outcome::DeadLettered));
    assert_eq!((ends, tally.in_hand()), ((1, 0), 0));
}
