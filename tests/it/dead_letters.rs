//! Dead letters: where they go, what they say, and how they are delivered after all.

mod command;
mod durable;
mod publishing;
mod settling;
mod terminal;
mod unwanted;

use std::time::Duration;

use async_nats::jetstream::{
    self,
    stream::{Info, StorageType, Stream},
};

use testkit::{daemon::Daemon, nats::NatsServer, stage::Stage};

const SOON: Duration = Duration::from_secs(60);
const STREAM: &str = "DEAD";
const SUBJECT: &str = "broadcaster.dead.default";

/// With dead letters in a stream that the daemon makes.
fn kept(daemon: Daemon) -> Daemon {
    daemon.route("dead_letter.stream", STREAM).route("dead_letter.create", "true")
}

/// Makes the stream of the dead letters, as an operator does.
async fn make_stream(nats: &NatsServer) {
    let config = jetstream::stream::Config {
        name: STREAM.to_owned(),
        subjects: vec!["broadcaster.dead.>".to_owned()],
        storage: StorageType::File,
        ..Default::default()
    };
    jetstream::new(nats.client().await).create_stream(config).await.expect("the stream can be made");
}

async fn stream(nats: &NatsServer) -> Stream<Info> {
    let stream = jetstream::new(nats.client().await).get_stream(STREAM).await;
    stream.expect("the stream is there")
}

/// How many dead letters the stream has.
pub(crate) async fn count(nats: &NatsServer) -> u64 {
    match jetstream::new(nats.client().await).get_stream(STREAM).await {
        Ok(stream) => stream.cached_info().state.messages,
        // The daemon has not made it yet, or the server has just come back.
        Err(_) => 0,
    }
}

/// Waits until the stream has so many dead letters.
pub(crate) async fn wait_count(nats: &NatsServer, expected: u64) {
    testkit::wait_for(SOON, async || count(nats).await, |found| *found == expected).await;
}

/// A daemon whose webhook refuses everything, and so many dead letters in the stream; both are stopped then.
async fn graveyard(url: &str, letters: u64) -> NatsServer {
    let mut stage = Stage::set(url, kept).await;
    testkit::publisher::Publisher::new(stage.client.clone(), "todos.events").burst(letters).await;
    wait_count(&stage.nats, letters).await;
    assert_eq!(stage.close().await.dead_lettered, letters);
    stage.nats
}
