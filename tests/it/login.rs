//! Logging in at the webhook, counted at real receivers: nginx, and oidc-provider with a webhook that asks it about each
//! token.

mod aws;
mod commands;
mod oauth2;
mod troubles;

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use testkit::{
    daemon::Daemon,
    nats::NatsServer,
    nginx::Nginx,
    publisher::Publisher,
    stage::Stage,
    token_server::TokenServer,
    webhook::{Behaviour, Received, Reply, Webhook},
};

const SUBJECT: &str = "todos.events";
const SOON: Duration = Duration::from_secs(60);

async fn publisher(nats: &NatsServer) -> Publisher {
    Publisher::new(nats.client().await, SUBJECT)
}

/// Puts `text` where `file` is, in one step.
fn swap(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).expect("the folder is writable");
    fs::rename(&new, file).expect("the folder is writable");
}

/// With a client of `server`, which knows it by its header or, `by body`, by what it says in the body.
fn as_client(daemon: Daemon, server: &TokenServer, client: &str) -> Daemon {
    let auth =
        |daemon: Daemon, key: &str, value: &str| daemon.route(&format!("webhook.auth.oauth2.{key}"), value);
    let daemon = auth(daemon, "token_url", &server.token_url());
    let daemon = auth(daemon, "client_id", client);
    let daemon = auth(daemon, "client_auth", if client == "by body" { "body" } else { "basic" });
    let secret = "BROADCASTER__ROUTES__DEFAULT__WEBHOOK__AUTH__OAUTH2__CLIENT_SECRET";
    auth(daemon, "scope", "hooks:write").env(secret, TokenServer::SECRET)
}

#[tokio::test]
async fn a_user_gets_in_at_nginx_and_a_new_password_is_used_when_the_file_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let (users, password) = (folder.path().join("users"), folder.path().join("password"));
    let user = |password: &str| fs::write(&users, format!("broadcaster:{{PLAIN}}{password}\n")).unwrap();
    user("first");
    fs::write(&password, "first\n").unwrap();
    let hook = Webhook::start();
    let origin = hook.url().replace("/hook", "/");
    let nginx =
        Nginx::start(&format!("auth_basic hooks; auth_basic_user_file {users:?}; proxy_pass {origin};"))
            .await;
    let mut stage = Stage::set(&nginx.url(), |daemon| {
        daemon
            .route("webhook.auth.basic.user", "broadcaster")
            .route("webhook.auth.basic.password_file", password.to_str().unwrap())
            .route("breaker.open_for", "200ms")
            .route("retry.attempts", "1")
            .impatient()
    })
    .await;
    stage.publish("1").await;
    hook.wait_delivered(1, SOON).await;
    // Nginx reads it for each request, the daemon within a second.
    user("second");
    swap(&password, "second\n");
    for number in 2..12 {
        stage.publish(number.to_string()).await;
    }
    hook.wait_delivered(11, SOON).await;
    assert!(
        nginx.requests().iter().all(|[status, ..]| matches!(status, 200 | 401)),
        "{:?}",
        nginx.requests()
    );
    assert_eq!(stage.close().await.delivered, 11);
}

#[tokio::test]
async fn a_token_that_kubernetes_renews_is_used_as_soon_as_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    // As the kubelet does it: a folder for each version, and a link to the present one that is swapped as a whole.
    let publish = |version: &str, token: &str| {
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("token"), token).unwrap();
        symlink(version, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
    };
    publish("..1", "first.token");
    symlink("..data/token", folder.path().join("token")).unwrap();
    let good = Arc::new(Mutex::new(vec!["Bearer first.token".to_owned()]));
    let hook = Webhook::start();
    let accepted = Arc::clone(&good);
    hook.answer(Behaviour::by(move |request: &Received| {
        let is_good = accepted.lock().unwrap().iter().any(|good| *good == request.header("authorization"));
        Reply::status(if is_good { 204 } else { 401 })
    }));
    let mut stage = Stage::set(&hook.url(), |daemon| {
        daemon.route("webhook.auth.bearer.token_file", folder.path().join("token").to_str().unwrap())
    })
    .await;
    let steady = publisher(&stage.nats).await.steadily(200);
    hook.wait_delivered(50, SOON).await;
    // Both are good for a while, as with the real ones.
    good.lock().unwrap().push("Bearer second.token".to_owned());
    publish("..2", "second.token");
    let used =
        |hook: &Webhook| hook.requests().iter().any(|it| it.header("authorization") == "Bearer second.token");
    hook.wait_for(used, SOON).await;
    let count = steady.stop().await.count();
    hook.wait_delivered(usize::try_from(count).unwrap(), SOON).await;
    stage.wait_processed(u32::try_from(count).unwrap()).await;
    stage.assert_codes([("204", count)]).await;
    assert_eq!(stage.close().await.delivered, count);
    assert!(stage.daemon.logs_containing(".token\"").is_empty(), "a token is in the log");
}
