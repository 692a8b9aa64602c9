//! The status page, in a browser.

mod browser;
mod many;

use std::time::Duration;

use testkit::daemon::Daemon;
use testkit::http;
use testkit::nats::NatsServer;
use testkit::stage::Stage;
use testkit::webhook::Webhook;

use self::browser::{Browser, DESK, Look, NIGHT, PHONE};

const SOON: Duration = Duration::from_secs(60);
/// Within which a trouble is to be seen.
const AT_ONCE: Duration = Duration::from_secs(2);
/// A route whose webhook refuses connections.
const NOWHERE: &str = "http://127.0.0.1:1/";

fn row_is(severity: &str) -> String {
    format!("document.querySelector('#rows tr[data-severity={severity}]') !== null")
}

async fn assert_contented(browser: &mut Browser) {
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "the browser complains: {complaints:?}");
}

#[tokio::test]
async fn a_failing_route_shows_at_once_and_so_does_its_recovery() {
    let hook = Webhook::start();
    let described = |daemon: Daemon| daemon.impatient().route("breaker.open_for", "1s");
    let mut stage = Stage::set(&hook.url(), described).await;
    let mut browser = Browser::open(&format!("http://{}/", stage.daemon.api()), DESK).await;
    browser.wait(&row_is("idle"), SOON).await;
    stage.publish("0").await;
    browser.wait(&row_is("ok"), SOON).await;

    hook.answer(503);
    for number in 1..=20 {
        stage.publish(number.to_string()).await;
    }
    stage.daemon.wait_log("breaker open", SOON).await;
    let took = browser.wait(&row_is("error"), SOON).await;
    assert!(took <= AT_ONCE, "it showed after {took:?}");
    browser.reads("the webhook is left alone").await;
    browser.wait("document.title.startsWith('(1)')", SOON).await;

    browser.press("Tab").await;
    browser.evaluate("document.querySelector('#rows a').focus()").await;
    browser.press("Enter").await;
    browser.wait("document.querySelector('dialog[open] .fails li b')?.textContent === '503'", SOON).await;
    browser.press("Escape").await;
    browser.wait("!document.querySelector('dialog').open", SOON).await;

    hook.answer(200);
    hook.wait_delivered(21, SOON).await;
    // It shows that the breaker is on trial until its ramp is over.
    browser.wait(&format!("!({}) && !({})", row_is("error"), row_is("warning")), SOON).await;
    assert_contented(&mut browser).await;
    stage.close().await;
}

#[tokio::test]
async fn the_page_survives_a_restart_of_the_daemon() {
    let mut stage = Stage::set(NOWHERE, |daemon| daemon).await;
    let api = stage.daemon.api();
    let mut browser = Browser::open(&format!("http://{api}/"), DESK).await;
    browser.reads("Ready").await;
    stage.close().await;
    browser.reads("Connection to the daemon lost, trying again").await;
    let again = Daemon::between(&stage.nats, NOWHERE).env("BROADCASTER__SERVER__API", api.to_string());
    stage.daemon = again.start_ready().await;
    browser.wait("!document.body.classList.contains('stale')", SOON).await;
    browser.reads("Live, as of").await;
    // That the daemon could not be reached is all there was to complain about.
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|complaint| complaint.contains("net::ERR_")), "{complaints:?}");
    stage.close().await;
}

#[tokio::test]
async fn everybody_can_use_it() {
    let nats = NatsServer::start().await;
    let hook = Webhook::answering([401, 401, 401, 401, 401, 401, 401, 401, 401, 401]);
    let route = |name: &str, url: &str| {
        format!("[routes.{name}]\nsubject = \"{name}\"\nwebhook.url = \"{url}\"\nretry.initial = \"5ms\"\n")
    };
    let config = [route("refused", &hook.url()), route("down", NOWHERE), route("idle", NOWHERE)].concat();
    let mut daemon = Daemon::new().env("NATS_URL", nats.url()).config(&config).start_ready().await;
    let client = nats.client().await;
    for number in 0..10 {
        for name in ["refused", "down"] {
            client.publish(name, number.to_string().into()).await.expect("the client takes a message");
        }
    }
    let url = format!("http://{}/", daemon.api());
    let mut browser = Browser::open(&url, DESK).await;
    for look in [DESK, NIGHT, PHONE, Look { dark: true, ..PHONE }] {
        browser.visit(&url, look).await;
        browser.wait(&row_is("error"), SOON).await;
        assert_eq!(browser.axe().await, Vec::<String>::new(), "the list, {look:?}");
        let wide = browser.evaluate("document.documentElement.scrollWidth - innerWidth").await;
        assert!(wide.as_i64().is_some_and(|wide| wide <= 0), "it is wider than the window, {look:?}");
        browser.evaluate("location.hash = '#/routes/down'").await;
        browser.wait("document.querySelector('dialog[open] .fails li') !== null", SOON).await;
        assert_eq!(browser.axe().await, Vec::<String>::new(), "a route, {look:?}");
    }
    assert_contented(&mut browser).await;
    daemon.stop().await;
}

#[tokio::test]
async fn what_strangers_say_is_shown_and_nothing_of_it_is_done() {
    const STRANGE: &str = "<img/src=x/onerror=document.title='done'><script>document.title='done'</script>";
    let mut stage = Stage::set(NOWHERE, Daemon::impatient).await;
    stage.publish_with(&[("Nats-Msg-Id", STRANGE)], "0").await;
    let url = format!("http://{}/#/routes/default", stage.daemon.api());
    let mut browser = Browser::open(&url, DESK).await;
    browser.wait("document.querySelector('dialog[open] .fails code') !== null", SOON).await;
    let shown = browser.evaluate("document.querySelector('.fails code').textContent").await;
    assert_eq!(shown, STRANGE);
    assert_eq!(browser.evaluate("document.querySelectorAll('img, dialog script').length").await, 0);
    assert_contented(&mut browser).await;

    // Nor is what gets into the page by some other way.
    browser.evaluate("document.body.append(Object.assign(document.createElement('script'), {textContent: 'document.title = \"done\"'}))").await;
    assert_ne!(browser.evaluate("document.title").await, "done");
    let refused = browser.complaints().await;
    assert!(refused.iter().any(|complaint| complaint.contains("Content Security Policy")), "{refused:?}");
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_route_tells_of_its_dead_letters_and_what_to_do() {
    let hook = Webhook::answering([422, 422, 422]);
    let kept =
        |daemon: Daemon| daemon.route("dead_letter.stream", "DEAD").route("dead_letter.create", "true");
    let mut stage = Stage::set(&hook.url(), kept).await;
    for number in 0..3 {
        stage.publish(number.to_string()).await;
    }
    stage.wait_processed(3).await;
    let url = format!("http://{}/#/routes/default", stage.daemon.api());
    let mut browser = Browser::open(&url, DESK).await;
    let is_counted =
        "[...document.querySelectorAll('dialog[open] .kv')].some((kv) => kv.textContent === 'Kept now3')";
    browser.wait(is_counted, SOON).await;
    browser.reads("broadcaster dead-letters list --route default").await;
    let latest = "[...document.querySelectorAll('dialog[open] .fails b')].filter((b) => b.textContent === 'rejected').length";
    assert_eq!(browser.evaluate(latest).await, 3);
    assert_eq!(browser.axe().await, Vec::<String>::new());
    assert_contented(&mut browser).await;
    stage.close().await;
}

#[tokio::test]
async fn a_thousand_routes_are_searched_by_the_keyboard() {
    let nats = NatsServer::start().await;
    let route = |number: usize| {
        format!("[routes.r{number:04}]\nsubject = \"a.{number}\"\nwebhook.url = \"{NOWHERE}\"\n")
    };
    let config: String = (0..1000).map(route).collect();
    let mut daemon = Daemon::new().env("NATS_URL", nats.url()).config(&config).start_ready().await;
    let mut browser = Browser::open(&format!("http://{}/", daemon.api()), DESK).await;
    browser.reads("1–50 of 1,000 routes").await;
    browser.press("/").await;
    browser.type_in("r0777").await;
    browser.wait("document.querySelectorAll('#rows a').length === 1", SOON).await;
    browser.press("ArrowDown").await;
    browser.press("Enter").await;
    browser.wait("document.querySelector('dialog[open] h2')?.textContent === 'r0777'", SOON).await;
    browser.press("Escape").await;
    browser.press("/").await;
    browser.press("Escape").await;
    browser.reads("1–50 of 1,000 routes").await;
    browser.evaluate("document.getElementById('next').click()").await;
    browser.reads("51–100 of 1,000 routes").await;
    assert_contented(&mut browser).await;
    daemon.stop().await;
}

#[tokio::test]
async fn rows_stay_where_they_are_under_the_pointer() {
    let nats = NatsServer::start().await;
    let route = |name: &str| {
        format!(
            "[routes.{name}]\nsubject = \"{name}\"\nwebhook.url = \"{NOWHERE}\"\nretry.initial = \"5ms\"\n"
        )
    };
    let mut daemon =
        Daemon::new().env("NATS_URL", nats.url()).config(&["a", "b"].map(route).concat()).start_ready().await;
    let mut browser = Browser::open(&format!("http://{}/", daemon.api()), DESK).await;
    browser.wait(&row_is("idle"), SOON).await;
    browser.hover("#rows tr:first-child").await;
    let client = nats.client().await;
    for number in 0..10 {
        client.publish("b", number.to_string().into()).await.expect("the client takes a message");
    }
    browser.wait(&row_is("error"), SOON).await;
    let first = "document.querySelector('#rows a').textContent";
    assert_eq!(browser.evaluate(first).await, "a", "it is under the pointer");
    browser.hover("h1").await;
    browser.wait(&format!("{first} === 'b'"), SOON).await;
    daemon.stop().await;
}

#[tokio::test]
async fn it_is_sent_once_and_can_be_left_out() {
    let mut stage = Stage::set(NOWHERE, |daemon| daemon).await;
    let api = stage.daemon.api();
    let page = http::get(api, "/").await.expect("the daemon answers");
    assert_eq!(
        (page.status.as_u16(), &page.headers["content-type"]),
        (200, &"text/html; charset=utf-8".parse().unwrap())
    );
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-cache"),
    ] {
        assert_eq!(page.headers[name], value);
    }
    let tag = page.headers["etag"].to_str().expect("it is text").to_owned();
    let again = http::get_with(api, "/", "if-none-match", &tag).await.expect("the daemon answers");
    assert_eq!((again.status.as_u16(), again.body.as_str()), (304, ""));
    // A proxy that packs it has made the tag a weak one.
    for known in [format!("W/{tag}"), format!("\"x\", W/{tag}"), "*".to_owned()] {
        let again = http::get_with(api, "/", "if-none-match", &known).await.expect("the daemon answers");
        assert_eq!(again.status.as_u16(), 304, "{known}");
    }
    let packed = http::get_with(api, "/", "accept-encoding", "gzip").await.expect("the daemon answers");
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert!(
        packed.headers["content-length"].to_str().unwrap().parse::<usize>().unwrap() < page.body.len() / 3
    );
    stage.close().await;

    let mut without = Stage::set(NOWHERE, |daemon| daemon.env("BROADCASTER__SERVER__PAGE", "false")).await;
    assert_eq!(without.daemon.get("/").await.status, 404);
    assert_eq!(without.daemon.get("/api/v1/status").await.status, 200);
    without.close().await;
}
