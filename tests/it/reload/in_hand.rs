//! What a durable route has in hand when its settings change, when it is taken away, or when the daemon stops, while the NATS
//! server is started anew: the stream hears of the end of all. What it did not hear of, another replica would deliver again.

use testkit::{nats::streams::Stream, webhook::Reply};

use super::*;

const COUNT: u64 = 12;
/// Far longer than the test takes: nothing comes again by itself.
const SOURCE: &str = "stream = \"RELOAD\"\ncreate = true\nack_wait = \"5m\"";

struct InHand {
    nats: NatsServer,
    stream: Stream,
    hook: Webhook,
    folder: Folder,
    daemon: Running,
}

impl InHand {
    /// A daemon with requests under way, and more messages that wait.
    async fn start() -> Self {
        let (nats, hook) = (NatsServer::start().await, Webhook::start());
        hook.answer(Reply::status(200).after(Duration::from_secs(3)));
        let stream = nats.stream("RELOAD", &["reload.>"]).await;
        let folder = Folder::with(&durable(&hook, 4));
        let daemon = folder.start(&nats).await;
        publisher(&nats, "taken").await.store(COUNT).await;
        hook.wait_for(|hook| hook.received() == 4, SOON).await;
        Self { nats, stream, hook, folder, daemon }
    }

    /// Waits until so many were delivered, each once, and the stream knows of it.
    async fn assert_ends(&self, delivered: u64) {
        self.hook.wait_delivered(usize::try_from(delivered).expect("a count"), SOON).await;
        let left = usize::try_from(COUNT - delivered).expect("a count");
        let all = |info: &async_nats::jetstream::consumer::Info| info.num_ack_pending <= left;
        self.stream.wait_consumer("broadcaster-taken", all, SOON).await;
        self.hook.assert_exactly_once(0..delivered);
    }
}

fn durable(hook: &Webhook, concurrency: usize) -> String {
    let route = route("taken", hook, &format!("concurrency = {concurrency}"));
    format!("{route}[routes.taken.jetstream]\n{SOURCE}\n")
}

/// Has the daemon apply `configuration`, starts NATS anew, and lets the webhook answer.
async fn assert_ends_with(configuration: impl FnOnce(&Webhook) -> String) {
    let mut test = InHand::start().await;
    test.folder.swap("broadcaster.toml", &configuration(&test.hook));
    hang_up(&test.daemon, "configuration applied").await;
    test.nats.restart().await;
    test.hook.answer(Reply::status(200));
    test.assert_ends(COUNT).await;
}

#[tokio::test]
async fn what_moves_to_other_settings_is_acknowledged_over_a_restart_of_nats() {
    assert_ends_with(|hook| durable(hook, 5)).await;
}

#[tokio::test]
async fn what_a_route_had_that_was_taken_away_is_acknowledged_over_a_restart_of_nats() {
    assert_ends_with(|hook| route("other", hook, "")).await;
}

#[tokio::test]
async fn what_is_delivered_during_a_stop_is_acknowledged_over_a_restart_of_nats() {
    let mut test = InHand::start().await;
    test.daemon.signal(Signal::TERM);
    test.daemon.wait_log("stopping", SOON).await;
    test.nats.restart().await;
    test.hook.answer(Reply::status(200));
    assert!(test.daemon.wait(SOON).await.success());
    let account = test.daemon.account();
    assert!(account.adds_up() && account.in_hand == 0, "{account:?}");
    test.assert_ends(account.delivered).await;
}

/// A server that is killed has not written down what it was told in the last tenth of a second. What the settings before have
/// delivered, those that came after them know when it comes as if for the first time.
#[tokio::test]
async fn what_former_settings_delivered_does_not_come_again_when_the_server_forgets_it() {
    let (mut nats, hook) = (NatsServer::start().await, Webhook::start());
    hook.answer(Reply::status(200).after(Duration::from_millis(100)));
    let stream = nats.stream("RELOAD", &["reload.>"]).await;
    let source = SOURCE.replace("5m", "1s");
    let durable = |concurrency: usize| durable(&hook, concurrency).replace(SOURCE, &source);
    let folder = Folder::with(&durable(32));
    let mut daemon = folder.start(&nats).await;
    let mut publisher = publisher(&nats, "taken").await;
    let count = |publisher: &Publisher| usize::try_from(publisher.count()).expect("a count");
    for round in 1..=3 {
        publisher.store(COUNT).await;
        hook.wait_for(|hook| hook.received() >= count(&publisher), SOON).await;
        folder.swap("broadcaster.toml", &durable(32 + round));
        hang_up(&daemon, "configuration applied").await;
        stream.wait_acknowledged("broadcaster-taken", SOON).await;
        nats.restart().await;
        // Behind all that comes again.
        publisher.switch_to(nats.client().await);
        publisher.store(1).await;
        hook.wait_delivered(count(&publisher), SOON).await;
        stream.wait_acknowledged("broadcaster-taken", SOON).await;
    }
    daemon.stop().await;
    hook.assert_exactly_once(0..publisher.count());
}
