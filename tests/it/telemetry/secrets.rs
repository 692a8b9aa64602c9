//! Secrets are shown nowhere, whatever goes wrong.

use std::time::Duration;

use testkit::daemon::{Daemon, Running, run};
use testkit::nats::NatsServer;
use testkit::raw::{self, Misbehaviour, RawPeer};

const SOON: Duration = Duration::from_secs(60);

/// A part of each secret below.
const SECRET: &str = "s3cret";

/// What there is to configure a daemon whose webhook is at `address`, with secrets in all places.
fn settings(nats_url: &str, webhook: &str) -> Vec<(&'static str, String)> {
    vec![
        ("NATS_URL", nats_url.to_owned()),
        ("WEBHOOK_URL", format!("{webhook}/s3cret-path?key=s3cret-query")),
        ("BROADCASTER__ROUTES__DEFAULT__WEBHOOK__HEADERS__AUTHORIZATION", "Bearer s3cret-header".to_owned()),
        ("BROADCASTER__ROUTES__DEFAULT__RETRY__INITIAL", "5ms".to_owned()),
        ("BROADCASTER__ROUTES__DEFAULT__RETRY__ATTEMPTS", "4".to_owned()),
        ("LOG_LEVEL", "trace".to_owned()),
    ]
}

fn daemon(settings: &[(&str, String)]) -> Daemon {
    settings.iter().fold(Daemon::new(), |daemon, (name, value)| daemon.env(name, value))
}

/// A panic when a secret is in the log, the metrics, `/health`, the status or what `check` prints.
async fn assert_nothing_shown(daemon: &Running, settings: &[(&str, String)]) {
    let (_, health) = daemon.health().await;
    let env: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let check = run(&["check"], &env);
    assert!(check.status.success(), "check: {}", String::from_utf8_lossy(&check.stderr));
    let places = [
        ("the log", daemon.logs().join("\n")),
        ("the metrics", daemon.metrics().await.text().to_owned()),
        ("/health", health),
        ("the status", daemon.get("/api/v1/status?history=true").await.body),
        ("the status of a route", daemon.get("/api/v1/status/routes/default").await.body),
        ("the configuration", daemon.get("/api/v1/status/configuration").await.body),
        ("check", String::from_utf8_lossy(&check.stdout).into_owned()),
    ];
    for (place, text) in places {
        let line = text.lines().find(|line| line.contains(SECRET));
        assert_eq!(line, None, "{place} shows a secret");
    }
}

/// A daemon that is let in by NATS with `login`, in its URL or in `settings`, and has a webhook that fails in many ways.
async fn assert_kept(authorization: &str, login: &str, more: &[(&'static str, &str)]) {
    let nats = NatsServer::builder().config(&format!("authorization {{ {authorization} }}")).start().await;
    let peer = RawPeer::start([
        Misbehaviour::Say(raw::GARBAGE),
        Misbehaviour::Reset,
        Misbehaviour::SayAndClose(b"HTTP/1.1 200 O"),
        Misbehaviour::Say(raw::OK),
    ]);
    let webhook = format!("http://{}", peer.address());
    let url = nats.url().replace("nats://", &format!("nats://{login}"));
    let mut settings = settings(&url, &webhook);
    settings.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let mut running = daemon(&settings).start_ready().await;
    let allowed = match authorization {
        "token: \"s3cret-token\"" => async_nats::ConnectOptions::with_token("s3cret-token".to_owned()),
        _ => async_nats::ConnectOptions::with_user_and_password(
            "alice".to_owned(),
            "s3cret-password".to_owned(),
        ),
    };
    let client = nats.client_with(allowed).await;
    client.publish("todos.events", "0".into()).await.expect("the client publishes");
    peer.wait_for(|peer| peer.requests().len() == 4, SOON).await;
    assert!(
        peer.requests()[3].contains("Bearer s3cret-header"),
        "the header is not sent: {:?}",
        peer.requests()
    );
    assert_nothing_shown(&running, &settings).await;
    running.stop().await;
    assert_nothing_logged(&running);
}

fn assert_nothing_logged(daemon: &Running) {
    let lines = daemon.logs_containing(SECRET);
    assert!(lines.is_empty(), "the log shows a secret: {lines:?}");
}

#[tokio::test]
async fn no_secret_is_shown_while_the_webhook_fails() {
    let password = "user: alice, password: \"s3cret-password\"";
    let user = ("BROADCASTER__NATS__USER", "alice");
    assert_kept(password, "", &[user, ("BROADCASTER__NATS__PASSWORD", "s3cret-password")]).await;
    assert_kept(password, "alice:s3cret-password@", &[]).await;
    assert_kept("token: \"s3cret-token\"", "s3cret-token@", &[]).await;
    assert_kept("token: \"s3cret-token\"", "", &[("BROADCASTER__NATS__TOKEN", "s3cret-token")]).await;
}

#[tokio::test]
async fn no_secret_is_shown_while_nats_refuses_it() {
    let nats = NatsServer::builder().config("authorization { token: \"another\" }").start().await;
    for (login, more) in [
        ("s3cret-token@", None),
        ("alice:s3cret-password@", None),
        ("", Some(("BROADCASTER__NATS__TOKEN", "s3cret-token"))),
    ] {
        let url = nats.url().replace("nats://", &format!("nats://{login}"));
        // Neither the name of the webhook nor NATS are any good.
        let mut settings = settings(&url, "https://nonexistent.invalid");
        settings.extend(more.map(|(name, value)| (name, value.to_owned())));
        let running = daemon(&settings).start().await;
        running.wait_log("NATS connection in trouble", SOON).await;
        assert_nothing_shown(&running, &settings).await;
        let (status, health) = running.health().await;
        assert!(status == 503 && health.contains("not connected to NATS"), "{status} {health}");
    }
}
