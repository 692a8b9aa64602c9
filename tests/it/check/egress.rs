//! The way out: proxies, the guard, the certificate that a webhook is shown.

use std::net::Ipv4Addr;
use std::time::Duration;

use testkit::{names::NameServer, namespace, proxy::Proxy, tls::Authority, webhook::Webhook};

use super::Found;

/// A route to `url` with these settings of its webhook.
fn route(name: &str, url: &str, settings: &str) -> String {
    format!(
        "[routes.{name}]\nsubject = \"{name}\"\nwebhook = {{ url = \"{url}\", connect_timeout = \"2s\", {settings} }}\n"
    )
}

const NATS: &str = "nats.url = \"nats://127.0.0.1:1\"\n";

#[tokio::test]
async fn a_proxy_is_shown_and_gone_through() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let ca = authority.write_to(directory.path());
    let (hook, proxy) =
        (Webhook::start_tls(&authority.issue_loopback()), Proxy::http("BasicAuth user SECRET").await);
    let at =
        |login: &str| format!("tls.ca_file = {ca:?}, egress.proxy = \"http://{login}{}\"", proxy.address());
    let found = Found::of(&format!(
        "{NATS}{}{}{}",
        route("good", &hook.url(), &at("user:SECRET@")),
        route("refused", &hook.url(), &at("")),
        route("down", &hook.url(), "egress.proxy = \"http://127.0.0.1:1\"")
    ));
    let address = proxy.address().to_string();
    found.assert("route good", "webhook proxy", "ok", &[&address, "is before it, by webhook.egress.proxy"]);
    found.assert("route good", "webhook proxy", "ok", &[&address, "answers within"]);
    found.assert("route good", "webhook TLS", "ok", &["certificate of broadcaster test authority"]);
    found.assert("route good", "webhook protocol", "ok", &["HTTP/1.1"]);
    found.assert(
        "route refused",
        "webhook proxy",
        "failed",
        &["407", "it wants a login", "webhook.egress.proxy"],
    );
    found.assert("route down", "webhook proxy", "failed", &["the proxy 127.0.0.1:1: connection refused"]);
    assert_eq!(hook.received(), 0);
}

#[test]
fn what_the_guard_forbids_is_told() {
    let test = "check::egress::what_the_guard_forbids_is_told";
    namespace::run(test, "timeout:1", async {
        let names = NameServer::start();
        names.know("hook.example", [Ipv4Addr::LOCALHOST]);
        let found = Found::of(&format!(
            "{NATS}{}",
            route("guarded", "http://hook.example", "egress.deny_private = true")
        ));
        found.assert("route guarded", "webhook name", "ok", &["hook.example is 127.0.0.1"]);
        let words = ["127.0.0.1 is loopback (RFC 1122)", "webhook.egress.allow"];
        found.assert("route guarded", "webhook connection", "failed", &words);
    });
}

#[tokio::test]
async fn the_end_of_a_client_certificate_is_told() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let ca = authority.write_to(directory.path());
    let hook = Webhook::start_tls_as(authority.demanding(&authority.issue_loopback()));
    let names = ["client.example"];
    let mut toml = NATS.to_owned();
    for (name, identity) in [
        ("good", authority.issue_for(&names, 100 * DAY)),
        ("soon", authority.issue_for(&names, 3 * DAY)),
        ("ended", authority.issue_expired(&names)),
    ] {
        let (cert, key) = identity.write_to(directory.path(), name);
        let settings = format!("tls = {{ ca_file = {ca:?}, cert_file = {cert:?}, key_file = {key:?} }}");
        toml.push_str(&route(name, &hook.url(), &settings));
    }
    let found = Found::of(&toml);
    let what = "client certificate";
    found.assert("route good", what, "ok", &["certificate of broadcaster test authority", "days left"]);
    found.assert("route good", "webhook TLS", "ok", &["TLS 1.3"]);
    found.assert("route soon", what, "warning", &["2 days left", "webhook.tls.cert_file"]);
    found.assert("route ended", what, "failed", &["it has ended", "2021-01-01"]);
}
