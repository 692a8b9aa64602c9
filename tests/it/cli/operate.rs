//! `status` and `routes`, against a real daemon.

use serde_json::Value;
use testkit::{
    daemon::{self, Daemon},
    stage::Stage,
    webhook::Webhook,
};

use super::stderr;

#[tokio::test]
async fn a_daemon_and_its_routes_are_seen() {
    let hook = Webhook::answering([200, 503]);
    let mut stage = Stage::set(&hook.url(), Daemon::without_breaker).await;
    stage.publish("1").await;
    stage.wait_processed(1).await;
    let url = format!("http://{}", stage.daemon.api());
    let told = |arguments: &[&str]| {
        let output = daemon::run(&[arguments, &["--url", &url]].concat(), &[]);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).expect("it writes text")
    };
    let page = told(&["status"]);
    assert!(page.starts_with("broadcaster ") && page.contains(": ready, generation "), "{page}");
    assert!(page.contains("\n1 routes: ") && page.contains(" default "), "{page}");
    let json: Value = serde_json::from_str(&told(&["status", "--json"])).expect("JSON");
    assert_eq!(json["routes"][0]["messages"]["delivered"], 1, "{json}");
    assert!(!told(&["status", "--search", "nothing"]).contains(" default "));
    assert!(told(&["routes", "ls"]).starts_with("default "));
    let one = told(&["routes", "get", "default"]);
    assert!(one.contains("subject = \"todos.events\""), "{one}");
    let unknown = daemon::run(&["routes", "get", "nobody", "--url", &url], &[]);
    assert_eq!(unknown.status.code(), Some(1), "{}", stderr(&unknown));
    stage.close().await;
    let gone = daemon::run(&["status", "--url", &url], &[]);
    assert_eq!(gone.status.code(), Some(69), "{}", stderr(&gone));
    assert!(stderr(&gone).starts_with("error: cannot reach the daemon at 127.0.0.1:"), "{}", stderr(&gone));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (arguments, status, expected) in [
        (&["status", "--url", "https://x"][..], 2, "--url: expected http://"),
        (&["status", "--token-file", "/none"], 1, "cannot read the token in /none"),
        (&["status", "--limit", "0"], 2, "1..=500"),
    ] {
        let output = daemon::run(arguments, &[]);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
    }
}
