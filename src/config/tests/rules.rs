//! What has to hold between keys and between routes.

use super::{ROUTE, URL, given, no_file};

#[test]
fn a_filter_that_is_none_is_refused_with_its_place() {
    let text =
        format!("{ROUTE}[routes.b]\nsubject = \"b\"\nfilter = \"data.n = 1\"\nwebhook.url = \"http://b\"\n");
    let errors = given(&text).errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    let start =
        "routes.b.filter: expected an expression such as subject == \"todos.created\": unexpected input";
    assert!(
        errors[0].starts_with(start) && errors[0].contains(", at column 8 (in DIR/config.toml:"),
        "{errors:?}"
    );
}

#[test]
fn answers_go_nowhere_where_they_would_come_back_or_be_commands() {
    let answering = |answer: &str| {
        let other = "[routes.b]\nsubject = \"b.>\"\nwebhook.url = \"http://b\"\n";
        given(&format!("{ROUTE}[routes.todos.answer]\n{answer}\n{other}")).errors()
    };
    for (publish, said) in [
        (
            "todos.events",
            "expected a subject that no route receives: \"todos.events\" would come back by routes.todos.subject",
        ),
        ("b.answers", "would come back by routes.b.subject = \"b.>\""),
        ("$JS.API.STREAM.DELETE.A", "those with a $ are NATS's"),
        ("$SYS.REQ.X", "those with a $ are NATS's"),
        ("$KV.bucket.key", "those with a $ are NATS's"),
        ("_INBOX.a.b", "kept for answers to clients"),
        ("broadcaster.handover.broadcaster-workers", "kept for messages that replicas hand over"),
        ("answers.*", "no wildcard"),
    ] {
        let errors = answering(&format!("publish = \"{publish}\""));
        assert_eq!(errors.len(), 1, "{publish}: {errors:?}");
        assert!(errors[0].starts_with("routes.todos.answer.publish: expected"), "{errors:?}");
        assert!(errors[0].contains(said), "{errors:?}");
    }
    let errors = answering("reply = true\n[routes.todos.jetstream]\nstream = \"A\"");
    assert!(
        errors.len() == 1 && errors[0].starts_with("routes.todos.answer.reply: expected false"),
        "{errors:?}"
    );
}

#[test]
fn the_mistakes_are_counted() {
    let text = crate::config::load(no_file().sources).unwrap_err().to_string();
    assert!(text.starts_with("1 mistake in the configuration:\n  no route is configured"), "{text}");
    let given = given("[log]\nlevel = 1\nformat = 2\n[routes.a.webhook]\nurl = \"http://x/\"\n");
    let text = crate::config::load(given.sources).unwrap_err().to_string();
    assert!(text.starts_with("2 mistakes in the configuration:\n  log.level: "), "{text}");
    assert_eq!(text.lines().count(), 3, "{text}");
}

#[test]
fn a_missing_url_of_the_default_route_names_its_short_variable() {
    let error = no_file().var("NATS_SUBJECT", "a.b").error();
    assert_eq!(
        error,
        "routes.default.webhook.url is missing: set it in the file or by environment variable WEBHOOK_URL"
    );
}

#[test]
fn unknown_keys_are_errors_in_every_section() {
    let sections = [
        "",
        "log.",
        "server.",
        "nats.",
        "nats.tls.",
        "runtime.",
        "shutdown.",
        "routes.todos.",
        "routes.todos.webhook.",
        "routes.todos.webhook.tls.",
        "routes.todos.queue.",
        "routes.todos.retry.",
        "routes.todos.rate_limit.",
        "routes.todos.dead_letter.",
    ];
    for section in sections {
        let errors = given(&format!("{section}nonsense_key = 1\n{URL}")).errors();
        let expected = format!("{section}nonsense_key: unknown key, expected ");
        assert!(errors.iter().any(|error| error.starts_with(&expected)), "{section}: {errors:#?}");
    }
    let error = given(ROUTE).var("BROADCASTER__NATS__PASWORD", "s3cret").error();
    assert_eq!(
        error,
        "nats.pasword: unknown key, expected password (in environment variable BROADCASTER__NATS__PASWORD)"
    );
}

#[test]
fn a_value_where_a_table_belongs_is_an_error() {
    let error = given(ROUTE).var("BROADCASTER__NATS__TLS", "yes").error();
    assert_eq!(
        error,
        "nats.tls: expected a table, not a string (in environment variable BROADCASTER__NATS__TLS)"
    );
    assert_eq!(
        given("routes = 1\n").error(),
        "routes: expected a table, not a number (in DIR/config.toml:1)"
    );
}

#[test]
fn the_ports_differ_unless_they_are_free_ones() {
    given(&format!("{ROUTE}[server]\napi = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n")).load();
    assert_eq!(
        given(&format!("{ROUTE}[server]\napi = \"127.0.0.1:7777\"\n")).error(),
        "server.api: expected two ports, but server.api and server.metrics are both 7777 (in DIR/config.toml:4)"
    );
}

#[test]
fn an_address_that_the_machine_does_not_have_is_said() {
    // Kept for documents: nobody has it.
    let given =
        given(&format!("{ROUTE}[server]\napi = \"192.0.2.1:8002\"\nmetrics = \" 127.0.0.1:7777 \"\n"));
    assert_eq!(
        given.warnings(),
        ["server.api: this machine has no address 192.0.2.1 to listen on (in DIR/config.toml:4)"]
    );
}

#[test]
fn connecting_takes_no_longer_than_the_attempt_and_the_first_wait_than_the_longest() {
    let errors = given(&format!(
        "{ROUTE}timeout = \"2s\"\nconnect_timeout = \"3s\"\n[routes.todos.retry]\ninitial = \"2s\"\nmax = \"1s\"\n"
    ))
    .errors();
    assert_eq!(
        errors,
        [
            "routes.todos.webhook.connect_timeout: expected no more than timeout, which it is a part of (in \
             DIR/config.toml:4)",
            "routes.todos.retry.initial: expected no more than max, the longest wait (in DIR/config.toml:6)",
        ]
    );
}

#[test]
fn routes_of_one_queue_group_do_not_overlap() {
    let two = |a: &str, b: &str| {
        given(&format!(
            "[routes.a]\n{a}\nwebhook.url = \"http://x/\"\n[routes.b]\n{b}\nwebhook.url = \"http://y/\"\n"
        ))
    };
    two("subject = \"x.*\"", "subject = \"y.z\"").load();
    two("queue_group = \"g\"", "queue_group = \"h\"").load();
    assert_eq!(
        two("subject = \"x.*\"", "subject = \"x.y\"").error(),
        "routes.b.subject: expected another subject or another queue_group than routes.a: with \"x.*\" and \"x.y\" in \
         the same group \"broadcaster-workers\", each message would reach only one of the two (in DIR/config.toml:5)"
    );
}

#[test]
fn routes_are_compared_even_when_something_else_is_wrong_with_them() {
    let errors = given("[routes.a]\n[routes.b]\n").errors();
    assert_eq!(errors.len(), 3, "{errors:#?}");
    assert!(errors[2].starts_with("routes.b.subject: expected another subject"), "{errors:#?}");
}

#[test]
fn a_route_of_a_stream_that_is_missing_is_not_taken_for_one_of_a_queue_group() {
    let error =
        given(&format!("{ROUTE}[routes.a]\nwebhook.url = \"http://x/\"\njetstream.ack_wait = \"1s\"\n"))
            .error();
    assert!(error.starts_with("routes.a.jetstream.stream is missing: "), "{error}");
}

#[test]
fn a_dead_letter_never_comes_back() {
    let with = |subject: &str| {
        given(&format!("{ROUTE}[routes.todos]\nsubject = \"todos.>\"\ndead_letter.subject = \"{subject}\"\n"))
    };
    with("dead.todos").load();
    assert_eq!(
        with("todos.dead").error(),
        "routes.todos.dead_letter.subject: expected a subject that no route receives: \"todos.dead\" would come back \
         by routes.todos.subject = \"todos.>\" (in DIR/config.toml:5)"
    );
}

#[test]
fn threads_have_enough_to_divide() {
    let error = given(&format!("{ROUTE}concurrency = 3\n[runtime]\nthreads = 4\n")).error();
    assert_eq!(
        error,
        "runtime.threads: expected no more threads than routes.todos.webhook.concurrency, which they divide between \
         them: 4 are more than 3 (in DIR/config.toml:5)"
    );
    given(&format!("{ROUTE}concurrency = \"adaptive\"\n[runtime]\nthreads = 4\n")).load();
    let few = format!("{ROUTE}concurrency = \"adaptive\"\nmax_concurrency = 3\n[runtime]\nthreads = 4\n");
    let error = given(&few).error();
    assert!(error.contains("than routes.todos.webhook.max_concurrency, which they divide"), "{error}");
    let errors = given(&format!(
        "{ROUTE}[routes.todos]\nqueue.messages = 1\nretry.messages = 1\n[runtime]\nthreads = 2\n"
    ))
    .errors();
    assert_eq!(errors.len(), 2, "{errors:#?}");
}

#[test]
fn sections_that_may_be_left_out_need_their_key_when_they_are_there() {
    let errors = given(&format!(
        "{ROUTE}[routes.todos.rate_limit]\nburst = 5\n[routes.todos.jetstream]\n\
             [routes.todos.dead_letter]\ncreate = true\n"
    ))
    .errors();
    let missing: Vec<_> = errors.iter().filter_map(|error| error.split(" is missing: ").next()).collect();
    assert_eq!(
        missing,
        [
            "routes.todos.jetstream.stream",
            "routes.todos.dead_letter.stream",
            "routes.todos.rate_limit.per_second",
        ],
        "{errors:#?}"
    );
}

#[test]
fn what_is_left_out_is_named_after_the_route() {
    let config = given(&format!(
        "{ROUTE}[routes.todos.jetstream]\nstream = \"TODOS\"\n[routes.todos.dead_letter]\n\
         [routes.todos.breaker]\nenabled = false\n"
    ))
    .load();
    let route = &config.routes[0];
    assert_eq!(route.jetstream.as_ref().unwrap().consumer.as_str(), "broadcaster-todos");
    assert_eq!(route.dead_letter.as_ref().unwrap().subject.as_str(), "broadcaster.dead.todos");
    assert_eq!(route.breaker, None);
}

#[test]
fn two_routes_share_no_consumer_and_a_stream_is_no_queue_group() {
    let other =
        "[routes.other.webhook]\nurl = \"https://example.com/\"\n[routes.other.jetstream]\nstream = \"A\"\n";
    let todos = "[routes.todos.jetstream]\nstream = \"A\"\n";
    assert_eq!(given(&format!("{ROUTE}{todos}{other}")).load().routes.len(), 2);
    let errors = given(&format!("{ROUTE}{todos}{other}consumer = \"broadcaster-todos\"\n")).errors();
    assert!(
        errors[0].starts_with("routes.todos.jetstream.consumer: expected another consumer"),
        "{errors:#?}"
    );
    // A core route with the same subject gets each message too: that is fan-out.
    let core = "[routes.core.webhook]\nurl = \"https://example.com/\"\n";
    assert_eq!(given(&format!("{ROUTE}{todos}{core}")).load().routes.len(), 2);
}

#[test]
fn headers_that_broadcaster_sets_are_refused() {
    for name in [
        "host",
        "Content-Length",
        "transfer-encoding",
        "connection",
        "te",
        "trailer",
        "upgrade",
        "keep-alive",
        "expect",
        "webhook-id",
        "broadcaster-subject",
        "Broadcaster-Attempt",
    ] {
        let error = given(&format!("{ROUTE}headers.{name} = \"x\"\n")).error();
        assert_eq!(
            error,
            format!(
                "routes.todos.webhook.headers.{name}: expected another header: broadcaster sets this one itself (in \
                 DIR/config.toml:3)"
            )
        );
    }
}

#[test]
fn the_template_of_a_header_is_checked_as_a_header_is() {
    for (header, expected) in [
        ("header_templates.host = \"{{ id }}\"", "broadcaster sets this one itself"),
        ("header_templates.ce-id = \"{{ id }}\"", "kept for signatures, traces and CloudEvents"),
        ("header_templates.x-a = \"{{ ids }}\"", "there is no variable ids"),
        ("header_templates.x-a = \"{{ id }}\\n\"", "expected a single line"),
        (
            "headers.x-a = \"1\"\nheader_templates.X-A = \"{{ id }}\"",
            "expected only one of header_templates and headers",
        ),
    ] {
        let error = given(&format!("{ROUTE}{header}\n")).error();
        assert!(error.contains(expected), "{header}: {error}");
    }
    let config = given(&format!("{ROUTE}header_templates.x-a = \"s3cret {{{{ id }}}}\"\n")).load();
    assert!(!format!("{config:?}").contains("s3cret"), "a template may hold a secret");
}

#[test]
fn a_header_stands_once_in_each_layer_in_whatever_case() {
    let error = given(&format!("{ROUTE}headers.X-Token = \"a\"\nheaders.x-token = \"b\"\n")).error();
    assert!(error.starts_with("routes.todos.webhook.headers.x-token: expected each header once"), "{error}");
    let later = given(&format!("{ROUTE}headers.X-Token = \"a\"\n"));
    let later = later.var("BROADCASTER__ROUTES__TODOS__WEBHOOK__HEADERS__X-TOKEN", "b").load();
    assert_eq!(later.routes[0].webhook.headers["x-token"], "b");
}

#[test]
fn a_variable_that_is_left_over_beside_the_routes_of_the_file_is_named() {
    let error = given(ROUTE).var("WEBHOOK_URL", "http://x/").error();
    assert_eq!(
        error,
        "routes.default: expected no such route beside todos: both would share the same messages; environment variable \
         WEBHOOK_URL is about the route default alone; unset it, or set BROADCASTER__ROUTES__TODOS__WEBHOOK__URL (in \
         environment variable WEBHOOK_URL)"
    );
    for (name, value) in [("NATS_SUBJECT", "a.b"), ("NATS_QUEUE_GROUP", "x")] {
        let error = given(ROUTE).var(name, value).error();
        assert!(
            error.starts_with("routes.default: expected no such route beside todos: it has no webhook.url; "),
            "{error}"
        );
        assert!(error.contains(&format!("environment variable {name} is about")), "{error}");
    }
    let by_flag = given(ROUTE).flag("routes.default.subject", "a.b", "--subject").error();
    assert!(by_flag.contains("flag --subject is about the route default alone"), "{by_flag}");
}

#[test]
fn a_route_of_variables_beside_those_of_the_file_is_said_where_it_may_be_meant() {
    let both = || given(ROUTE).var("WEBHOOK_URL", "http://x/").var("NATS_SUBJECT", "a.b");
    assert_eq!(both().load().routes.len(), 2);
    let warnings = both().warnings();
    assert!(warnings[0].starts_with("routes.default: is one more route beside todos: "), "{warnings:#?}");
    // These are meant.
    let file =
        given(&format!("{ROUTE}[routes.default]\nsubject = \"a.b\"\n")).var("WEBHOOK_URL", "http://x/");
    assert_eq!(file.warnings(), Vec::<String>::new());
    let long = given(ROUTE)
        .var("BROADCASTER__ROUTES__DEFAULT__WEBHOOK__URL", "http://x/")
        .var("NATS_SUBJECT", "a.b");
    assert_eq!(long.warnings(), Vec::<String>::new());
}
