//! What a request to a webhook looks like: its method, headers and body, and over TLS whom it trusts.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use testkit::raw::{self, Misbehaviour, RawPeer};
use testkit::stage::Stage;
use testkit::tls::Authority;
use testkit::webhook::Webhook;

const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_request_is_the_message_and_says_where_it_comes_from() {
    let hook = Webhook::start();
    let mut stage =
        Stage::set(&format!("{}?token=a%20b", hook.url()), |daemon| daemon.env("NATS_SUBJECT", "todos.>"))
            .await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Content-Type", "text/csv; charset=utf-8");
    headers.insert("Nats-Msg-Id", "order-7");
    headers.insert("X-Tenant", "a");
    let published = stage.client.publish_with_headers("todos.créé.eu", headers, "a;b\r\n".into());
    published.await.unwrap();
    hook.wait_for(|hook| hook.delivered() == 1, SOON).await;

    let request = hook.requests().remove(0);
    let path = hook.url().replace(&format!("http://{}", hook.address()), "");
    assert_eq!(
        (request.method.as_str(), &*request.path, &request.body[..]),
        ("POST", &*format!("{path}?token=a%20b"), &b"a;b\r\n"[..])
    );
    let sent: BTreeSet<_> =
        request.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let host = hook.address().to_string();
    let agent = concat!("broadcaster/", env!("CARGO_PKG_VERSION"));
    let expected = [
        ("broadcaster-attempt", "1"),
        ("broadcaster-subject", "todos.cr%C3%A9%C3%A9.eu"),
        ("content-length", "5"),
        ("content-type", "text/csv; charset=utf-8"),
        ("host", host.as_str()),
        ("user-agent", agent),
        ("webhook-id", "order-7"),
    ];
    assert_eq!(sent, BTreeSet::from(expected));
    stage.close().await;
}

#[tokio::test]
async fn the_content_type_is_the_publishers_in_any_case_or_json() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| daemon).await;
    let cases: [(&[(&str, &str)], &str); 6] = [
        (&[], "application/json"),
        (&[("Content-Type", "text/plain")], "text/plain"),
        (&[("content-type", "text/csv")], "text/csv"),
        (&[("CONTENT-TYPE", "image/png")], "image/png"),
        (&[("Content-Type", "")], "application/json"),
        (&[("X-Content-Type", "text/plain")], "application/json"),
    ];
    for (number, (headers, expected)) in cases.into_iter().enumerate() {
        stage.publish_with(headers, number.to_string()).await;
        hook.wait_delivered(number + 1, SOON).await;
        let request = hook.requests().pop().unwrap();
        assert_eq!(request.header("content-type"), expected, "published with {headers:?}");
    }
    stage.close().await;
}

#[tokio::test]
async fn a_header_of_the_operator_wins() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| {
        daemon
            .route("webhook.headers.content-type", "application/cloudevents+json")
            .route("webhook.headers.user-agent", "shop/2")
            .route("webhook.headers.x-key", "k e y")
    })
    .await;
    stage.publish_with(&[("Content-Type", "text/plain"), ("X-Key", "mine")], "0").await;
    hook.wait_delivered(1, SOON).await;
    let request = hook.requests().remove(0);
    let headers = ["content-type", "user-agent", "x-key"].map(|name| request.header(name));
    assert_eq!(headers, ["application/cloudevents+json", "shop/2", "k e y"]);
    assert_eq!(request.headers.get_all("content-type").iter().count(), 1);
    stage.close().await;
}

#[tokio::test]
async fn names_of_headers_have_the_case_that_receivers_look_for() {
    let peer = RawPeer::start([Misbehaviour::Say(raw::OK)]);
    let mut stage = Stage::set(&peer.url(), |daemon| {
        daemon.route("webhook.headers.authorization", "k").route("webhook.headers.x-api-key", "k")
    })
    .await;
    stage.publish("0").await;
    stage.wait_processed(1).await;
    let request = peer.requests().remove(0);
    let names: BTreeSet<_> =
        request.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0)).collect();
    let expected = [
        "Authorization",
        "Content-Length",
        "Content-Type",
        "Host",
        "User-Agent",
        "X-Api-Key",
        "broadcaster-attempt",
        "broadcaster-subject",
        "webhook-id",
    ];
    assert_eq!(names, BTreeSet::from(expected));
    stage.close().await;
}

#[tokio::test]
async fn the_id_stays_the_same_while_the_attempts_are_counted() {
    let hook = Webhook::answering([503, 500, 200, 504, 502, 200]);
    let mut stage = Stage::set(&hook.url(), |daemon| daemon.impatient().without_breaker()).await;
    stage.publish("0").await;
    hook.wait_delivered(1, SOON).await;
    stage.publish_with(&[("nats-msg-id", "order-7")], "1").await;
    hook.wait_delivered(2, SOON).await;
    let requests = hook.requests();
    let attempts: Vec<_> = requests.iter().map(|request| request.header("broadcaster-attempt")).collect();
    assert_eq!(attempts, ["1", "2", "3", "1", "2", "3"]);
    let ids = hook.ids();
    let made: Uuid = ids[0].parse().unwrap();
    assert_eq!(made.get_version_num(), 7, "{made}");
    assert!(ids[..3].iter().all(|id| *id == ids[0]), "{ids:?}");
    assert!(ids[3..].iter().all(|id| id == "order-7"), "{ids:?}");
    stage.close().await;
}

#[tokio::test]
async fn messages_without_an_id_get_different_ones() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| daemon).await;
    for number in 0..100 {
        stage.publish(number.to_string()).await;
    }
    hook.wait_delivered(100, SOON).await;
    let ids: BTreeSet<_> = hook.ids().into_iter().collect();
    assert_eq!(ids.len(), 100, "ids are shared");
    stage.close().await;
}

#[tokio::test]
async fn https_trusts_the_authority_of_the_route() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let ca = authority.write_to(directory.path());
    let hook = Webhook::start_tls(&authority.issue_loopback());
    // By address and by name: what the certificate must be for differs, and the name has to be resolved.
    for (number, url) in [hook.url(), hook.url().replace("127.0.0.1", "localhost")].iter().enumerate() {
        let mut stage =
            Stage::set(url, |daemon| daemon.route("webhook.tls.ca_file", ca.to_str().unwrap())).await;
        stage.publish(number.to_string()).await;
        hook.wait_delivered(number + 1, SOON).await;
        let host = hook.requests().pop().unwrap();
        assert!(url.contains(host.header("host")), "{} for {url}", host.header("host"));
        assert_eq!(stage.close().await.delivered, 1);
    }
}
