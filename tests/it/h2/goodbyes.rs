//! Servers that end their connections in order, under load: nothing is lost or delivered twice, and no attempt is used up.

use std::collections::BTreeMap;
use std::time::Duration;

use testkit::http2_server::NodeHttp2;
use testkit::stage::Stage;
use testkit::webhook::{Reply, Webhook};

use super::http2;

const SOON: Duration = Duration::from_secs(60);
const MANY: u32 = 6_000;

#[tokio::test]
async fn goodbyes_under_load_cost_nothing() {
    let hook = Webhook::start_http2();
    hook.answer(Reply::status(200).after(Duration::from_millis(15)));
    let mut stage = Stage::set(&hook.url(), http2).await;
    for number in 0..MANY {
        stage.publish(number.to_string()).await;
    }
    while hook.delivered() < MANY as usize {
        let before = hook.delivered();
        hook.wait_for(|hook| hook.delivered() >= (before + 400).min(MANY as usize), SOON).await;
        hook.say_goodbye().await;
    }
    stage.wait_processed(MANY).await;
    hook.assert_exactly_once(0..MANY.into());
    assert!(hook.connections() > 5, "{}", hook.summary());
    assert!(hook.requests().iter().all(|request| request.header("broadcaster-attempt") == "1"));
    stage.assert_codes([("200", u64::from(MANY))]).await;
    stage.close().await;
}

#[tokio::test]
async fn a_server_that_ends_each_connection_after_a_moment() {
    let server = NodeHttp2::start(None, Duration::from_millis(150));
    let mut stage = Stage::set(&server.url(), http2).await;
    for number in 0..MANY {
        stage.publish(number.to_string()).await;
        if number % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    stage.wait_processed(MANY).await;
    let all = || (server.answered().len() >= MANY as usize).then_some(());
    assert!(testkit::poll(SOON, all).await.is_some(), "{} of {MANY} are answered", server.answered().len());
    let mut times = BTreeMap::<u64, u32>::new();
    for (number, attempt) in server.answered() {
        *times.entry(number).or_default() += 1;
        assert_eq!(attempt, 1, "message {number}");
    }
    assert!(times.len() == MANY as usize && times.values().all(|times| *times == 1));
    stage.assert_codes([("200", u64::from(MANY))]).await;
    stage.close().await;
}
