//! A hundred reloads of a daemon, a process, while messages come, with wrong configurations in between.

use std::time::Instant;

use super::*;

const RELOADS: u32 = 100;
/// Messages a second, for each route.
const RATE: u32 = 500;
const APPLIED: &str = "configuration applied";
const REFUSED: &str = "configuration refused: what ran before runs on";

/// The webhooks of three routes; the one that changes has two.
struct Hooks {
    steady: Webhook,
    changing: [Webhook; 2],
    coming: Webhook,
}

impl Hooks {
    fn start() -> Self {
        Self {
            steady: Webhook::start(),
            changing: [Webhook::start(), Webhook::start()],
            coming: Webhook::start(),
        }
    }

    /// The configuration of the reload with this number, each with other settings of one route, and one route more or less.
    fn configuration(&self, number: u32, source: &str) -> String {
        let [one, other] = &self.changing;
        let url = if number % 4 < 2 { one } else { other };
        let settings = format!("concurrency = {}\ntimeout = \"{}s\"", 1 + number % 7, 5 + number % 5);
        let mut toml = routed("steady", &self.steady, "concurrency = 4", source);
        toml += &routed("changing", url, &settings, source);
        if number % 2 == 1 {
            toml += &routed("coming", &self.coming, "", source);
        }
        toml
    }

    /// The numbers of all messages that the route that changes has delivered, sorted.
    fn changed(&self) -> Vec<u64> {
        let requests = self.changing.iter().flat_map(Webhook::requests);
        let mut numbers: Vec<_> = requests.filter_map(|request| request.number()).collect();
        numbers.sort_unstable();
        numbers
    }

    fn changed_count(&self) -> u64 {
        self.changing.iter().map(|hook| hook.delivered() as u64).sum()
    }
}

/// A route that takes its messages from `source`.
fn routed(name: &str, hook: &Webhook, settings: &str, source: &str) -> String {
    let route = route(name, hook, settings);
    if source.is_empty() { route } else { format!("{route}[routes.{name}.jetstream]\n{source}\n") }
}

/// Reloads, every tenth time with a mistake first, for as long as it takes.
async fn reload_often(
    daemon: &Running,
    folder: &Folder,
    hooks: &Hooks,
    source: &str,
    mut between: impl AsyncFnMut(u32),
) {
    for number in 1..=RELOADS {
        let right = hooks.configuration(number, source);
        if number % 10 == 0 {
            folder.swap("broadcaster.toml", &(right.clone() + "[routes.wrong.webhook]\nurl = \"ftp://x\"\n"));
            hang_up(daemon, REFUSED).await;
        }
        folder.swap("broadcaster.toml", &right);
        hang_up(daemon, APPLIED).await;
        between(number).await;
        // A load in between, so that there is always something on the way.
        let before = hooks.changed_count();
        hooks.steady.wait_for(|_| hooks.changed_count() >= before + 10, SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_lose_and_double_nothing() {
    let (nats, hooks) = (NatsServer::start().await, Hooks::start());
    let folder = Folder::with(&hooks.configuration(0, ""));
    let mut daemon = folder.start(&nats).await;
    let mut to_steady = publisher(&nats, "steady").await;
    to_steady.burst(500).await;
    hooks.steady.wait_for(|hook| hook.connections() == 4, SOON).await;
    let to_steady = to_steady.steadily(RATE);
    let to_changing = publisher(&nats, "changing").await.steadily(RATE);
    let mut to_coming = publisher(&nats, "coming").await;
    let began = Instant::now();
    // While the route is there.
    let coming = async |number: u32| {
        if number % 2 == 1 {
            to_coming.burst(20).await;
            hooks.coming.wait_delivered(usize::try_from(to_coming.count()).unwrap(), SOON).await;
        }
    };
    reload_often(&daemon, &folder, &hooks, "", coming).await;
    println!("{RELOADS} reloads in {:?}", began.elapsed());
    let (to_steady, to_changing) = (to_steady.stop().await, to_changing.stop().await);
    let (steady, changing) = (to_steady.count(), to_changing.count());
    hooks.steady.wait_delivered(usize::try_from(steady).unwrap(), SOON).await;
    hooks.steady.wait_for(|_| hooks.changed_count() >= changing, SOON).await;
    let account = daemon.stop().await;
    hooks.steady.assert_exactly_once(0..steady);
    hooks.coming.assert_exactly_once(0..to_coming.count());
    assert!(hooks.changed().into_iter().eq(0..changing), "one came twice, or not at all");
    assert_eq!(hooks.steady.connections(), 4, "a route that has not changed keeps its connections");
    assert_eq!(account.delivered, steady + changing + to_coming.count(), "{account:?}");
    assert!(account.adds_up() && account.dropped == 0, "{account:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_of_durable_routes_lose_and_double_nothing() {
    let (nats, hooks) = (NatsServer::start().await, Hooks::start());
    let stream = nats.stream("RELOAD", &["reload.>"]).await;
    let source = "stream = \"RELOAD\"\ncreate = true";
    let folder = Folder::with(&hooks.configuration(0, source));
    let mut daemon = folder.start(&nats).await;
    let to_steady = publisher(&nats, "steady").await.steadily(RATE);
    let to_changing = publisher(&nats, "changing").await.steadily(RATE);
    let mut to_coming = publisher(&nats, "coming").await;
    reload_often(&daemon, &folder, &hooks, source, async |_| to_coming.store(10).await).await;
    let (to_steady, to_changing) = (to_steady.stop().await, to_changing.stop().await);
    // What was stored while no route was there to take it.
    folder.swap("broadcaster.toml", &hooks.configuration(RELOADS + 1, source));
    hang_up(&daemon, APPLIED).await;
    let (steady, changing, coming) = (to_steady.count(), to_changing.count(), to_coming.count());
    hooks.steady.wait_delivered(usize::try_from(steady).unwrap(), SOON).await;
    hooks.coming.wait_delivered(usize::try_from(coming).unwrap(), SOON).await;
    hooks.steady.wait_for(|_| hooks.changed_count() >= changing, SOON).await;
    for route in ["steady", "changing", "coming"] {
        stream.wait_acknowledged(&format!("broadcaster-{route}"), SOON).await;
    }
    let account = daemon.stop().await;
    hooks.steady.assert_exactly_once(0..steady);
    hooks.coming.assert_exactly_once(0..coming);
    assert!(hooks.changed().into_iter().eq(0..changing), "one came twice, or not at all");
    assert_eq!(account.delivered, steady + changing + coming, "{account:?}");
}
