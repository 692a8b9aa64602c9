//! A collector of spans for one test: Python, with OpenTelemetry's own types.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{http, process};

/// A collector, which can be stopped and started again at the same port. Killed on drop.
pub struct Collector {
    address: SocketAddr,
    process: process::Process,
}

/// What has come since it was started last.
#[derive(Debug, Deserialize)]
pub struct State {
    /// The requests, those that were refused too.
    pub requests: Vec<Request>,
    /// The spans that it has taken.
    pub spans: Vec<Span>,
    /// How many requests it has refused.
    pub refused: usize,
}

/// A request to it.
#[derive(Debug, Deserialize)]
pub struct Request {
    /// Its path.
    pub path: String,
    /// Its header, by names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The names of messages in it that have fields which OpenTelemetry's types do not know.
    pub unknown: Vec<String>,
}

/// A span as it came; ids are in hexadecimal.
#[derive(Clone, Debug, Deserialize)]
pub struct Span {
    /// The attributes of the resource.
    pub resource: BTreeMap<String, Value>,
    /// The name of the scope.
    pub scope: String,
    /// The schema that the names are of.
    pub schema: String,
    /// The id of its trace.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// The id of its parent; empty where it has none.
    pub parent: String,
    /// The `tracestate`.
    pub state: String,
    /// Trace and id of each span that it points to.
    pub links: Vec<(String, String)>,
    /// Its name.
    pub name: String,
    /// Its kind, such as `SPAN_KIND_CLIENT`.
    pub kind: String,
    /// When it began, in nanoseconds since 1970.
    pub begin: u64,
    /// When it ended.
    pub end: u64,
    /// Its attributes.
    pub attributes: BTreeMap<String, Value>,
    /// Its status: 2 is an error.
    pub status: u32,
    /// The message of that.
    pub message: String,
    /// Its flags.
    pub flags: u32,
}

impl Span {
    /// Whether it is of an attempt.
    pub fn is_attempt(&self) -> bool {
        self.kind == "SPAN_KIND_CLIENT"
    }

    /// An attribute as text; empty where it is not there.
    pub fn text(&self, name: &str) -> &str {
        self.attributes.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// An attribute as a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.attributes.get(name).and_then(Value::as_u64)
    }
}

impl Collector {
    /// Starts one that takes everything.
    pub fn start() -> Self {
        let (address, process) = spawn(0);
        Self { address, process }
    }

    /// Its endpoint.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it: nobody listens there any more, and what has come is forgotten.
    pub fn stop(&mut self) {
        self.process.kill();
    }

    /// Starts it again, at the same address.
    pub fn restart(&mut self) {
        (self.address, self.process) = spawn(self.address.port());
    }

    /// From now on it answers `status`, and asks to wait so many seconds where that is not 0.
    pub async fn answer(&self, status: u16, retry_after: u32) {
        let retry_after = if retry_after == 0 { String::new() } else { retry_after.to_string() };
        self.control(&format!("answer/{status}/{retry_after}")).await;
    }

    /// What has come.
    pub async fn state(&self) -> State {
        self.control("state").await
    }

    /// What has come once `is_it` holds for it; a panic where it does not within `deadline`.
    pub async fn wait(&self, is_it: impl Fn(&State) -> bool, deadline: Duration) -> State {
        const LOOK: Duration = Duration::from_millis(20);
        let end = std::time::Instant::now() + deadline;
        loop {
            let state = self.state().await;
            if is_it(&state) {
                return state;
            }
            assert!(std::time::Instant::now() < end, "the collector has: {state:#?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The spans once there are so many.
    pub async fn spans(&self, count: usize, deadline: Duration) -> Vec<Span> {
        self.wait(|state| state.spans.len() >= count, deadline).await.spans
    }

    async fn control(&self, action: &str) -> State {
        let answer = http::get(self.address, &format!("/control/{action}")).await;
        let answer = answer.unwrap_or_else(|error| panic!("the collector does not answer: {error}"));
        serde_json::from_str(&answer.body).expect("it answers with what has come")
    }
}

fn spawn(port: u16) -> (SocketAddr, process::Process) {
    let mut command = Command::new(process::tool("opentelemetry-proto-python", "OPENTELEMETRY_PYTHON"));
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/collector.py"));
    command.arg(port.to_string()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = process::Process::spawn("the collector", &mut command);
    let line = BufReader::new(process.take_stdout()).lines().next();
    let port = line.and_then(Result::ok).and_then(|line| line.parse().ok());
    let port: u16 = port.expect("the collector says its port");
    (([127, 0, 0, 1], port).into(), process)
}
