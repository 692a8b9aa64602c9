//! What the manifests embed, really run: NATS with its configuration, the streams, and broadcaster with its own.

use std::process::Command;
use std::time::Duration;

use async_nats::jetstream;
use serde_json::{Value, json};

use crate::build;
use crate::bus::{self, Bus};
use crate::capacity::quantity;
use crate::configuration;
use crate::container::Container;
use crate::environment;
use crate::overlay::{Overlay, none};
use testkit::daemon::{Daemon, Running};
use testkit::webhook::Webhook;

const SOON: Duration = Duration::from_secs(60);

fn job(overlay: &Overlay) -> Container {
    Container::lay_out(overlay, "Job/nats-streams", "nats-box", "")
}

/// The daemon with the embedded configuration, on ports of its own.
async fn start(overlay: &Overlay, bus: &Bus, hook: &Webhook) -> (Container, Running) {
    let container = configuration::container(overlay, &format!("{}\n", hook.url()));
    let file = container.place(container.variable("BROADCASTER_CONFIG"));
    let daemon = Daemon::new().config_file(&file).env("BROADCASTER__NATS__URL", bus.url());
    let running = daemon.start_ready().await;
    (container, running)
}

/// A delivery, and a message that the webhook refuses, which the stream of dead letters has to keep.
async fn delivers(overlay: &Overlay, publish: impl AsyncFn(&async_nats::Client, u64)) {
    let bus = Bus::start(overlay).await;
    if overlay.find("Job/nats-streams").is_some() {
        bus.make_streams(&job(overlay)).await;
    }
    let hook = Webhook::start();
    let (_container, mut daemon) = start(overlay, &bus, &hook).await;
    let client = bus.client().await;
    for number in 0..10 {
        publish(&client, number).await;
    }
    hook.wait_delivered(10, SOON).await;
    hook.answer([400]);
    publish(&client, 10).await;
    let dead = |metrics: &testkit::metrics::Metrics| {
        metrics.sum("broadcaster_messages_processed_total", &[("outcome", "dead_lettered")]) >= 1.0
    };
    daemon.wait_metrics(dead, SOON).await;
    let letters =
        jetstream::new(client.clone()).get_stream("BROADCASTER_DEAD").await.expect("the stream is there");
    assert_eq!(letters.cached_info().state.messages, 1, "dead letters in {}", overlay.name);
    let account = daemon.stop().await;
    assert!(account.adds_up() && account.delivered == 10 && account.dead_lettered == 1, "{account:?}");
    let said = daemon.logs_containing("\"WARN\"");
    assert!(said.is_empty(), "broadcaster is not content: {said:?}");
}

async fn publish(client: &async_nats::Client, number: u64) {
    client.publish("todos.events", number.to_string().into()).await.expect("the client takes it");
    client.flush().await.expect("the server has it");
}

async fn store(client: &async_nats::Client, number: u64) {
    let context = jetstream::new(client.clone());
    let stored = context.publish("todos.events", number.to_string().into()).await;
    stored.expect("the client takes it").await.expect("the stream has it");
}

#[tokio::test(flavor = "multi_thread")]
async fn development_delivers() {
    delivers(build::overlay("development"), publish).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn production_delivers() {
    delivers(build::overlay("production"), publish).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn production_delivers_from_its_stream() {
    delivers(build::overlay("production-durable"), store).await;
}

#[test]
fn nats_takes_its_configuration() {
    let environments = environment::environments();
    let overlays = environments.iter().map(|environment| build::overlay(environment.overlay));
    none(&overlays.flat_map(bus::check).collect());
}

#[test]
fn a_configuration_that_nats_refuses_is_found() {
    let mut overlay = build::overlay("production").clone();
    let is_it = |object: &&mut crate::object::Object| object.name().starts_with("nats-config");
    let map = overlay.objects.iter_mut().find(is_it).expect("NATS has a configuration");
    map.set("data[size.conf]", json!("jetstreem { store_dir: /data }"));
    let findings = bus::check(&overlay);
    assert!(findings.len() == 1 && findings[0].contains("unknown field \"jetstreem\""), "{findings:?}");
}

/// What NATS may keep is less than what it has.
#[tokio::test(flavor = "multi_thread")]
async fn nats_keeps_no_more_than_it_has() {
    for name in ["development", "production"] {
        let overlay = build::overlay(name);
        let set = overlay.find("StatefulSet/nats").expect("there is NATS");
        let bus = Bus::start(overlay).await;
        let limits = bus.monitor("/jsz").await["config"].take();
        let claim = set.get("spec.volumeClaimTemplates[0].spec.resources.requests.storage");
        let disk = quantity(claim)
            .or_else(|| quantity(set.get("spec.template.spec.volumes[data].emptyDir.sizeLimit")));
        let memory = quantity(set.get("spec.template.spec.containers[nats].resources.limits.memory"));
        let said = |key: &str| limits[key].as_f64().expect("it has a limit");
        assert!(said("max_storage") < disk.expect("it has a disk") * 0.9, "{name}: {limits} for {disk:?}");
        assert!(said("max_memory") < memory.expect("it has memory") * 0.5, "{name}: {limits} for {memory:?}");
    }
}

/// The script of the Job asks for every file, streams first.
#[test]
fn the_job_makes_what_its_files_describe() {
    for (name, expected) in [
        ("production", &["stream add BROADCASTER_DEAD --config stream-BROADCASTER_DEAD.json"][..]),
        (
            "production-durable",
            &[
                "stream add BROADCASTER_DEAD --config stream-BROADCASTER_DEAD.json",
                "stream add TODOS --config stream-TODOS.json",
                "consumer add TODOS broadcaster-todos --config consumer-TODOS.broadcaster-todos.json",
            ],
        ),
    ] {
        let container = job(build::overlay(name));
        bus::stand_in(container.root());
        let notes = container.place("notes");
        let script = container.place("/etc/nats-streams/apply.sh");
        let path = format!("{}:/usr/bin:/bin", container.root().display());
        let ended = Command::new("sh").arg(script).env("PATH", path).env("NOTES", &notes).status();
        assert!(ended.expect("sh runs").success(), "{name}");
        let noted = container.read("notes");
        let asked: Vec<_> = noted.lines().filter(|line| !line.contains(" info ")).collect();
        assert_eq!(asked, expected, "{name}");
    }
}

/// The routes of the cluster lead to each pod, by the name that the headless service gives it.
#[test]
fn the_servers_find_each_other() {
    for name in ["staging", "production", "production-durable"] {
        let overlay = build::overlay(name);
        let container = Container::lay_out(overlay, "StatefulSet/nats", "nats", "");
        let conf = container.read("/etc/nats/nats.conf") + &container.read("/etc/nats/size.conf");
        let routes: Vec<_> = conf.split_whitespace().filter(|word| word.starts_with("nats://")).collect();
        let set = overlay.find("StatefulSet/nats").expect("there is NATS");
        let service = set.text("spec.serviceName");
        let replicas = set.get("spec.replicas").as_u64().expect("it says how many");
        let expected: Vec<_> = (0..replicas).map(|pod| format!("nats://nats-{pod}.{service}:6222")).collect();
        assert_eq!(routes, expected, "{name}");
    }
}

/// The ports in the configuration are those of the container.
#[test]
fn nats_listens_where_its_container_says() {
    for environment in environment::environments() {
        let overlay = build::overlay(environment.overlay);
        let container = Container::lay_out(overlay, "StatefulSet/nats", "nats", "");
        let conf = container.read("/etc/nats/nats.conf") + &container.read("/etc/nats/size.conf");
        let set = overlay.find("StatefulSet/nats").expect("there is NATS");
        let has = |key: &str| -> Vec<Value> {
            let values =
                conf.lines().filter_map(|line| line.trim().strip_prefix(key)?.trim().strip_prefix(':'));
            values.filter_map(|value| value.trim().parse::<u64>().ok()).map(Value::from).collect()
        };
        let port = |name: &str| {
            set.get(&format!("spec.template.spec.containers[nats].ports[{name}].containerPort")).clone()
        };
        let clustered = if conf.contains("cluster {") {
            vec![port("client"), port("cluster")]
        } else {
            vec![port("client")]
        };
        assert_eq!(has("port"), clustered, "{}", overlay.name);
        assert_eq!(has("http_port"), [port("monitor")], "{}", overlay.name);
    }
}
