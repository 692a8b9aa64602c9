//! Who is let in.

use std::fs;
use std::time::Instant;

use hyper::Method;

use super::{ACTOR, Client, LOOKER, SOON, nothing, problem, with_tokens};
use testkit::daemon::Daemon;

async fn alone(described: impl FnOnce(Daemon) -> Daemon) -> testkit::daemon::Running {
    let daemon =
        Daemon::new().env("NATS_URL", "nats://127.0.0.1:1").env("WEBHOOK_URL", "http://127.0.0.1:1/");
    described(daemon).start().await
}

const RELOAD: &str = "/api/v1/reload";

#[tokio::test]
async fn a_token_lets_in_as_far_as_its_role_goes() {
    let mut daemon = alone(with_tokens).await;
    let (looker, actor) = (Client::of(&daemon, LOOKER).await, Client::of(&daemon, ACTOR).await);
    assert_eq!(looker.get(RELOAD).await.0, 200);
    assert_eq!(actor.get(RELOAD).await.0, 200);
    let (status, refused) = looker.post(RELOAD, nothing()).await;
    assert_eq!((status, problem(&refused)), (403, "role-too-small"));
    assert_eq!(actor.post(RELOAD, nothing()).await.0, 200);

    let wrong = Client { token: Some("wrong-token-0123456789".to_owned()), ..Client::of(&daemon, "").await };
    let none = Client { token: None, ..Client::of(&daemon, "").await };
    for client in [&wrong, &none] {
        let (status, refused) = client.get(RELOAD).await;
        assert_eq!((status, problem(&refused)), (401, "unauthorized"));
        assert_eq!(client.get("/healthz").await.0, 200, "health is open");
    }
    let answer = none.raw(Method::POST, RELOAD, &[], None).await;
    assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"broadcaster\"");
    let page = actor.raw(Method::POST, RELOAD, &[("origin", "http://127.0.0.1:8002")], None).await;
    assert_eq!(page.status.as_u16(), 403, "a page in a browser acts");

    let act = daemon.events("act").pop().expect("an act is in the log");
    assert_eq!(
        (&act["by"], &act["what"], &act["status"]),
        (&"ops".into(), &"POST /api/v1/reload".into(), &200.into())
    );
    assert!(act["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{act}");
    assert_eq!(daemon.events("act").len(), 1, "only what was done is an act");
    let turned = daemon.events("a request was turned away");
    assert!(turned.iter().any(|line| line["reason"] == "role-too-small"), "{turned:?}");
    daemon.term();
    daemon.wait(SOON).await;
    for token in [ACTOR, LOOKER, "wrong-token"] {
        assert!(daemon.logs_containing(token).is_empty(), "the log has a token");
    }
}

#[tokio::test]
async fn without_tokens_nobody_acts_and_it_is_said_how() {
    let daemon = alone(|daemon| daemon).await;
    let client = Client::of(&daemon, ACTOR).await;
    let (status, refused) = client.post(RELOAD, nothing()).await;
    assert_eq!((status, problem(&refused)), (403, "no-tokens"));
    assert!(
        refused["detail"].as_str().is_some_and(|detail| detail.contains("server.tokens.NAME.token_file"))
    );
}

/// Whatever is asked without a token, or with too many requests, does not keep others out.
#[tokio::test]
async fn who_guesses_is_told_to_wait_and_keeps_nobody_out() {
    let daemon = alone(with_tokens).await;
    let wrong = Client::of(&daemon, "guess-0123456789abcdef").await;
    let (mut limited, begin) = (0, Instant::now());
    while limited == 0 {
        let answer = wrong.raw(Method::GET, RELOAD, &[], None).await;
        limited += u32::from(answer.status.as_u16() == 429 && answer.headers.contains_key("retry-after"));
        assert!(begin.elapsed() < SOON, "nobody is told to wait");
    }
    assert_eq!(Client::of(&daemon, LOOKER).await.get(RELOAD).await.0, 200);
    assert!(daemon.events("a request was turned away").len() <= 20, "the log is flooded");
}

#[tokio::test]
async fn a_token_is_renewed_in_its_file() {
    let folder = tempfile::tempdir().expect("a directory can be made");
    let file = folder.path().join("token");
    fs::write(&file, format!("{LOOKER}\n")).expect("it can be written");
    let daemon = alone(|daemon| daemon.env("BROADCASTER__SERVER__TOKENS__A__TOKEN_FILE", &file)).await;
    let (old, new) = (Client::of(&daemon, LOOKER).await, Client::of(&daemon, ACTOR).await);
    assert_eq!((old.get(RELOAD).await.0, new.get(RELOAD).await.0), (200, 401));
    // One that can't be used changes nothing.
    fs::write(&file, "short").expect("it can be written");
    daemon.wait_log("a file can't be read again", SOON).await;
    assert_eq!(old.get(RELOAD).await.0, 200);
    fs::write(&file, ACTOR).expect("it can be written");
    daemon.wait_log("file read again", SOON).await;
    assert_eq!((old.get(RELOAD).await.0, new.get(RELOAD).await.0), (401, 200));
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let daemon = alone(with_tokens).await;
    let client = Client::of(&daemon, ACTOR).await;
    let (status, problem_there) = client.get("/api/v2/x").await;
    assert_eq!((status, problem(&problem_there)), (404, "not-found"));
    let (status, problem_there) = client.ask(Method::DELETE, RELOAD, None).await;
    assert_eq!((status, problem(&problem_there)), (405, "method-not-allowed"));
    let allow = |answer: &testkit::http::Answer| answer.headers["allow"].to_str().expect("text").to_owned();
    let options = client.raw(Method::OPTIONS, RELOAD, &[], None).await;
    assert_eq!((options.status.as_u16(), &*allow(&options)), (204, "GET, POST, HEAD, OPTIONS"));
    let put = client.raw(Method::PUT, "/health", &[], None).await;
    assert_eq!((put.status.as_u16(), &*allow(&put)), (405, "GET, HEAD, OPTIONS"));
    let head = client.raw(Method::HEAD, RELOAD, &[], None).await;
    assert!(head.status.is_success() && head.body.is_empty());
    for path in [
        "/api/v1/routes/nobody",
        "/api/v1/routes/..%2Fhealth",
        "/api/v1/routes/%ff%00",
        "/api/v1/status/routes/nobody",
        "/api/v1/attempts?route=nobody",
        "/api/v1/routes/nobody/messages",
    ] {
        let (status, problem_there) = client.get(path).await;
        assert_eq!((status, problem(&problem_there)), (404, "no-such-route"), "{path}");
    }
}

/// A parameter that was meant to limit an act, and is none, would let more be done than was meant.
#[tokio::test]
async fn a_parameter_that_is_not_known_is_refused_and_nothing_is_done() {
    let daemon = alone(with_tokens).await;
    let client = Client::of(&daemon, ACTOR).await;
    for path in [
        "/api/v1/routes/default/pause?dry_run=true",
        "/api/v1/dead-letters/discard?dry_run=true",
        "/api/v1/reload?x",
    ] {
        let (status, refused) = client.post(path, nothing()).await;
        assert_eq!((status, problem(&refused)), (400, "bad-query"), "{path}");
    }
    let (_, route) = client.get("/api/v1/routes/default").await;
    assert!(route["held"].is_null(), "{route}");
    assert_eq!(client.get("/api/v1/routes/default?limit=1").await.0, 400);
    assert_eq!(client.get("/api/v1/routes?limit=1").await.0, 200);
}
