//! What is said of mistakes.

use super::given;

#[test]
fn all_mistakes_are_reported_at_once() {
    let errors = given(
        "colour = \"red\"\n[log]\nlevel = 5\nfromat = \"json\"\n[server]\napi = \":8002\"\n[nats]\nurl = \"http://x\"\n\
         [routes.Bad]\n[routes.a]\nsubject = \"x..y\"\n[routes.a.webhook]\ntimeout = \"0s\"\nconcurrency = true\n",
    )
    .errors();
    assert_eq!(
        errors,
        [
            "log.level: expected \"error\" or \"warn\" or \"info\" or \"debug\" or \"trace\", not 5 (in \
             DIR/config.toml:3)",
            "log.fromat: unknown key, expected format (in DIR/config.toml:4)",
            "server.api: expected an address and port such as \"[::]:8002\", not \":8002\" (in DIR/config.toml:6)",
            "nats.url: expected nats://HOST[:PORT] or tls://HOST[:PORT], several separated by commas (in \
             DIR/config.toml:8)",
            "routes.Bad: expected 1 to 64 of a-z, 0-9, _ and - (no double underscore) as the name of a route (in \
             DIR/config.toml:9)",
            "routes.Bad.webhook.url is missing: set it in the file or by environment variable \
             BROADCASTER__ROUTES__BAD__WEBHOOK__URL",
            "routes.a.subject: expected a NATS subject such as \"todos.events\" or \"todos.>\" (no empty token, no \
             blank; a wildcard is a whole token, > the last one), not \"x..y\" (in DIR/config.toml:11)",
            "routes.a.webhook.url is missing: set it in the file or by environment variable \
             BROADCASTER__ROUTES__A__WEBHOOK__URL",
            "routes.a.webhook.timeout: expected a duration from 1ms to 24h such as \"10s\", not \"0s\" (in \
             DIR/config.toml:13)",
            "routes.a.webhook.concurrency: expected a whole number from 1 to 10000 or \"adaptive\", not true (in DIR/config.toml:14)",
            "colour: unknown key, expected one of log, server, metrics, nats, runtime, shutdown, reload, service, tracing, endpoints, routes, history (in DIR/config.toml:1)",
        ]
    );
}
