//! A real Prometheus for one test.

use std::fs::File;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tempfile::TempDir;

use crate::rules::Rules;
use testkit::metrics::Metrics;
use testkit::{http, poll, process};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running Prometheus; killed on drop.
pub(crate) struct Prometheus {
    _process: process::Process,
    directory: TempDir,
    address: SocketAddr,
}

impl Prometheus {
    /// With this configuration and these rules; it takes requests.
    pub(crate) async fn start(mut configuration: Value, rules: &Rules) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let path = |name: &str| directory.path().join(name);
        rules.write(&path("rules.yaml"));
        configuration["rule_files"] = serde_json::json!(["rules.yaml"]);
        std::fs::write(path("prometheus.yaml"), configuration.to_string())
            .expect("the directory is writable");
        let log = File::create(path("log")).expect("the directory is writable");
        let mut command = Command::new(process::tool("prometheus", "PROMETHEUS"));
        command
            .arg(format!("--config.file={}", path("prometheus.yaml").display()))
            .arg(format!("--storage.tsdb.path={}", path("data").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--log.format=json"])
            .stdout(Stdio::null())
            .stderr(log);
        let mut process = process::Process::spawn("prometheus", &mut command);
        let read = || std::fs::read_to_string(path("log")).unwrap_or_default();
        let ready = poll(PATIENCE, || {
            let log = read();
            let ready = log.contains("Server is ready to receive web requests");
            match listening(&log) {
                Some(address) if ready => Some(Some(address)),
                _ => process.ended().map(|_| None),
            }
        });
        let Some(Some(address)) = ready.await else { panic!("prometheus did not start:\n{}", read()) };
        Self { _process: process, directory, address }
    }

    /// What it has logged that is more than information.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.directory.path().join("log")).expect("it has a log");
        let lines = log.lines().filter(|line| !line.contains("\"level\":\"info\""));
        lines.map(str::to_owned).collect()
    }

    /// Its own metrics.
    pub(crate) async fn metrics(&self) -> Metrics {
        let answer = http::get(self.address, "/metrics").await.expect("prometheus answers");
        Metrics::parse(answer.body)
    }

    /// The `data` of an answer of its API, or what it says against the question.
    pub(crate) async fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let mut path = format!("/api/v1/{path}?");
        for (name, value) in parameters {
            path.push_str(&format!("{name}={}&", utf8_percent_encode(value, NON_ALPHANUMERIC)));
        }
        let answer = http::get(self.address, &path).await.map_err(|error| format!("prometheus: {error}"))?;
        let mut answer: Value = serde_json::from_str(&answer.body).map_err(|error| error.to_string())?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(answer["error"].to_string()),
        }
    }

    /// What an expression gives now.
    pub(crate) async fn query(&self, expr: &str) -> Result<Vec<Value>, String> {
        let mut data = self.api("query", &[("query", expr)]).await?;
        match data["result"].take() {
            Value::Array(samples) => Ok(samples),
            other => Err(format!("no vector: {other}")),
        }
    }

    /// The labels of all series that a selector selects.
    pub(crate) async fn series(&self, selector: &str) -> Vec<Value> {
        let series = self.api("series", &[("match[]", selector)]).await;
        let series = series.unwrap_or_else(|error| panic!("{selector}: {error}"));
        series.as_array().cloned().unwrap_or_default()
    }

    /// The alerts that fire or are about to.
    pub(crate) async fn alerts(&self) -> Vec<Value> {
        let alerts = self.api("alerts", &[]).await.expect("prometheus lists its alerts");
        alerts["alerts"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until the firing alerts of these names are all there, for the route, and gives them.
    pub(crate) async fn wait_firing(&self, names: &[&str], route: &str, deadline: Duration) -> Vec<Value> {
        let end = Instant::now() + deadline;
        loop {
            let alerts = self.alerts().await;
            let firing = |name: &&str| {
                let found = alerts.iter().find(|alert| {
                    let labels = &alert["labels"];
                    alert["state"] == "firing" && labels["alertname"] == **name && labels["route"] == route
                });
                found.cloned()
            };
            if let Some(found) = names.iter().map(firing).collect() {
                return found;
            }
            assert!(Instant::now() < end, "not all of {names:?} fire after {deadline:?}: {alerts:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until no alert fires or is about to.
    pub(crate) async fn wait_quiet(&self, deadline: Duration) {
        let end = Instant::now() + deadline;
        loop {
            let alerts = self.alerts().await;
            if alerts.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "there are alerts after {deadline:?}: {alerts:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The address in the line of the log that says where it listens.
fn listening(log: &str) -> Option<SocketAddr> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["msg"] == "Listening on").find_map(|line| line["address"].as_str()?.parse().ok())
}
