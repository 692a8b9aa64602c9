//! `broadcaster send`: what it sends is what the daemon sends, and it says what the daemon would make of the answer.

use std::net::TcpListener;

use serde_json::Value;
use testkit::{
    daemon::{self, Daemon},
    nats::NatsServer,
};

use super::{
    file,
    listen::{Listener, header, publish},
    stderr,
};
use crate::signing::SYMMETRIC;

/// A route to `url` with most of what can be set about a request, and with secrets wherever there may be some.
fn config(url: &str) -> String {
    format!(
        r#"
[routes.todos]
subject = "todos.events"
[routes.todos.webhook]
url = "{url}hook?key=SECRET-1"
method = "PUT"
format = "envelope"
headers.x-api-key = "SECRET-2"
header_templates.x-tenant = "{{{{ subject }}}}"
forward = ["x-*"]
auth.basic = {{ user = "me", password = "SECRET-3" }}
signing.keys.a.secret = "{SYMMETRIC}"
"#
    )
}

/// What the program answers, as JSON, and its status.
fn send(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = daemon::run(&[&["send", "--json"], arguments].concat(), &[]);
    let line = String::from_utf8(output.stdout.clone()).expect("it writes text");
    let json = serde_json::from_str(&line);
    (
        output.status.code(),
        json.unwrap_or_else(|error| Value::String(format!("{error}: {}", stderr(&output)))),
    )
}

#[tokio::test]
async fn it_sends_what_the_daemon_sends_and_shows_no_secret() {
    let nats = NatsServer::start().await;
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let key = folder.path().join("key");
    std::fs::write(&key, SYMMETRIC).expect("it is writable");
    let listener = Listener::start(&["--count", "2", "--key-file", key.to_str().expect("it is text")]);
    let (_folder, path) = file(&config(listener.url()));
    let mut daemon = Daemon::new().env("NATS_URL", nats.url()).config_file(path.as_ref()).start_ready().await;
    publish(&nats, r#"{"title": "milk"}"#).await;
    listener.wait(1).await;
    let arguments = ["send", "todos", "--config", &path, "--body", r#"{"title": "milk"}"#];
    let output = daemon::run(&arguments, &[]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}{}", stderr(&output));
    let (_, requests, said) = listener.end().await;
    daemon.stop().await;

    let [first, second] = &requests[..] else { unreachable!("there are two: {said}") };
    assert_eq!((&first["verified"], &second["verified"]), (&true.into(), &true.into()), "{requests:?}");
    let others = ["webhook-id", "webhook-timestamp", "webhook-signature", "content-length"];
    let comparable = |request: &Value| {
        let headers = request["headers"].as_array().expect("a list").iter();
        let headers = headers.filter(|pair| !others.iter().any(|other| pair[0] == *other));
        (request["method"].clone(), request["target"].clone(), headers.cloned().collect::<Vec<_>>())
    };
    assert_eq!(comparable(first), comparable(second));
    let payload = |request: &Value| -> Value {
        serde_json::from_str(request["body"].as_str().expect("text")).expect("an envelope")
    };
    assert_eq!(payload(first)["payload"], payload(second)["payload"]);

    assert!(!shown.contains("SECRET") && !shown.contains("v1,"), "a secret is shown: {shown}");
    let id = header(second, "webhook-id").expect("it has one");
    for line in [
        "> PUT http://127.0.0.1:",
        "> X-Api-Key: …\n",
        "> Authorization: …\n",
        "> webhook-signature: …\n",
        "> broadcaster-subject: todos.events\n",
        &format!("> webhook-id: {id}\n"),
        "> |     \"title\": \"milk\"\n",
        "< 200, in ",
        " (connect ",
        ", answer ",
        "delivered: 200\n",
    ] {
        assert!(shown.contains(line), "no {line:?}: {shown}");
    }
}

#[tokio::test]
async fn the_status_says_what_would_become_of_the_message() {
    for (options, status, fate, verdict) in [
        (&["--status", "503"][..], 1, "retried", "would be tried again: 503"),
        (
            &["--status", "429", "--retry-after", "7s"],
            1,
            "retried",
            "would be tried again: 429, and the whole route would wait 7s",
        ),
        (&["--status", "422"], 3, "dead", "would be dropped: 422 (rejected)"),
        (&["--status", "204"], 0, "done", "delivered: 204"),
    ] {
        let listener = Listener::start(options);
        let (code, sent) =
            send(&["--url", listener.url(), "--body", "1", "--header", "Nats-Msg-Id: order-17"]);
        assert_eq!((code, &sent["fate"]), (Some(status), &fate.into()), "{options:?}: {sent}");
        assert_eq!((&sent["verdict"], &sent["id"]), (&verdict.into(), &"order-17".into()), "{options:?}");
        assert_eq!(listener.wait(1).await[0]["body"], "1", "{options:?}");
    }
}

#[test]
fn what_gets_no_answer_is_said_in_the_daemons_words() {
    let free = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let url = format!("http://{}/", free.local_addr().expect("it has an address"));
    drop(free);
    let (code, sent) = send(&["--url", &url]);
    assert_eq!(
        (code, &sent["failure"], &sent["answer"]),
        (Some(1), &"connect".into(), &Value::Null),
        "{sent}"
    );
    let verdict = sent["verdict"].as_str().expect("there is a verdict");
    assert!(verdict.starts_with("would be tried again: connect ("), "{verdict}");
}

#[test]
fn what_is_not_clear_is_asked_for() {
    let (_folder, two) = file(
        "[routes.a]\nsubject = \"a.*\"\nwebhook.url = \"http://127.0.0.1/\"\n[routes.b]\nsubject = \"b\"\n\
         webhook.url = \"http://127.0.0.1/\"\n",
    );
    for (arguments, status, expected) in [
        (&["send", "--config", &two][..], 1, "there are several routes, choose one: a, b"),
        (&["send", "c", "--config", &two], 1, "no route is called \"c\""),
        (&["send", "a", "--config", &two], 2, "--subject: expected a subject such as orders.17"),
        (&["send", "b", "--config", &two, "--body-file", "/none"], 1, "cannot read /none"),
        (&["send", "b", "--config", &two, "--header", "x"], 2, "expected NAME: VALUE"),
    ] {
        let output = daemon::run(arguments, &[]);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty());
    }
}
