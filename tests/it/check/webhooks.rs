//! The way to webhooks.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use testkit::{
    distance::BlackHole,
    names::NameServer,
    namespace,
    raw::{Misbehaviour, RawPeer},
    tls::{Authority, TlsIdentity},
    webhook::Webhook,
};

use super::{Found, checked};

/// A configuration with a route for each of these names and addresses, which trusts what is in `ca`.
fn routes(webhooks: &[(&str, &str)], ca: &str) -> String {
    let mut toml = "nats.url = \"nats://127.0.0.1:1\"\n".to_owned();
    for (name, url) in webhooks {
        write!(
            toml,
            "[routes.{name}]\nsubject = \"{name}\"\nwebhook = {{ url = \"{url}/SECRET\", connect_timeout = \"1s\"{ca} }}\n"
        )
        .expect("a string takes more");
    }
    toml
}

fn trusting(file: &std::path::Path) -> String {
    format!(", tls.ca_file = {file:?}")
}

#[tokio::test]
async fn a_webhook_that_can_be_reached_is_fine_and_hears_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let ca = trusting(&authority.write_to(directory.path()));
    let (plain, tls) = (Webhook::start(), Webhook::start_tls(&authority.issue_loopback()));
    let soon = Webhook::start_tls(&authority.issue_for(&["127.0.0.1"], Duration::from_secs(60 * 60 * 60)));
    let origin = |hook: &Webhook| hook.url().trim_end_matches("/hook").to_owned();
    let named = origin(&tls).replace("127.0.0.1", "localhost");
    let webhooks =
        [("plain", &*origin(&plain)), ("tls", &origin(&tls)), ("named", &named), ("soon", &origin(&soon))];
    let found = Found::of(&routes(&webhooks, &ca));
    found.assert(
        "route plain",
        "webhook connection",
        "ok",
        &[&plain.address().to_string(), "answers within"],
    );
    found.assert("route plain", "webhook protocol", "ok", &["not encrypted"]);
    found.assert("route named", "webhook name", "ok", &["localhost is", "127.0.0.1"]);
    for route in ["route tls", "route named"] {
        found.assert(
            route,
            "webhook TLS",
            "ok",
            &["TLS 1.3", "certificate of broadcaster test authority", "days left"],
        );
        found.assert(route, "webhook protocol", "ok", &["HTTP/1.1"]);
    }
    found.assert("route soon", "webhook TLS", "warning", &["2 days left", "renew"]);
    assert_eq!((plain.received(), tls.received(), soon.received()), (0, 0, 0), "requests");
}

#[tokio::test]
async fn a_certificate_that_is_not_good_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let ca = trusting(&authority.write_to(directory.path()));
    let here = ["127.0.0.1", "localhost"];
    let identities = [
        ("expired", authority.issue_expired(&here), &["certificate expired: not valid after 2021-01-01"][..]),
        ("stranger", Authority::new().issue_loopback(), &["unknown authority", "tls.ca_file"]),
        ("alone", TlsIdentity::self_signed(&here, true), &["signs itself", "tls.ca_file"]),
        ("elsewhere", authority.issue(&["elsewhere.example"]), &["127.0.0.1", "elsewhere.example"]),
    ];
    let hooks: Vec<_> = identities.iter().map(|(_, identity, _)| Webhook::start_tls(identity)).collect();
    let demanding = Webhook::start_tls_as(authority.demanding(&authority.issue_loopback()));
    let plain = Webhook::start();
    let https = |hook: &Webhook| format!("https://{}", hook.address());
    let urls: Vec<_> = hooks.iter().map(https).collect();
    let mut webhooks: Vec<_> =
        identities.iter().map(|(name, ..)| *name).zip(urls.iter().map(String::as_str)).collect();
    let (demanding_url, plain_url) = (https(&demanding), https(&plain));
    webhooks.extend([("demanding", &*demanding_url), ("plain", &plain_url)]);
    let found = Found::of(&routes(&webhooks, &ca));
    assert_eq!(found.status, Some(1));
    for (name, _, words) in identities {
        found.assert(&format!("route {name}"), "webhook TLS", "failed", words);
    }
    found.assert("route demanding", "webhook TLS", "failed", &["it demands a client certificate"]);
    found.assert("route plain", "webhook TLS", "failed", &["does not speak TLS"]);
}

#[tokio::test]
async fn the_protocol_is_what_the_server_agrees_on_and_the_route_wants() {
    const PROTOCOL: &str = "webhook protocol";
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let ca = trusting(&authority.write_to(directory.path()));
    let agreeing = |protocols: &[&str]| {
        Webhook::start_tls_as(authority.issue_loopback().server_config_speaking(protocols))
    };
    let servers = [
        ("both", agreeing(&["h2", "http/1.1"])),
        ("old", agreeing(&["http/1.1"])),
        ("unsaid", agreeing(&[])),
        ("new", agreeing(&["h2"])),
        ("other", agreeing(&["mqtt"])),
    ];
    let urls: Vec<_> = servers.iter().map(|(_, hook)| format!("https://{}", hook.address())).collect();
    let webhooks: Vec<_> =
        servers.iter().map(|(name, _)| *name).zip(urls.iter().map(String::as_str)).collect();
    let expected = [
        ("auto", "both", PROTOCOL, "ok", "HTTP/2; HTTP/1.1 too"),
        ("auto", "old", PROTOCOL, "ok", "HTTP/1.1 (ALPN)"),
        ("auto", "unsaid", PROTOCOL, "ok", "no ALPN"),
        ("auto", "new", PROTOCOL, "ok", "HTTP/2 (ALPN)"),
        ("auto", "other", "webhook TLS", "failed", "NoApplicationProtocol"),
        ("1.1", "both", PROTOCOL, "ok", "HTTP/1.1; HTTP/2 too"),
        ("1.1", "new", PROTOCOL, "failed", "HTTP/2 only"),
        ("1.1", "other", PROTOCOL, "warning", "none that ask for the protocol"),
        ("2", "both", PROTOCOL, "ok", "HTTP/2 (ALPN)"),
        ("2", "unsaid", PROTOCOL, "failed", "demands HTTP/2"),
        ("2", "old", "webhook TLS", "failed", "NoApplicationProtocol"),
    ];
    for http in ["auto", "1.1", "2"] {
        let found = Found::of(&routes(&webhooks, &format!("{ca}, http = {http:?}")));
        for (_, name, what, result, words) in expected.iter().filter(|expected| expected.0 == http) {
            found.assert(&format!("route {name}"), what, result, &[words]);
        }
    }
    let plain = Webhook::start();
    let plain = format!("http://{}", plain.address());
    let found = Found::of(&routes(&[("plain", &plain)], ", http = \"2\""));
    found.assert("route plain", PROTOCOL, "ok", &["prior knowledge"]);
}

#[tokio::test]
async fn what_hangs_up_or_says_nothing_is_told_in_time() {
    let closing = RawPeer::start([Misbehaviour::ResetUnread]);
    let silent = RawPeer::start([Misbehaviour::NeverAnswer]);
    let (closing, silent) =
        (format!("http://{}", closing.address()), format!("https://{}", silent.address()));
    let began = Instant::now();
    let webhooks = [("closing", &*closing), ("silent", &silent), ("closed", "http://127.0.0.1:1")];
    let found = Found::of(&routes(&webhooks, ""));
    found.assert("route closing", "webhook connection", "failed", &["onnect"]);
    found.assert("route silent", "webhook TLS", "failed", &["no answer within 1s"]);
    found.assert(
        "route closed",
        "webhook connection",
        "failed",
        &["connection refused (127.0.0.1:1)", "start the webhook"],
    );
    assert!(began.elapsed() < Duration::from_secs(8), "it took {:?}", began.elapsed());
}

#[test]
fn names_that_lead_nowhere() {
    let test = "check::webhooks::names_that_lead_nowhere";
    namespace::run(test, "timeout:3 attempts:1", async {
        let names = NameServer::start();
        names.silence("silent.example");
        names.know("hole.example", [Ipv4Addr::new(127, 1, 1, 1)]);
        let _hole = BlackHole::at(SocketAddr::new([127, 1, 1, 1].into(), 8080));
        let webhooks = [
            ("nobody", "http://nobody.example"),
            ("silent", "http://silent.example"),
            ("hole", "http://hole.example:8080"),
        ];
        let found = Found::of(&routes(&webhooks, ""));
        let name = "webhook name";
        found.assert("route nobody", name, "failed", &["nobody.example: no such name", "webhook.url"]);
        found.assert("route silent", name, "failed", &["silent.example: no answer within 1s"]);
        found.assert("route hole", name, "ok", &["hole.example is 127.1.1.1"]);
        found.assert("route hole", "webhook connection", "failed", &["no answer within 1s (127.1.1.1:8080)"]);
        assert_eq!(found.status, Some(1));
    });
}

#[test]
fn people_get_signs_and_plain_letters_where_they_need_those() {
    let toml = routes(&[("a", "http://127.0.0.1:1")], "");
    let text = |env: &[(&str, &str)]| String::from_utf8(checked(&[], &toml, env).stdout).unwrap();
    let usual = text(&[]);
    assert!(
        usual.contains("route a\n") && usual.contains("  ✗ webhook connection: connecting to 127.0.0.1"),
        "{usual}"
    );
    assert!(usual.contains(" → start the webhook") && !usual.contains('\u{1b}'), "{usual}");
    let plain = text(&[("LANG", "C")]);
    assert!(plain.is_ascii() && plain.contains("  x webhook connection: "), "{plain}");
}

#[test]
fn a_wrong_configuration_is_78_as_ever() {
    let output = checked(&[], "[routes.a.webhook]\nurl = \"ftp://SECRET\"\n", &[]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(78), 0));
}
