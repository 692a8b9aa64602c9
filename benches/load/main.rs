//! The whole daemon under load: `cargo bench --bench load`.
//!
//! A real nats-server, a receiver that only counts, and the daemon as a process with one lane. It prints how many
//! messages a second came through, and what each cost in CPU time of the daemon (user and system), beside the
//! [`floor`]. With all of them on one machine the CPU time is the figure to look at: the rate also depends on what the
//! others leave. Machines are noisy, so the two take turns, and the medians are compared.
#![expect(clippy::print_stdout, reason = "printing figures is its job")]

mod floor;

use std::{
    env,
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use support::{daemon::Daemon, nats::NatsServer, webhook::Webhook};

#[path = "../../tests/support/mod.rs"]
mod support;

const MESSAGES: usize = 200_000;
const SIZE: usize = 256;
const ROUNDS: usize = 5;
/// How many messages are under way at the same time: enough to keep everything busy, too few to overflow a queue.
const OUTSTANDING: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(120);
/// Set for the process that is the floor: where it posts to.
const FLOOR: &str = "BROADCASTER_BENCH_FLOOR";

fn main() {
    if let Ok(address) = env::var(FLOOR) {
        let cpu = floor::post_all(address.parse().expect("an address"));
        return println!("{}", cpu.as_micros());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        println!("{MESSAGES} messages of {SIZE} bytes, concurrency 64, one lane\n");
        println!("round   messages/s   CPU µs/msg   floor µs/msg   idle RSS KiB   RSS KiB");
        let (mut rates, mut costs, mut floors) = (Vec::new(), Vec::new(), Vec::new());
        for number in 1..=ROUNDS {
            let floor = floor_round();
            let round = round().await;
            println!(
                "{number:>5} {:>12.0} {:>12.2} {floor:>14.2} {:>14} {:>9}",
                round.rate, round.cost, round.idle_rss, round.rss
            );
            rates.push(round.rate);
            costs.push(round.cost);
            floors.push(floor);
        }
        let (rate, cost, floor) = (median(rates), median(costs), median(floors));
        println!(
            "\nmedians: {rate:.0} messages/s, {cost:.2} µs of CPU per message, {:.2} x the floor",
            cost / floor
        );
    });
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// What a message costs the floor, in µs of CPU time.
fn floor_round() -> f64 {
    let hook = Webhook::counting();
    let this = env::current_exe().expect("this program has a path");
    let address: SocketAddr = hook.address();
    let output =
        Command::new(this).env(FLOOR, address.to_string()).output().expect("this program runs again");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(hook.delivered(), MESSAGES, "{}", hook.summary());
    per_message(String::from_utf8_lossy(&output.stdout).trim().parse().expect("it prints its CPU time"))
}

fn per_message(figure: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let messages = MESSAGES as f64;
    figure / messages
}

struct Round {
    /// Messages a second.
    rate: f64,
    /// CPU time of the daemon per message, in µs.
    cost: f64,
    idle_rss: u64,
    rss: u64,
}

async fn round() -> Round {
    let nats = NatsServer::start().await;
    let hook = Webhook::counting();
    let daemon = Daemon::between(&nats, &hook.url()).env("BROADCASTER__RUNTIME__THREADS", "1");
    let mut daemon = daemon.start_ready().await;
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
    Round {
        rate: 1.0 / per_message(time.as_secs_f64()),
        cost: per_message(cpu.as_secs_f64() * 1e6),
        idle_rss,
        rss,
    }
}
