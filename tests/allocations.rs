//! How many heap allocations a message costs, from the NATS socket to the webhook's answer, everything on.
//!
//! A program of its own, because it counts with an allocator of its own. It counts those of one thread: a whole lane runs
//! on it, and nothing else.

use std::{num::NonZeroUsize, sync::Arc, thread, time::Duration};

use broadcaster::{
    base::clock::Clock,
    config::{self, Sources},
    deliver::connect::tls::Trust,
    lane::{self, LaneStatus, Plan},
    route::shared,
};
use testkit::{nats::NatsServer, webhook::Webhook};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);
/// How many messages are under way at the same time.
const OUTSTANDING: usize = 500;

/// The allocations of a lane that delivers `messages`, from its start to its end.
fn allocations(messages: usize) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let nats = runtime.block_on(NatsServer::start());
    let hook = Webhook::counting();
    let env = [("WEBHOOK_URL", hook.url()), ("NATS_URL", nats.url())];
    let env = env.map(|(name, value)| (name.into(), value.into())).to_vec();
    let config = config::load(Sources { env, ..Sources::default() }).expect("a good configuration");
    let shares = shared::shares(&config.routes[0], NonZeroUsize::MIN, &Trust::load(), None);
    let (status, stop) = (Arc::<LaneStatus>::default(), CancellationToken::new());
    let plan = Plan {
        number: 0,
        config: Arc::new(config),
        shares,
        status: Arc::clone(&status),
        clock: Clock::start(),
        stop: stop.clone(),
        desk: None,
    };
    let publisher = thread::spawn(move || {
        runtime.block_on(async {
            testkit::poll(PATIENCE, || status.is_subscribed().then_some(()))
                .await
                .expect("the lane subscribes");
            let client = nats.client().await;
            for number in 0..messages {
                if number % 50 == 0 {
                    hook.wait_for(|hook| number - hook.delivered() < OUTSTANDING, PATIENCE).await;
                }
                let body = format!("{number:<256}").into();
                client.publish("todos.events", body).await.expect("NATS takes it");
            }
            hook.wait_delivered(messages, PATIENCE).await;
            stop.cancel();
        });
    });
    let lane = lane::runtime().expect("a runtime");
    let counted = allocation_counter::measure(|| lane.block_on(lane::run(plan)).expect("the lane runs"));
    publisher.join().expect("the publisher does its work");
    counted.count_total
}

#[test]
fn a_message_costs_two_allocations() {
    const FEW: usize = 5_000;
    const MANY: usize = 25_000;
    // What starting and stopping cost is the same for both.
    let more = allocations(MANY) - allocations(FEW);
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let each = more as f64 / (MANY - FEW) as f64;
    println!("{each:.2} allocations for each message");
    // Its subject, in the NATS client, and its copy of the payload, which lets go of the block that it was read with.
    // The blocks themselves are shared by many.
    assert!(each <= 2.5, "{each:.2} allocations for each message");
}
