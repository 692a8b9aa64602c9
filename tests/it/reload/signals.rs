//! SIGHUP.

use super::*;

#[tokio::test]
async fn a_hangup_has_the_file_read_again() {
    let (nats, hook, other) = (NatsServer::start().await, Webhook::start(), Webhook::start());
    let folder = Folder::with(&(route("stays", &hook, "") + &route("goes", &hook, "")));
    let mut daemon = folder.start(&nats).await;
    publisher(&nats, "stays").await.burst(10).await;
    hook.wait_delivered(10, SOON).await;

    folder
        .write("broadcaster.toml", &(route("stays", &hook, "") + &route("comes", &other, "concurrency = 3")));
    let applied = hang_up(&daemon, "configuration applied").await;
    assert_eq!(
        (&applied["added"], &applied["changed"], &applied["removed"]),
        (&"comes".into(), &"".into(), &"goes".into())
    );
    publisher(&nats, "comes").await.burst(10).await;
    other.wait_delivered(10, SOON).await;
    assert_eq!(complaints(&daemon).await, Vec::<String>::new());
    assert_eq!(daemon.stop().await.delivered, 20);
}

#[tokio::test]
async fn environment_and_options_stay_what_they_were_at_the_start() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let folder = Folder::with("[routes.default.webhook]\nconcurrency = 1\n");
    let daemon = Daemon::between(&nats, &hook.url()).env("BROADCASTER__RELOAD__WATCH", "false");
    let daemon = daemon.config_file(&folder.path("broadcaster.toml"));
    let mut daemon = daemon.route("webhook.timeout", "3s").start_ready().await;
    folder.write("broadcaster.toml", "[routes.default.webhook]\nconcurrency = 2\ntimeout = \"9s\"\n");
    let applied = hang_up(&daemon, "configuration applied").await;
    assert_eq!(applied["changed"], "default");
    folder.write("broadcaster.toml", "[routes.default.webhook]\nconcurrency = 2\n");
    let applied = hang_up(&daemon, "configuration applied").await;
    assert_eq!(applied["changed"], "", "the option has counted both times");
    let mut publisher = Publisher::new(nats.client().await, "todos.events");
    publisher.burst(5).await;
    hook.wait_delivered(5, SOON).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_secret_in_a_file_is_found_again() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let folder = Folder::with("");
    let key = folder.path("key");
    let settings = format!(
        "format = \"template\"\ntemplate = '{{{{ secrets.key }}}}'\ncontent_type = \"text/plain\"\n\
         secrets_file = {{ key = \"{}\" }}",
        key.display()
    );
    folder.write("key", "first\n");
    folder.write("broadcaster.toml", &route("todos", &hook, &settings));
    let mut daemon = folder.start(&nats).await;
    folder.write("key", "second\n");
    assert_eq!(hang_up(&daemon, "configuration applied").await["changed"], "todos");
    publisher(&nats, "todos").await.burst(1).await;
    hook.wait_delivered(1, SOON).await;
    assert_eq!(hook.requests()[0].text(), "second");
    daemon.stop().await;
}

#[tokio::test]
async fn what_comes_together_is_one_reload_and_a_stop_does_not_wait_for_it() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let folder = Folder::with(&route("todos", &hook, ""));
    let mut daemon = folder.start(&nats).await;
    for _ in 0..50 {
        daemon.signal(Signal::HUP);
    }
    daemon.wait_log("configuration applied", SOON).await;
    daemon.term();
    daemon.signal(Signal::HUP);
    assert!(daemon.wait(SOON).await.success());
    let reloads = daemon.events("configuration applied").len();
    assert!(reloads < 25, "{reloads} reloads for 50 signals that came together");
}
