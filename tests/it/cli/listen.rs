//! `broadcaster listen`, with the daemon as the sender.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use testkit::{
    daemon::{self, Daemon},
    nats::NatsServer,
    process::Process,
};

use crate::signing::SYMMETRIC;

const SOON: Duration = Duration::from_secs(60);
const PROCESSED: &str = "broadcaster_messages_processed_total";

/// A receiver that runs.
pub(crate) struct Listener {
    process: Process,
    url: String,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<String>>,
}

impl Listener {
    /// With these options, on a free port, and JSON.
    pub(crate) fn start(options: &[&str]) -> Self {
        let mut command = Command::new(daemon::binary());
        command.args(["listen", "--port", "0", "--json"]).args(options).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process::spawn("broadcaster listen", &mut command);
        let mut errors = BufReader::new(process.take_stderr());
        let mut first = String::new();
        errors.read_line(&mut first).expect("it says something");
        let url = first.split_whitespace().find(|word| word.contains("://"));
        let url = url.expect("the first line has the URL").to_owned();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (shared, output) = (Arc::clone(&lines), BufReader::new(process.take_stdout()));
        let reader = std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                shared.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
            String::new()
        });
        let rest = std::thread::spawn(move || {
            let mut text = String::new();
            errors.read_to_string(&mut text).expect("it is text");
            text
        });
        Self { process, url, lines, readers: vec![reader, rest] }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The requests so far.
    fn requests(&self) -> Vec<Value> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// Waits for so many requests.
    pub(crate) async fn wait(&self, count: usize) -> Vec<Value> {
        let enough = || Some(self.requests()).filter(|all| all.len() >= count);
        testkit::poll(SOON, enough).await.expect("the requests come")
    }

    /// Waits for its end; gives the status, the requests, and what it said at the end.
    pub(crate) async fn end(mut self) -> (Option<i32>, Vec<Value>, String) {
        let status = self.process.wait(SOON).await;
        let said: String = self.readers.drain(..).map(|reader| reader.join().expect("it reads")).collect();
        (status.code(), self.requests(), said)
    }
}

/// Publishes a message, and waits until the server has it.
pub(crate) async fn publish(nats: &NatsServer, payload: &str) {
    let client = nats.client().await;
    client.publish("todos.events", payload.to_owned().into()).await.expect("it is connected");
    client.flush().await.expect("the server answers");
}

/// The value of a header of a request.
pub(crate) fn header<'r>(request: &'r Value, name: &str) -> Option<&'r str> {
    let headers = request["headers"].as_array().expect("a list");
    headers.iter().find(|pair| pair[0] == name)?[1].as_str()
}

#[tokio::test]
async fn it_shows_what_arrives_and_ends_when_it_has_enough() {
    let nats = NatsServer::start().await;
    let listener = Listener::start(&["--count", "2"]);
    let mut daemon = Daemon::between(&nats, &format!("{}hook?x=1", listener.url())).start_ready().await;
    publish(&nats, r#"{"title": "é"}"#).await;
    listener.wait(1).await;
    publish(&nats, "\u{1b}[2J").await;
    let (status, requests, said) = listener.end().await;
    assert_eq!((status, requests.len()), (Some(0), 2), "{said}");
    let request = &requests[0];
    assert_eq!((&request["method"], &request["target"]), (&"POST".into(), &"/hook?x=1".into()));
    assert_eq!((&request["body"], &request["answer"]), (&r#"{"title": "é"}"#.into(), &200.into()));
    assert_eq!(header(request, "broadcaster-subject"), Some("todos.events"));
    assert!(header(request, "webhook-id").is_some_and(|id| id.len() == 36), "{request}");
    assert_eq!(said, "2 requests, 2 taken, 0 failed as told\n");
    assert_eq!(daemon.stop().await.delivered, 2);
}

#[tokio::test]
async fn it_fails_as_told_and_the_daemon_tries_again() {
    for options in
        [&["--every", "2", "--close"][..], &["--every", "2", "--status", "500", "--retry-after", "0s"]]
    {
        let nats = NatsServer::start().await;
        let listener = Listener::start(options);
        let daemon = Daemon::between(&nats, listener.url()).impatient().without_breaker();
        let mut daemon = daemon.start_ready().await;
        for number in 0..6 {
            publish(&nats, &number.to_string()).await;
        }
        daemon.wait_metrics(|metrics| metrics.sum(PROCESSED, &[("outcome", "delivered")]) >= 6.0, SOON).await;
        listener.process.signal(Signal::INT);
        let (status, requests, said) = listener.end().await;
        assert_eq!(status, Some(0), "{said}");
        let failed = requests.iter().filter(|request| request["answer"] != 200).count();
        assert_eq!(requests.len() - failed, 6, "{options:?}: {requests:?}");
        assert_eq!(failed, requests.len() / 2, "{options:?}");
        assert_eq!(daemon.stop().await.delivered, 6, "{options:?}");
    }
}

#[tokio::test]
async fn it_verifies_signatures_over_tls_and_http_2_of_compressed_bodies() {
    let nats = NatsServer::start().await;
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let (key, certificate) = (folder.path().join("key"), folder.path().join("ca.pem"));
    std::fs::write(&key, format!("{SYMMETRIC}\n")).expect("it is writable");
    let path = |path: &std::path::Path| path.to_str().expect("it is text").to_owned();
    let listener =
        Listener::start(&["--key-file", &path(&key), "--tls", &path(&certificate), "--count", "2"]);
    let daemon = Daemon::between(&nats, listener.url())
        .route("webhook.tls.ca_file", &path(&certificate))
        .route("webhook.compression.encoding", "gzip")
        .route("webhook.compression.min", "1")
        .route("webhook.signing.keys.a.secret", SYMMETRIC);
    let mut daemon = daemon.start_ready().await;
    publish(&nats, &"a".repeat(1_000)).await;
    listener.wait(1).await;
    publish(&nats, "b").await;
    let (status, requests, said) = listener.end().await;
    assert_eq!(status, Some(0), "{said}");
    assert!(requests.iter().all(|request| request["verified"] == true), "{requests:?}");
    assert_eq!(
        (&requests[0]["version"], &requests[0]["body"]),
        (&"HTTP/2.0".into(), &"a".repeat(1_000).into())
    );
    assert_eq!(header(&requests[0], "content-encoding"), Some("gzip"));
    assert_eq!(daemon.stop().await.delivered, 2);
}

#[tokio::test]
async fn a_wrong_signature_is_said_and_makes_it_fail() {
    let nats = NatsServer::start().await;
    let (_folder, config) = super::file(
        "[routes.todos.webhook]\nurl = \"http://127.0.0.1/\"\n[routes.todos.webhook.signing]\nscheme = \"github\"\n\
         keys.a.secret = \"k\"\n",
    );
    let listener = Listener::start(&["--config", &config, "--route", "todos", "--count", "2"]);
    let daemon = Daemon::between(&nats, listener.url());
    let daemon = daemon.route("webhook.signing.scheme", "github").route("webhook.signing.keys.a.secret", "l");
    let mut first = daemon.start_ready().await;
    publish(&nats, "1").await;
    listener.wait(1).await;
    first.stop().await;
    let mut unsigned = Daemon::between(&nats, listener.url()).start_ready().await;
    publish(&nats, "2").await;
    let (status, requests, said) = listener.end().await;
    assert_eq!(status, Some(1), "{said}");
    let why = |request: &Value| request["why_not"].as_str().unwrap_or_default().to_owned();
    assert!(why(&requests[0]).contains("no key fits"), "{requests:?}");
    assert_eq!(why(&requests[1]), "it has no header X-Hub-Signature-256");
    assert!(said.ends_with("; 2 not signed as they should be\n"), "{said}");
    unsigned.stop().await;
}

#[test]
fn what_makes_no_sense_is_refused() {
    let nobody = ("WEBHOOK_URL", "http://127.0.0.1/");
    for (arguments, status, expected) in [
        (&["listen", "--route", "nobody"][..], 1, "no route is called \"nobody\""),
        (&["listen", "--route", "default"], 1, "the route default has no webhook.signing"),
        (&["listen", "--key-file", "/none"], 1, "cannot read /none"),
        (&["listen", "--status", "99"], 2, "a status from 200 to 599"),
        (&["listen", "--fail", "2"], 2, "a share from 0% to 100%"),
        (&["listen", "--scheme", "github"], 2, "--secret-file <FILE>"),
        (&["listen", "--retry-after", "5s"], 2, "--status <STATUS>|--fail <SHARE>|--every <N>"),
    ] {
        let output = daemon::run(arguments, &[nobody]);
        let said = super::stderr(&output);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}
