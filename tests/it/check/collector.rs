//! The collector of spans, which is asked to take none.

use super::*;
use testkit::collector::Collector;

#[tokio::test]
async fn a_collector_is_asked_to_take_no_spans() {
    let mut collector = Collector::start();
    let toml = format!(
        "nats.url = \"nats://127.0.0.1:1\"\n[tracing]\nendpoint = \"{}\"\nheaders.x-api-key = \"k3y\"\n\
         [routes.todos.webhook]\nurl = \"http://127.0.0.1:1/\"\n",
        collector.url()
    );
    Found::of(&toml).assert("tracing", "collector", "ok", &[&collector.url(), "takes spans"]);
    let state = collector.state().await;
    assert_eq!((state.requests.len(), state.spans.len()), (1, 0));
    assert_eq!(state.requests[0].headers.get("x-api-key").map(String::as_str), Some("k3y"));
    collector.answer(401, 0).await;
    Found::of(&toml).assert("tracing", "collector", "failed", &["answers 401", "[tracing]"]);
    collector.stop();
    Found::of(&toml).assert("tracing", "collector", "failed", &["connection refused"]);
}
