//! Signals: which end the daemon, which don't, and what becomes of the messages in hand.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use testkit::nats::NatsServer;
use testkit::process::Process;
use testkit::publisher::Publisher;
use testkit::stage::Stage;
use testkit::webhook::{Reply, Webhook};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_asks_for_no_stop_ends_nothing() {
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_millis(500)));
    let mut stage = Stage::set(&hook.url(), |daemon| daemon).await;
    stage.publish("0").await;
    hook.wait_for(|hook| hook.received() == 1, SOON).await;
    for (signal, said) in
        [(Signal::HUP, "configuration applied"), (Signal::USR1, "SIGUSR1"), (Signal::USR2, "SIGUSR2")]
    {
        stage.daemon.signal(signal);
        stage.daemon.wait_log(said, SOON).await;
    }
    hook.wait_delivered(1, SOON).await;
    stage.publish("1").await;
    hook.wait_delivered(2, SOON).await;
    // While it is stopping they are no second request either.
    stage.publish("2").await;
    hook.wait_for(|hook| hook.received() == 3, SOON).await;
    stage.daemon.signal(Signal::QUIT);
    stage.daemon.wait_log("stopping", SOON).await;
    stage.daemon.signal(Signal::HUP);
    stage.daemon.signal(Signal::USR1);
    assert_eq!(stage.daemon.wait(SOON).await.code(), Some(0));
    assert_eq!(stage.daemon.events("stopping")[0]["signal"], "SIGQUIT");
    assert_eq!(stage.daemon.account().delivered, 3);
    hook.assert_exactly_once(0..3);
}

/// As in `broadcaster 2>&1 | head`.
#[tokio::test]
async fn a_log_that_nobody_reads_any_more_ends_nothing() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    let mut command = Command::new(testkit::daemon::binary());
    command
        .env_clear()
        .env("NATS_URL", nats.url())
        .env("WEBHOOK_URL", hook.url())
        .env("LOG_LEVEL", "debug")
        .env("BROADCASTER__RUNTIME__THREADS", "1")
        .env("BROADCASTER__SERVER__API", "127.0.0.1:0")
        .env("BROADCASTER__SERVER__METRICS", "127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut daemon = Process::spawn("broadcaster", &mut command);
    drop(daemon.take_stderr());
    nats.wait_subscriptions("todos.events", 1, SOON).await;
    Publisher::new(nats.client().await, "todos.events").burst(100).await;
    hook.wait_delivered(100, SOON).await;
    daemon.signal(Signal::PIPE);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(SOON).await.code(), Some(0));
    hook.assert_exactly_once(0..100);
}

#[tokio::test]
async fn a_complaint_that_nobody_reads_changes_no_exit_status() {
    for (arguments, status) in
        [(["check", "--set", "log.level=loud"], 78), (["health", "--url", "ftp://x"], 2)]
    {
        let mut command = Command::new(testkit::daemon::binary());
        command.args(arguments).env_clear().stderr(Stdio::piped());
        let mut process = Process::spawn("broadcaster", &mut command);
        drop(process.take_stderr());
        let ended = process.wait(SOON).await;
        assert_eq!(ended.code(), Some(status), "{arguments:?}");
    }
}
