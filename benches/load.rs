//! The whole daemon under load: `cargo bench --bench load`.
//!
//! A real nats-server, a receiver that only counts, and the daemon as a process with one lane. It prints how many
//! messages a second came through, and what each cost in CPU time of the daemon (user and system). With all of them on
//! one machine the CPU time is the figure to look at: the rate also depends on what the others leave.
#![expect(clippy::print_stdout, reason = "printing figures is its job")]

use std::time::{Duration, Instant};

use support::{daemon::Daemon, nats::NatsServer, webhook::Webhook};

#[path = "../tests/support/mod.rs"]
mod support;

const MESSAGES: usize = 200_000;
const SIZE: usize = 256;
const ROUNDS: usize = 5;
/// How many messages are under way at the same time: enough to keep everything busy, too few to overflow a queue.
const OUTSTANDING: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        println!("{MESSAGES} messages of {SIZE} bytes, concurrency 64, one lane\n");
        println!(
            "{:>5} {:>12} {:>14} {:>14} {:>10}",
            "round", "messages/s", "CPU µs/msg", "idle RSS KiB", "RSS KiB"
        );
        let mut costs = Vec::with_capacity(ROUNDS);
        for number in 1..=ROUNDS {
            let round = round().await;
            println!(
                "{number:>5} {:>12.0} {:>14.2} {:>14} {:>10}",
                round.rate, round.cost, round.idle_rss, round.rss
            );
            costs.push(round);
        }
        costs.sort_by(|a, b| a.cost.total_cmp(&b.cost));
        let median = &costs[ROUNDS / 2];
        println!("\nmedian: {:.0} messages/s, {:.2} µs of CPU per message", median.rate, median.cost);
    });
}

struct Round {
    rate: f64,
    cost: f64,
    idle_rss: u64,
    rss: u64,
}

async fn round() -> Round {
    let nats = NatsServer::start().await;
    let hook = Webhook::counting();
    let mut daemon =
        Daemon::between(&nats, &hook.url()).env("BROADCASTER__RUNTIME__THREADS", "1").start_ready().await;
    let idle_rss = daemon.rss_kib();
    let client = nats.client().await;
    let (began, cpu_before) = (Instant::now(), daemon.cpu_time());
    for number in 0..MESSAGES {
        if number % 64 == 0 {
            hook.wait_for(|hook| number - hook.delivered() < OUTSTANDING, PATIENCE).await;
        }
        client.publish("todos.events", format!("{number:<SIZE$}").into()).await.expect("NATS takes it");
    }
    hook.wait_delivered(MESSAGES, PATIENCE).await;
    let (time, cpu) = (began.elapsed(), daemon.cpu_time() - cpu_before);
    let rss = daemon.rss_kib();
    let account = daemon.stop().await;
    assert!(account.adds_up() && account.delivered == MESSAGES as u64, "{account:?}");
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let messages = MESSAGES as f64;
    Round { rate: messages / time.as_secs_f64(), cost: cpu.as_secs_f64() * 1e6 / messages, idle_rss, rss }
}
