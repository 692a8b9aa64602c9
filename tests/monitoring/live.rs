//! A real Prometheus over a running broadcaster: it finds it as the annotations say, all rules and panels have something to
//! show, and an outage is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::names::Names;
use crate::prometheus::Prometheus;
use crate::rules::Rules;
use crate::{dashboard, read, read_yaml, repository, runbook};
use testkit::background::Background;
use testkit::daemon::{Daemon, Running};
use testkit::nats::NatsServer;
use testkit::webhook::{Reply, Webhook};

const DEPLOYMENT: &str = "k8s/base/broadcaster/deployment.yaml";
const AZURE: &str = "k8s/overlays/azure-production/ama-metrics-prometheus-config.yaml";
const FOREIGN: &str = "tests/monitoring/foreign.prom";

const JOB: &str = "broadcaster";
const SOON: Duration = Duration::from_secs(60);

/// One route takes messages as they are published, the other from a stream. Retries and the breaker are as quick as the time
/// of the rules, and there are enough attempts that no message is given up.
const CONFIG: &str = r#"
[routes.core]
subject = "core.events"
dead_letter.subject = "core.dead"
retry = { attempts = 1000, initial = "50ms", max = "200ms" }
breaker = { open_for = "200ms", ramp = "500ms" }
webhook = { concurrency = "adaptive" }
[routes.durable]
subject = "durable.events"
jetstream = { stream = "DURABLE", create = true }
retry = { attempts = 1000, initial = "50ms", max = "200ms" }
breaker = { open_for = "200ms", ramp = "500ms" }
"#;

/// A broadcaster that has work all the time, and a Prometheus that watches it.
struct Scene {
    hook: Webhook,
    prometheus: Prometheus,
    // What ends with the test: the publisher first, as it expects the server to be there.
    _publisher: Background,
    _foreign: Webhook,
    daemon: Running,
    _nats: NatsServer,
}

impl Scene {
    async fn set() -> Self {
        let nats = NatsServer::start().await;
        nats.stream("DURABLE", &["durable.>"]).await;
        let hook = Webhook::counting();
        let daemon = Daemon::new()
            .config(CONFIG)
            .env("NATS_URL", nats.url())
            .env("BROADCASTER__ROUTES__CORE__WEBHOOK__URL", hook.url())
            .env("BROADCASTER__ROUTES__DURABLE__WEBHOOK__URL", hook.url())
            .env("BROADCASTER__ENDPOINTS__BUCKET", "broadcaster")
            .env("BROADCASTER__ENDPOINTS__CREATE", "true")
            .start_ready()
            .await;
        let foreign = Webhook::start();
        foreign.answer(
            Reply::status(200).header("content-type", "text/plain; version=0.0.4").body(read(FOREIGN)),
        );
        let config = json!({
            "global": { "scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "250ms" },
            "scrape_configs": [
                annotated(&daemon),
                {
                    "job_name": "foreign",
                    "honor_labels": true,
                    "static_configs": [{ "targets": [foreign.address().to_string()] }],
                },
            ],
        });
        let prometheus = Prometheus::start(config, &Rules::load().hurried()).await;
        let publisher = publish(nats.url());
        Self { hook, prometheus, _publisher: publisher, _foreign: foreign, daemon, _nats: nats }
    }
}

/// Publishes 40 messages a second to each route.
fn publish(url: String) -> Background {
    Background::run("publisher", async move || {
        let client = async_nats::connect(url).await.expect("NATS is there");
        loop {
            for subject in ["core.events", "durable.events"] {
                client.publish(subject, "1".into()).await.expect("the client takes a message");
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    })
}

/// As Azure's Prometheus is told to find the pods: by their annotations. But the pod is at this machine, and where it says the
/// default port, the daemon of the test has another one.
fn annotated(daemon: &Running) -> Value {
    let deployment = read_yaml::<Value>(DEPLOYMENT).remove(0);
    let mut labels = BTreeMap::from([
        ("__meta_kubernetes_namespace".to_owned(), "project".to_owned()),
        ("__meta_kubernetes_pod_name".to_owned(), "broadcaster-1".to_owned()),
        ("__meta_kubernetes_pod_phase".to_owned(), "Running".to_owned()),
    ]);
    for (members, kind) in [("annotations", "annotation"), ("labels", "label")] {
        let members = deployment["spec"]["template"]["metadata"][members].as_object();
        for (name, value) in members.expect("the pod has annotations and labels") {
            let name = name.replace(['.', '/', '-'], "_");
            let value = value.as_str().expect("their values are text").to_owned();
            labels.insert(format!("__meta_kubernetes_pod_{kind}_{name}"), value);
        }
    }
    let map = read_yaml::<Value>(AZURE).remove(0);
    let config = map["data"]["prometheus-config"].as_str().expect("the ConfigMap has a configuration");
    let mut config: Value = serde_saphyr::from_str(config).expect("the configuration is YAML");
    let mut scrape = config["scrape_configs"][0].take();
    scrape.as_object_mut().expect("it says what to scrape").remove("kubernetes_sd_configs");
    scrape["static_configs"] = json!([{ "targets": ["127.0.0.1"], "labels": labels }]);
    let relabelled = scrape["relabel_configs"].as_array_mut().expect("it relabels");
    relabelled.push(json!({
        "source_labels": ["__address__"],
        "target_label": "__address__",
        "regex": format!("127.0.0.1:{}", default_port()),
        "replacement": daemon.metrics_address().to_string(),
    }));
    scrape
}

/// The port of the metrics where the configuration does not say another.
fn default_port() -> String {
    let defaults: toml::Table = read("config/broadcaster.toml").parse().expect("the configuration is TOML");
    let address = defaults["server"]["metrics"].as_str();
    let port = address.and_then(|address| address.rsplit(':').next());
    port.expect("the configuration names the port of the metrics").to_owned()
}

/// Every expression, and what it is called in failures.
fn expressions() -> Vec<(String, String)> {
    let rules = Rules::load().hurried();
    let rules = rules.all().map(|rule| (format!("rule {}{}", rule.record, rule.alert), rule.expr.clone()));
    let panels =
        dashboard::expressions(JOB).into_iter().map(|(title, expr)| (format!("panel {title}"), expr));
    rules.chain(panels).collect()
}

/// Those that have to give something while all is well: all but the alerts.
fn shown() -> Vec<(String, String)> {
    let rules = Rules::load();
    let alerts: BTreeSet<_> = rules.alerts().map(|rule| format!("rule {}", rule.alert)).collect();
    expressions().into_iter().filter(|(name, _)| !alerts.contains(name)).collect()
}

#[tokio::test]
async fn all_that_is_named_is_there() {
    let scene = Scene::set().await;
    let prometheus = &scene.prometheus;
    everything_shows_something(prometheus).await;
    nothing_is_wrong_with_the_scrapes(prometheus).await;
    no_series_is_there_twice(scene.daemon.metrics().await.text());
    let mut used = BTreeSet::new();
    for (name, expr) in expressions() {
        let names = Names::of(&expr);
        let mut labels = BTreeSet::new();
        for selector in &names.selectors {
            let series = prometheus.series(selector).await;
            assert!(!series.is_empty(), "{name}: there is no {selector}");
            labels.extend(
                series
                    .iter()
                    .flat_map(|series| series.as_object().into_iter().flatten())
                    .map(|(label, _)| label.clone()),
            );
        }
        let unknown: Vec<_> = names.labels.difference(&labels).collect();
        assert!(unknown.is_empty(), "{name}: no series has the labels {unknown:?}: {expr}");
        used.extend(names.metrics);
    }
    for metric in foreign() {
        assert!(used.contains(&metric), "{FOREIGN}: nothing names {metric} any more");
    }
    the_metrics_in_the_documents_are_there(prometheus).await;
}

/// Waits for it: a rate needs two scrapes.
async fn everything_shows_something(prometheus: &Prometheus) {
    let end = tokio::time::Instant::now() + SOON;
    for (name, expr) in shown() {
        while prometheus
            .query(&expr)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}: {expr}"))
            .is_empty()
        {
            assert!(tokio::time::Instant::now() < end, "{name} shows nothing: {expr}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn nothing_is_wrong_with_the_scrapes(prometheus: &Prometheus) {
    let targets = prometheus.api("targets", &[]).await.expect("prometheus lists its targets");
    let targets = targets["activeTargets"].as_array().expect("it has some");
    let jobs: BTreeSet<_> = targets.iter().filter_map(|target| target["labels"]["job"].as_str()).collect();
    assert_eq!(jobs, [JOB, "foreign"].into());
    for target in targets {
        assert!(target["health"] == "up" && target["lastError"] == "", "{target:#}");
    }
    // The type of the family in OpenMetrics; in the older format it would be of the name that ends in _total.
    let family = [("metric", "broadcaster_messages_received")];
    let metadata = prometheus.api("targets/metadata", &family).await.expect("prometheus read OpenMetrics");
    assert_eq!(metadata[0]["type"], "counter");
    let rules = prometheus.api("rules", &[]).await.expect("prometheus lists its rules");
    for group in rules["groups"].as_array().expect("there are groups") {
        for rule in group["rules"].as_array().expect("there are rules") {
            assert!(rule["health"] == "ok", "{rule:#}");
        }
    }
    let own = prometheus.metrics().await;
    for trouble in
        ["sample_duplicate_timestamp", "sample_out_of_order", "sample_out_of_bounds", "exceeded_sample_limit"]
    {
        let count = own.sum(&format!("prometheus_target_scrapes_{trouble}_total"), &[]);
        assert!(count == 0.0, "{count} times: {trouble}");
    }
    let complaints = prometheus.complaints();
    assert!(complaints.is_empty(), "prometheus says: {complaints:#?}");
}

/// Prometheus takes the first of two samples and says nothing.
fn no_series_is_there_twice(page: &str) {
    let mut series = BTreeSet::new();
    for line in page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (one, _) = line.rsplit_once(' ').expect("a sample has a value");
        assert!(series.insert(one), "{one} is there twice");
    }
}

/// What the documents name as code.
async fn the_metrics_in_the_documents_are_there(prometheus: &Prometheus) {
    let docs = repository("docs").read_dir().expect("docs can be read");
    let docs = docs.map(|entry| entry.expect("docs can be read").path());
    let pages = docs.filter(|path| path.extension().is_some_and(|kind| kind == "md"));
    let mut named = 0;
    for page in pages.chain([repository("README.md")]) {
        let document = page.display();
        let text = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{document}: {error}"));
        for code in runbook::code(&text) {
            let is_name =
                code.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c));
            let is_metric =
                ["broadcaster_", "route:", "route_outcome:"].iter().any(|prefix| code.starts_with(prefix));
            if !(is_name && is_metric) {
                continue;
            }
            let mut series = prometheus.series(code).await;
            // A histogram is named as a whole.
            series.extend(prometheus.series(&format!("{code}_bucket")).await);
            assert!(!series.is_empty(), "{document}: there is no {code}");
            named += 1;
        }
    }
    assert!(named > 30, "only {named} metrics are named");
}

/// The metrics of others that are listed.
fn foreign() -> BTreeSet<String> {
    let text = read(FOREIGN);
    let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    samples.filter_map(|line| Some(line.split_once('{')?.0.to_owned())).collect()
}

#[test]
fn foreign_metrics_are_documented_and_not_ours() {
    let text = read(FOREIGN);
    no_series_is_there_twice(&text);
    for metric in foreign() {
        assert!(text.contains(&format!("\n# HELP {metric} https://")), "{metric}: where is it documented?");
        let ours =
            ["broadcaster_", "process_", "tokio_", "route"].iter().any(|prefix| metric.starts_with(prefix));
        assert!(!ours, "{metric} has to come from a broadcaster");
    }
}

/// As prometheus-nats-exporter makes its metrics: the keys on the way to each number, joined.
fn flatten(value: &Value, name: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Number(_) => drop(found.insert(name.to_owned())),
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| flatten(value, &format!("{name}_{key}"), found));
        }
        _ => {}
    }
}

#[tokio::test]
async fn the_server_has_what_its_exporter_is_said_to_show() {
    let nats = NatsServer::start().await;
    let mut shown = BTreeSet::new();
    flatten(&nats.monitor("/varz").await, "gnatsd_varz", &mut shown);
    let mut named = 0;
    for metric in foreign().into_iter().filter(|metric| metric.starts_with("gnatsd_varz_")) {
        assert!(shown.contains(&metric), "/varz has nothing that becomes {metric}: {shown:?}");
        named += 1;
    }
    assert!(named > 5, "{named} metrics come from /varz");
}

#[tokio::test]
async fn an_outage_is_seen_and_its_end_too() {
    let scene = Scene::set().await;
    let Scene { hook, prometheus, .. } = &scene;
    everything_shows_something(prometheus).await;
    prometheus.wait_quiet(SOON).await;
    hook.answer(503);
    let expected = ["BroadcasterWebhookFailing", "BroadcasterNothingDelivered", "BroadcasterBreakerOpen"];
    let firing = prometheus.wait_firing(&expected, "core", SOON).await;
    let said = |index: usize, annotation: &str| firing[index]["annotations"][annotation].to_string();
    assert!(said(0, "summary").contains("of the attempts of route core fail"), "{firing:#?}");
    assert!(said(1, "summary").contains("Route core delivers nothing"), "{firing:#?}");
    assert!(said(2, "description").contains("In 1 replicas the webhook of route core"), "{firing:#?}");
    prometheus.wait_firing(&expected, "durable", SOON).await;
    hook.answer(200);
    prometheus.wait_quiet(SOON).await;
    let complaints = prometheus.complaints();
    assert!(complaints.is_empty(), "prometheus says: {complaints:#?}");
}
