//! The bounds are what an operator sizes a pod by: they hold for messages of any size, wherever those are, and the
//! defaults fit into a pod of 128 MiB.

use std::net::TcpListener;
use std::time::Duration;

use testkit::control_group::ControlGroup;
use testkit::daemon::{Account, Daemon, Running};
use testkit::metrics::Metrics;
use testkit::nats::NatsServer;
use testkit::publisher::Publisher;
use testkit::webhook::{Behaviour, Reply, Webhook};

const SUBJECT: &str = "todos.events";
const SOON: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;
/// What NATS takes at most, by default, with room for headers.
const LARGE: usize = 1_048_000;

/// A pod as the manifests have it: 128 MiB, and the bounds that are set by default.
struct Pod {
    nats: NatsServer,
    daemon: Running,
    publisher: Publisher,
    group: Option<ControlGroup>,
    /// What the daemon took before there was anything to do.
    idle: u64,
}

impl Pod {
    /// A pod that takes messages of `sizes`, in turn, to `url`.
    async fn start(sizes: &[usize], url: &str, describe: impl FnOnce(Daemon) -> Daemon) -> Self {
        let nats = NatsServer::start().await;
        let group = ControlGroup::limited_to(128 * MIB)
            .inspect_err(|error| {
                eprintln!(
                    "NO CONTROL GROUP can be made here ({error}): only the resident memory is looked at"
                );
            })
            .ok();
        let daemon = group.as_ref().map_or_else(Daemon::new, Daemon::within);
        // No webhook is left alone here, and no attempt given up.
        let daemon = daemon.from_to(&nats, url).without_breaker().route("webhook.timeout", "10m");
        let daemon = describe(daemon).env("BROADCASTER__SHUTDOWN__GRACE", "1s").start_ready().await;
        let publisher = Publisher::new(nats.client().await, SUBJECT).mixed(sizes);
        let idle = daemon.own_memory();
        Self { nats, daemon, publisher, group, idle }
    }

    /// Publishes `count` messages, and waits until all of them were received.
    async fn publish(&mut self, count: u64) -> Metrics {
        self.publisher.burst(count).await;
        let published = self.publisher.count() as f64;
        let received =
            |metrics: &Metrics| metrics.value("broadcaster_messages_received_total", &[]) >= published;
        self.daemon.wait_metrics(received, SOON).await;
        self.daemon.metrics().await
    }

    /// Publishes some megabytes at a time until the metrics are as they should be.
    async fn publish_until(&mut self, step: u64, full: impl Fn(&Metrics) -> bool) {
        const MOST_STEPS: usize = 40;
        let mut steps = 0;
        while !full(&self.publish(step).await) {
            steps += 1;
            assert!(steps < MOST_STEPS, "nothing is full after {} messages", self.publisher.count());
        }
    }

    /// A panic unless the daemon takes no more than `bounds`, and a third for what no bound can know of.
    fn assert_within(&self, bounds: u64) {
        let taken = self.daemon.own_memory().saturating_sub(self.idle);
        let sockets = self.group.as_ref().map_or(0, ControlGroup::sockets);
        let (taken, sockets) = (taken as f64 / MIB as f64, sockets as f64 / MIB as f64);
        eprintln!("{taken:.1} MiB and {sockets:.1} MiB in sockets, for bounds of {} MiB", bounds / MIB);
        assert!(taken <= 1.3 * (bounds / MIB) as f64, "{taken:.1} MiB are taken by {} MiB", bounds / MIB);
    }

    /// A panic unless the daemon lives and says what became of each message.
    async fn close(mut self) -> Account {
        let account = self.daemon.stop().await;
        assert!(account.adds_up() && account.in_hand == 0, "{account:?}");
        assert_eq!(account.received, self.publisher.count(), "{account:?}");
        account
    }
}

/// A webhook that reads each request and never answers.
fn hung() -> Reply {
    Reply::status(200).after(Duration::from_secs(600))
}

/// Has everything full at the same time, with messages of `sizes`: the retries, the queue with what is under way, the
/// dead letters.
async fn all_full(sizes: &[usize]) {
    const RETRIES: u64 = 32 * MIB;
    let largest = *sizes.iter().max().expect("there is a size") as f64;
    let mean = sizes.iter().sum::<usize>() / sizes.len() + 400;
    let step = 12 * MIB / mean as u64;
    let hook = Webhook::counting();
    hook.answer(503);
    let mut pod = Pod::start(sizes, &hook.url(), |daemon| {
        daemon
            .route("retry.attempts", "1000000")
            .route("retry.initial", "1h")
            .route("retry.max", "1h")
            // Which does not exist: letters wait for it.
            .route("dead_letter.stream", "DEAD")
            .route("dead_letter.subject", "dead")
    })
    .await;
    pod.publish_until(step, |metrics| {
        let bytes = metrics.value("broadcaster_retry_queue_bytes", &[]);
        assert!(bytes <= RETRIES as f64, "{bytes} bytes wait for another attempt");
        bytes > RETRIES as f64 - 4.0 * (largest + 1_000.0)
    })
    .await;
    hook.answer(hung());
    pod.publish_until(step, |metrics| {
        let bytes = metrics.value("broadcaster_queue_bytes", &[]);
        assert!(bytes <= (32 * MIB) as f64, "{bytes} bytes in the queue");
        metrics.value("broadcaster_messages_processed_total", &[("outcome", "dropped")]) > 0.0
    })
    .await;
    pod.assert_within((32 + 32 + 16) * MIB);
    pod.nats.stream("DEAD", &["dead"]).await;
    let account = pod.close().await;
    assert!(account.dead_lettered > 0 && account.dropped > 0, "{account:?}");
}

#[tokio::test]
async fn full_of_messages_of_17_kilobytes_it_takes_what_is_configured() {
    all_full(&[17_000]).await;
}

#[tokio::test]
async fn full_of_the_largest_messages_it_takes_what_is_configured() {
    all_full(&[LARGE]).await;
}

#[tokio::test]
async fn full_of_messages_of_all_sizes_it_takes_what_is_configured() {
    all_full(&[100, 20_000, LARGE, 4_000, 200_000]).await;
}

#[tokio::test]
async fn what_is_posted_to_a_webhook_that_reads_nothing_counts() {
    // Connections are opened by the kernel, and stay as they are.
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("the system has a free port");
    let url = format!("http://{}/hook", listener.local_addr().expect("a listener has an address"));
    let mut pod = Pod::start(&[LARGE], &url, |daemon| daemon).await;
    for _ in 0..5 {
        let metrics = pod.publish(20).await;
        assert!(metrics.value("broadcaster_queue_bytes", &[]) <= (32 * MIB) as f64);
    }
    // A new route begins with few.
    let in_flight = |metrics: &Metrics| metrics.value("broadcaster_in_flight", &[]);
    pod.daemon.wait_metrics(|metrics| in_flight(metrics) >= 29.0, SOON).await;
    let most = in_flight(&pod.daemon.metrics().await);
    assert!(most < 33.0, "{most} attempts at once");
    pod.assert_within(32 * MIB);
    let account = pod.close().await;
    assert_eq!((account.delivered, account.dropped), (0, 100), "{account:?}");
}

#[tokio::test]
async fn small_messages_that_wait_do_not_keep_large_ones_alive_that_were_read_with_them() {
    let hook = Webhook::counting();
    let is_large = |number: Option<u64>| number.is_some_and(|number| number % 2 == 1);
    hook.answer(Behaviour::by(move |request| {
        Reply::status(if is_large(request.number()) { 200 } else { 503 })
    }));
    let retry = |daemon: Daemon| daemon.route("retry.initial", "1h").route("retry.max", "1h");
    let mut pod = Pod::start(&[20_000, LARGE], &hook.url(), retry).await;
    for _ in 0..20 {
        let published = pod.publisher.count() + 20;
        pod.publish(20).await;
        hook.wait_for(|hook| hook.received() as u64 >= published, SOON).await;
    }
    // 200 of them wait, which is not 4 MiB. The rest is what is read at once, and not given back yet.
    pod.assert_within(32 * MIB);
    let account = pod.close().await;
    assert!(account.delivered >= 200, "{account:?}");
}

/// A daemon with so many threads.
fn with_threads(nats: &NatsServer, hook: &Webhook, threads: &str) -> Daemon {
    Daemon::between(nats, &hook.url()).env("BROADCASTER__RUNTIME__THREADS", threads)
}

#[tokio::test]
async fn an_idle_route_takes_a_message_as_large_as_its_bounds() {
    let nats = NatsServer::start().await;
    let hook = Webhook::counting();
    // An attempt that fails, and one that does not: it finds room among the retries, too.
    hook.answer(Behaviour::by(|request| {
        Reply::status(if request.header("broadcaster-attempt") == "1" { 503 } else { 200 })
    }));
    let mut daemon = with_threads(&nats, &hook, "4")
        .impatient()
        .without_breaker()
        .route("queue.bytes", "1100KB")
        .route("retry.bytes", "1100KB")
        .start_ready()
        .await;
    let mut publisher = Publisher::new(nats.client().await, SUBJECT).padded(LARGE);
    // Each lane gets some.
    for number in 1..=12 {
        publisher.burst(1).await;
        hook.wait_delivered(number, SOON).await;
    }
    let account = daemon.stop().await;
    assert_eq!((account.received, account.delivered), (12, 12), "{account:?}");
}

#[tokio::test]
async fn one_request_that_hangs_holds_up_no_message_that_another_worker_could_take() {
    for (threads, concurrency, hanging) in [("2", "2", 1), ("4", "4", 3)] {
        let nats = NatsServer::start().await;
        let hook = Webhook::start();
        hook.answer(Behaviour::by(move |request| {
            if request.number().is_some_and(|number| number < hanging) { hung() } else { Reply::status(200) }
        }));
        let mut daemon = with_threads(&nats, &hook, threads)
            .env("BROADCASTER__SHUTDOWN__GRACE", "0s")
            .route("webhook.concurrency", concurrency)
            .start_ready()
            .await;
        let mut publisher = Publisher::new(nats.client().await, SUBJECT);
        publisher.burst(hanging).await;
        hook.wait_for(|hook| hook.received() as u64 == hanging, SOON).await;
        publisher.burst(200).await;
        hook.wait_delivered(200, Duration::from_secs(5)).await;
        assert!(daemon.stop().await.adds_up());
    }
}
