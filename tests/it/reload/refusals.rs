//! A configuration with mistakes changes nothing, and everybody hears of it who looks.

use super::*;

#[tokio::test]
async fn a_wrong_configuration_changes_nothing_and_is_said_until_it_is_right() {
    let (nats, hook, other) = (NatsServer::start().await, Webhook::start(), Webhook::start());
    let right = route("todos", &hook, "");
    let folder = Folder::with(&right);
    let mut daemon = folder.start(&nats).await;
    let mut publisher = publisher(&nats, "todos").await;

    // Two mistakes, a change that would be right, and a route less.
    folder.write(
        "broadcaster.toml",
        &(route("more", &other, "timeout = \"never\"") + "[log]\nlevel = \"loud\"\n"),
    );
    let refused = hang_up(&daemon, "configuration refused: what ran before runs on").await;
    let mistakes = refused["mistakes"].as_str().expect("a text").to_owned();
    for part in ["log.level", "routes.more.webhook.timeout", "broadcaster.toml:5"] {
        assert!(mistakes.contains(part), "{mistakes}");
    }
    publisher.burst(10).await;
    hook.wait_delivered(10, SOON).await;
    let told = complaints(&daemon).await;
    assert!(told[0].contains("is refused, and that of"), "{told:?}");
    assert_eq!(told.len(), 3, "{told:?}");

    folder.write("broadcaster.toml", "[routes");
    hang_up(&daemon, "configuration refused: what ran before runs on").await;
    assert!(complaints(&daemon).await[1].contains("expected TOML"));
    fs::remove_file(folder.path("broadcaster.toml")).expect("it was there");
    hang_up(&daemon, "configuration refused: what ran before runs on").await;
    assert!(complaints(&daemon).await[1].contains("cannot read"));

    folder.write("broadcaster.toml", &right);
    let applied = hang_up(&daemon, "configuration applied").await;
    assert_eq!(
        (&applied["added"], &applied["changed"], &applied["removed"]),
        (&"".into(), &"".into(), &"".into())
    );
    assert_eq!(complaints(&daemon).await, Vec::<String>::new());
    publisher.burst(10).await;
    hook.wait_delivered(20, SOON).await;
    assert_eq!(daemon.stop().await.delivered, 20);
}

#[tokio::test]
async fn what_counts_only_after_a_restart_is_said() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let folder = Folder::with(&route("todos", &hook, ""));
    let mut daemon = folder.start(&nats).await;
    folder.write(
        "broadcaster.toml",
        &(route("todos", &hook, "timeout = \"4s\"") + "[nats]\nname = \"other\"\n"),
    );
    assert_eq!(hang_up(&daemon, "configuration applied").await["changed"], "todos");
    assert_eq!(complaints(&daemon).await, ["what has changed in [nats] counts after a restart"]);
    daemon.stop().await;
}

/// The history goes where it went at the start. A route that took it would be told of each attempt at what it is told.
#[tokio::test]
async fn a_route_that_would_take_the_history_of_this_process_is_refused() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let history = |subject: &str| format!("[history]\nsubject = \"{subject}\"\noutcomes = \"all\"\n");
    let folder = Folder::with(&(route("todos", &hook, "") + &history("reload.told")));
    let mut daemon = folder.start(&nats).await;
    let routes = route("todos", &hook, "") + &route("told", &hook, "");
    folder.write("broadcaster.toml", &(routes + &history("elsewhere")));
    let refused = hang_up(&daemon, "configuration refused: what ran before runs on").await;
    let why = "routes.told.subject: expected none that reload.told matches";
    assert!(refused["mistakes"].as_str().is_some_and(|told| told.starts_with(why)), "{refused}");
    publisher(&nats, "todos").await.burst(10).await;
    hook.wait_delivered(10, SOON).await;
    assert_eq!(daemon.stop().await.received, 10);
}

/// The value of a secret is in no complaint.
#[tokio::test]
async fn a_secret_that_is_misplaced_is_shown_nowhere() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let folder = Folder::with(&route("todos", &hook, ""));
    let mut daemon = folder.start(&nats).await;
    let secret = "hunter2-Geheim99";
    folder.write("broadcaster.toml", &route("todos", &hook, &format!("timeout = \"https://u:{secret}@x/\"")));
    hang_up(&daemon, "configuration refused: what ran before runs on").await;
    let (_, body) = daemon.health().await;
    assert!(body.contains("routes.todos.webhook.timeout") && !body.contains(secret), "{body}");
    daemon.stop().await;
    assert!(daemon.logs_containing(secret).is_empty());
}
