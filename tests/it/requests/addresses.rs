//! Addresses with placeholders.

use std::time::Duration;

use testkit::daemon;
use testkit::stage::Stage;
use testkit::webhook::{Reply, Webhook};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn path_and_query_are_made_of_the_message_and_nothing_leads_out_of_its_part() {
    let hook = Webhook::start();
    let url =
        format!("{}/{{{{ tokens[1] }}}}/of?tenant={{{{ headers['X-Tenant'] }}}}&id={{{{ id }}}}", hook.url());
    let start = hook.url().replace(&format!("http://{}", hook.address()), "");
    let mut stage = Stage::set(&url, |daemon| daemon.env("NATS_SUBJECT", "todos.>")).await;
    let publish = async |subject: &str, tenant: Option<&str>| {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", "7");
        if let Some(tenant) = tenant {
            headers.insert("X-Tenant", tenant);
        }
        stage.client.publish_with_headers(subject.to_owned(), headers, "{}".into()).await.unwrap();
    };
    let sent = [
        ("todos.eu", "a", "/eu/of?tenant=a&id=7"),
        ("todos.eu/x?y#z", "a&b=c d/..+%", "/eu%2Fx%3Fy%23z/of?tenant=a%26b%3Dc%20d%2F..%2B%25&id=7"),
        ("todos.créé", "", "/cr%C3%A9%C3%A9/of?tenant=&id=7"),
    ];
    for (number, (subject, tenant, expected)) in sent.into_iter().enumerate() {
        publish(subject, Some(tenant)).await;
        hook.wait_delivered(number + 1, SOON).await;
        let request = hook.requests().pop().unwrap();
        assert_eq!(*request.path, format!("{start}{expected}"), "{subject}");
        assert_eq!(request.header("host"), hook.address().to_string());
    }
    publish("todos.eu", None).await;
    stage.wait_processed(4).await;
    stage.assert_codes([("200", 3), ("unsendable", 1)]).await;
    let line = stage.daemon.wait_log("no request can be made of a message", SOON).await;
    assert!(line.contains("no address for it: `headers['X-Tenant']` is undefined"), "{line}");
    stage.close().await;
}

#[tokio::test]
async fn a_value_that_leads_to_another_part_of_the_host_makes_no_address() {
    let hook = Webhook::start();
    let url = format!("{}/{{{{ headers['x-tenant'] }}}}/events", hook.url());
    let mut stage = Stage::set(&url, |daemon| daemon).await;
    let bad = ["../../admin", "..", ".", "a/..", "..\\admin", "%2e%2e", "%2E%2e/admin", ""];
    for (number, tenant) in (1..).zip(bad) {
        stage.publish_with(&[("X-Tenant", tenant)], "{}").await;
        stage.wait_processed(number).await;
    }
    stage.publish_with(&[("X-Tenant", "...a")], "{}").await;
    stage.wait_processed(9).await;
    stage.assert_codes([("200", 1), ("unsendable", 8)]).await;
    assert!(hook.requests()[0].path.ends_with("/...a/events"), "{}", hook.requests()[0].path);
    let line = stage.daemon.wait_log("no request can be made of a message", SOON).await;
    assert!(line.contains("no address for it: the path has a part that is . or .."), "{line}");
    assert!(stage.daemon.logs_containing("admin").is_empty(), "the log shows an address");
    stage.close().await;
}

#[tokio::test]
async fn an_empty_part_at_the_end_of_a_path_is_no_address() {
    let hook = Webhook::start();
    let url = format!("{}/{{{{ headers['x-a'] }}}}", hook.url());
    let mut stage = Stage::set(&url, |daemon| daemon).await;
    stage.publish_with(&[("X-A", "")], "{}").await;
    stage.publish_with(&[("X-A", "b")], "{}").await;
    stage.wait_processed(2).await;
    stage.assert_codes([("200", 1), ("unsendable", 1)]).await;
    assert!(hook.requests()[0].path.ends_with("/b"), "{}", hook.requests()[0].path);
    stage.close().await;
}

#[tokio::test]
async fn a_redirect_is_told_without_what_a_message_has_put_into_the_address() {
    let hook = Webhook::start();
    hook.answer(Reply::status(308).header("location", "https://elsewhere.example/tenant-s3cret/x"));
    let url = format!("{}/{{{{ headers['x-tenant'] }}}}", hook.url());
    let mut stage = Stage::set(&url, |daemon| daemon).await;
    for _ in 0..3 {
        stage.publish_with(&[("X-Tenant", "tenant-s3cret")], "{}").await;
    }
    let line = stage.daemon.wait_log("redirect to", SOON).await;
    assert!(line.contains("redirect to https://elsewhere.example/…/x"), "{line}");
    assert!(stage.daemon.logs_containing("s3cret").is_empty(), "the log shows a tenant");
    stage.daemon.kill();
}

#[test]
fn an_address_whose_host_would_be_a_messages_is_refused_and_none_is_printed() {
    let check = |url: &str| daemon::run(&["check"], &[("WEBHOOK_URL", url)]);
    let refused = check("https://{{ tokens[1] }}.example/hook-s3cret");
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(78), "{text}");
    assert!(
        text.contains("routes.default.webhook.url: expected placeholders in path and query only"),
        "{text}"
    );
    assert!(!text.contains("s3cret") && !text.contains("tokens[1] }}.example"), "{text}");
    let fine = check("https://hooks.example/hook-s3cret/{{ tokens[1] }}");
    let text = String::from_utf8_lossy(&fine.stdout).into_owned();
    assert!(text.contains("url = \"https://hooks.example/…\"") && !text.contains("s3cret"), "{text}");
}
