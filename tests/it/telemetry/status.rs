//! `/api/v1/status`: what it says of routes that work and of those that don't.

use std::time::Duration;

use broadcaster::control::status::model::{Route, RouteDetail, Severity, Status};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use testkit::daemon::{Daemon, Running};
use testkit::nats::NatsServer;
use testkit::stage::Stage;
use testkit::webhook::Webhook;

const SOON: Duration = Duration::from_secs(60);

async fn status(daemon: &Running, query: &str) -> Status {
    let answer = daemon.get(&format!("/api/v1/status{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/json");
    serde_json::from_str(&answer.body).expect("it is a status")
}

async fn detail(daemon: &Running, route: &str) -> RouteDetail {
    let answer = daemon.get(&format!("/api/v1/status/routes/{route}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).expect("it is all of a route")
}

/// Waits until the first route of the list is as wanted.
async fn wait_for(daemon: &Running, wanted: impl Fn(&Route) -> bool) -> Status {
    wait_for_status(daemon, |status| status.routes.first().is_some_and(&wanted)).await
}

async fn wait_for_status(daemon: &Running, wanted: impl Fn(&Status) -> bool) -> Status {
    let until = async {
        loop {
            let status = status(daemon, "").await;
            if wanted(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(SOON, until).await.ok();
    assert!(found.is_some(), "never as wanted: {:?}", status(daemon, "").await);
    found.unwrap_or_default()
}

#[tokio::test]
async fn a_route_is_told_in_words_as_it_delivers_fails_and_recovers() {
    let hook = Webhook::start();
    let url = format!("{}/secret-path?token=secret-query", hook.url());
    let mut stage = Stage::set(&url, Daemon::impatient).await;
    let idle = wait_for(&stage.daemon, |route| route.state == "idle").await;
    assert_eq!((idle.health.ready, idle.totals.routes), (true, 1));
    assert!(idle.lanes.iter().all(|lane| lane.connection.connected), "{:?}", idle.lanes);
    let round_trip = |status: &Status| status.lanes.first().and_then(|lane| lane.connection.round_trip);
    let heard = wait_for_status(&stage.daemon, |status| round_trip(status).is_some()).await;
    assert!(round_trip(&heard).is_some_and(|trip| trip > 0.0 && trip < 60.0), "{:?}", heard.lanes);
    let metrics = stage.daemon.metrics().await;
    assert!(metrics.value("broadcaster_nats_round_trip_seconds", &[]) > 0.0);

    for number in 0..20 {
        stage.publish(number.to_string()).await;
    }
    let delivering = wait_for(&stage.daemon, |route| route.state == "delivering").await;
    assert!(delivering.routes[0].text.starts_with("delivering "), "{:?}", delivering.routes[0]);
    assert_eq!(delivering.routes[0].severity, Severity::Ok);

    hook.answer(503);
    for number in 20..40 {
        stage.publish(number.to_string()).await;
    }
    let down = wait_for(&stage.daemon, |route| route.severity == Severity::Error).await;
    let route = &down.routes[0];
    assert!(route.text.contains("left alone") && route.text.contains("wait"), "{route:?}");
    assert_eq!((route.state.as_str(), route.cause.as_deref()), ("down", Some("503")), "{route:?}");
    // All routes are looked at once a second.
    wait_for_status(&stage.daemon, |status| status.totals.severities.error == 1).await;
    assert_eq!(status(&stage.daemon, "?state=troubled").await.matching, 1);
    let detail = detail(&stage.daemon, "default").await;
    assert_eq!(detail.failures[0].reason, "503", "{detail:?}");
    assert!(!detail.failures[0].id.is_empty());
    assert!(detail.settings.contains("[routes.default.retry]"), "{}", detail.settings);
    let all = format!("{down:?}{detail:?}");
    assert!(!all.contains("secret-"), "{all}");

    hook.answer(200);
    hook.wait_delivered(40, SOON).await;
    wait_for(&stage.daemon, |route| route.severity >= Severity::Ok).await;
    wait_for_status(&stage.daemon, |status| status.totals.messages.delivered == 40).await;
    stage.close().await;
}

#[tokio::test]
async fn nats_that_is_gone_is_told_with_every_route() {
    let mut stage = Stage::set("http://127.0.0.1:1/", |daemon| daemon).await;
    stage.nats.kill();
    let lost = wait_for(&stage.daemon, |route| route.state == "source").await;
    let route = &lost.routes[0];
    assert!(route.cause.as_ref().is_some_and(|cause| cause.contains("not connected to NATS")), "{route:?}");
    assert!(!lost.health.ready && !route.source.live, "{lost:?}");
    stage.nats.restart().await;
    wait_for(&stage.daemon, |route| route.source.live).await;
    stage.close().await;
}

#[tokio::test]
async fn many_routes_are_searched_and_paged() {
    let nats = NatsServer::start().await;
    let routes = (0..120).map(|number| {
        format!("[routes.r{number:03}]\nsubject = \"a.{number}\"\nwebhook.url = \"http://127.0.0.1:1/\"\n")
    });
    let mut daemon =
        Daemon::new().env("NATS_URL", nats.url()).config(&routes.collect::<String>()).start_ready().await;
    let mut names = Vec::new();
    let mut after = String::new();
    loop {
        let page = status(&daemon, &format!("?limit=50{after}")).await;
        assert_eq!((page.matching, page.totals.routes), (120, 120));
        names.extend(page.routes.into_iter().map(|route| route.name));
        let Some(next) = page.next else { break };
        after = format!("&after={next}");
    }
    assert_eq!(names, (0..120).map(|number| format!("r{number:03}")).collect::<Vec<_>>());
    let found = status(&daemon, "?search=R01&limit=3").await;
    assert_eq!((found.matching, found.routes.len()), (10, 3));
    assert_eq!(status(&daemon, "?search=a.119").await.routes[0].name, "r119", "by its subject");
    for wrong in ["?limit=0", "?state=bad", "?sort=name"] {
        let answer = daemon.get(&format!("/api/v1/status{wrong}")).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.headers["content-type"]),
            (400, &"application/problem+json".parse().unwrap())
        );
    }
    assert_eq!(daemon.get("/api/v1/status/routes/none").await.status, 404);
    daemon.stop().await;
}

#[tokio::test]
async fn events_tell_the_status_again_and_again() {
    let mut stage = Stage::set("http://127.0.0.1:1/", |daemon| daemon).await;
    let mut stream = TcpStream::connect(stage.daemon.api()).await.expect("the daemon listens");
    let request = "GET /api/v1/status/events HTTP/1.1\r\nhost: a\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("the daemon reads");
    let mut read = String::new();
    let until_three = async {
        while read.matches("event: status\ndata: {").count() < 3 {
            let mut part = [0; 4096];
            let length = stream.read(&mut part).await.expect("the daemon answers");
            assert!(length > 0, "it ended: {read}");
            read.push_str(&String::from_utf8_lossy(&part[..length]));
        }
    };
    tokio::time::timeout(SOON, until_three).await.expect("there are events");
    assert!(read.to_lowercase().contains("content-type: text/event-stream"), "{read}");
    stage.close().await;
}
