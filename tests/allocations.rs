//! How many heap allocations a message costs, from the NATS socket to the webhook's answer, everything on.
//!
//! A program of its own, because it counts with an allocator of its own. It counts those of one thread: a whole lane runs
//! on it, and nothing else.

use std::{sync::Arc, thread, time::Duration};

use broadcaster::{
    base::{clock::Clock, runtime},
    config::{self, Sources},
    deliver::endpoint::Surroundings,
    lane::{self, LaneStatus, Plan},
    route::{registry::Registry, shared::Route},
};
use testkit::{nats::NatsServer, webhook::Webhook};

const PATIENCE: Duration = Duration::from_secs(60);
/// How many messages are under way at the same time.
const OUTSTANDING: usize = 500;

/// The allocations of a lane that delivers `messages`, so many in each request, from its start to its end.
fn allocations(messages: usize, batch: usize) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let nats = runtime.block_on(NatsServer::start());
    let hook = Webhook::counting();
    let env = [
        ("WEBHOOK_URL", hook.url()),
        ("NATS_URL", nats.url()),
        ("BROADCASTER__ROUTES__DEFAULT__BATCH__MAX_MESSAGES", batch.to_string()),
        ("BROADCASTER__ROUTES__DEFAULT__BATCH__MAX_WAIT", "1m".to_owned()),
    ];
    let env = env.map(|(name, value)| (name.into(), value.into())).to_vec();
    let config = config::load(Sources { env, ..Sources::default() }).expect("a good configuration");
    let registry = Arc::new(Registry::new(1));
    let settings = config.routes.into_iter().next().expect("there is a route");
    let (stats, endpoint) =
        (registry.stats_of(&settings.name), Surroundings::default().endpoint(&settings, Clock::start()));
    let generation =
        registry.publish([Arc::new(Route::new(settings, stats, endpoint, None))], config.shutdown.grace);
    let status = Arc::<LaneStatus>::default();
    let plan = Plan {
        number: 0,
        nats: config.nats,
        routes: registry.subscribe(),
        status: Arc::clone(&status),
        offers: None,
        clock: Clock::start(),
    };
    let publisher = thread::spawn(move || {
        runtime.block_on(async {
            status.applied(generation).await;
            nats.wait_subscriptions("todos.events", 1, PATIENCE).await;
            let client = nats.client().await;
            for number in 0..messages {
                if number % 50 == 0 {
                    hook.wait_for(|hook| number - batch * hook.delivered() < OUTSTANDING, PATIENCE).await;
                }
                let body = format!("{number:<256}").into();
                client.publish("todos.events", body).await.expect("NATS takes it");
            }
            hook.wait_for(|hook| batch * hook.delivered() == messages, PATIENCE).await;
            registry.close(Duration::ZERO);
        });
    });
    let lane = runtime::local().expect("a runtime");
    let counted = allocation_counter::measure(|| lane.block_on(lane::run(plan)));
    publisher.join().expect("the publisher does its work");
    counted.count_total
}

/// The allocations of one message among so many in each request.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn per_message(batch: usize) -> f64 {
    const FEW: usize = 5_000;
    const MANY: usize = 25_000;
    // What starting and stopping cost is the same for both.
    let more = allocations(MANY, batch) - allocations(FEW, batch);
    more as f64 / (MANY - FEW) as f64
}

#[test]
fn a_message_costs_two_allocations() {
    // Its subject, in the NATS client, and its copy of the payload, which lets go of the block that it was read with.
    // The blocks themselves are shared by many. A batch makes nothing for each of its messages.
    for batch in [1, 100] {
        let each = per_message(batch);
        println!("{each:.2} allocations for each message, {batch} in each request");
        assert!(each <= 2.5, "{each:.2} allocations for each message, {batch} in each request");
    }
}
