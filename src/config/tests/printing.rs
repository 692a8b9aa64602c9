//! The effective configuration as TOML: every setting is there, and what is printed loads again, once its secrets are put in.

use super::{ROUTE, given};

/// What is in effect where only the address is set.
const DEFAULTS: &str = r#"[log]
level = "info"
format = "text"

[server]
api = "[::]:8002"
metrics = "[::]:7777"
page = true

[metrics]
per_route = "auto"

[nats]
url = "nats://127.0.0.1:4222"
name = "broadcaster"
inbox_prefix = "_INBOX"
ignore_discovered_servers = false

[nats.tls]
handshake_first = false

[reload]
watch = true

[service]
access = "off"
name = "broadcaster"

[runtime]
threads = "auto"

[shutdown]
grace = "25s"
hand_over = true

[routes.todos]
subject = "todos.events"
queue_group = "broadcaster-workers"

[routes.todos.webhook]
url = "https://example.com/…"
method = "POST"
http = "auto"
forward = ["ce-*", "traceparent", "tracestate"]
format = "raw"
timeout = "30s"
connect_timeout = "5s"
idle_timeout = "50s"
max_connection_age = "5m"
concurrency = 64

[routes.todos.webhook.egress]
deny_private = false
https_only = false

[routes.todos.webhook.tls]
system_roots = true
dangerously_accept_any_certificate = false

[routes.todos.batch]
max_messages = 1
max_bytes = "1MiB"
max_wait = "0s"
format = "json"

[routes.todos.queue]
messages = 65536
bytes = "32MiB"
overflow = "dead_letter"

[routes.todos.retry]
attempts = 12
initial = "500ms"
max = "5m"
multiplier = 2.0
jitter = "full"
messages = 65536
bytes = "32MiB"
statuses = ["408", "425", "429", "5xx", "!501"]

[routes.todos.breaker]
enabled = true
failures = 20
rate = 0.5
window = "10s"
open_for = "5s"
half_open_probes = 3
ramp = "10s"
"#;

#[test]
fn every_default_is_shown() {
    assert_eq!(given(ROUTE).load().to_toml(), DEFAULTS);
}

#[test]
fn what_is_printed_loads_again_as_the_same() {
    let config = given(
        r#"
        log = { level = "debug", format = "json" }
        nats = { url = "nats://a:1,tls://[::1]:2", name = "a \"b\" \\ c" }
        runtime.threads = 2
        shutdown.grace = "1m 30s 5ms"
        [routes.b]
        subject = "a.*.>"
        queue.bytes = 65537
        queue.overflow = "drop_oldest"
        retry = { multiplier = 1.5, jitter = "none", statuses = ["!503", 500, "4xx"] }
        rate_limit = { per_second = 5, burst = 9 }
        dead_letter.subject = "dead"
        webhook = { url = "http://[::1]:80/x?y", headers = { X-A = "1", "x.b" = "2" } }
        [routes.a]
        subject = "b"
        [routes.a.webhook]
        url = "https://example.com:8443"
        tls.dangerously_accept_any_certificate = true
        [routes.a.webhook.egress]
        deny_private = true
        allow = ["10.1.0.0/16", "fd00::1"]
        https_only = true
        ports = [443, 8443]
        proxy = "http://u:p@proxy"
        [routes.a.webhook.signing]
        scheme = "custom"
        header = "X-Sign"
        signed = "{timestamp}:{id}:{body}"
        lead = "t={timestamp};"
        separator = ";"
        keys.old = { secret = "s3cret", until = "2900-01-31T12:00:00Z" }
        keys.new.secret = "s3cret"
        "#,
    )
    .load();
    let printed = config.to_toml();
    let secrets = printed.replace("********", "s3cret").replace("/…", "/s3cret");
    let again = given(&secrets).load().to_toml();
    assert_eq!(again, printed.replace("http://[::1]:80/", "http://[::1]/"));
    for line in [
        "[routes.a.webhook]",
        "proxy = \"http://********:********@proxy:80\"",
        "bytes = \"65537\"",
        "grace = \"1m 30s 5ms\"",
        "\"x.b\" = \"********\"",
    ] {
        assert!(printed.contains(line), "{line} is missing in\n{printed}");
    }
}
