//! The servers that people have: each takes many messages, and large ones through small windows.

use std::time::Duration;

use testkit::haproxy::Haproxy;
use testkit::http2_server::{Nghttpd, NodeHttp2};
use testkit::nginx::Nginx;
use testkit::stage::Stage;
use testkit::tls::Authority;
use testkit::webhook::Webhook;

use super::http2;

const SOON: Duration = Duration::from_secs(30);
const SMALL: u32 = 300;
const LARGE: u32 = 12;

/// The body of the message `number`, which is as long as NATS takes where it is large.
fn body(number: u32, is_large: bool) -> String {
    let number = format!("{number:<20}");
    let padding = if is_large { 1024 * 1024 - 512 } else { 300 };
    number + &"x".repeat(padding)
}

/// Has small and large messages delivered to `url`, each in its first attempt.
async fn deliver(url: &str, settings: &[(&str, &str)]) {
    let mut stage = Stage::set(url, |daemon| {
        settings.iter().fold(http2(daemon), |daemon, (key, value)| daemon.route(key, value))
    })
    .await;
    for number in 0..SMALL + LARGE {
        stage.publish(body(number, number >= SMALL)).await;
    }
    stage.wait_processed(SMALL + LARGE).await;
    stage.assert_codes([("200", u64::from(SMALL + LARGE))]).await;
    let account = stage.close().await;
    assert_eq!(account.delivered, u64::from(SMALL + LARGE));
}

#[tokio::test]
async fn nghttpd_with_windows_and_streams_of_all_sizes() {
    let options: [&[&str]; 4] = [
        &[],
        &["--window-bits=10", "--connection-window-bits=16"],
        &["--max-concurrent-streams=1"],
        &["--header-table-size=0", "--encoder-header-table-size=4096"],
    ];
    for options in options {
        let server = Nghttpd::start(options).await;
        deliver(&server.url(), &[]).await;
    }
}

#[tokio::test]
async fn haproxy_and_what_is_behind_it() {
    let hook = Webhook::start();
    let server = Haproxy::http2_before(hook.address()).await;
    deliver(&server.url(), &[]).await;
    hook.assert_exactly_once(0..u64::from(SMALL + LARGE));
}

#[tokio::test]
async fn nginx_and_what_is_behind_it_also_where_it_ends_connections() {
    for more in
        ["", "keepalive_requests 40;", "http2_max_concurrent_streams 3;", "http2_body_preread_size 0;"]
    {
        let hook = Webhook::start();
        let server = Nginx::http2_before(hook.address(), more).await;
        deliver(&server.url(), &[]).await;
        hook.assert_exactly_once(0..u64::from(SMALL + LARGE));
    }
}

#[tokio::test]
async fn node_with_tls_and_without() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let ca = authority.write_to(folder.path()).display().to_string();
    let (certificate, key) = authority.issue_loopback().write_to(folder.path(), "server");
    let trust = [("webhook.tls.ca_file", ca.as_str()), ("webhook.http", "auto")];
    for (identity, settings) in [(None, &[][..]), (Some((&*certificate, &*key)), &trust)] {
        let server = NodeHttp2::start(identity, Duration::ZERO);
        deliver(&server.url(), settings).await;
        let all = testkit::poll(SOON, || {
            let answered = server.answered();
            (answered.len() == (SMALL + LARGE) as usize).then_some(answered)
        });
        let mut answered = all.await.unwrap_or_else(|| server.answered());
        answered.sort_unstable();
        assert_eq!(answered, (0..u64::from(SMALL + LARGE)).map(|number| (number, 1)).collect::<Vec<_>>());
    }
}
