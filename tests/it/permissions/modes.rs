//! Each mode with exactly what the document lists for it.

use std::time::Duration;

use async_nats::jetstream::{self, consumer::pull, stream::Config};
use testkit::daemon::{Daemon, Running, run};
use testkit::nats::{NatsServer, next};
use testkit::publisher::Publisher;
use testkit::webhook::{Reply, Webhook};

use super::{PASSWORD, USER, assert_all_used, assert_nothing_refused, server_with, table::permissions};

pub(super) const SOON: Duration = Duration::from_secs(60);
const MESSAGES: u64 = 20;

/// A way to run it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    /// The parts of the document that list what it needs.
    pub(super) titles: &'static [&'static str],
    settings: &'static [(&'static str, &'static str)],
    /// Whether another replica takes over what this one can't deliver.
    pub(super) hands_over: bool,
    has_letters: bool,
    pub(super) is_durable: bool,
}

const CORE: Mode =
    Mode { titles: &["Core"], settings: &[], hands_over: false, has_letters: false, is_durable: false };
const DURABLE: (&str, &str) = ("routes.default.jetstream.stream", "TODOS");
const LETTERS: (&str, &str) = ("routes.default.dead_letter.subject", "broadcaster.dead.default");
const ANSWERS: (&str, &str) = ("routes.default.answer.publish", "answers.default");
const KEPT: (&str, &str) = ("routes.default.dead_letter.stream", "DEAD");

pub(super) const MODES: [Mode; 11] = [
    CORE,
    Mode { titles: &["Core", "Hand-over"], hands_over: true, ..CORE },
    Mode { titles: &["Durable"], settings: &[DURABLE], is_durable: true, ..CORE },
    Mode {
        titles: &["Durable", "Durable, with create"],
        settings: &[DURABLE, ("routes.default.jetstream.create", "true")],
        is_durable: true,
        ..CORE
    },
    Mode { titles: &["Core", "Dead letters"], settings: &[LETTERS], has_letters: true, ..CORE },
    Mode {
        titles: &["Core", "Dead letters", "Dead letters in a stream"],
        settings: &[LETTERS, KEPT],
        has_letters: true,
        ..CORE
    },
    Mode {
        titles: &["Core", "Dead letters", "Dead letters in a stream", "Dead letters, with create"],
        settings: &[LETTERS, KEPT, ("routes.default.dead_letter.create", "true")],
        has_letters: true,
        ..CORE
    },
    Mode {
        titles: &["Durable", "Dead letters", "Dead letters in a stream"],
        settings: &[DURABLE, LETTERS, KEPT],
        has_letters: true,
        is_durable: true,
        ..CORE
    },
    Mode { titles: &["Core", "Answers"], settings: &[ANSWERS], ..CORE },
    Mode {
        titles: &["Core", "Endpoints, with create", "Endpoints"],
        settings: &[("endpoints.bucket", "broadcaster"), ("endpoints.create", "true")],
        ..CORE
    },
    Mode {
        titles: &["Core", "History", "History, with stream", "History, with create"],
        settings: &[
            ("history.subject", "broadcaster.history"),
            ("history.outcomes", "all"),
            ("history.stream", "HISTORY"),
            ("history.create", "true"),
        ],
        ..CORE
    },
];

impl Mode {
    fn creates(&self, what: &str) -> bool {
        self.settings.iter().any(|(key, _)| key.ends_with(&format!("{what}.create")))
    }

    /// The streams and the consumer that an operator has made.
    pub(super) async fn prepare(&self, nats: &NatsServer) {
        let context = jetstream::new(nats.client().await);
        let make = async |name: &str, subject: &str| {
            let config =
                Config { name: name.to_owned(), subjects: vec![subject.to_owned()], ..Config::default() };
            context.create_stream(config).await.expect("a stream can be made")
        };
        if self.is_durable {
            let stream = make("TODOS", "todos.events").await;
            if !self.creates("jetstream") {
                let consumer = pull::Config {
                    durable_name: Some("broadcaster-default".to_owned()),
                    max_deliver: -1,
                    max_ack_pending: 10_000,
                    ..pull::Config::default()
                };
                stream.create_consumer(consumer).await.expect("a consumer can be made");
            }
        }
        if self.settings.contains(&KEPT) && !self.creates("dead_letter") {
            make("DEAD", "broadcaster.dead.default").await;
        }
    }

    /// The arguments of a daemon in this mode that logs in as the user with the permissions.
    pub(super) fn arguments(&self, nats: &NatsServer) -> Vec<String> {
        let url = nats.url().replace("nats://", &format!("nats://{USER}:{PASSWORD}@"));
        let hand_over = self.hands_over.to_string();
        let own = [("nats.url", &*url), ("shutdown.hand_over", &hand_over)];
        let settings = own.iter().chain(self.settings);
        settings.flat_map(|(key, value)| ["--set".to_owned(), format!("{key}={value}")]).collect()
    }

    pub(super) fn daemon(&self, nats: &NatsServer, hook: &Webhook) -> Daemon {
        let daemon = Daemon::new().env("WEBHOOK_URL", hook.url()).env("BROADCASTER__RUNTIME__THREADS", "1");
        self.arguments(nats).into_iter().fold(daemon, Daemon::arg)
    }

    /// Runs it, and counts at the receiver.
    async fn assert_works(&self) {
        let nats = server_with(&permissions(self.titles)).await;
        self.prepare(&nats).await;
        let hook = Webhook::start();
        let mut letters = nats.client().await.subscribe("broadcaster.dead.>").await.expect("it may");
        if self.has_letters {
            hook.answer(Reply::status(400));
        }
        if self.hands_over {
            hook.answer(Reply::status(200).after(Duration::from_secs(600)));
        }
        let daemon = |grace: &str| self.daemon(&nats, &hook).env("BROADCASTER__SHUTDOWN__GRACE", grace);
        let mut first = daemon(if self.hands_over { "0s" } else { "5s" }).start_ready().await;
        let mut publisher = Publisher::new(nats.client().await, "todos.events");
        if self.is_durable {
            publisher.store(MESSAGES).await;
        } else {
            publisher.burst(MESSAGES).await;
        }
        if self.hands_over {
            self.hand_over(&nats, first, daemon("5s"), &hook).await;
        } else {
            first
                .wait_metrics(
                    |metrics| metrics.sum("broadcaster_messages_processed_total", &[]) == MESSAGES as f64,
                    SOON,
                )
                .await;
            let account = first.stop().await;
            let (delivered, dead) = if self.has_letters { (0, MESSAGES) } else { (MESSAGES, 0) };
            assert_eq!((account.delivered, account.dead_lettered), (delivered, dead), "{self:?}");
        }
        for _ in 0..if self.has_letters { MESSAGES } else { 0 } {
            next(&mut letters, SOON).await;
        }
        if !self.has_letters {
            hook.assert_exactly_once(0..MESSAGES);
        }
        if self.is_durable {
            let stream = jetstream::new(nats.client().await).get_stream("TODOS").await.expect("it is there");
            let consumer = stream.consumer_info("broadcaster-default").await.expect("it is there");
            assert_eq!(
                (consumer.num_pending, consumer.num_ack_pending),
                (0, 0),
                "{self:?}: not acknowledged"
            );
        }
        assert_all_used(&nats, &permissions(self.titles));
        assert_nothing_refused(&nats);
    }

    async fn hand_over(&self, nats: &NatsServer, mut first: Running, second: Daemon, hook: &Webhook) {
        const RECEIVED: &str = "broadcaster_messages_received_total";
        first.wait_metrics(|metrics| metrics.sum(RECEIVED, &[]) == MESSAGES as f64, SOON).await;
        let mut second = second.start_ready().await;
        nats.wait_subscriptions("broadcaster.handover.broadcaster-workers", 2, SOON).await;
        hook.answer(200);
        assert_eq!(first.stop().await.handed_over, MESSAGES);
        second
            .wait_metrics(
                |metrics| metrics.sum("broadcaster_messages_processed_total", &[]) == MESSAGES as f64,
                SOON,
            )
            .await;
        assert_eq!(second.stop().await.delivered, MESSAGES);
    }
}

#[tokio::test]
async fn core_works_with_what_is_listed() {
    MODES[0].assert_works().await;
    MODES[1].assert_works().await;
}

#[tokio::test]
async fn durable_works_with_what_is_listed() {
    MODES[2].assert_works().await;
    MODES[3].assert_works().await;
}

#[tokio::test]
async fn attempts_are_told_with_what_is_listed() {
    let listed = permissions(&["Durable", "Durable, with hand-over"]);
    let nats = server_with(&listed).await;
    let mode = Mode { hands_over: true, ..MODES[2] };
    mode.prepare(&nats).await;
    let hook = Webhook::answering([500]);
    let daemon = mode.daemon(&nats, &hook).without_breaker().route("retry.initial", "5s");
    let mut daemon = daemon.env("BROADCASTER__SHUTDOWN__GRACE", "0s").start_ready().await;
    Publisher::new(nats.client().await, "todos.events").store(1).await;
    hook.wait_for(|hook| hook.received() == 1, SOON).await;
    daemon.wait_metrics(|metrics| metrics.sum("broadcaster_retry_queue_messages", &[]) == 1.0, SOON).await;
    assert_eq!(daemon.stop().await.returned, 1);
    assert_all_used(&nats, &listed);
    assert_nothing_refused(&nats);
}

#[tokio::test]
async fn dead_letters_work_with_what_is_listed() {
    for mode in &MODES[4..] {
        mode.assert_works().await;
    }
}

#[tokio::test]
async fn the_check_works_with_what_is_listed() {
    for mode in MODES {
        let nats = server_with(&permissions(&[mode.titles, &["Check"]].concat())).await;
        mode.prepare(&nats).await;
        let hook = Webhook::start();
        let arguments = [vec!["check".to_owned(), "--connect".to_owned()], mode.arguments(&nats)].concat();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let output = run(&arguments, &[("WEBHOOK_URL", &hook.url())]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("all that it needs"), "{mode:?}: {said}");
        assert!(!said.contains("can't be seen"), "{mode:?}: {said}");
        assert_all_used(&nats, &permissions(&["Check"]));
        assert_nothing_refused(&nats);
    }
}
