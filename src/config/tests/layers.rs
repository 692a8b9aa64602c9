//! Which source wins, and how a mistake names it.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, time::Duration};

use super::{ROUTE, given, no_file};
use crate::config::{LogLevel, NatsAuth};

#[test]
fn a_webhook_url_alone_is_enough() {
    let config = no_file().var("WEBHOOK_URL", "http://example.com/hook").load();
    let [route] = config.routes.as_slice() else { panic!("one route expected: {config:#?}") };
    assert_eq!(route.name.as_str(), "default");
    assert_eq!(route.subject.as_str(), "todos.events");
    assert_eq!(route.queue_group.as_str(), "broadcaster-workers");
    assert_eq!(route.webhook.url.path_and_query(), "/hook");
    assert_eq!(config.nats.servers[0].address(), "nats://127.0.0.1:4222");
}

#[test]
fn no_route_at_all_is_an_error_that_says_what_to_do() {
    let expected =
        "no route is configured: set WEBHOOK_URL, or add [routes.NAME] with webhook.url to the file";
    assert_eq!(no_file().error(), expected);
    assert_eq!(given("[routes]\n").error(), expected);
}

#[test]
fn later_layers_win() {
    let level = |given: super::Given| given.load().log.level;
    let file = format!("{ROUTE}[log]\nlevel = \"error\"\n");
    assert_eq!(level(given(ROUTE)), LogLevel::Info);
    assert_eq!(level(given(&file)), LogLevel::Error);
    assert_eq!(level(given(&file).var("LOG_LEVEL", "warn")), LogLevel::Warn);
    let long = given(&file).var("BROADCASTER__LOG__LEVEL", "debug").var("LOG_LEVEL", "warn");
    assert_eq!(level(long), LogLevel::Debug);
    let flag = given(&file).var("BROADCASTER__LOG__LEVEL", "debug").flag("log.level", "trace", "--log-level");
    assert_eq!(level(flag), LogLevel::Trace);
}

#[test]
fn layers_add_to_a_table() {
    let config = given(&format!("{ROUTE}timeout = \"20s\"\n"))
        .var("BROADCASTER__ROUTES__TODOS__WEBHOOK__CONCURRENCY", "7")
        .var("BROADCASTER__ROUTES__TODOS__WEBHOOK__HEADERS__X-TOKEN", "0123")
        .load();
    let webhook = &config.routes[0].webhook;
    assert_eq!(webhook.timeout, Duration::from_secs(20));
    assert_eq!(webhook.concurrency.most().get(), 7);
    assert_eq!(webhook.headers["x-token"], "0123");
}

#[test]
fn plain_variables_set_the_default_route_and_nats() {
    let config = no_file()
        .var("WEBHOOK_URL", "http://example.com")
        .var("NATS_SUBJECT", "orders.>")
        .var("NATS_QUEUE_GROUP", "workers")
        .var("NATS_URL", "nats://a:1, tls://b:2")
        .load();
    assert_eq!(config.routes[0].subject.as_str(), "orders.>");
    assert_eq!(config.routes[0].queue_group.as_str(), "workers");
    let servers: Vec<_> = config.nats.servers.iter().map(|server| server.address()).collect();
    assert_eq!(servers, ["nats://a:1", "tls://b:2"]);
}

#[test]
fn values_of_the_environment_stay_as_they_are_written() {
    let config = given(ROUTE).var("BROADCASTER__NATS__TOKEN", "0123").load();
    let NatsAuth::Token(token) = config.nats.auth else { panic!("a token expected: {:?}", config.nats.auth) };
    assert_eq!(secrecy::ExposeSecret::expose_secret(token.secret()), "0123");
}

#[test]
fn variables_of_kubernetes_are_no_settings() {
    given(ROUTE)
        .var("BROADCASTER_SVC_PORT", "tcp://10.0.0.1:8002")
        .var("BROADCASTER_SERVICE_HOST", "10.0.0.1")
        .var("BROADCASTER_PORT", "tcp://10.0.0.1:8002")
        .var("BROADCASTER_PORT_8002_TCP_ADDR", "10.0.0.1")
        .var("NATS_PORT", "tcp://10.0.0.2:4222")
        .load();
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let config =
        given(ROUTE).var("WEBHOOK_URL", "").var("LOG_LEVEL", "").var("BROADCASTER__NO__SUCH_KEY", "").load();
    assert_eq!(config.routes.len(), 1);
}

#[test]
fn the_file_may_be_named_by_a_variable_and_a_flag_wins() {
    let given = given(ROUTE);
    let other = given.beside("other.toml", ROUTE.replace("todos", "other"));
    let mut by_variable = no_file();
    by_variable.sources.env.push(("BROADCASTER_CONFIG".into(), other.clone().into()));
    assert_eq!(by_variable.load().routes[0].name.as_str(), "other");
    let mut both = given;
    both.sources.env.push(("BROADCASTER_CONFIG".into(), other.into()));
    assert_eq!(both.load().routes[0].name.as_str(), "todos");
}

#[test]
fn a_mistake_names_its_place() {
    let errors = given(&format!("{ROUTE}timeout = \"soon\"\n[routes.todos.queue]\n\nmessages = 0\n"))
        .var("LOG_LEVEL", "loud")
        .var("BROADCASTER__SHUTDOWN__GRACE", "1d")
        .flag("routes.todos.retry.attempts", "-1", "--set")
        .errors();
    assert_eq!(
        errors,
        [
            "log.level: expected \"error\" or \"warn\" or \"info\" or \"debug\" or \"trace\", not \"loud\" (in \
             environment variable LOG_LEVEL)",
            "shutdown.grace: expected a duration from 0s to 1h such as \"25s\", not \"1d\" (in environment variable \
             BROADCASTER__SHUTDOWN__GRACE)",
            "routes.todos.webhook.timeout: expected a duration from 1ms to 24h such as \"10s\", not \"soon\" (in \
             DIR/config.toml:3)",
            "routes.todos.queue.messages: expected a whole number from 1 to 100000000, not 0 (in DIR/config.toml:6)",
            "routes.todos.retry.attempts: expected a whole number from 1 to 1000000, not \"-1\" (in flag --set)",
        ]
    );
}

#[test]
fn a_value_that_overrides_is_the_one_that_is_named() {
    let error = given(&format!("{ROUTE}timeout = \"20s\"\n"))
        .var("BROADCASTER__ROUTES__TODOS__WEBHOOK__TIMEOUT", "soon")
        .error();
    assert!(
        error.ends_with("(in environment variable BROADCASTER__ROUTES__TODOS__WEBHOOK__TIMEOUT)"),
        "{error}"
    );
}

#[test]
fn lines_are_found_through_dotted_keys_inline_tables_and_dates() {
    let errors =
        given("log.level = 1\n[nats]\nurl = 1979-05-27\nname = 2\n[routes]\na = { webhook.url = \"x\" }\n")
            .errors();
    let places: Vec<_> = errors.iter().filter_map(|error| error.rsplit("config.toml:").next()).collect();
    assert_eq!(places, ["1)", "3)", "4)", "6)"], "{errors:#?}");
}

#[test]
fn a_mistake_in_a_table_that_a_variable_adds_to_is_found_in_the_file() {
    let two = format!("{ROUTE}[routes.other.webhook]\nurl = \"https://example.com/\"\n");
    let error = given(&two).var("BROADCASTER__ROUTES__TODOS__WEBHOOK__CONCURRENCY", "7").error();
    assert!(error.starts_with("routes.todos.subject: expected another subject"), "{error}");
    assert!(error.ends_with("(in DIR/config.toml:1)"), "{error}");
}

#[test]
fn a_missing_file_is_named_with_the_reason() {
    let mut given = no_file();
    given.sources.file = Some(given.folder.path().join("none.toml"));
    assert_eq!(
        given.error(),
        "cannot read DIR/none.toml: No such file or directory (os error 2) (in flag --config)"
    );
}

#[test]
fn a_folder_is_no_file() {
    let mut given = no_file();
    let folder = given.folder.path().to_owned();
    given.sources.env.push(("BROADCASTER_CONFIG".into(), folder.into()));
    let error = given.error();
    assert!(
        error.ends_with("Is a directory (os error 21) (in environment variable BROADCASTER_CONFIG)"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_not_utf_8_is_refused() {
    let mut given = no_file();
    given.sources.file = Some(given.beside("config.toml", b"# caf\xe9\n"));
    assert_eq!(given.error(), "expected UTF-8 text in DIR/config.toml (in flag --config)");
}

#[test]
fn a_syntax_error_tells_where_and_what_but_does_not_quote() {
    let error = given("[nats]\ntoken = \"s3cret\nname = 1\n").error();
    assert_eq!(error, "expected TOML, at column 16: invalid basic string (in DIR/config.toml:2)");
}

#[test]
fn values_that_are_not_utf_8_are_refused_only_for_our_variables() {
    let bytes = || OsString::from_vec(vec![b'a', 0xff]);
    let mut ours = given(ROUTE);
    ours.sources.env.extend([("NATS_URL".into(), bytes()), ("PATH".into(), bytes()), (bytes(), bytes())]);
    assert_eq!(ours.error(), "nats.url: expected UTF-8 text (in environment variable NATS_URL)");
}

#[test]
fn a_variable_without_a_key_is_an_error() {
    let error = given(ROUTE).var("BROADCASTER____X", "1").error();
    assert_eq!(
        error,
        ".x: expected a name such as BROADCASTER__SECTION__KEY (in environment variable BROADCASTER____X)"
    );
}
