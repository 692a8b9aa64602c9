//! Files that change are read again, without anybody asking for it.

use std::os::unix::fs::symlink;

use super::*;

const APPLIED: &str = "configuration applied";
const REFUSED: &str = "configuration refused: what ran before runs on";

#[tokio::test]
async fn a_file_that_is_swapped_or_written_counts_and_a_wrong_one_does_not() {
    let (nats, hook, other) = (NatsServer::start().await, Webhook::start(), Webhook::start());
    let stays = route("stays", &hook, "concurrency = 1");
    let folder = Folder::with(&stays);
    let mut daemon = folder.start_watching(&nats).await;
    let mut publisher = publisher(&nats, "stays").await;
    publisher.burst(10).await;
    hook.wait_delivered(10, SOON).await;

    folder.swap("broadcaster.toml", &(stays.clone() + &route("comes", &other, "")));
    let applied = next(&daemon, APPLIED, 0).await;
    assert_eq!((&applied["added"], &applied["changed"]), (&"comes".into(), &"".into()));

    folder.write("broadcaster.toml", "[routes");
    next(&daemon, REFUSED, 0).await;
    assert!(complaints(&daemon).await[1].contains("expected TOML"));
    fs::remove_file(folder.path("broadcaster.toml")).expect("it was there");
    next(&daemon, REFUSED, 1).await;

    folder.write("broadcaster.toml", &stays);
    assert_eq!(next(&daemon, APPLIED, 1).await["removed"], "comes");
    publisher.burst(10).await;
    hook.wait_delivered(20, SOON).await;
    assert_eq!(hook.connections(), 1, "a route that has not changed keeps its connections");
    daemon.wait_metrics(|metrics| counted(metrics) == ["2", "2"], SOON).await;
    assert_eq!(daemon.stop().await.delivered, 20);
}

fn counted(metrics: &testkit::metrics::Metrics) -> [String; 2] {
    ["applied", "refused"]
        .map(|result| metrics.value("broadcaster_config_reloads_total", &[("result", result)]).to_string())
}

/// As Kubernetes mounts a `ConfigMap` and a secret: a folder behind two links, one of which is swapped.
#[tokio::test]
async fn a_volume_of_kubernetes_that_is_swapped_counts() {
    let (nats, hook, other) = (NatsServer::start().await, Webhook::start(), Webhook::start());
    let folder = Folder::with("");
    fs::remove_file(folder.path("broadcaster.toml")).expect("it was there");
    let url = folder.path("url");
    let toml = |timeout: &str| {
        format!(
            "[routes.todos]\nsubject = \"reload.todos\"\n[routes.todos.webhook]\nurl_file = \"{}\"\ntimeout = \"{timeout}\"\n",
            url.display()
        )
    };
    let version = |name: &str, toml: &str, url: &str| {
        fs::create_dir(folder.path(name)).expect("the directory is writable");
        folder.write(&format!("{name}/broadcaster.toml"), toml);
        folder.write(&format!("{name}/url"), url);
    };
    version("..1", &toml("3s"), &hook.url());
    version("..2", &toml("4s"), &hook.url());
    version("..3", &toml("4s"), &other.url());
    symlink("..1", folder.path("..data")).expect("the directory is writable");
    for name in ["broadcaster.toml", "url"] {
        symlink(format!("..data/{name}"), folder.path(name)).expect("the directory is writable");
    }
    let swap = |to: &str| {
        symlink(to, folder.path("..data_tmp")).expect("the directory is writable");
        fs::rename(folder.path("..data_tmp"), folder.path("..data")).expect("the directory is writable");
    };

    let mut daemon = folder.start_watching(&nats).await;
    swap("..2");
    assert_eq!(next(&daemon, APPLIED, 0).await["changed"], "todos");
    publisher(&nats, "todos").await.burst(5).await;
    hook.wait_delivered(5, SOON).await;
    // Only what the secret holds is another one.
    swap("..3");
    assert_eq!(next(&daemon, APPLIED, 1).await["changed"], "todos");
    publisher(&nats, "todos").await.burst(5).await;
    other.wait_delivered(5, SOON).await;
    assert_eq!(daemon.stop().await.delivered, 10);
}

/// Then it may be written by halves: what is read is what it was when it held still.
#[tokio::test]
async fn a_file_that_is_being_written_is_not_read_by_halves() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let folder = Folder::with(&route("todos", &hook, ""));
    let mut daemon = folder.start_watching(&nats).await;
    let whole = (0..40).map(|number| route(&format!("r{number}"), &hook, "")).collect::<String>();
    let step = whole.len() / 40;
    for end in (step..=whole.len()).step_by(step).chain([whole.len()]) {
        folder.write("broadcaster.toml", whole.get(..end).expect("it is ASCII"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    daemon.wait_log("r39", SOON).await;
    assert!(daemon.events(REFUSED).is_empty(), "it was read by halves");
    daemon.stop().await;
}

#[tokio::test]
async fn watching_can_be_off_and_switched_while_it_runs() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let off = "[reload]\nwatch = false\n";
    let folder = Folder::with(&(route("todos", &hook, "") + off));
    let mut daemon = folder.start_watching(&nats).await;
    folder.write("broadcaster.toml", &route("todos", &hook, "timeout = \"4s\""));
    // Two looks and some: nothing happens, which only time can show.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(daemon.events(APPLIED).is_empty());
    assert_eq!(hang_up(&daemon, APPLIED).await["changed"], "todos");
    folder.write("broadcaster.toml", &(route("todos", &hook, "timeout = \"5s\"") + off));
    assert_eq!(next(&daemon, APPLIED, 1).await["changed"], "todos");
    daemon.stop().await;
}

/// Its end was reached at the start, and nothing is left in it.
#[tokio::test]
async fn a_pipe_is_read_once() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let toml = route("todos", &hook, "").replace('\n', "\\n").replace('"', "\\\"");
    let mut shell = std::process::Command::new("bash");
    let binary = testkit::daemon::binary();
    let script = format!("exec \"$0\" --config <(printf \"{toml}\")");
    shell.arg("-c").arg(script).arg(binary);
    let mut daemon = Daemon::run_by(shell).env("NATS_URL", nats.url()).start_ready().await;
    let refused = hang_up(&daemon, REFUSED).await;
    assert!(refused["mistakes"].to_string().contains("is no file that can be read again"), "{refused}");
    publisher(&nats, "todos").await.burst(5).await;
    hook.wait_delivered(5, SOON).await;
    assert_eq!(daemon.stop().await.delivered, 5);
}
