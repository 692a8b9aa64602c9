//! A configuration equals another when every setting does: what a reload goes by.

use nkeys::KeyPair;
use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::{Given, creds, every_key, given, no_file};
use crate::config::{Config, load, new_key};

/// A key, two values for it, and the settings that it cannot be without. `DIR/` is the folder of [`files`].
type Setting = (&'static str, [&'static str; 2], &'static [(&'static str, &'static str)]);

const SETTINGS: &[Setting] = &[
    ("log.level", ["info", "debug"], &[]),
    ("log.format", ["text", "json"], &[]),
    ("server.api", ["127.0.0.1:1", "127.0.0.1:2"], &[]),
    ("server.metrics", ["127.0.0.1:1", "127.0.0.1:2"], &[]),
    ("server.page", ["true", "false"], &[]),
    ("server.tokens.t.token", ["a-token-of-16-letters", "b-token-of-16-letters"], &[]),
    ("server.tokens.t.token_file", ["DIR/a.token", "DIR/b.token"], &[]),
    ("server.tokens.t.role", ["read", "act"], &[("server.tokens.t.token", "a-token-of-16-letters")]),
    ("server.tls.cert_file", ["DIR/a.pem", "DIR/same.pem"], &[("server.tls.key_file", "DIR/a.key")]),
    ("server.tls.key_file", ["DIR/a.key", "DIR/same.key"], &[("server.tls.cert_file", "DIR/a.pem")]),
    ("metrics.per_route", ["auto", "100"], &[]),
    ("nats.url", ["nats://a", "nats://b"], &[]),
    ("nats.name", ["a", "b"], &[]),
    ("nats.inbox_prefix", ["_INBOX", "_INBOX.daemon"], &[]),
    ("nats.ignore_discovered_servers", ["false", "true"], &[]),
    ("nats.credentials_file", ["DIR/a.creds", "DIR/b.creds"], &[]),
    ("nats.nkey_seed_file", ["DIR/a.seed", "DIR/b.seed"], &[]),
    ("nats.user", ["a", "b"], &[("nats.password", "x")]),
    ("nats.password", ["a", "b"], &[("nats.user", "x")]),
    ("nats.password_file", ["DIR/a", "DIR/b"], &[("nats.user", "x")]),
    ("nats.token", ["a", "b"], &[]),
    ("nats.token_file", ["DIR/a", "DIR/b"], &[]),
    ("nats.tls.ca_file", ["DIR/a.pem", "DIR/b.pem"], &[]),
    ("nats.tls.cert_file", ["DIR/a.pem", "DIR/same.pem"], &[("nats.tls.key_file", "DIR/a.key")]),
    ("nats.tls.key_file", ["DIR/a.key", "DIR/same.key"], &[("nats.tls.cert_file", "DIR/a.pem")]),
    ("nats.tls.handshake_first", ["false", "true"], &[]),
    ("runtime.threads", ["1", "2"], &[]),
    ("reload.watch", ["true", "false"], &[]),
    ("service.access", ["read", "act"], &[]),
    ("service.name", ["a", "b"], &[]),
    ("shutdown.grace", ["1s", "2s"], &[]),
    ("shutdown.hand_over", ["true", "false"], &[]),
    ("tracing.endpoint", ["http://a", "http://b"], &[]),
    ("tracing.sample", ["0.1", "0.2"], COLLECTOR),
    ("tracing.timeout", ["1s", "2s"], COLLECTOR),
    ("tracing.service_name", ["a", "b"], COLLECTOR),
    ("tracing.headers.x-token", ["a", "b"], COLLECTOR),
    ("tracing.headers_file.x-token", ["DIR/a", "DIR/b"], COLLECTOR),
    ("tracing.tls.ca_file", ["DIR/a.pem", "DIR/b.pem"], COLLECTOR),
    ("tracing.tls.system_roots", ["true", "false"], &[COLLECTOR[0], ("tracing.tls.ca_file", "DIR/a.pem")]),
    (
        "tracing.tls.cert_file",
        ["DIR/a.pem", "DIR/same.pem"],
        &[COLLECTOR[0], ("tracing.tls.key_file", "DIR/a.key")],
    ),
    (
        "tracing.tls.key_file",
        ["DIR/a.key", "DIR/same.key"],
        &[COLLECTOR[0], ("tracing.tls.cert_file", "DIR/a.pem")],
    ),
    ("tracing.tls.dangerously_accept_any_certificate", ["false", "true"], COLLECTOR),
    ("history.subject", ["h", "i"], &[]),
    ("history.outcomes", ["failed", "all"], HISTORY),
    ("history.sample", ["0.1", "0.2"], HISTORY),
    ("history.stream", ["A", "B"], HISTORY),
    ("history.create", ["false", "true"], KEPT),
    ("history.max_age", ["1d", "2d"], KEPT),
    ("history.max_bytes", ["1MiB", "2MiB"], KEPT),
    ("endpoints.bucket", ["a", "b"], &[]),
    ("endpoints.prefix", ["a", "b"], BUCKET),
    ("endpoints.create", ["false", "true"], BUCKET),
    ("endpoints.secrets_dir", ["/a", "/b"], BUCKET),
    ("endpoints.identity_file", ["DIR/a.identity", "DIR/b.identity"], BUCKET),
    ("endpoints.max_routes", ["1", "2"], BUCKET),
    ("endpoints.limits.deny_private", ["false", "true"], BUCKET),
    ("endpoints.limits.subjects", ["a.>", "b.>"], BUCKET),
    ("endpoints.limits.concurrency", ["1", "2"], BUCKET),
    ("endpoints.limits.messages", ["1", "2"], BUCKET),
    ("endpoints.limits.bytes", ["1MiB", "2MiB"], BUCKET),
    ("routes.todos.subject", ["a", "b"], &[]),
    ("routes.todos.queue_group", ["a", "b"], &[]),
    ("routes.todos.filter", ["data.a", "data.b"], &[]),
    ("routes.todos.jetstream.stream", ["A", "B"], &[]),
    ("routes.todos.jetstream.consumer", ["a", "b"], STREAM),
    ("routes.todos.jetstream.create", ["false", "true"], STREAM),
    ("routes.todos.jetstream.ack_wait", ["1s", "2s"], STREAM),
    ("routes.todos.jetstream.max_ack_pending", ["1", "2"], STREAM),
    ("routes.todos.jetstream.deliver_policy", ["all", "new"], STREAM),
    ("routes.todos.jetstream.domain", ["a", "b"], STREAM),
    ("routes.todos.jetstream.api_prefix", ["$JS.a.API", "$JS.b.API"], STREAM),
    ("routes.todos.webhook.url", ["https://a/", "https://b/"], &[]),
    ("routes.todos.webhook.url_file", ["DIR/a.url", "DIR/b.url"], &[]),
    ("routes.todos.webhook.method", ["POST", "PUT"], &[]),
    ("routes.todos.webhook.http", ["1.1", "2"], &[]),
    ("routes.todos.webhook.forward", ["ce-*", "x-*,ce-*"], &[]),
    ("routes.todos.webhook.headers.x-token", ["a", "b"], &[]),
    ("routes.todos.webhook.headers_file.x-token", ["DIR/a", "DIR/b"], &[]),
    ("routes.todos.webhook.header_templates.x-token", ["{{ id }}", "{{ subject }}"], &[]),
    ("routes.todos.webhook.format", ["raw", "envelope"], &[]),
    ("routes.todos.webhook.template", ["{{ id }}", "{{ subject }}"], TEMPLATE),
    ("routes.todos.webhook.template_file", ["DIR/a", "DIR/b"], TEMPLATE),
    (
        "routes.todos.webhook.content_type",
        ["text/plain", "text/html"],
        &[("routes.todos.webhook.format", "template"), ("routes.todos.webhook.template", "{{ id }}")],
    ),
    ("routes.todos.webhook.cloudevents.mode", ["binary", "structured"], EVENTS),
    ("routes.todos.webhook.cloudevents.id", ["{{ id }}", "{{ id }}-1"], EVENTS),
    ("routes.todos.webhook.cloudevents.source", ["/a", "/b"], EVENTS),
    ("routes.todos.webhook.cloudevents.type", ["a", "b"], EVENTS),
    ("routes.todos.webhook.cloudevents.subject", ["a", "b"], EVENTS),
    ("routes.todos.webhook.cloudevents.time", ["{{ time }}", "{{ data.at }}"], EVENTS),
    ("routes.todos.webhook.cloudevents.datacontenttype", ["text/a", "text/b"], EVENTS),
    ("routes.todos.webhook.cloudevents.dataschema", ["urn:a", "urn:b"], EVENTS),
    ("routes.todos.webhook.compression.encoding", ["gzip", "zstd"], &[]),
    (
        "routes.todos.webhook.compression.min",
        ["1KiB", "2KiB"],
        &[("routes.todos.webhook.compression.encoding", "gzip")],
    ),
    (
        "routes.todos.webhook.auth.basic.user",
        ["a", "b"],
        &[("routes.todos.webhook.auth.basic.password", "x")],
    ),
    ("routes.todos.webhook.auth.basic.password", ["a", "b"], USER),
    ("routes.todos.webhook.auth.basic.password_file", ["DIR/a", "DIR/b"], USER),
    ("routes.todos.webhook.auth.bearer.token", ["a", "b"], &[]),
    ("routes.todos.webhook.auth.bearer.token_file", ["DIR/a", "DIR/b"], &[]),
    ("routes.todos.webhook.auth.aws.region", ["a", "b"], &[AWS[1], AWS[2], AWS[3]]),
    ("routes.todos.webhook.auth.aws.service", ["a", "b"], &[AWS[0], AWS[2], AWS[3]]),
    ("routes.todos.webhook.auth.aws.access_key_id", ["a", "b"], &[AWS[0], AWS[1], AWS[3]]),
    ("routes.todos.webhook.auth.aws.access_key_id_file", ["DIR/a", "DIR/b"], &[AWS[0], AWS[1], AWS[3]]),
    ("routes.todos.webhook.auth.aws.secret_access_key", ["a", "b"], &[AWS[0], AWS[1], AWS[2]]),
    ("routes.todos.webhook.auth.aws.secret_access_key_file", ["DIR/a", "DIR/b"], &[AWS[0], AWS[1], AWS[2]]),
    ("routes.todos.webhook.auth.aws.session_token", ["a", "b"], &AWS),
    ("routes.todos.webhook.auth.aws.session_token_file", ["DIR/a", "DIR/b"], &AWS),
    ("routes.todos.webhook.auth.oauth2.token_url", ["https://a/", "https://b/"], &[CLIENT[1]]),
    ("routes.todos.webhook.auth.oauth2.client_id", ["a", "b"], &[CLIENT[0]]),
    ("routes.todos.webhook.auth.oauth2.client_secret", ["a", "b"], &CLIENT),
    ("routes.todos.webhook.auth.oauth2.client_secret_file", ["DIR/a", "DIR/b"], &CLIENT),
    ("routes.todos.webhook.auth.oauth2.client_auth", ["basic", "body"], &CLIENT),
    ("routes.todos.webhook.auth.oauth2.scope", ["a", "a b"], &CLIENT),
    ("routes.todos.webhook.auth.oauth2.audience", ["a", "b"], &CLIENT),
    ("routes.todos.webhook.auth.oauth2.parameters.x", ["a", "b"], &CLIENT),
    ("routes.todos.webhook.auth.oauth2.tls.ca_file", ["DIR/a.pem", "DIR/b.pem"], &CLIENT),
    (
        "routes.todos.webhook.auth.oauth2.tls.system_roots",
        ["true", "false"],
        &[CLIENT[0], CLIENT[1], ("routes.todos.webhook.auth.oauth2.tls.ca_file", "DIR/a.pem")],
    ),
    (
        "routes.todos.webhook.auth.oauth2.tls.cert_file",
        ["DIR/a.pem", "DIR/same.pem"],
        &[CLIENT[0], CLIENT[1], ("routes.todos.webhook.auth.oauth2.tls.key_file", "DIR/a.key")],
    ),
    (
        "routes.todos.webhook.auth.oauth2.tls.key_file",
        ["DIR/a.key", "DIR/same.key"],
        &[CLIENT[0], CLIENT[1], ("routes.todos.webhook.auth.oauth2.tls.cert_file", "DIR/a.pem")],
    ),
    ("routes.todos.webhook.auth.oauth2.tls.dangerously_accept_any_certificate", ["false", "true"], &CLIENT),
    ("routes.todos.webhook.secrets.key", ["a", "b"], &[]),
    ("routes.todos.webhook.secrets_file.key", ["DIR/a", "DIR/b"], &[]),
    ("routes.todos.webhook.timeout", ["10s", "20s"], &[]),
    ("routes.todos.webhook.connect_timeout", ["1s", "2s"], &[]),
    ("routes.todos.webhook.idle_timeout", ["1s", "2s"], &[]),
    ("routes.todos.webhook.max_connection_age", ["1s", "2s"], &[]),
    ("routes.todos.webhook.concurrency", ["1", "2"], &[]),
    ("routes.todos.webhook.min_concurrency", ["1", "2"], ADAPTIVE),
    ("routes.todos.webhook.max_concurrency", ["400", "500"], ADAPTIVE),
    ("routes.todos.webhook.tls.ca_file", ["DIR/a.pem", "DIR/b.pem"], &[]),
    (
        "routes.todos.webhook.tls.system_roots",
        ["true", "false"],
        &[("routes.todos.webhook.tls.ca_file", "DIR/a.pem")],
    ),
    (
        "routes.todos.webhook.tls.cert_file",
        ["DIR/a.pem", "DIR/same.pem"],
        &[("routes.todos.webhook.tls.key_file", "DIR/a.key")],
    ),
    (
        "routes.todos.webhook.tls.key_file",
        ["DIR/a.key", "DIR/same.key"],
        &[("routes.todos.webhook.tls.cert_file", "DIR/a.pem")],
    ),
    ("routes.todos.webhook.tls.dangerously_accept_any_certificate", ["false", "true"], &[]),
    ("routes.todos.webhook.egress.deny_private", ["false", "true"], &[]),
    (
        "routes.todos.webhook.egress.allow",
        ["10.0.0.0/8", "10.0.0.0/8,fd00::/8"],
        &[("routes.todos.webhook.egress.deny_private", "true")],
    ),
    ("routes.todos.webhook.egress.https_only", ["false", "true"], &[]),
    ("routes.todos.webhook.egress.ports", ["443", "443,8443"], &[]),
    ("routes.todos.webhook.egress.proxy", ["none", "http://a"], &[]),
    ("routes.todos.webhook.egress.proxy_file", ["DIR/a.url", "DIR/b.url"], &[]),
    ("routes.todos.webhook.signing.scheme", ["github", "shopify"], SIGNED),
    ("routes.todos.webhook.signing.header", ["x-a", "x-b"], CUSTOM),
    ("routes.todos.webhook.signing.timestamp_header", ["x-c", "x-d"], CUSTOM),
    ("routes.todos.webhook.signing.signed", ["{body}", "{id}.{body}"], CUSTOM),
    ("routes.todos.webhook.signing.lead", ["a", "{timestamp}"], CUSTOM),
    ("routes.todos.webhook.signing.prefix", ["a", "b"], CUSTOM),
    ("routes.todos.webhook.signing.separator", ["a", "b"], CUSTOM),
    ("routes.todos.webhook.signing.algorithm", ["sha256", "sha512"], CUSTOM),
    ("routes.todos.webhook.signing.encoding", ["hex", "base64"], CUSTOM),
    ("routes.todos.webhook.signing.keys.k.secret", ["a", "b"], GITHUB),
    ("routes.todos.webhook.signing.keys.k.secret_file", ["DIR/a", "DIR/b"], GITHUB),
    (
        "routes.todos.webhook.signing.keys.k.until",
        ["2900-01-01T00:00:00Z", "2900-01-01T00:00:01Z"],
        &[("routes.todos.webhook.signing.keys.k.secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")],
    ),
    ("routes.todos.queue.messages", ["1", "2"], &[]),
    ("routes.todos.queue.bytes", ["64KiB", "65KiB"], &[]),
    ("routes.todos.queue.overflow", ["drop_newest", "drop_oldest"], &[]),
    ("routes.todos.retry.attempts", ["1", "2"], &[]),
    ("routes.todos.retry.initial", ["1s", "2s"], &[]),
    ("routes.todos.retry.max", ["1s", "2s"], &[]),
    ("routes.todos.retry.multiplier", ["1.0", "1.5"], &[]),
    ("routes.todos.retry.jitter", ["full", "none"], &[]),
    ("routes.todos.retry.messages", ["1", "2"], &[]),
    ("routes.todos.retry.bytes", ["64KiB", "65KiB"], &[]),
    ("routes.todos.retry.statuses", ["5xx", "5xx,429"], &[]),
    ("routes.todos.rate_limit.per_second", ["1", "2"], &[("routes.todos.rate_limit.burst", "1")]),
    ("routes.todos.rate_limit.burst", ["1", "2"], &[("routes.todos.rate_limit.per_second", "1")]),
    ("routes.todos.breaker.enabled", ["true", "false"], &[]),
    ("routes.todos.breaker.failures", ["1", "2"], &[]),
    ("routes.todos.breaker.rate", ["0.1", "0.2"], &[]),
    ("routes.todos.breaker.window", ["1s", "2s"], &[]),
    ("routes.todos.breaker.open_for", ["1s", "2s"], &[]),
    ("routes.todos.breaker.half_open_probes", ["1", "2"], &[]),
    ("routes.todos.breaker.ramp", ["1s", "2s"], &[]),
    ("routes.todos.dead_letter.subject", ["dead.a", "dead.b"], &[]),
    ("routes.todos.dead_letter.stream", ["A", "B"], &[]),
    ("routes.todos.batch.max_messages", ["1", "2"], &[]),
    ("routes.todos.batch.max_bytes", ["64KiB", "65KiB"], &[]),
    ("routes.todos.batch.max_wait", ["0s", "1s"], &[]),
    ("routes.todos.batch.format", ["json", "ndjson"], &[]),
    (
        "routes.todos.batch.template",
        ["{{ messages }}", "[{{ messages }}]"],
        &[("routes.todos.batch.format", "template")],
    ),
    ("routes.todos.answer.reply", ["false", "true"], &[]),
    ("routes.todos.answer.publish", ["answers.a", "answers.b"], &[]),
    ("routes.todos.answer.verdict", ["false", "true"], &[]),
    ("routes.todos.answer.limit", ["64KiB", "65KiB"], &[]),
    ("routes.todos.dead_letter.create", ["false", "true"], &[("routes.todos.dead_letter.stream", "A")]),
];

const BUCKET: &[(&str, &str)] = &[("endpoints.bucket", "a")];
const COLLECTOR: &[(&str, &str)] = &[("tracing.endpoint", "http://a")];

const HISTORY: &[(&str, &str)] = &[("history.subject", "h")];
const KEPT: &[(&str, &str)] = &[("history.subject", "h"), ("history.stream", "A")];

const TEMPLATE: &[(&str, &str)] = &[("routes.todos.webhook.format", "template")];

const ADAPTIVE: &[(&str, &str)] = &[("routes.todos.webhook.concurrency", "adaptive")];
const EVENTS: &[(&str, &str)] = &[("routes.todos.webhook.format", "cloudevents")];
const USER: &[(&str, &str)] = &[("routes.todos.webhook.auth.basic.user", "x")];

const AWS: [(&str, &str); 4] = [
    ("routes.todos.webhook.auth.aws.region", "x"),
    ("routes.todos.webhook.auth.aws.service", "x"),
    ("routes.todos.webhook.auth.aws.access_key_id", "x"),
    ("routes.todos.webhook.auth.aws.secret_access_key", "x"),
];

const CLIENT: [(&str, &str); 2] = [
    ("routes.todos.webhook.auth.oauth2.token_url", "https://login/"),
    ("routes.todos.webhook.auth.oauth2.client_id", "x"),
];

const STREAM: &[(&str, &str)] = &[("routes.todos.jetstream.stream", "A")];

const GITHUB: &[(&str, &str)] = &[("routes.todos.webhook.signing.scheme", "github")];

const SIGNED: &[(&str, &str)] = &[("routes.todos.webhook.signing.keys.k.secret", "a")];

const CUSTOM: &[(&str, &str)] = &[
    ("routes.todos.webhook.signing.scheme", "custom"),
    ("routes.todos.webhook.signing.header", "x-a"),
    ("routes.todos.webhook.signing.keys.k.secret", "a"),
];

/// Keys whose value is masked where the configuration is printed, so that two of them look the same.
const MASKED: &[&str] = &[
    "server.tokens.t.token",
    "server.tokens.t.token_file",
    "nats.password",
    "nats.password_file",
    "nats.token",
    "nats.token_file",
    "tracing.headers.x-token",
    "tracing.headers_file.x-token",
    "routes.todos.webhook.headers.x-token",
    "routes.todos.webhook.headers_file.x-token",
    "routes.todos.webhook.header_templates.x-token",
    "routes.todos.webhook.signing.keys.k.secret",
    "routes.todos.webhook.auth.basic.password",
    "routes.todos.webhook.auth.basic.password_file",
    "routes.todos.webhook.auth.bearer.token",
    "routes.todos.webhook.auth.bearer.token_file",
    "routes.todos.webhook.auth.aws.access_key_id",
    "routes.todos.webhook.auth.aws.access_key_id_file",
    "routes.todos.webhook.auth.aws.secret_access_key",
    "routes.todos.webhook.auth.aws.secret_access_key_file",
    "routes.todos.webhook.auth.aws.session_token",
    "routes.todos.webhook.auth.aws.session_token_file",
    "routes.todos.webhook.auth.oauth2.client_secret",
    "routes.todos.webhook.auth.oauth2.client_secret_file",
    "routes.todos.webhook.auth.oauth2.parameters.x",
    "routes.todos.webhook.secrets.key",
    "routes.todos.webhook.secrets_file.key",
];

#[test]
fn a_difference_in_any_setting_makes_two_configurations_unequal_and_is_printed() {
    for key in every_key() {
        let tried = |(tried, ..): &Setting| *tried == key || tried.starts_with(&format!("{key}."));
        assert!(SETTINGS.iter().any(tried), "{key} is not tried");
    }
    let folder = files();
    for &(key, [value, other], needed) in SETTINGS {
        let [before, same, after] =
            [value, value, other].map(|value| load_with(&folder, &[needed, &[(key, value)]].concat()));
        assert!(before == same, "{key} = {value} is not equal to itself");
        assert!(before != after, "{key} = {value} is equal to {key} = {other}");
        let told = before.to_toml() != after.to_toml();
        assert_eq!(told, !MASKED.contains(&key), "whether {key} shows:\n{}", after.to_toml());
    }
}

#[test]
fn a_file_that_holds_something_else_makes_two_configurations_unequal() {
    for (key, file, other) in [
        ("routes.todos.webhook.url_file", "a.url", "b.url"),
        ("routes.todos.webhook.headers_file.x-token", "a", "b"),
        ("routes.todos.webhook.secrets_file.key", "a", "b"),
        ("routes.todos.webhook.template_file", "a", "b"),
        ("routes.todos.webhook.tls.ca_file", "a.pem", "b.pem"),
        ("routes.todos.webhook.egress.proxy_file", "a.url", "b.url"),
    ] {
        let folder = files();
        let path = format!("DIR/{file}");
        let needed = if key.ends_with("template_file") { TEMPLATE } else { &[] };
        let load_with = |folder, settings: &[_]| load_with(folder, &[settings, needed].concat());
        let before = load_with(&folder, &[(key, &path)]);
        let contents = std::fs::read(folder.folder.path().join(other)).unwrap();
        folder.beside(file, contents);
        assert!(before != load_with(&folder, &[(key, &path)]), "{key} is compared by its path alone");
    }
}

/// A login is none of those: whoever logs in reads its file again.
#[test]
fn a_secret_that_is_renewed_in_its_file_is_no_other_setting() {
    for (key, file, other) in [
        ("nats.credentials_file", "a.creds", "b.creds"),
        ("nats.nkey_seed_file", "a.seed", "b.seed"),
        ("nats.token_file", "a", "b"),
        ("routes.todos.webhook.auth.bearer.token_file", "a", "b"),
    ] {
        let folder = files();
        let path = format!("DIR/{file}");
        let before = load_with(&folder, &[(key, &path)]);
        let contents = std::fs::read(folder.folder.path().join(other)).unwrap();
        folder.beside(file, contents);
        assert!(before == load_with(&folder, &[(key, &path)]), "{key} is compared by what is in the file");
    }
}

/// The configuration that flags make of `settings`, with some webhook where they name none.
fn load_with(folder: &Given, settings: &[(&str, &str)]) -> Config {
    let dir = format!("{}/", folder.folder.path().display());
    let url = ("routes.todos.webhook.url", "https://example.com/");
    let has_url = settings.iter().any(|(key, _)| key.starts_with(url.0));
    let all = settings.iter().copied().chain((!has_url).then_some(url));
    let flags =
        all.fold(no_file(), |given, (key, value)| given.flag(key, &value.replace("DIR/", &dir), "--set"));
    load(flags.sources).unwrap_or_else(|errors| panic!("{settings:?}: {errors}"))
}

/// A folder with two files of each kind, different in what they hold.
fn files() -> Given {
    let given = given("");
    for name in ["a", "b"] {
        given.beside(name, name);
        given.beside(&format!("{name}.token"), format!("{name}-token-of-16-letters"));
        given.beside(&format!("{name}.url"), format!("https://{name}/"));
        let seed = KeyPair::new_user().seed().unwrap();
        given.beside(&format!("{name}.seed"), &seed);
        given.beside(&format!("{name}.creds"), creds("h.p.s", &seed));
        given.beside(&format!("{name}.identity"), new_key().unwrap().0);
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
        given.beside(&format!("{name}.pem"), cert.pem());
        given.beside(&format!("{name}.key"), signing_key.serialize_pem());
        if name == "a" {
            given.beside("same.pem", cert.pem());
            given.beside("same.key", signing_key.serialize_pem());
        }
    }
    given
}
