//! What a dead letter may do to the terminal of whoever looks at it: nothing.

use std::time::Duration;

use serde_json::Value;
use testkit::{daemon, nats::NatsServer, stage::Stage, terminal::Terminal, webhook::Webhook};

use super::kept;

const SOON: Duration = Duration::from_secs(60);
/// What would clear the screen, set the title, answer as if it were typed, and turn text around; and what is harmless.
const PAYLOAD: &str = "1\u{1b}[2J\u{1b}]0;owned\u{7}2\u{9b}31m\r3\u{202e}4\n\ttodo: é \u{1f41f}";
const CLEANED: &str = "1·[2J·]0;owned·2·31m·3·4\n\ttodo: é \u{1f41f}";

/// What a terminal is sent by the program with these arguments.
async fn on_a_terminal(nats: &NatsServer, arguments: &[&str]) -> String {
    let environment = environment(nats);
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (status, written) = Terminal::start(arguments, &environment).end(SOON).await;
    assert!(status.success(), "{status}: {written}");
    written
}

fn environment(nats: &NatsServer) -> [(&'static str, String); 3] {
    [
        ("NATS_URL", nats.url()),
        ("WEBHOOK_URL", "http://127.0.0.1:1/".to_owned()),
        ("BROADCASTER__ROUTES__DEFAULT__DEAD_LETTER__STREAM", super::STREAM.to_owned()),
    ]
}

#[tokio::test]
async fn a_terminal_is_not_told_what_to_do() {
    let hook = Webhook::answering([400]);
    let mut stage = Stage::set(&hook.url(), kept).await;
    stage.publish_with(&[("Nats-Msg-Id", "order-7"), ("X-Odd", "a\u{9b}31mb")], PAYLOAD).await;
    super::wait_count(&stage.nats, 1).await;
    stage.close().await;
    let nats = &stage.nats;

    let shown = on_a_terminal(nats, &["dead-letters", "show", "order-7"]).await;
    assert!(shown.ends_with(&format!("\n\n{CLEANED}\n")), "{shown:?}");
    assert!(shown.contains("X-Odd: a·31mb\n"), "{shown:?}");

    let json = on_a_terminal(nats, &["dead-letters", "show", "order-7", "--json"]).await;
    let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!json.contains(obeyed), "{json:?}");
    let value: Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(value["payload"], PAYLOAD);

    // A program gets the payload as it is.
    let environment = environment(nats);
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let piped = daemon::run(&["dead-letters", "show", "order-7"], &environment);
    let piped = String::from_utf8(piped.stdout).expect("it is text");
    assert!(piped.ends_with(&format!("\n\n{PAYLOAD}\n")), "{piped:?}");
}
